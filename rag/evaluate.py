"""How well search finds what it should: standard metrics on a judged collection, by the same engine as the page's."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rag.engine import Engine
from rag.errors import BadFile, FootnoteError
from rag.records import Post, SearchMode

POOLED = 100  # passages that are searched for and pooled into documents


@dataclass(frozen=True)
class Collection:
    """A judged collection in BEIR layout: documents, questions, and which documents answer which question."""

    posts: list[Post]
    questions: dict[str, str]
    judgements: dict[str, dict[str, int]]


def read_collection(folder: Path) -> Collection:
    """Read corpus.jsonl, queries.jsonl and qrels.tsv (or qrels/test.tsv). Raise BadFile."""
    try:
        posts = [
            Post(source=row["_id"], title=str(row.get("title") or ""), text=str(row["text"]))
            for row in _rows(folder / "corpus.jsonl")
        ]
        questions = {row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl") if not row.get("furniture")}
        judgements = _judgements(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(
            f"{folder}: this is not a collection in BEIR layout ({error}). "
            "Give a folder with corpus.jsonl, queries.jsonl and qrels.tsv."
        ) from error
    asked = {
        id_: text for id_, text in questions.items() if any(score > 0 for score in judgements.get(id_, {}).values())
    }
    if not asked:
        raise BadFile(f"{folder}: no question has a judgement. Check that qrels.tsv belongs to queries.jsonl.")
    return Collection(posts, asked, {id_: judgements[id_] for id_ in asked})


def evaluate(engine: Engine, folder: Path, mode: SearchMode = "hybrid", limit: int | None = None) -> dict[str, Any]:
    """Add a collection to an empty engine, put its first `limit` questions and return the metrics and timings."""
    collection = read_collection(folder)
    questions = dict(list(collection.questions.items())[:limit])
    engine.prepare()
    started = time.perf_counter()
    sources = _index(engine, collection.posts)
    index_s = time.perf_counter() - started
    engine.search(next(iter(questions.values())), mode, 1)  # whatever loads at the first search loads here
    run: dict[str, dict[str, float]] = {}
    times = []
    for id_, question in questions.items():
        started = time.perf_counter()
        hits = engine.search(question, mode, POOLED).hits
        times.append((time.perf_counter() - started) * 1000)
        run[id_] = {}
        for hit in hits:  # best first: a document counts as its best passage
            run[id_].setdefault(sources[hit.passage.post_id], hit.score)
    return {
        "documents": len(collection.posts),
        "queries": len(questions),
        **measure({id_: collection.judgements[id_] for id_ in questions}, run),
        "index_s": round(index_s, 3),
        "search_ms_p50": round(float(np.percentile(times, 50)), 2),
        "search_ms_p95": round(float(np.percentile(times, 95)), 2),
    }


def measure(judgements: dict[str, dict[str, int]], run: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return NDCG@10, accuracy (success) at 1 and 10, recall@10 and MRR@10, each a mean over the judged questions."""
    import ir_measures
    from ir_measures import RR, R, Success, nDCG

    names = {
        "ndcg@10": nDCG @ 10,
        "accuracy@1": Success @ 1,
        "accuracy@10": Success @ 10,
        "recall@10": R @ 10,
        "mrr@10": RR @ 10,
    }
    found = ir_measures.calc_aggregate(names.values(), judgements, run)
    return {name: round(float(found[measure]), 4) for name, measure in names.items()}


def _index(engine: Engine, posts: list[Post]) -> dict[str, str]:
    """Add the documents, every one of them; return the source of each post id."""
    for outcome in engine.add_posts((post for post in posts if post.text.strip()), dedupe=False):
        if outcome.state == "failed":
            raise FootnoteError(f"{outcome.source} could not be indexed: {outcome.error}")
    return {stored.id: stored.source for stored in engine.posts()}


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _judgements(folder: Path) -> dict[str, dict[str, int]]:
    path = next(
        (path for path in (folder / "qrels.tsv", folder / "qrels" / "test.tsv") if path.exists()), folder / "qrels.tsv"
    )
    found: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            if len(row) >= 3 and row[0] != "query-id":
                found.setdefault(row[0], {})[row[1]] = int(float(row[2]))
    return found
