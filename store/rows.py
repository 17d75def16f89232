"""Vectors in one file, each in the row of its passage's id: exact search among some passages.

Beside Chroma, because its graph misses some of the nearest and all of 100,000 passages are compared here in 5 ms, those
of one tag or a range of days in less. Nothing is read at start, for the file is mapped. A row of zeros is nobody's; a
hole in the file is such rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rag.ports import Ids, Vectors

_CHUNK = 1024  # rows copied at once: what the processor's cache holds
_DENSE = 1 / 3
"""Share of the rows between the first and the last that must be wanted for all of them to be read in one go. 100,000
rows of 384, one core, 2026-11-25: all 4.8 ms; picked out in chunks 5,000 0.3, 20,000 3.1, 33,000 5.2, 50,000 7.5 ms."""


class Rows:
    """Unit vectors of one width by id. Not safe to call from several threads."""

    def __init__(self, path: Path, width: int) -> None:
        """Use the file at `path`, `width` numbers a row."""
        self._path = path
        self._width = width
        self._map()

    @classmethod
    def create(cls, path: Path, width: int) -> Rows:
        """Make a file without vectors."""
        path.write_bytes(bytes(4 * width))  # row 0, for a file without a byte cannot be mapped
        return cls(path, width)

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add or replace vectors; they are on the disk when this returns."""
        size = 4 * self._width
        with self._path.open("r+b") as file:  # not through the map: a full disk would end the process there
            for id_, vector in zip(ids, np.asarray(vectors, dtype=np.float32), strict=True):
                file.seek(id_ * size)
                file.write(vector.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self._map()

    def clear(self, ids: Sequence[int]) -> None:
        """Overwrite vectors with zeros."""
        there = [id_ for id_ in ids if id_ < len(self)]
        self.put(there, np.zeros((len(there), self._width), dtype=np.float32))

    def vectors(self, ids: Ids) -> Vectors:
        """Return the vector of each id, in any order; zeros where there is none."""
        found = np.zeros((len(ids), self._width), dtype=np.float32)
        there = ids < len(self)
        found[there] = self._rows[ids[there]]
        return found

    def nearest(self, vector: Vectors, limit: int, among: Ids) -> list[tuple[int, float]]:
        """Return (id, cosine) of the nearest of `among`, best first; those without a vector are left out."""
        ids = among[among < len(self)]
        cosines = self._cosines(vector, ids)
        held = cosines != 0
        held[~held] = self._rows[ids[~held]].any(axis=1)
        ids, cosines = ids[held], cosines[held]
        best = np.argpartition(-cosines, limit)[:limit] if len(ids) > limit else np.arange(len(ids))
        best = best[np.argsort(-cosines[best], kind="stable")]
        return list(zip(ids[best].tolist(), cosines[best].tolist(), strict=True))

    def _cosines(self, vector: Vectors, ids: Ids) -> Vectors:
        if not len(ids):
            return np.zeros(0, dtype=np.float32)
        first, last = int(ids[0]), int(ids[-1])
        if len(ids) > (last - first + 1) * _DENSE:
            return (self._rows[first : last + 1] @ vector)[ids - first]
        chunks = (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
        return np.concatenate([self._rows[chunk] @ vector for chunk in chunks])

    def _map(self) -> None:
        count = self._path.stat().st_size // (4 * self._width)
        # a plain view of the map: a memmap's own slices cost more than the search of a few rows
        self._rows = np.memmap(self._path, np.float32, "r", shape=(count, self._width)).view(np.ndarray)
