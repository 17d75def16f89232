"""How the items of a source are opened: a file by its hash, a feed's entry by its text, a page by asking its server.

What turns out to be as it was when it was last read is not read again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

from rag.addresses import canonical
from rag.errors import BadFile, Gone
from rag.incoming.fetch import Fetcher, document
from rag.incoming.intake import Opened
from rag.jobs import Stopped
from rag.ports import Library, Readers
from rag.readers import printable
from rag.records import Document, Entry, Item, Post

EDITION = "1"
"""Part of every item's mark: raise it when reading has become so much better that all should be read anew."""
_CHUNK = 1 << 20
_HASHED = 2_000_000_000  # bytes; nothing larger is read

Opener = Callable[[Item | None], Opened]
"""How to open an item, given how it was when it was last read."""


class Opening:
    """Opens files, entries and pages, and tells which are unchanged."""

    def __init__(self, library: Library, readers: Readers, fetcher: Fetcher) -> None:
        """Join the parts."""
        self._library = library
        self._readers = readers
        self._fetcher = fetcher

    def file(self, path: Path, place: str, stop: Event, *, anew: bool = False) -> Opener:
        """Return how to open a file; `anew`: one with several posts is read in any case, to see which it has lost."""

        def open_(known: Item | None) -> Opened:
            item = Item(place, "done", f"{EDITION} {_hash(path, stop)}")
            ways = self._library.reached([place]).get(place, [])
            if known and known.mark == item.mark and ways and not (anew and len(ways) > 1):
                return Opened(item, instead="unchanged")
            return Opened(item, self._readers.read(Document(place, printable(path.name), path=str(path))))

        return open_

    def entry(self, entry: Entry, stop: Event) -> Opener:
        """Return how to open what a feed or a site lists: the text that came with it, or its page."""

        def open_(known: Item | None) -> Opened:
            if known and not self._library.reached([entry.address]):
                known = None  # it gave no post, or that was removed: an unchanged page must be read all the same
            if entry.post is not None:
                return _open_post(entry.post, entry.address, known)
            try:
                return self._open_page(entry.address, known, stop)
            except Gone:
                if not known:
                    raise
                return Opened(known, instead="vanished")

        return open_

    def _open_page(self, place: str, known: Item | None, stop: Event) -> Opened:
        ask = known if known and known.mark.startswith(f"{EDITION} ") else Item(place)
        page = self._fetcher.get(place, etag=ask.etag, modified=ask.modified, stop=stop)
        if known and canonical(page.address) != place and urlsplit(page.address).path in ("", "/"):
            raise Gone(f"{place}: this page now leads to {page.address}. Look in a browser where it has gone.")
        if page.status == 304 and known:
            return Opened(replace(known, state="done"), instead="unchanged")
        item = Item(place, "done", f"{EDITION} {hashlib.sha256(page.data).hexdigest()}", page.etag, page.modified)
        if known and known.mark == item.mark:
            return Opened(item, instead="unchanged")
        return Opened(item, self._readers.read(document(page, place)))


def _open_post(post: Post, place: str, known: Item | None) -> Opened:
    post = replace(post, source=place)
    item = Item(place, "done", f"{EDITION} {hashlib.sha256(repr(post).encode('utf-8', 'replace')).hexdigest()}")
    return Opened(item, [post], "unchanged" if known and known.mark == item.mark else "")


def _hash(path: Path, stop: Event) -> str:
    """Return the SHA-256 of a file, read piece by piece; of one that is too large to be read, its size and its time.

    Raise BadFile, or Stopped soon after `stop` is set.
    """
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            raise BadFile(f"{printable(path.name)}: this is not a regular file. Give a file or a folder of posts.")
        found = path.stat()
        if found.st_size > _HASHED:
            return f"{found.st_size} bytes at {found.st_mtime_ns}"
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                if stop.is_set():
                    raise Stopped
                digest.update(piece)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
        raise BadFile(
            f"{printable(path.name)}: this file cannot be read ({reason}). Check its permissions and try again."
        ) from error
    return digest.hexdigest()
