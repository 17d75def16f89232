"""The gate: whether a tuned embedder finds more than the one before it, in posts that it was not tuned on.

Posts are put aside before any pair is made. What is asked about them is worded as nothing there is: a sentence whose
passage no longer has it, a question with other words, or a person's own. Only what passes is installed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log2
from statistics import fmean

import numpy as np

from rag.measuring.questions import check_questions, make_questions
from rag.ports import Embedder, Ids, Library, Vectors
from rag.records import Pair, Passage
from rag.search import search
from rag.tuning.pairs import pairs_from_text
from rag.tuning.places import found_among

HELD_OUT = 0.2  # share of the posts, or of the passages where there are few posts
FEW = 10  # posts up to which passages are put aside
LEAST = 8  # questions; fewer tell nothing
QUESTIONS = 300  # of each kind
CORPUS = 3000  # passages that they are put to, those put aside among them
WORSE = 0.005  # NDCG@10 that search as a whole may lose
_DRAWN = 2000  # of the bootstrap
_CONFIDENT = 0.975  # share of them that must be better: two-sided, 95 %
_DEPTH = 10


@dataclass(frozen=True)
class Split:
    """Passages to tune on, and passages put aside to measure with."""

    training: tuple[Passage, ...]
    held_out: tuple[Passage, ...]


@dataclass(frozen=True)
class Questions:
    """What is put to both embedders: texts by id, and which passage answers which question.

    `whole` are the ids of those that search as a whole can be put, too: their passages stand in the library as they
    are. `kinds` counts where the questions come from.
    """

    queries: Mapping[str, str]
    corpus: Mapping[str, str]
    relevant: Mapping[str, set[str]]
    whole: tuple[str, ...]
    passages: tuple[Passage, ...]
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Whether the tuned embedder may be installed, how sure it is that it is better (0..1), and why not."""

    better: bool
    confidence: float
    reason: str = ""


def split(library: Library, seed: int) -> Split:
    """Put posts aside, or passages where there are few posts: the same ones for the same posts and seed."""
    passages = library.passages()
    few = len({passage.post_id for passage in passages}) <= FEW
    units = {passage.id: passage.hash if few else passage.post_id for passage in passages}
    names = sorted(set(units.values()))
    random.Random(seed).shuffle(names)
    aside = set(names[: max(1, round(HELD_OUT * len(names)))]) if len(names) > 1 else set()
    held_out = tuple(passage for passage in passages if units[passage.id] in aside)
    return Split(tuple(passage for passage in passages if units[passage.id] not in aside), held_out)


def questions(split: Split, library: Library, embedder: Embedder, given: Sequence[Pair], seed: int) -> Questions:
    """Ask about the passages put aside: half of them give up a sentence, the others are asked about in other words.

    `given` are pairs that a person gave; those about what was put aside are asked, too. Reads the embedder.
    """
    chance = random.Random(seed)
    aside = list(split.held_out)
    chance.shuffle(aside)
    halves = aside[::2], aside[1::2]
    corpus = {str(passage.id): passage.embedded_text for passage in aside[:CORPUS]}
    queries: dict[str, str] = {}
    relevant: dict[str, set[str]] = {}
    for passage in halves[0][:QUESTIONS]:
        for pair in pairs_from_text([passage], 1, seed, dropped=1.0):
            queries[f"s{passage.id}"], relevant[f"s{passage.id}"] = pair.question, {str(passage.id)}
            corpus[str(passage.id)] = pair.passage
    whole: dict[str, str] = {}
    made = list(make_questions(library, embedder, QUESTIONS, [passage.id for passage in halves[1]]))
    reasons = check_questions([(question.text, str(question.passage.id)) for question in made])
    for question, reason in zip(made, reasons, strict=True):
        if not reason:
            whole[f"q{question.passage.id}"] = question.text
            relevant[f"q{question.passage.id}"] = {str(question.passage.id)}
    for number, (pair, ids) in enumerate(own(given, aside)):
        whole[f"o{number}"], relevant[f"o{number}"] = pair.question, ids
        corpus.update({id_: passage.embedded_text for passage in aside if (id_ := str(passage.id)) in ids})
    others = list(split.training)
    chance.shuffle(others)
    others = others[: max(0, CORPUS - len(corpus))]
    corpus |= {str(passage.id): passage.embedded_text for passage in others}
    kinds = {
        "a sentence taken out": len(queries),
        "other words": sum(id_.startswith("q") for id_ in whole),
        "your own": sum(id_.startswith("o") for id_ in whole),
    }
    read = tuple(passage for passage in (*aside, *others) if str(passage.id) in corpus)
    return Questions({**queries, **whole}, corpus, relevant, tuple(whole), read, kinds)


def hybrid(asked: Questions, library: Library, embedder: Embedder, vectors: Vectors) -> dict[str, float]:
    """Return NDCG@10 of each question put to search as a whole; `vectors` are those of `asked.passages`."""
    index = _InMemory(asked.passages, vectors)
    found = {}
    for id_ in asked.whole:
        hits = search(asked.queries[id_], library, index, embedder, "hybrid", _DEPTH).hits
        places = [place for place, hit in enumerate(hits, start=1) if str(hit.passage.id) in asked.relevant[id_]]
        ideal = sum(1 / log2(place + 1) for place in range(1, min(_DEPTH, len(asked.relevant[id_])) + 1))
        found[id_] = sum(1 / log2(place + 1) for place in places) / ideal
    return found


def verdict(
    before: Mapping[str, float],
    after: Mapping[str, float],
    hybrid_before: Mapping[str, float],
    hybrid_after: Mapping[str, float],
    seed: int,
) -> Verdict:
    """Judge by NDCG@10 of each question: better by more than a paired bootstrap's noise, search as a whole no worse."""
    differences = np.array([after[id_] - before[id_] for id_ in sorted(before)])
    if len(differences) < LEAST:
        return Verdict(False, 0.0, f"Only {len(differences)} questions could be made to measure with. Add more posts.")
    drawn = np.random.default_rng(seed).choice(differences, (_DRAWN, len(differences))).mean(axis=1)
    confidence = float((drawn > 0).mean())
    lost = fmean(hybrid_before.values()) - fmean(hybrid_after.values()) if hybrid_before else 0.0
    if differences.mean() <= 0:
        return Verdict(False, confidence, "It finds no more than the model before it, so that one stays.")
    if confidence < _CONFIDENT:
        return Verdict(False, confidence, "It may be better by chance alone, so the model before it stays.")
    if lost > WORSE:
        return Verdict(
            False, confidence, f"Search as a whole would lose {lost:.3f} NDCG@10, so the model before it stays."
        )
    return Verdict(True, confidence)


class _InMemory:
    """The part of a vector index that search asks, over vectors at hand."""

    def __init__(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        order = np.argsort([passage.id for passage in passages])
        self._ids = np.array([passage.id for passage in passages], dtype=np.int64)[order]
        self._vectors = np.asarray(vectors)[order]

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        cosines = self._vectors @ vector
        if among is not None:
            cosines = np.where(np.isin(self._ids, among), cosines, -np.inf)
        best = np.argsort(-cosines, kind="stable")[:limit]
        return [(int(self._ids[at]), float(cosines[at])) for at in best if np.isfinite(cosines[at])]

    def vectors(self, ids: Ids) -> Vectors:
        places = np.searchsorted(self._ids, ids).clip(0, len(self._ids) - 1)
        there = (self._ids[places] == ids)[:, None]
        return np.where(there, self._vectors[places], 0).astype(np.float32)


def own(pairs: Sequence[Pair], aside: Sequence[Passage]) -> list[tuple[Pair, set[str]]]:
    """Return the pairs that a person or a writer gave about what was put aside, with the ids of what answers them."""
    by_post: dict[str, list[Passage]] = {}
    for passage in aside:
        by_post.setdefault(passage.post_id, []).append(passage)
    found = []
    for pair in (pair for pair in pairs if pair.origin != "text"):
        near = by_post.get(pair.post_id, [])
        ids = {str(passage.id) for passage in near if found_among(pair.passage, pair.post_id, [passage])}
        if ids:
            found.append((pair, ids))
    return found
