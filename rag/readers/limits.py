"""What a document may cost, and what a reader is. Apart from the registry, because every reader knows both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rag.errors import BadFile
from rag.records import Document, Post, Refused


@dataclass(frozen=True)
class Limits:
    """How much of one document is read.

    `post_bytes`: a post, as a file and as text. `archive_bytes`: all that an archive expands to, nested ones
    included. `export_bytes`: one file that holds many posts (a feed, a WordPress or Ghost export), which is taken into
    memory whole: 34 MB of a WordPress export took 110 MB. `depth`: archives within archives.
    """

    post_bytes: int = 25_000_000
    archive_bytes: int = 1_000_000_000
    archive_files: int = 20_000
    export_bytes: int = 100_000_000
    depth: int = 3


LISTS = frozenset({".xml", ".rss", ".atom", ".rdf", ".json", ".zip"})
"""Endings of files that hold many posts, and so may be larger than one."""

Reader = Callable[[Document, bytes, Limits], Iterable[Post | Refused]]
"""(document, its content, limits) -> its posts, and a Refused for each part that is none.

A reader raises BadFile where the whole document is no post; what else goes wrong in it is caught by `rag.readers.read`.
It leaves blank what the format does not say: a title, a date and an address are then taken from the file's name and
from where it was fetched."""


class Exhausted(BadFile):
    """An archive that expands to more than is read: what follows in it is not read either."""


def too_large(name: str, size: int, limit: int, advice: str = "Split it, or raise FOOTNOTE_MAX_FILE_MB.") -> BadFile:
    """Make the error for a file over its limit."""
    return BadFile(f"{name}: this file has {size / 1e6:.1f} MB, more than the limit of {limit / 1e6:g} MB. {advice}")
