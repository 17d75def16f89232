"""The vector index: a persistent Chroma that can be thrown away at any time.

Chroma answers wrongly, without an error, when a segment is damaged or two clients share a folder. So each index is one
generation, a folder with a manifest of its own; the file `current` names the one in use and is swapped atomically, one
process at a time holds the folder (see lock.py), and opening it tests whether stored vectors find themselves. No text
is stored, so that removing a post leaves none here."""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import StoreError, first_line
from rag.ports import Ids, Progress, Vectors
from rag.records import Check, Manifest
from store.rows import Rows

_COLLECTION = "passages"
_ROWS = "vectors.f32"
_BATCH = 1000  # rows a call; Chroma takes at most 5461
_EXACT = 200_000
"""Passages up to which all vectors are compared, exactly; Chroma searches more. 100,000 take one core 5 ms."""
_HNSW = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 1600}
"""Recall@10, ms of one core to search and s to build by these three numbers, 100,000 passages (many nearly alike) and
300 questions (most about something else), 2026-11-25: as Chroma comes 16, 100, 100: 0.741, 1.0, 36; 16, 100, 1600:
0.974, 4.8; 32, 200, 400: 0.951, 2.5, 79; 32, 200, 1600: 0.984, 6.3; 48, 400, 800: 0.991, 4.1, 161. Not the last: every
library pays for the building, and the search serves the largest alone."""
_WORN = 0.5  # vectors that were deleted, as a share of those there are, from which a rebuild is due
_SAME = 0.999  # cosine at which a vector has found itself; float32 noise stays above it


class ChromaIndex:
    """Nearest neighbours over passage vectors, by cosine. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is opened or made yet."""
        self._folder = Path(os.path.realpath(folder))
        self._lock = threading.RLock()
        self._opened: _Generation | None = None

    def open(self, manifest: Manifest, expected: Mapping[int, Vectors]) -> str:
        """Open the stored index and test it: every vector in `expected` must find itself.

        Return "" if it is sound and was built with this manifest, else why it must be rebuilt. An index of the same
        embedder that passes the test keeps answering until a rebuild replaces it.
        """
        with self._lock:
            self._close()
            self._sweep()
            generation = self._current()
            if generation is None:
                return "there is no index yet"
            stored = _read_manifest(generation)
            if stored is None or stored.fingerprint != manifest.fingerprint:
                return "the index was built with another embedder"
            trouble = self._try(generation, manifest, expected)
            if trouble:
                self._close()
                return trouble
            return "" if stored == manifest else "the index was built with other settings"

    def stored(self) -> Manifest | None:
        """Return what the index in use was built with, None if there is none."""
        generation = self._current()
        return _read_manifest(generation) if generation else None

    def rebuild(self, manifest: Manifest, ids: Sequence[int], vectors: Vectors, progress: Progress) -> None:
        """Build a new index beside the old one and put it in its place in one step."""
        generation = self._folder / f"generation-{uuid.uuid4().hex[:12]}"
        try:
            with _explained():
                made = _Generation.create(generation, manifest)
                for start in range(0, len(ids), _BATCH):
                    made.upsert(ids[start : start + _BATCH], vectors[start : start + _BATCH])
                    progress(min(start + _BATCH, len(ids)), len(ids))
                with self._lock:
                    self._point_to(generation)
                    self._close()
                    self._opened = made
                    self._sweep()
        except StoreError:
            if self._current() != generation:
                shutil.rmtree(generation, ignore_errors=True)
            raise

    def ids(self) -> set[int]:
        """Return the ids in the index; empty if none is open."""
        with self._lock:
            return set(self._opened.ids.tolist()) if self._opened else set()

    @property
    def worn(self) -> bool:
        """Whether so much was deleted that a rebuild is due: Chroma keeps on the disk what it deletes."""
        with self._lock:
            return bool(self._opened and self._opened.deleted > len(self._opened.ids) * _WORN)

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add or replace vectors; nothing happens while no index is open."""
        with self._lock, _explained():
            if self._opened:
                for start in range(0, len(ids), _BATCH):
                    self._opened.upsert(ids[start : start + _BATCH], vectors[start : start + _BATCH])

    def delete(self, ids: Sequence[int]) -> None:
        """Delete vectors; ids that are not there do no harm."""
        with self._lock, _explained():
            if self._opened:
                for start in range(0, len(ids), _BATCH):
                    self._opened.delete(ids[start : start + _BATCH])

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        """Return (passage id, cosine) of the nearest passages, best first; empty if no index is open.

        `among`: only of these passages.
        """
        with self._lock:
            return self._opened.nearest(vector, limit, among) if self._opened else []

    def vectors(self, ids: Ids) -> Vectors:
        """Return the vector of each passage, float32, (len(ids), dimension); zeros where there is none."""
        with self._lock:
            return self._opened.rows.vectors(ids) if self._opened else np.zeros((len(ids), 0), dtype=np.float32)

    def note(self, facts: Mapping[str, float]) -> None:
        """Keep what was measured on this index: it goes when the index goes."""
        with self._lock, _explained():
            if generation := self._current():
                fresh = generation / "noted.new"
                fresh.write_text(json.dumps(dict(facts)), encoding="utf-8")
                os.replace(fresh, generation / "noted.json")

    def noted(self) -> dict[str, float]:
        """Return what was last noted, {} if nothing was."""
        generation = self._current()
        try:
            facts = json.loads((generation / "noted.json").read_text(encoding="utf-8")) if generation else {}
            return {str(name): float(value) for name, value in facts.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def checks(self) -> list[Check]:
        """Say what the index holds and where it lies."""
        with self._lock:
            if not self._opened:
                return [Check("index", False, "not open; run reindex")]
            return [Check("index", True, f"{len(self._opened.ids)} vectors in {self._folder}")]

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._close()

    def _try(self, generation: Path, manifest: Manifest, expected: Mapping[int, Vectors]) -> str:
        """Open a generation and test it; return what is wrong with it.

        Some damage ends the whole process inside Chroma: a mark that is still there from the last time tells.
        """
        mark = generation / "opening"
        if mark.exists():
            return "the index could not be opened the last time"
        try:
            mark.touch()
            self._opened = _Generation.open(generation, manifest)
            return self._opened.self_test(expected)
        except Exception as error:  # whatever a damaged folder makes Chroma raise, a rebuild mends it
            return f"the index cannot be opened ({type(error).__name__})"
        finally:
            mark.unlink(missing_ok=True)

    def _current(self) -> Path | None:
        try:
            name = (self._folder / "current").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        generation = self._folder / Path(name).name
        return generation if name and generation.is_dir() else None

    def _point_to(self, generation: Path) -> None:
        pointer = self._folder / "current.new"
        with pointer.open("w", encoding="utf-8") as file:
            file.write(generation.name)
            file.flush()
            os.fsync(file.fileno())
        os.replace(pointer, self._folder / "current")

    def _sweep(self) -> None:
        """Delete every generation but the current one: also those a kill left half built."""
        current = self._current()
        for path in self._folder.glob("generation-*"):
            if path != current:
                shutil.rmtree(path, ignore_errors=True)

    def _close(self) -> None:
        if self._opened:
            self._opened.close()
        self._opened = None


class _Generation:
    """One index in its folder: the vectors in rows to search exactly, and in Chroma to search very many."""

    def __init__(self, folder: Path, client: Any, collection: Any, rows: Rows) -> None:
        self._client = client
        self._collection = collection
        self._count = folder / "deleted"
        self.rows = rows
        self.ids: Ids = np.sort(np.array(collection.get(include=[])["ids"], dtype=np.int64))

    @property
    def deleted(self) -> int:
        """How many vectors were deleted since it was made."""
        try:
            return int(self._count.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none were, or a kill cut the note short
            return 0

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> _Generation:
        """Make an empty one."""
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1), encoding="utf-8")
        client = _client(folder / "chroma")
        collection = client.create_collection(_COLLECTION, embedding_function=None, configuration={"hnsw": _HNSW})
        return cls(folder, client, collection, Rows.create(folder / _ROWS, manifest.dimension))

    @classmethod
    def open(cls, folder: Path, manifest: Manifest) -> _Generation:
        """Open what is there."""
        rows = Rows(folder / _ROWS, manifest.dimension)
        client = _client(folder / "chroma")
        return cls(folder, client, client.get_collection(_COLLECTION, embedding_function=None), rows)

    def self_test(self, expected: Mapping[int, Vectors]) -> str:
        """Return what is wrong with it, "" if the vectors find themselves."""
        if len(self.ids) and self.ids[-1] >= len(self.rows):
            return "the index failed its self-test: its file of vectors is cut short"
        held = set(self.ids.tolist())
        asked = [(id_, vector) for id_, vector in expected.items() if id_ in held]
        for id_, vector in asked:
            # by vector, not by id: two passages with the same words share one
            for best in (self._nearly(vector, 1), self.rows.nearest(vector, 1, np.array([id_]))):
                if not best or best[0][1] < _SAME:
                    return "the index failed its self-test: a stored vector no longer finds itself"
        return "" if asked or not expected else "the index has lost its vectors"

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add or replace vectors."""
        self.rows.put(ids, vectors)  # first: what a kill keeps from Chroma is missed and mended at the next start
        self._collection.upsert(ids=[str(id_) for id_ in ids], embeddings=np.asarray(vectors, dtype=np.float32))
        self.ids = np.union1d(self.ids, np.asarray(ids, dtype=np.int64))

    def delete(self, ids: Sequence[int]) -> None:
        """Delete vectors."""
        self.rows.clear(ids)  # first: what a kill keeps in Chroma is seen, and deleted, at the next start
        self._collection.delete(ids=[str(id_) for id_ in ids])
        left = np.setdiff1d(self.ids, np.asarray(ids, dtype=np.int64), assume_unique=True)
        self._count.write_text(str(self.deleted + len(self.ids) - len(left)), encoding="utf-8")
        self.ids = left

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        """Return (id, cosine) of the nearest, best first."""
        if among is None and len(self.ids) > _EXACT:
            return self._nearly(vector, limit)
        return self.rows.nearest(vector, limit, self.ids if among is None else among)

    def _nearly(self, vector: Vectors, limit: int) -> list[tuple[int, float]]:
        found = self._collection.query(query_embeddings=[vector], n_results=limit, include=["distances"])
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(int(id_), 1.0 - float(distance)) for id_, distance in pairs]

    def close(self) -> None:
        """Let go of the folder."""
        self._client.close()


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever Chroma raises when it cannot write (it has no common class) into a sentence."""
    try:
        yield
    except Exception as error:
        raise StoreError(
            f"The search index could not be written ({first_line(error)}). Your posts are safe. Free some space and "
            "run `reindex`."
        ) from error


def _client(folder: Path) -> Any:
    # imported here: at the top it slowed every command
    import chromadb

    settings = chromadb.Settings(anonymized_telemetry=False, is_persistent=True)
    return chromadb.PersistentClient(path=str(folder), settings=settings)


def _read_manifest(generation: Path) -> Manifest | None:
    try:
        return Manifest.from_dict(json.loads((generation / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        return None
