"""How well search finds what it should: standard metrics on a judged collection, by the same engine as the page's."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rag.engine import Engine
from rag.errors import BadFile, FootnoteError
from rag.finding.coverage import coverage_of
from rag.finding.followups import turns_of
from rag.records import Found, Post, SearchMode, Turn

POOLED = 100  # passages that are searched for and pooled into documents


@dataclass(frozen=True)
class Question:
    """A question of a collection: its words, the turns before it, and whether the collection answers it, None where
    that is not said."""

    text: str
    turns: tuple[Turn, ...] = ()
    answerable: bool | None = None


@dataclass(frozen=True)
class Collection:
    """A judged collection in BEIR layout: documents, questions, and which documents answer which question."""

    posts: list[Post]
    questions: dict[str, Question]
    judgements: dict[str, dict[str, int]]

    def asked(self, limit: int | None) -> dict[str, Question]:
        """Return the first questions that a document answers."""
        judged = (id_ for id_ in self.questions if any(score > 0 for score in self.judgements.get(id_, {}).values()))
        return {id_: self.questions[id_] for id_ in islice(judged, limit)}

    def labelled(self, answerable: bool, limit: int | None) -> list[Question]:
        """Return the first questions that are said to be answerable, or not to be."""
        return list(islice((q for q in self.questions.values() if q.answerable is answerable), limit))


def read_collection(folder: Path) -> Collection:
    """Read corpus.jsonl, queries.jsonl and qrels.tsv (or qrels/test.tsv). Raise BadFile."""
    try:
        posts = [
            Post(source=row["_id"], title=str(row.get("title") or ""), text=str(row["text"]))
            for row in _rows(folder / "corpus.jsonl")
        ]
        questions = {row["_id"]: _question(row) for row in _rows(folder / "queries.jsonl") if not row.get("furniture")}
        collection = Collection(posts, questions, _judgements(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(
            f"{folder}: this is not a collection in BEIR layout ({error}). "
            "Give a folder with corpus.jsonl, queries.jsonl and qrels.tsv."
        ) from error
    if not collection.asked(1):
        raise BadFile(f"{folder}: no question has a judgement. Check that qrels.tsv belongs to queries.jsonl.")
    return collection


def evaluate(
    engine: Engine,
    folder: Path,
    mode: SearchMode = "hybrid",
    limit: int | None = None,
    *,
    history: bool = False,
    outside: Path | None = None,
) -> dict[str, Any]:
    """Add a collection to an empty engine, put its first `limit` questions and return the metrics and timings.

    `history`: with the turns before each question. Where questions say whether they can be answered, and with the
    questions of `outside`, another collection, "…_auroc" says how well the probability tells the two apart (hybrid
    search only). Raise BadFile.
    """
    collection = read_collection(folder)
    others = read_collection(outside).asked(limit) if outside else {}
    engine.prepare()
    started = time.perf_counter()
    sources = _index(engine, collection.posts)
    index_s = time.perf_counter() - started
    put = _Put(engine, mode, history)
    questions = collection.asked(limit)
    put(next(iter(questions.values())))  # whatever loads at the first search loads here
    put.times.clear()
    run: dict[str, dict[str, float]] = {}
    likely: list[float | None] = []
    for id_, question in questions.items():
        found = put(question)
        likely.append(found.probability)
        run[id_] = {}
        for hit in found.hits:  # best first: a document counts as its best passage
            run[id_].setdefault(sources[hit.passage.post_id], hit.score)
    return {
        "documents": len(collection.posts),
        "queries": len(questions),
        **measure({id_: collection.judgements[id_] for id_ in questions}, run),
        "index_s": round(index_s, 3),
        "search_ms_p50": round(float(np.percentile(put.times, 50)), 2),
        "search_ms_p95": round(float(np.percentile(put.times, 95)), 2),
        **_told_apart(
            "refusal",
            [put(question).probability for question in collection.labelled(True, limit)],
            [put(question).probability for question in collection.labelled(False, limit)],
        ),
        **_told_apart("wrong_collection", likely, [put(question).probability for question in others.values()]),
    }


class _Put:
    """Puts questions to an engine, and notes how long each search took (ms)."""

    def __init__(self, engine: Engine, mode: SearchMode, history: bool) -> None:
        self._engine = engine
        self._mode = mode
        self._history = history
        self.times: list[float] = []

    def __call__(self, question: Question) -> Found:
        started = time.perf_counter()
        found = self._engine.search(question.text, self._mode, POOLED, question.turns if self._history else ())
        self.times.append((time.perf_counter() - started) * 1000)
        return found


def _told_apart(name: str, answerable: Sequence[float | None], others: Sequence[float | None]) -> dict[str, float]:
    """Return AUROC, and the shares that are refused of both; {} if there are none of one kind, or no probabilities."""
    yes = [probable for probable in answerable if probable is not None]
    no = [probable for probable in others if probable is not None]
    if not yes or not no:
        return {}
    # imported here: it takes a second, and only some collections need it
    from sklearn.metrics import roc_auc_score

    refused = [[coverage_of(probable) == "not covered" for probable in group] for group in (yes, no)]
    return {
        f"{name}_auroc": round(float(roc_auc_score([1] * len(yes) + [0] * len(no), yes + no)), 4),
        f"{name}_refused_answerable": round(float(np.mean(refused[0])), 4),
        f"{name}_refused_others": round(float(np.mean(refused[1])), 4),
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


def _question(row: dict[str, Any]) -> Question:
    labels = {"ANSWERABLE": True, "UNANSWERABLE": False}
    answerable = row["answerable"] if "answerable" in row else labels.get(row.get("answerability", ""))
    return Question(row["text"], turns_of(row.get("history") or []), answerable)


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
