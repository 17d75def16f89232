"""Two libraries searched as one: a visitor's own posts, and beside them those that everyone may read.

The ids of passages beside are turned into `~id`, a post's get OTHERS before them: nothing that is found can be taken
for something else of the same id. Only what searching and reading need is here; nothing can be changed through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from rag.ports import Ids, Library, Neighbours, Vectors
from rag.records import NO_FILTERS, Filters, Label, Passage, Post, StoredPost

OTHERS = "shared-"
"""What stands before the id of a post that is not the visitor's own."""


class JoinedLibrary:
    """As much of the port Library as is read while a question is answered. `other` is the one beside."""

    def __init__(self, own: Library, other: Library) -> None:
        """Join two libraries."""
        self._own = own
        self._other = other

    def lexical(self, words: Sequence[str], limit: int, filters: Filters = NO_FILTERS) -> list[tuple[int, float]]:
        """Return (passage id, BM25 score) of both, best first."""
        found = self._own.lexical(words, limit, filters)
        found += [(~id_, score) for id_, score in self._other.lexical(words, limit, filters)]
        return sorted(found, key=lambda pair: -pair[1])[:limit]

    def weights(self, words: Sequence[str]) -> dict[str, float]:
        """Return how telling each word is in the larger of the two."""
        return max((self._own, self._other), key=lambda library: library.count()[1]).weights(words)

    def within(self, filters: Filters) -> Ids:
        """Return the ids of the passages of both that the filters let through."""
        return np.concatenate([self._own.within(filters), ~self._other.within(filters)])

    def passages(self, ids: Sequence[int]) -> list[Passage]:
        """Return the passages with these ids, in this order, missing ones left out."""
        found = {passage.id: passage for passage in self._own.passages([id_ for id_ in ids if id_ >= 0])}
        for passage in self._other.passages([~id_ for id_ in ids if id_ < 0]):
            found[~passage.id] = replace(passage, id=~passage.id, post_id=OTHERS + passage.post_id)
        return [found[id_] for id_ in ids if id_ in found]

    def kin(self, post_ids: Iterable[str]) -> dict[str, Ids]:
        """Return the ids of all passages of these posts."""
        own, other = _apart(post_ids)
        return self._own.kin(own) | {OTHERS + id_: ~ids for id_, ids in self._other.kin(other).items()}

    def labels(self, post_ids: Iterable[str]) -> dict[str, Label]:
        """Return what a hit shows of each of these posts."""
        own, other = _apart(post_ids)
        return self._own.labels(own) | {OTHERS + id_: label for id_, label in self._other.labels(other).items()}

    def vectors(self, hashes: Iterable[str], fingerprint: str) -> dict[str, Vectors]:
        """Return the stored vectors of these passage hashes; missing ones are left out."""
        wanted = list(hashes)
        return self._other.vectors(wanted, fingerprint) | self._own.vectors(wanted, fingerprint)

    def mentioning(self, phrases: Sequence[str], filters: Filters = NO_FILTERS) -> list[StoredPost]:
        """List the posts of both that have each of the phrases, newest date first."""
        return _listed(self._own.mentioning(phrases, filters), self._other.mentioning(phrases, filters))

    def posts(self) -> list[StoredPost]:
        """List the posts of both, newest date first."""
        return _listed(self._own.posts(), self._other.posts())

    def post(self, post_id: str) -> Post:
        """Return one post whole. Raise NotFound."""
        own, other = _apart([post_id])
        return self._own.post(own[0]) if own else self._other.post(other[0])

    def count(self) -> tuple[int, int]:
        """Return how many posts and passages both have."""
        (posts, passages), (more, others) = self._own.count(), self._other.count()
        return posts + more, passages + others


class JoinedNeighbours:
    """The vectors of two indexes of one embedder and width."""

    def __init__(self, own: Neighbours, other: Neighbours) -> None:
        """Join two indexes."""
        self._own = own
        self._other = other

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        """Return (passage id, cosine) of the nearest passages of both, best first."""
        own, other = (None, None) if among is None else (among[among >= 0], ~among[among < 0])
        found = self._own.nearest(vector, limit, own)
        found += [(~id_, cosine) for id_, cosine in self._other.nearest(vector, limit, other)]
        return sorted(found, key=lambda pair: -pair[1])[:limit]

    def vectors(self, ids: Ids) -> Vectors:
        """Return the vector of each passage, zeros where there is none."""
        own = ids >= 0
        parts = (own, self._own.vectors(ids[own])), (~own, self._other.vectors(~ids[~own]))
        width = max(part.shape[1] for _, part in parts)
        vectors = np.zeros((len(ids), width), dtype=np.float32)
        for places, part in parts:
            if part.shape[1] == width:
                vectors[places] = part
        return vectors


def _apart(post_ids: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return a visitor's own ids, and those beside as their library knows them."""
    ids = list(post_ids)
    others = [id_.removeprefix(OTHERS) for id_ in ids if id_.startswith(OTHERS)]
    return [id_ for id_ in ids if not id_.startswith(OTHERS)], others


def _listed(own: Sequence[StoredPost], other: Sequence[StoredPost]) -> list[StoredPost]:
    both = [*own, *(replace(post, id=OTHERS + post.id) for post in other)]
    return sorted(both, key=lambda post: post.date or "", reverse=True)
