"""Cross-encoders: models that read two texts together, slower than any vector and often better judges.

None comes along and none is needed; a person can name one of the Hub, or a folder, to put passages in order
(FOOTNOTE_RERANKER) or to say what a sentence proves (FOOTNOTE_NLI)."""

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
from rag.errors import ModelError, first_line
from rag.ports import Scores
from rag.records import Check

_BATCH = 8  # pairs read at once: more only wait for the longest


class _CrossEncoder:
    """A sentence-transformers CrossEncoder. Loads at first use; safe for several threads."""

    _part, _variable, _what = "", "", ""

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
                self._loaded = self._open()

    def checks(self) -> list[Check]:
        """Say whether the model is there and can be loaded; loads it."""
        try:
            self.load()
        except ModelError as error:
            return [Check(self._part, False, str(error))]
        return [Check(self._part, True, f"{self.name}, in {self._folder}")]

    def _read(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """Return what the model makes of each pair: float, (len(pairs),) or (len(pairs), labels)."""
        self.load()
        with self._lock:
            return np.asarray(self._loaded.predict(list(pairs), batch_size=_BATCH, show_progress_bar=False))

    @cached_property
    def _folder(self) -> Path:
        if os.path.isdir(self._setting):
            return Path(self._setting).resolve()
        return fetch_folder(self._setting, offline=self._offline, variable=self._variable)

    def _open(self) -> Any:
        share_cores()
        # imported here, as in embedder.py: torch takes seconds
        from sentence_transformers import CrossEncoder

        try:
            return CrossEncoder(str(self._folder), device="cpu", local_files_only=True, trust_remote_code=False)
        except ModelError:
            raise
        except Exception as error:  # a broken folder makes it raise nearly anything
            raise ModelError(
                f"The {self._part} {self.name} cannot be loaded ({first_line(error)}). Set {self._variable} to "
                f"{self._what}, or leave it out."
            ) from error


class CrossEncoderReranker(_CrossEncoder):
    """Scores how well passages answer a question."""

    _part, _variable, _what = "reranker", "FOOTNOTE_RERANKER", "a cross-encoder"

    def scores(self, question: str, texts: Sequence[str]) -> Scores:
        """Return how well each text answers the question (0..1). Raise ModelError if the model cannot be used."""
        if not texts:
            return np.zeros(0)
        scores = self._read([(question, text) for text in texts])
        if scores.shape != (len(texts),) or not np.isfinite(scores).all():
            raise ModelError(f"{self.name} gives no one score for a passage. Set FOOTNOTE_RERANKER to another model.")
        return np.asarray(scores, dtype=np.float64)

    def _open(self) -> Any:
        import torch

        model = super()._open()
        model.activation_fn = torch.nn.Sigmoid()
        return model


class CrossEncoderNli(_CrossEncoder):
    """Says whether a text proves a sentence: natural language inference."""

    _part, _variable, _what = "NLI model", "FOOTNOTE_NLI", "a cross-encoder for natural language inference"

    def entails(self, texts: Sequence[str], claim: str) -> list[bool]:
        """Say of each text whether the claim follows from it. Raise ModelError if the model cannot be used."""
        if not texts:
            return []
        scores = self._read([(text, claim) for text in texts])
        if scores.ndim != 2 or not np.isfinite(scores).all():
            raise ModelError(f"{self.name} tells no labels apart. Set FOOTNOTE_NLI to another model.")
        return [int(row.argmax()) == _entailment(self._loaded) for row in scores]

    def _open(self) -> Any:
        model = super()._open()
        if _entailment(model) is None:
            raise ModelError(f"{self.name} has no label for entailment. Set FOOTNOTE_NLI to {self._what}.")
        return model


def _entailment(model: Any) -> int | None:
    """Return which of a model's labels means that one text follows from the other: models number them differently."""
    named = {str(label).lower(): int(at) for at, label in model.config.id2label.items()}
    return next((at for label, at in named.items() if label.startswith("entail")), None)
