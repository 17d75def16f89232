"""How others search many passages: numpy, plain Chroma, LangChain, which runs in an environment of its own.

`python -m benchmarks.scale_rivals ROW build|search FOLDER` reads what benchmarks/scale.py wrote there: vectors.npy,
texts.json and metadata.json of the passages, questions.npy, and job.json: {"questions": [text], "where": {name: [a
filter for each question]}}. It prints {"build_s"}, or {"start_s", "memory_mb", "searches": {name: {"ms": [one for each
question], "ids": [[place of a passage, best first]]}}}. Questions come embedded; no embedder is loaded."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals import memory_mb

FOUND = 10
WARM = 20  # questions that are put before the clock runs
PATIENCE_S = 60  # after which a slow search gets no more questions

Searches = dict[str, Callable[[int], list[int]]]
"""Each takes the number of a question and returns the places of the best passages."""


class Numpy:
    """All vectors in memory, compared one by one."""

    def build(self, job: Path) -> None:
        """Do nothing: the file of vectors is all there is."""

    def open(self, job: Path) -> Searches:
        vectors, questions = _vectors(job), _questions(job)

        def nearest(number: int) -> list[int]:
            cosines = vectors @ questions[number]
            best = np.argpartition(-cosines, FOUND)[:FOUND]
            return [int(place) for place in best[np.argsort(-cosines[best])]]

        return {"dense": nearest}


class PlainChroma:
    """Chroma as it comes, with a where-filter on metadata."""

    def build(self, job: Path) -> None:
        import chromadb

        client = chromadb.PersistentClient(str(job / "chroma"))
        collection = client.create_collection("posts", metadata={"hnsw:space": "cosine"})
        vectors, metadata, most = _vectors(job), _read(job / "metadata.json"), client.get_max_batch_size()
        for start in range(0, len(vectors), most):
            part = slice(start, start + most)
            ids = [str(place) for place in range(len(vectors))[part]]
            collection.add(ids=ids, embeddings=vectors[part], metadatas=metadata[part])

    def open(self, job: Path) -> Searches:
        import chromadb

        collection = chromadb.PersistentClient(str(job / "chroma")).get_collection("posts")
        questions, where = _questions(job), _read(job / "job.json")["where"]

        def nearest(number: int, name: str = "") -> list[int]:
            only = where[name][number] if name else None
            found = collection.query(query_embeddings=[questions[number]], n_results=FOUND, where=only)
            return [int(id_) for id_ in found["ids"][0]]

        return {"dense": nearest, **{name: partial(nearest, name=name) for name in where}}


class LangChain:
    """LangChain's EnsembleRetriever over its Chroma and its BM25Retriever, which is made anew at each start."""

    def build(self, job: Path) -> None:
        texts, vectors = _read(job / "texts.json"), _vectors(job)
        store = _langchain_chroma(job, texts, vectors)
        most = store._client.get_max_batch_size()
        ids = [str(place) for place in range(len(texts))]
        for start in range(0, len(ids), most):
            store.add_texts(texts[start : start + most], ids=ids[start : start + most])

    def open(self, job: Path) -> Searches:
        from langchain_classic.retrievers import EnsembleRetriever
        from langchain_community.retrievers import BM25Retriever

        questions, texts = _read(job / "job.json")["questions"], _read(job / "texts.json")
        store = _langchain_chroma(job, questions, _questions(job))
        dense = store.as_retriever(search_kwargs={"k": FOUND})
        words = BM25Retriever.from_texts(texts, ids=[str(place) for place in range(len(texts))], k=FOUND)
        both = EnsembleRetriever(retrievers=[words, dense], weights=[0.5, 0.5])

        def asked(retriever: Any) -> Callable[[int], list[int]]:
            return lambda number: [int(found.id) for found in retriever.invoke(questions[number])][:FOUND]

        return {"whole": asked(both), "dense": asked(dense), "lexical": asked(words)}


def _langchain_chroma(job: Path, texts: list[str], vectors: Any) -> Any:
    """Return LangChain's Chroma with an embedder that knows the vectors of these texts."""
    from langchain_chroma import Chroma
    from langchain_core.embeddings import Embeddings

    known = dict(zip(texts, vectors, strict=True))

    class Known(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [known[text].tolist() for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    return Chroma("posts", Known(), str(job / "langchain"), collection_metadata={"hnsw:space": "cosine"})


def timed(searches: Searches, count: int) -> dict[str, Any]:
    """Put each question to each search and return the times, those of the first few left out, and what was found."""
    rows: dict[str, Any] = {}
    for name, search in searches.items():
        times, ids, end = [], [], time.monotonic() + PATIENCE_S
        for number in range(count):
            if number > 2 * WARM and time.monotonic() > end:
                break
            started = time.perf_counter()
            ids.append(search(number))
            times.append((time.perf_counter() - started) * 1000)
        rows[name] = {"ms": times[WARM:], "ids": ids}
    return rows


def _vectors(job: Path) -> Any:
    return np.load(job / "vectors.npy")


def _questions(job: Path) -> Any:
    return np.load(job / "questions.npy")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


ROWS: dict[str, Any] = {"numpy": Numpy, "chroma": PlainChroma, "langchain": LangChain}


def main() -> None:
    name, step, job = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    started = time.perf_counter()
    if step == "build":
        ROWS[name]().build(job)
        print(json.dumps({"build_s": time.perf_counter() - started}))
        return
    searches = ROWS[name]().open(job)
    next(iter(searches.values()))(0)
    start_s = time.perf_counter() - started
    found = timed(searches, len(_questions(job)))
    print(json.dumps({"start_s": start_s, "memory_mb": memory_mb(), "searches": found}))


if __name__ == "__main__":
    main()
