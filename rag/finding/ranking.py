"""The second look: the best passages of both legs, put in order by all that can be told of them in a few milliseconds.

A leg knows one thing of a passage, full-text search its words and the vectors its meaning. Here each passage is held
against the question again: how much of the question's words it has, and in a row; how near the whole post is; and what
is said of it by those it resembles, for what answers a question is seldom alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rag.ports import Vectors
from rag.records import Passage
from rag.sentences import sentence_spans
from rag.words import stem, stems_in_order

Floats = NDArray[np.float64]

LOOKED_AT = 30  # passages that get the second look; 50 give the same NDCG@10 within 0.0001, and take longer
COSINE = 0.667
BEST_WORDS = 0.18
WORDS = 0.3
KNOWN = 0.15
KNOWN_IN_POST = 0.1
IN_A_ROW = 0.1
POST = 0.2
"""What counts how much in a passage's score: its cosine; BM25 as a share of the best passage's, and of what one with
all words would get; the share of the question's words (by their weight) that it has, that the best passages of its post
have together, and that it has in the question's own order, two and two; and the mean cosine of its post.

Found on 2026-11-25 by changing one at a time; mean NDCG@10 of seed_posts, xquad_en, cranfield, zoomcamp_faq,
mtrag_half, blog_summary_18f and scifact, up to 400 questions each: 0.8417; each of them changed by 0.05 or more, in
either direction, 0.842 at most. Before (two thirds cosine, one third BM25 by its best) 0.8307."""
NEIGHBOURS = 10  # passages by which one is known
NEIGHBOURLY = 0.3
"""Share of a passage's score that comes from its neighbours: 0.2 and 0.4 give 0.8583 and 0.8590 where 0.3 gives 0.8587
(mean of eight sets); none 0.856."""

_TOTAL = COSINE + BEST_WORDS + WORDS + KNOWN + KNOWN_IN_POST + IN_A_ROW + POST
_SATURATED = 2.2  # BM25's k1 + 1: the most that a word's weight is multiplied with


@dataclass(frozen=True)
class Terms:
    """The question's words by weight: how telling each is here (inverse document frequency, see Library.weights)."""

    weights: Mapping[str, float]
    own: Mapping[str, float]
    """Those that were typed, without those that earlier turns lend it."""
    pairs: Mapping[tuple[str, str], float]

    @classmethod
    def of(cls, question: str, weights: Mapping[str, float], words: Mapping[str, float]) -> Terms:
        """Take the words of a question: `weights` of all its words, and in `words` those that are searched for, with
        what each counts."""
        stems: dict[str, float] = {}
        own: dict[str, float] = {}
        for word, counts in words.items():
            weight = counts * weights.get(word, 0.0)
            for known in (stems, own) if counts == 1 else (stems,):
                known[stem(word)] = max(known.get(stem(word), 0.0), weight)
        order = stems_in_order(question)
        telling = {stem(word): weight for word, weight in weights.items()}
        pairs = {(a, b): telling.get(a, 0.0) + telling.get(b, 0.0) for a, b in pairwise(order) if a != b}
        return cls(stems, own, pairs)

    def known(self, passages: Sequence[Passage]) -> float:
        """Return the share of the words, by their weight, that these passages have together (0..1)."""
        return _share(self, frozenset().union(*(_known(self, passage) for passage in passages)))

    def in_a_sentence(self, passages: Sequence[Passage]) -> float:
        """Return the largest share of its own words, by their weight, that one sentence of the passages has (0..1)."""
        total = sum(self.own.values()) or 1.0
        sentences = (sentence for passage in passages for sentence in _sentences(passage.text))
        return max(
            (sum(self.own[word] for word in sentence & self.own.keys()) / total for sentence in sentences), default=0.0
        )

    @property
    def total(self) -> float:
        """Return the weight of all words together."""
        return sum(self.weights.values()) or 1.0


@dataclass(frozen=True)
class Candidates:
    """What the legs brought, one row a passage: BM25 (0 where full-text search did not bring it), its vector (zeros
    where there is none), and the mean cosine of its post."""

    passages: Sequence[Passage]
    bm25: Floats
    vectors: Vectors
    cosines: Floats
    posts: Floats


def scores(terms: Terms, found: Candidates) -> Floats:
    """Return the score of each candidate (0..1)."""
    if not len(found.passages):
        return np.zeros(0)
    best_words = found.bm25 / max(found.bm25.max(), 1e-9)
    cosines = np.maximum(found.cosines, 0.0)
    first = (COSINE * cosines + (1 - COSINE) * best_words) / _TOTAL
    looked = np.argsort(-first, kind="stable")[:LOOKED_AT]
    second = np.zeros(len(first))
    has = [_known(terms, found.passages[at]) for at in looked]
    second[looked] = (
        COSINE * cosines[looked]
        + BEST_WORDS * best_words[looked]
        + WORDS * found.bm25[looked] / (_SATURATED * terms.total)
        + KNOWN * np.array([_share(terms, known) for known in has])
        + KNOWN_IN_POST * _known_in_posts(terms, [found.passages[at].post_id for at in looked], has)
        + IN_A_ROW * np.array([_in_a_row(terms, found.passages[at]) for at in looked])
        + POST * np.maximum(found.posts[looked], 0.0)
    ) / _TOTAL
    second[looked] = _with_neighbours(second[looked], found.vectors[looked])
    rest = np.setdiff1d(np.arange(len(first)), looked)
    if len(rest):  # behind those that were looked at, in their own order
        second[rest] = second[looked].min() * first[rest] / max(first[rest].max(), 1e-9) * 0.999
    return np.clip(second, 0.0, 1.0)


def _known(terms: Terms, passage: Passage) -> frozenset[str]:
    """Return the question's words that a passage has."""
    return frozenset(terms.weights) & _stems(passage.embedded_text)[0]


def _share(terms: Terms, known: frozenset[str]) -> float:
    return sum(terms.weights[word] for word in known) / terms.total


def _known_in_posts(terms: Terms, posts: Sequence[str], has: Sequence[frozenset[str]]) -> Floats:
    together: dict[str, frozenset[str]] = {}
    for post, known in zip(posts, has, strict=True):
        together[post] = together.get(post, frozenset()) | known
    return np.array([_share(terms, together[post]) for post in posts])


def _in_a_row(terms: Terms, passage: Passage) -> float:
    pairs = _stems(passage.embedded_text)[1]
    return min(1.0, sum(weight for pair, weight in terms.pairs.items() if pair in pairs) / terms.total)


@lru_cache(maxsize=5_000)
def _stems(text: str) -> tuple[frozenset[str], frozenset[tuple[str, str]]]:
    """Return the stems of a text, and the pairs of them that stand side by side."""
    order = stems_in_order(text)
    return frozenset(order), frozenset(pairwise(order))


@lru_cache(maxsize=5_000)
def _sentences(text: str) -> tuple[frozenset[str], ...]:
    """Return the stems of each sentence of a text."""
    return tuple(frozenset(stems_in_order(text[start:end])) for start, end in sentence_spans(text))


def _with_neighbours(own: Floats, vectors: Vectors) -> Floats:
    """Mix the score of each passage with those of the passages nearest to it."""
    if len(own) < 2:
        return own
    alike = np.maximum(vectors @ vectors.T, 0.0).astype(np.float64)
    np.fill_diagonal(alike, 0.0)
    count = min(NEIGHBOURS, len(own) - 1)
    least = np.partition(alike, -count, axis=1)[:, -count][:, None]
    weights = np.where(alike >= least, alike, 0.0) ** 2
    sums = weights.sum(axis=1)
    theirs = np.where(sums > 0, weights @ own / np.maximum(sums, 1e-9), own)
    mixed: Floats = (1 - NEIGHBOURLY) * own + NEIGHBOURLY * theirs
    return mixed
