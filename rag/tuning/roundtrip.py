"""The round trip: whether a question finds its own passage among the first hits of a search.

On its own, because it is the one check that needs a search, and a model where there is one; the others read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.ports import Embedder, Library, VectorIndex
from rag.records import Pair, Passage
from rag.tuning.places import found_among
from rag.words import words_of

FIRST = 10
ONE_IN = 20
"""Hits among which a question must find its passage: ten, or one passage in twenty of a small library.

By full text alone (2026-11-25) ten keep 97.9 to 99.1 % of the real questions of clapnq_half, xquad_en and zoomcamp_faq,
87 % of seed_posts (two posts, 116 passages) and 82 % of scifact's claims; of the same questions, each with another's
passage, 0 to 3.6 %, but 8.0 % of seed_posts. There five keep 82 and 3.4 %. As Footnote splits them (193 passages, nine
hits) full text keeps 88 and 6 % of the seed's, MiniLM 82 and 7 %, either of them 91 and 10 %, and both together, as the
page searches, 90 and 5 %: where there is an index, `by_search` through that is the one to take."""
_AT_ONCE = 256  # questions that are embedded together

Finds = Callable[[Sequence[Pair]], Sequence[bool]]
"""Says of each pair, whose post is known, whether its question finds its passage."""


def first_of(library: Library) -> int:
    """Return among how many hits a question must find its passage: fewer where a wrong one is soon among ten."""
    return max(1, min(FIRST, library.count()[1] // ONE_IN))


def by_words(library: Library) -> Finds:
    """Return the round trip through full text: it needs no model."""
    first = first_of(library)

    def search(question: str) -> list[Passage]:
        return library.passages([id_ for id_, _ in library.lexical(words_of(question), first)])

    return by_search(search)


def by_meaning(library: Library, index: VectorIndex, embedder: Embedder) -> Finds:
    """Return the round trip through an embedder and the index of its vectors. Raise ModelError if it cannot be used."""
    first = first_of(library)

    def finds(pairs: Sequence[Pair]) -> list[bool]:
        found = []
        for at in range(0, len(pairs), _AT_ONCE):
            some = pairs[at : at + _AT_ONCE]
            for pair, vector in zip(some, embedder.encode_queries([p.question for p in some]), strict=True):
                hits = library.passages([id_ for id_, _ in index.nearest(vector, first)])
                found.append(found_among(pair.passage, pair.post_id, hits))
        return found

    return finds


def by_search(search: Callable[[str], Sequence[Passage]]) -> Finds:
    """Return the round trip through a search that gives the best passages of the library for a question."""

    def finds(pairs: Sequence[Pair]) -> list[bool]:
        return [found_among(pair.passage, pair.post_id, search(pair.question)) for pair in pairs]

    return finds


def either(*trips: Finds) -> Finds:
    """Return the round trip that is made if any of these is; each is tried with what those before it did not find."""

    def finds(pairs: Sequence[Pair]) -> list[bool]:
        found = [False] * len(pairs)
        for trip in trips:
            left = [at for at, done in enumerate(found) if not done]
            for at, done in zip(left, trip([pairs[at] for at in left]), strict=True):
                found[at] = done
        return found

    return finds
