"""Question -> hits: full-text search and nearest vectors, put in one order by a second look (see ranking.py).

Full-text finds names, code and numbers; vectors find other words for the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rag.errors import BadQuestion
from rag.finding.coverage import UNMEASURED, Scale, coverage_of, probability
from rag.finding.cut import cut
from rag.finding.followups import Asked, asked
from rag.finding.ranking import Candidates, Floats, Terms, scores
from rag.ports import Embedder, Ids, Library, Neighbours, Reranker, Vectors
from rag.records import NO_FILTERS, Filters, Found, Hit, Label, Passage, SearchMode, Turn
from rag.words import sound, words_in

MAX_QUESTION = 4000  # characters; a longer one holds no question a search could use
SHOWN = 8  # passages that a person sees and the writer may read
RERANKED = 20  # best passages that a reranker puts in order; it takes its time for each
CANDIDATES = 100  # best passages of each leg that are fused
_TOLD_BY = 3  # best hits whose words tell whether the posts cover a question
_NEAR = 5  # nearest passages whose sentences do, too
_KIN = 200  # passages of one post that are looked at for its mean cosine


def clean_question(question: str) -> str:
    """Return the question on one line. Raise BadQuestion if it is blank or too long to be one."""
    if len(question) > MAX_QUESTION:
        raise BadQuestion(
            f"This question has {len(question):,} characters; {MAX_QUESTION:,} is the limit. Ask a shorter one."
        )
    question = " ".join(sound(question).split())
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
    index: Neighbours,
    embedder: Embedder,
    mode: SearchMode,
    limit: int,
    filters: Filters = NO_FILTERS,
    turns: Sequence[Turn] = (),
    scale: Scale = UNMEASURED,
    reranker: Reranker | None = None,
) -> Found:
    """Return the best passages for a question, at most `limit`, best first, and whether the posts cover it.

    "lexical" needs no model. "hybrid" and "dense" take what the index has; with none open, hybrid is lexical. `turns`
    are the earlier ones of the conversation, oldest first; `scale` is the index's own, see coverage.py. Only hybrid
    search tells how likely it is that the posts answer, and only there a reranker, if there is one, has the last word.
    """
    wanted = asked(question, turns, None if mode == "lexical" else embedder)
    with ThreadPoolExecutor(1) as beside:  # neither leg holds the interpreter while it searches
        words = beside.submit(_full_text, wanted, library, filters) if mode != "dense" else None
        cosines = _nearest(wanted, library, index, filters)
        bm25 = words.result() if words else {}
    passages = library.passages(list(dict.fromkeys([*bm25, *cosines])))
    here = {passage.id for passage in passages}
    cosines = {id_: cosine for id_, cosine in cosines.items() if id_ in here}  # the index may be a step behind
    legs = _Legs(bm25, cosines)
    if mode != "hybrid" or not cosines:
        scored = [cosines[p.id] if mode == "dense" else legs.words(p.id) for p in passages]
        hits = _hits(passages, scored, legs, cosines, library, limit)
        return Found(wanted.question, hits, "maybe" if hits else "not covered", None, wanted.words, filters)
    terms = _terms(wanted, library)
    scored, cosines = _second_look(wanted, terms, passages, legs, library, index, embedder)
    if reranker:
        scored = _reranked(wanted.question, passages, scored, reranker)
    hits = _hits(passages, scored, legs, cosines, library, limit)
    near = sorted((p for p in passages if p.id in cosines), key=lambda p: -cosines[p.id])[:_NEAR]
    known = terms.known([hit.passage for hit in hits[:_TOLD_BY]])
    likely = probability(scale, cosines[near[0].id] if near else 0.0, known, terms.in_a_sentence(near))
    coverage = coverage_of(likely)
    if coverage == "not covered" and scale == UNMEASURED:  # just started, or the first posts just came in
        coverage = "maybe"
    return Found(wanted.question, hits, coverage, likely, wanted.words, filters)


def _terms(wanted: Asked, library: Library) -> Terms:
    weights = library.weights([*words_in(wanted.question), *wanted.carried])
    return Terms.of(wanted.question, weights, dict.fromkeys(wanted.words, 1.0) | dict(wanted.carried))


def _full_text(wanted: Asked, library: Library, filters: Filters) -> dict[int, float]:
    """Return the BM25 of the best passages by words, best first; carried words count less."""
    scores = dict(library.lexical(wanted.words, CANDIDATES, filters))
    for count in sorted(set(wanted.carried.values())):
        words = [word for word, counts in wanted.carried.items() if counts == count]
        for id_, score in library.lexical(words, CANDIDATES, filters):
            scores[id_] = scores.get(id_, 0.0) + count * score
    return dict(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:CANDIDATES])


def _nearest(wanted: Asked, library: Library, index: Neighbours, filters: Filters) -> dict[int, float]:
    if not wanted.vector.size:
        return {}
    among = library.within(filters) if filters != NO_FILTERS else None
    return dict(index.nearest(wanted.vector, CANDIDATES, among))


def _second_look(
    wanted: Asked,
    terms: Terms,
    passages: Sequence[Passage],
    legs: _Legs,
    library: Library,
    index: Neighbours,
    embedder: Embedder,
) -> tuple[list[float], dict[int, float]]:
    """Return the score of each passage, and the cosines of all that have a vector."""
    vectors = _vectors(index, np.array([passage.id for passage in passages], dtype=np.int64), wanted)
    missing = {at: passages[at].hash for at, vector in enumerate(vectors) if not vector.any()}
    stored = library.vectors(missing.values(), embedder.fingerprint) if missing else {}
    for at, hash_ in missing.items():  # the index may be a step behind
        vectors[at] = cut(stored[hash_], vectors.shape[1]) if hash_ in stored else 0.0
    found = vectors @ wanted.vector
    cosines = {p.id: float(c) for p, c, v in zip(passages, found, vectors, strict=True) if v.any()}
    candidates = Candidates(
        passages,
        np.array([legs.bm25.get(passage.id, 0.0) for passage in passages]),
        vectors,
        np.array([cosines.get(passage.id, 0.0) for passage in passages]),
        _posts_cosines(wanted, passages, library, index),
    )
    return scores(terms, candidates).tolist(), cosines


def _reranked(question: str, passages: Sequence[Passage], scored: Sequence[float], reranker: Reranker) -> list[float]:
    """Return the scores with the best passages in the reranker's order, the others behind them as they were."""
    best = sorted(range(len(passages)), key=lambda at: -scored[at])[:RERANKED]
    judged = reranker.scores(question, [passages[at].embedded_text for at in best])
    places = sorted(range(len(best)), key=lambda place: -judged[place])
    new = list(scored)
    for place, score in zip(places, sorted((scored[at] for at in best), reverse=True), strict=True):
        new[best[place]] = score
    return new


def _vectors(index: Neighbours, ids: Ids, wanted: Asked) -> Vectors:
    """Return the passages' vectors, zeros if the index was closed meanwhile."""
    vectors = index.vectors(ids)
    width = wanted.vector.size
    return vectors if vectors.shape[1] == width else np.zeros((len(ids), width), dtype=np.float32)


def _posts_cosines(wanted: Asked, passages: Sequence[Passage], library: Library, index: Neighbours) -> Floats:
    """Return for each passage the mean cosine of its post."""
    kin = library.kin(dict.fromkeys(passage.post_id for passage in passages))
    some = {post_id: ids[:: len(ids) // _KIN + 1] for post_id, ids in kin.items() if len(ids)}  # a part of a book
    if not some:
        return np.zeros(len(passages))
    cosines = _vectors(index, np.concatenate(list(some.values())), wanted) @ wanted.vector
    sizes = np.array([len(ids) for ids in some.values()])
    means = dict(zip(some, np.add.reduceat(cosines, np.cumsum(sizes) - sizes) / sizes, strict=True))
    return np.array([means.get(passage.post_id, 0.0) for passage in passages])


def _hits(
    passages: Sequence[Passage],
    scored: Sequence[float],
    legs: _Legs,
    cosines: Mapping[int, float],
    library: Library,
    limit: int,
) -> tuple[Hit, ...]:
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
    return tuple(hits)
