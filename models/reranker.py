"""A cross-encoder that reads question and passage together: slower than any vector, and often a better judge.

None comes along and none is needed; a person can name one of the Hub, or a folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from models.hub import fetch_folder
from models.machine import share_cores
from rag.errors import ModelError
from rag.ports import Scores
from rag.records import Check

_BATCH = 8  # passages read at once: more only wait for the longest


class CrossEncoderReranker:
    """Scores passages with a sentence-transformers CrossEncoder. Loads at first use; safe for several threads."""

    def __init__(self, setting: str, *, offline: bool = False) -> None:
        """Name the model: a folder, or its id on the Hub. Nothing is loaded yet."""
        self._setting = setting
        self._offline = offline
        self._lock = threading.Lock()
        self._loaded: Any = None

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return Path(self._setting).name if os.path.isdir(self._setting) else self._setting

    def load(self) -> None:
        """Load the model, once. Raise ModelError if that cannot be done."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._folder, self.name)

    def scores(self, question: str, texts: Sequence[str]) -> Scores:
        """Return how well each text answers the question (0..1). Raise ModelError if the model cannot be used."""
        if not texts:
            return np.zeros(0)
        self.load()
        with self._lock:
            logits = np.asarray(
                self._loaded.predict([(question, text) for text in texts], batch_size=_BATCH, show_progress_bar=False)
            )
        if logits.shape != (len(texts),) or not np.isfinite(logits).all():
            raise ModelError(f"{self.name} gives no one score for a passage. Set FOOTNOTE_RERANKER to another model.")
        return logits.astype(np.float64)

    def checks(self) -> list[Check]:
        """Say whether the model is there and can be loaded; loads it."""
        try:
            self.load()
        except ModelError as error:
            return [Check("reranker", False, str(error))]
        return [Check("reranker", True, f"{self.name}, in {self._folder}")]

    @cached_property
    def _folder(self) -> Path:
        if os.path.isdir(self._setting):
            return Path(self._setting).resolve()
        return fetch_folder(self._setting, offline=self._offline, variable="FOOTNOTE_RERANKER")


def _load(folder: Path, name: str) -> Any:
    share_cores()
    # imported here, as in embedder.py: torch takes seconds
    import torch
    from sentence_transformers import CrossEncoder

    try:
        return CrossEncoder(
            str(folder), device="cpu", local_files_only=True, trust_remote_code=False, activation_fn=torch.nn.Sigmoid()
        )
    except Exception as error:  # a broken folder makes it raise nearly anything
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelError(
            f"The reranker {name} cannot be loaded ({reason}). Set FOOTNOTE_RERANKER to a cross-encoder, or leave it "
            "out."
        ) from error
