"""What a plain script does with a judged collection: whole documents in FTS5 and in vectors, ranks or scores added.

On its own, because it must share nothing with Footnote's search but the embedder."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping

import numpy as np

from rag.evaluate import Collection, Question, measure
from rag.ports import Embedder
from rag.words import STOP_WORDS

COLUMNS = ("FTS5", "vectors", "RRF", "sum")
_BEST = 100  # of each
_RRF = 60

Scores = Mapping[int, float]


def ndcg(collection: Collection, questions: Mapping[str, Question], embedder: Embedder) -> dict[str, float]:
    """Return NDCG@10 of full text, of vectors, of both by reciprocal rank fusion, and of both scaled and added."""
    documents = [post for post in collection.posts if post.text.strip()]
    texts = [f"{post.title}\n{post.text}".strip() for post in documents]
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE documents USING fts5 (text, tokenize='porter unicode61')")
    db.executemany("INSERT INTO documents (rowid, text) VALUES (?, ?)", enumerate(texts))
    vectors = embedder.encode_documents(texts)  # cut at what the embedder reads
    asked = embedder.encode_queries([question.text for question in questions.values()])
    runs: dict[str, dict[str, dict[str, float]]] = {name: {} for name in COLUMNS}
    for (id_, question), vector in zip(questions.items(), asked, strict=True):
        words, near = _full_text(db, question.text), _nearest(vectors @ vector)
        ranks = _added({at: 1 / (_RRF + rank) for rank, at in enumerate(leg, start=1)} for leg in (words, near))
        found = (words, near, ranks, _added(map(_scaled, (words, near))))
        for name, scores in zip(COLUMNS, found, strict=True):
            runs[name][id_] = {documents[at].source: score for at, score in scores.items()}
    judged = {id_: collection.judgements[id_] for id_ in questions}
    return {name: measure(judged, run)["ndcg@10"] for name, run in runs.items()}


def _full_text(db: sqlite3.Connection, question: str) -> Scores:
    words = list(dict.fromkeys(re.findall(r"\w+", question.lower())))
    chosen = [word for word in words if word not in STOP_WORDS] or words
    query = "SELECT rowid, -bm25(documents) FROM documents WHERE documents MATCH ? ORDER BY 2 DESC LIMIT ?"
    return dict(db.execute(query, (" OR ".join(f'"{word}"' for word in chosen), _BEST)).fetchall())


def _nearest(cosines: np.ndarray) -> Scores:
    best = np.argsort(-cosines, kind="stable")[:_BEST]
    return {int(at): float(cosines[at]) for at in best}


def _scaled(scores: Scores) -> Scores:
    least, most = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    return {at: (score - least) / ((most - least) or 1.0) for at, score in scores.items()}


def _added(legs: Iterable[Scores]) -> Scores:
    total: dict[int, float] = {}
    for leg in legs:
        for at, score in leg.items():
            total[at] = total.get(at, 0.0) + score
    return dict(sorted(total.items(), key=lambda pair: -pair[1]))
