"""Question -> hits: full-text search and nearest vectors, put in one order by a second look (see ranking.py).

Full-text finds names, code and numbers; vectors find other words for the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rag.errors import BadQuestion
from rag.followups import Asked, asked
from rag.ports import Embedder, Library, VectorIndex
from rag.ranking import Candidates, Floats, Terms, scores
from rag.records import NO_FILTERS, Coverage, Filters, Found, Hit, Label, Passage, SearchMode, Turn
from rag.words import stems_of, words_in

MAX_QUESTION = 4000  # characters; a longer one holds no question a search could use
CANDIDATES = 100  # best passages of each leg that are fused
_KIN = 200  # passages of one post that are looked at for its mean cosine
KNOWN_WORDS = 0.3
"""What the share of a question's words that one hit has counts beside the best cosine: see ENOUGH."""
ENOUGH = 0.45
"""Best cosine + KNOWN_WORDS x best share of words from which the posts cover a question. On 2026-11-24, 200 questions a
set put to their own and to each other's collection (seed_posts, xquad_en, zoomcamp_faq, clapnq_half, cranfield): AUROC
0.994 (cosine alone 0.989); refuses 2 % of those put to their own and keeps 7 % of those put to another's."""


def clean_question(question: str) -> str:
    """Return the question on one line. Raise BadQuestion if it is blank or too long to be one."""
    if len(question) > MAX_QUESTION:
        raise BadQuestion(
            f"This question has {len(question):,} characters; {MAX_QUESTION:,} is the limit. Ask a shorter one."
        )
    question = " ".join(question.encode("utf-8", "replace").decode("utf-8").split())
    if not any(character.isalnum() for character in question):
        raise BadQuestion("There is no question yet. Type one in plain words.")
    return question


@dataclass(frozen=True)
class _Legs:
    """What each leg found, best first: BM25 and cosines by passage."""

    bm25: Mapping[int, float]
    nearest: Mapping[int, float]

    def words(self, id_: int) -> float:
        """Return the BM25 of a passage as a share of the best one's."""
        return self.bm25.get(id_, 0.0) / (max(self.bm25.values(), default=0.0) or 1.0)


def search(
    question: str,
    library: Library,
    index: VectorIndex,
    embedder: Embedder,
    mode: SearchMode,
    limit: int,
    filters: Filters = NO_FILTERS,
    turns: Sequence[Turn] = (),
) -> Found:
    """Return the best passages for a question, at most `limit`, best first, and whether the posts cover it.

    "lexical" needs no model. "hybrid" and "dense" take what the index has; with none open, hybrid is lexical. `turns`
    are the earlier ones of the conversation, oldest first.
    """
    wanted = asked(question, turns, None if mode == "lexical" else embedder)
    bm25 = _full_text(wanted, library, filters) if mode != "dense" else {}
    cosines = _nearest(wanted, library, index, filters)
    passages = library.passages(list(dict.fromkeys([*bm25, *cosines])))
    legs = _Legs(bm25, cosines)
    if mode == "hybrid" and cosines:
        scored, cosines = _second_look(wanted, passages, legs, library, index, embedder)
    else:
        scored = [cosines[p.id] if mode == "dense" else legs.words(p.id) for p in passages]
    hits = _hits(passages, scored, legs, cosines, library, limit)
    coverage: Coverage = "covered" if covers(wanted, hits) else "not covered"
    return Found(wanted.question, tuple(hits), coverage, words=wanted.words, filters=filters)


def _full_text(wanted: Asked, library: Library, filters: Filters) -> dict[int, float]:
    """Return the BM25 of the best passages by words, best first; carried words count less."""
    scores = dict(library.lexical(wanted.words, CANDIDATES, filters))
    for count in sorted(set(wanted.carried.values())):
        words = [word for word, counts in wanted.carried.items() if counts == count]
        for id_, score in library.lexical(words, CANDIDATES, filters):
            scores[id_] = scores.get(id_, 0.0) + count * score
    return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:CANDIDATES])


def _nearest(wanted: Asked, library: Library, index: VectorIndex, filters: Filters) -> dict[int, float]:
    if not wanted.vector.size:
        return {}
    among = library.within(filters) if filters != NO_FILTERS else None
    return dict(index.nearest(wanted.vector, CANDIDATES, among))


def _second_look(
    wanted: Asked,
    passages: Sequence[Passage],
    legs: _Legs,
    library: Library,
    index: VectorIndex,
    embedder: Embedder,
) -> tuple[list[float], dict[int, float]]:
    """Return the score of each passage, and the cosines of all that have a vector."""
    vectors = index.vectors(np.array([passage.id for passage in passages], dtype=np.int64))
    missing = {at: passages[at].hash for at, vector in enumerate(vectors) if not vector.any()}
    stored = library.vectors(missing.values(), embedder.fingerprint) if missing else {}
    for at, hash_ in missing.items():  # the index may be a step behind
        vectors[at] = stored.get(hash_, 0.0)
    found = vectors @ wanted.vector
    cosines = {p.id: float(c) for p, c, v in zip(passages, found, vectors, strict=True) if v.any()}
    weights = library.weights([*words_in(wanted.question), *wanted.carried])
    terms = Terms.of(wanted.question, weights, dict.fromkeys(wanted.words, 1.0) | dict(wanted.carried))
    candidates = Candidates(
        passages,
        np.array([legs.bm25.get(passage.id, 0.0) for passage in passages]),
        vectors,
        np.array([cosines.get(passage.id, 0.0) for passage in passages]),
        _posts_cosines(wanted, passages, library, index),
    )
    return scores(terms, candidates).tolist(), cosines


def _posts_cosines(wanted: Asked, passages: Sequence[Passage], library: Library, index: VectorIndex) -> Floats:
    """Return for each passage the mean cosine of its post."""
    kin = library.kin(dict.fromkeys(passage.post_id for passage in passages))
    means = {}
    for post_id, ids in kin.items():
        some = ids[:: len(ids) // _KIN + 1]  # a book is known by a part of it
        means[post_id] = float(np.mean(index.vectors(some) @ wanted.vector)) if len(some) else 0.0
    return np.array([means.get(passage.post_id, 0.0) for passage in passages])


def covers(wanted: Asked, hits: Sequence[Hit]) -> bool:
    """Say whether any hit is near enough to the question for an answer to be in the posts, or may be."""
    if not hits or any(hit.cosine is None for hit in hits):
        return bool(hits)
    stems = stems_of(wanted.question)
    known = max(len(stems & stems_of(hit.passage.embedded_text)) / max(1, len(stems)) for hit in hits)
    return max(hit.cosine or 0.0 for hit in hits) + KNOWN_WORDS * known >= ENOUGH


def _hits(
    passages: Sequence[Passage],
    scored: Sequence[float],
    legs: _Legs,
    cosines: Mapping[int, float],
    library: Library,
    limit: int,
) -> list[Hit]:
    """Return the best as hits, with their places in each leg."""
    by_words = {id_: rank for rank, id_ in enumerate(legs.bm25, start=1)}
    by_meaning = {id_: rank for rank, id_ in enumerate(legs.nearest, start=1)}
    best = sorted(zip(passages, scored, strict=True), key=lambda pair: (-pair[1], pair[0].id))[:limit]
    labels = library.labels({passage.post_id for passage, _ in best})
    hits = []
    for passage, score in best:
        label, id_ = labels.get(passage.post_id, Label("")), passage.id
        hits.append(
            Hit(
                passage,
                label.title,
                label.url,
                label.date,
                score,
                cosines.get(id_),
                legs.words(id_),
                label.pages,
                by_words.get(id_),
                by_meaning.get(id_),
            )
        )
    return hits
