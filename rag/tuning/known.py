"""An embedder for the gate: it takes the vectors that are there already, reads the rest in parts, and tells how far it
is, so that a measurement can be watched and stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rag.finding.cut import Cut
from rag.ports import Embedder, Progress, Vectors

_PART = 64  # texts that are read between two looks at whether to stop


class Known(Cut):
    """An embedder that reads no text whose vector is known."""

    def __init__(self, whole: Embedder, vectors: Mapping[str, Vectors], report: Progress) -> None:
        """Wrap `whole`; `vectors` are those of documents, by their text. `report` may raise Stopped."""
        super().__init__(whole, whole.dimension)
        self._vectors = vectors
        self._report = report

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a question."""
        return self._in_parts(super().encode_queries, texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a passage."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        read = dict(zip(missing, self._in_parts(super().encode_documents, missing), strict=True))
        return np.stack([self._vectors[text] if text in self._vectors else read[text] for text in texts])

    def _in_parts(self, encode: Callable[[Sequence[str]], Vectors], texts: Sequence[str]) -> Vectors:
        if len(texts) <= _PART:
            return encode(texts)
        parts = []
        for start in range(0, len(texts), _PART):
            self._report(start, len(texts))
            parts.append(encode(texts[start : start + _PART]))
        return np.concatenate(parts)
