"""Copies of one post, found by their words: a file and its page, two saved pages with different furniture.

A post is known by a sketch: the smallest hashes of its runs of words. Two sketches tell how much two texts share
(bottom-k MinHash, Broder 1997), so that no text is ever held against all others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from rag.records import Post

KEPT = 128  # hashes of a sketch; the share two texts have in common is then known to about 0.04
RUN = 4  # words hashed together
SAME = 0.5
"""Share of runs in common from which two posts are one. On 2026-11-24: 40 Markdown posts and the pages rendered from
them, read back from within menus and lists, share 0.73 and more (one, half lost in the reading, 0.27); of the 1,086
posts of two blogs no two share more than 0.23."""
READ = 1_000_000  # characters of a text that are looked at: a book is known by its first chapters
LOOKED_AT = 3  # posts that share most are looked at

_LINK_TARGET = re.compile(r"\]\([^)\s]{0,2000}[^)]{0,300}\)|<[^<>]{1,300}>|https?://\S+")


def sketch(text: str) -> list[int]:
    """Return what copies of a text are known by: up to KEPT hashes (63 bits), ascending; few for a short text."""
    words = re.findall(r"\w+", _LINK_TARGET.sub(" ", text[:READ]).lower())
    runs = {" ".join(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1))}
    hashes = (hashlib.blake2b(run.encode("utf-8", "replace"), digest_size=8).digest() for run in runs)
    return sorted({int.from_bytes(hash_, "big") >> 1 for hash_ in hashes})[:KEPT]


def is_copy(new: Post, known: Post) -> bool:
    """Say whether a post as like another as SAME is its copy: an announcement made anew each month has another title
    and another day."""
    other_day = bool(new.date and known.date) and new.date != known.date
    return not (other_day and new.title.casefold() != known.title.casefold())


def likeness(first: Sequence[int], second: Sequence[int]) -> float:
    """Estimate from their sketches which share of their runs of words two texts have in common, 0..1."""
    if not first or not second:
        return 0.0
    smallest = sorted({*first, *second})[:KEPT]
    return len(set(first) & set(second) & set(smallest)) / len(smallest)
