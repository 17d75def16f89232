"""Uploads: files dropped on the page wait in an inbox of their own until their posts are in the library.

Apart from sources, which lie somewhere and can be read again: an upload is there once, and goes when it was read."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rag.incoming.intake import Intake, Opened, Task
from rag.jobs import Stop
from rag.ports import Library, Readers
from rag.records import Document, FileProgress, Item, Post, Refused

Upload = tuple[Path, str]
"""(path, name): where an upload lies, and what its source is called after."""

_REFUSED = "refused-"  # begins the name of an upload's folder in the inbox


class Uploads:
    """Takes uploads in. Those that lie in the folder `inbox` wait there also while the app is closed."""

    def __init__(self, library: Library, readers: Readers, intake: Intake, inbox: Path | None) -> None:
        """Join the parts; without an inbox, uploads are read where they lie."""
        self._library = library
        self._readers = readers
        self._intake = intake
        self._inbox = inbox
        self._refused: dict[str, Path] = {}

    def keep(self, files: Iterable[Upload]) -> list[Upload]:
        """Move uploads to where a restart finds them, and return them as they lie now."""
        return [(self._into_inbox(path, name), name) for path, name in files]

    def take(self, files: Sequence[Upload], stop: Stop) -> Iterator[FileProgress]:
        """Bring in the posts of uploads. What was read goes, what was refused is set aside, see `again`."""
        claimed: set[str] = set()
        tasks: dict[str, Task] = {}
        for path, name in files:
            shown = f"upload:{name}" if f"upload:{name}" not in tasks else f"upload:{name} ({len(tasks) + 1})"
            tasks[shown] = Task(shown, self._opener(path, name, shown, claimed), self._ended(shown, path))
        yield from self._intake.take(list(tasks.values()), stop)
        if stop.is_set() and not stop.closing:
            self._throw_away(path for path, _ in files)

    def again(self, rows: Iterable[str]) -> dict[str, Upload]:
        """Return the uploads among rows that failed, by their rows, to be taken again."""
        refused = {row: self._refused.pop(row) for row in rows if row in self._refused}
        return {row: (path, path.name) for row, path in refused.items()}

    def forget(self, sources: Iterable[str]) -> None:
        """Throw away what was refused of the uploads from which these posts came."""
        gone = set(sources)
        for shown, path in list(self._refused.items()):
            if any(source == shown or source.startswith(f"{shown}#") for source in gone):
                self._throw_away([self._refused.pop(shown, path)])

    def left(self) -> list[Upload]:
        """Return what a kill left unread, at a start; what was refused before is thrown away."""
        if self._inbox is None:
            return []
        self._throw_away(self._inbox.glob(f"{_REFUSED}*/*"))
        return [(path, path.name) for path in sorted(self._inbox.glob("*/*"))]

    def _into_inbox(self, path: Path, name: str) -> Path:
        """Move an upload to where a restart finds it; one that cannot be moved is read, or missed, where it is."""
        if self._inbox is None:
            return path
        called = Path(name).name
        kept = self._inbox / uuid.uuid4().hex / (path.name if called in ("", "..") else called)
        try:
            kept.parent.mkdir(parents=True)
            shutil.move(path, kept)
        except OSError:
            shutil.rmtree(kept.parent, ignore_errors=True)
            return path
        return kept

    def _opener(self, path: Path, name: str, shown: str, claimed: set[str]) -> Callable[[], Opened]:
        def open_() -> Opened:
            outcomes = self._readers.read(Document(f"upload:{name}", name, path=str(path)))
            told_apart = (self._told_apart(outcome, name, shown, claimed) for outcome in outcomes)
            return Opened(Item(shown, "done"), told_apart, whole=False)  # another file of that name stays

        return open_

    def _ended(self, shown: str, path: Path) -> Callable[[Item], None]:
        def ended(item: Item) -> None:
            if item.state == "failed" and self._inbox is not None and path.parent.parent == self._inbox:
                self._refused[shown] = _set_aside(path)
            else:
                self._throw_away([path])

        return ended

    def _throw_away(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if self._inbox is not None and path.parent.parent == self._inbox:
                shutil.rmtree(path.parent, ignore_errors=True)

    def _told_apart(self, outcome: Post | Refused, name: str, shown: str, claimed: set[str]) -> Post | Refused:
        """Tell two posts in files of one name ("index.md") apart by their titles, then by their text.

        `claimed` holds the sources of the files dropped together with it.
        """
        if isinstance(outcome, Refused):
            return replace(outcome, source=shown) if outcome.source == f"upload:{name}" else outcome
        known = self._library.find(outcome)
        other = known is not None and not known[1] and self._library.post(known[0]).title != outcome.title
        if outcome.source == f"upload:{name}" and (other or outcome.source in claimed):
            outcome = replace(outcome, source=f"upload:{name}#{outcome.title}")
        if outcome.source in claimed:
            outcome = replace(outcome, source=f"{outcome.source}#{outcome.content_hash[:8]}")
        claimed.add(outcome.source)
        return outcome


def _set_aside(path: Path) -> Path:
    """Keep a refused upload where "Try again" finds it and the next start does not."""
    folder = path.parent.with_name(_REFUSED + path.parent.name.removeprefix(_REFUSED))
    return path.parent.rename(folder) / path.name if folder != path.parent else path
