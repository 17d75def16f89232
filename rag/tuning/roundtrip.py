"""The round trip: whether a question finds its own passage among the first hits of a search.

On its own, because it is the one check that needs a search, and a model where there is one; the others read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.errors import BadQuestion
from rag.ports import Library
from rag.records import Pair, Passage
from rag.tuning.places import found_among

FIRST = 10
ONE_IN = 10
"""Hits among which a question must find its passage: ten, or one passage in ten of a small library.

By hybrid search (2026-11-26) ten keep 97.6 % of the real questions of seed_posts (111 passages), 99.7 of xquad_en and
96.4 of zoomcamp_faq. With another's passage 5 % of those of seed_posts pass (split as Footnote does, 193 passages, nine
hits). Of libraries of 12 or 24 of its passages the first hit alone keeps 91.7 and 91.6 %."""

Finds = Callable[[Sequence[Pair]], Sequence[bool]]
"""Says of each pair, whose post is known, whether its question finds its passage."""


def first_of(library: Library) -> int:
    """Return among how many hits a question must find its passage: fewer where a wrong one is soon among ten."""
    return max(1, min(FIRST, library.count()[1] // ONE_IN))


def by_search(search: Callable[[str], Sequence[Passage]]) -> Finds:
    """Return the round trip through a search that gives the best passages of the library for a question."""

    def finds(pairs: Sequence[Pair]) -> list[bool]:
        return [finds_its_own(pair) for pair in pairs]

    def finds_its_own(pair: Pair) -> bool:
        try:
            return found_among(pair.passage, pair.post_id, search(pair.question))
        except BadQuestion:  # "before:2023/99"
            return False

    return finds
