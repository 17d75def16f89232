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

from rag.errors import StoreError
from rag.ports import Ids, Progress, Vectors
from rag.records import Check, Manifest

_COLLECTION = "passages"
_BATCH = 1000  # rows a call; Chroma takes at most 5461
_SAME = 0.999  # cosine at which a vector has found itself; float32 noise stays above it


class ChromaIndex:
    """Nearest neighbours over passage vectors, by cosine. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is opened or made yet."""
        self._folder = Path(os.path.realpath(folder))
        self._lock = threading.RLock()
        self._client: Any = None
        self._collection: Any = None

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
            if stored is None or stored["fingerprint"] != manifest.fingerprint:
                return "the index was built with another embedder"
            trouble = self._try(generation, expected)
            if trouble:
                self._close()
                return trouble
            return "" if stored == manifest.as_dict() else "the index was built with other settings"

    def rebuild(self, manifest: Manifest, ids: Sequence[int], vectors: Vectors, progress: Progress) -> None:
        """Build a new index beside the old one and put it in its place in one step."""
        generation = self._folder / f"generation-{uuid.uuid4().hex[:12]}"
        try:
            with _explained():
                client, collection = _create(generation, manifest)
                for start in range(0, len(ids), _BATCH):
                    _upsert(collection, ids[start : start + _BATCH], vectors[start : start + _BATCH])
                    progress(min(start + _BATCH, len(ids)), len(ids))
                with self._lock:
                    self._point_to(generation)
                    self._close()
                    self._client, self._collection = client, collection
                    self._sweep()
        except StoreError:
            if self._current() != generation:
                shutil.rmtree(generation, ignore_errors=True)
            raise

    def ids(self) -> set[int]:
        """Return the ids in the index; empty if none is open."""
        with self._lock:
            if self._collection is None:
                return set()
            return {int(id_) for id_ in self._collection.get(include=[])["ids"]}

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add or replace vectors; nothing happens while no index is open."""
        with self._lock, _explained():
            if self._collection is not None:
                for start in range(0, len(ids), _BATCH):
                    _upsert(self._collection, ids[start : start + _BATCH], vectors[start : start + _BATCH])

    def delete(self, ids: Sequence[int]) -> None:
        """Delete vectors; ids that are not there do no harm."""
        with self._lock, _explained():
            if self._collection is not None:
                for start in range(0, len(ids), _BATCH):
                    self._collection.delete(ids=[str(id_) for id_ in ids[start : start + _BATCH]])

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        """Return (passage id, cosine) of the nearest passages, best first; empty if no index is open.

        `among`: only of these passages.
        """
        with self._lock:
            if self._collection is None:
                return []
            count = self._collection.count()
            if not count:
                return []
            found = self._collection.query(
                query_embeddings=[vector], n_results=min(limit, count), include=["distances"]
            )
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(int(id_), 1.0 - float(distance)) for id_, distance in pairs]

    def checks(self) -> list[Check]:
        """Say what the index holds and where it lies."""
        with self._lock:
            if self._collection is None:
                return [Check("index", False, "not open; run reindex")]
            return [Check("index", True, f"{self._collection.count()} vectors in {self._folder}")]

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._close()

    def _try(self, generation: Path, expected: Mapping[int, Vectors]) -> str:
        """Open a generation and test it; return what is wrong with it.

        Some damage ends the whole process inside Chroma: a mark that is still there from the last time tells.
        """
        mark = generation / "opening"
        if mark.exists():
            return "the index could not be opened the last time"
        try:
            mark.touch()
            self._client, self._collection = _open(generation)
            return self._self_test(expected)
        except Exception as error:  # whatever a damaged folder makes Chroma raise, a rebuild mends it
            return f"the index cannot be opened ({type(error).__name__})"
        finally:
            mark.unlink(missing_ok=True)

    def _self_test(self, expected: Mapping[int, Vectors]) -> str:
        held = self.ids()
        asked = [(id_, vector) for id_, vector in expected.items() if id_ in held]
        for _, vector in asked:
            # by vector, not by id: two passages with the same words share one
            best = self.nearest(vector, 1)
            if not best or best[0][1] < _SAME:
                return "the index failed its self-test: a stored vector no longer finds itself"
        return "" if asked or not expected else "the index has lost its vectors"

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
        if self._client is not None:
            self._client.close()
        self._client = self._collection = None


@contextmanager
def _explained() -> Iterator[None]:
    """Turn whatever Chroma raises when it cannot write (it has no common class) into a sentence."""
    try:
        yield
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise StoreError(
            f"The search index could not be written ({reason}). Your posts are safe. Free some space and run `reindex`."
        ) from error


def _open(generation: Path) -> tuple[Any, Any]:
    client = _client(generation / "chroma")
    return client, client.get_collection(_COLLECTION, embedding_function=None)


def _create(generation: Path, manifest: Manifest) -> tuple[Any, Any]:
    generation.mkdir(parents=True)
    (generation / "manifest.json").write_text(json.dumps(manifest.as_dict(), indent=1), encoding="utf-8")
    client = _client(generation / "chroma")
    collection = client.create_collection(
        _COLLECTION, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    return client, collection


def _client(folder: Path) -> Any:
    # imported here: at the top it slowed every command
    import chromadb

    settings = chromadb.Settings(anonymized_telemetry=False, is_persistent=True)
    return chromadb.PersistentClient(path=str(folder), settings=settings)


def _upsert(collection: Any, ids: Sequence[int], vectors: Vectors) -> None:
    if len(ids):
        collection.upsert(ids=[str(id_) for id_ in ids], embeddings=np.asarray(vectors, dtype=np.float32))


def _read_manifest(generation: Path) -> Any:
    try:
        stored = json.loads((generation / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) and "fingerprint" in stored else None
