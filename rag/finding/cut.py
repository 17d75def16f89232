"""Vectors cut to their first numbers: a model trained for it (Matryoshka) says most in them.

The library keeps whole vectors, so that another width is a rebuild and no model need read the posts again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rag.ports import Embedder, Vectors
from rag.records import Check


def cut(vectors: Vectors, dimension: int) -> Vectors:
    """Return the first numbers of each vector, as unit vectors again."""
    if vectors.shape[-1] <= dimension:
        return vectors
    short: Vectors = vectors[..., :dimension].copy()
    lengths = np.linalg.norm(short, axis=-1, keepdims=True)
    short /= np.where(lengths > 0, lengths, 1)
    return short


class Cut:
    """An embedder whose vectors are cut."""

    def __init__(self, whole: Embedder, dimension: int) -> None:
        """Cut the vectors of `whole` to `dimension` numbers."""
        self._whole = whole
        self.dimension = dimension

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self._whole.name

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._whole.ready

    @property
    def fingerprint(self) -> str:
        """Identify the model; under it the library keeps whole vectors."""
        return self._whole.fingerprint

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads."""
        return self._whole.max_tokens

    @property
    def prompts(self) -> Mapping[str, str]:
        """What is put before queries and documents."""
        return self._whole.prompts

    def load(self) -> None:
        """Load the model, once."""
        self._whole.load()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens."""
        return self._whole.count_tokens(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a question."""
        return cut(self._whole.encode_queries(texts), self.dimension)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a passage."""
        return cut(self._whole.encode_documents(texts), self.dimension)

    def checks(self) -> list[Check]:
        """Say whether the model is there and whole."""
        return self._whole.checks()
