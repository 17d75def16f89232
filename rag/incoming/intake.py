"""The intake: files and pages -> posts in the library. Reading, embedding and writing overlap.

Three stages, each a few steps ahead of the next: one reads and splits (and waits for disks and servers), one embeds
what has come so far, sorted by length, one writes it down. A post is told of as added once it is in the library."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from threading import Event
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from rag.errors import FootnoteError, ModelError
from rag.incoming.twins import LOOKED_AT, SAME, is_copy, likeness, sketch
from rag.indexing import Indexing
from rag.jobs import Stopped
from rag.ports import Embedder, Vectors
from rag.records import FileProgress, FileState, Item, Passage, Post, Refused, id_of

ODD_FILE = "something in this file surprised Footnote; its terminal says what. Save it as plain text and try again."
NO_POST = "no post was found in this file. Check that it holds one and add it again."
_AHEAD = 144  # steps that are read while others are embedded: about 50 posts, two groups of passages
_STEPS = 4  # batches of written steps that may wait

Part = TypeVar("Part")


@dataclass(frozen=True)
class Opened:
    """What came of opening a file or a page: its posts, or why there are none to read; `item` is how it is to be noted
    once they are kept. `whole`: posts that it gave before and that are not among them have vanished."""

    item: Item
    outcomes: Iterable[Post | Refused] = ()
    instead: Literal["", "unchanged", "vanished"] = ""
    whole: bool = True


@dataclass(frozen=True)
class Task:
    """A file or a page to bring in: `open` reads it, `ended` is told how it is to be noted."""

    place: str
    open: Callable[[], Opened]
    ended: Callable[[Item], None] | None = None


@dataclass(frozen=True)
class _Ready:
    """A post that is split and waits for its vectors; `sketch` is empty where copies do not matter."""

    post: Post
    place: str
    passages: list[Passage]
    sketch: list[int]
    embedder: Embedder
    """The one that it is split and embedded for: another may be put into use before it is written."""


@dataclass(frozen=True)
class _Ended:
    """All posts of a task have gone before this."""

    task: Task
    item: Item


_Step = FileProgress | _Ready | _Ended
_Written = FileProgress | tuple[_Ready, Vectors] | _Ended


class Intake:
    """Brings posts in. One import at a time: whoever calls sees to that."""

    def __init__(self, indexing: Indexing) -> None:
        """Use the index and the library of `indexing`."""
        self._indexing = indexing
        self._library = indexing.library

    def take(
        self, tasks: Sequence[Task], stop: Event, *, dedupe: bool = True, away: frozenset[str] = frozenset()
    ) -> Iterator[FileProgress]:
        """Bring in files and pages, yielding what becomes of each; one that fails stops none of the others.

        Setting `stop` ends it soon; what is done stays done. Without `dedupe` the same text may come twice. Posts whose
        sources' ids are in `away` are passed over.
        """
        for task in tasks:
            yield FileProgress(task.place, "waiting")
        replaced = changed = False
        failed: set[str] = set()
        with (
            closing(_Ahead(self._read(tasks, stop, dedupe, away), _AHEAD)) as read,
            closing(_Ahead(self._embed(read.batches(), stop, failed), _STEPS)) as embedded,
        ):
            for batch in embedded.batches():
                for outcome in self._write([step for steps in batch for step in steps], dedupe, failed):
                    replaced = replaced or outcome.state == "updated"
                    changed = changed or outcome.state in ("added", "updated")
                    yield outcome
        if replaced:
            self._indexing.scrub()
        if changed:
            self._indexing.measure()

    def rows(self, place: str, state: FileState) -> Iterator[FileProgress]:
        """Yield a row for each post that a file or a page has given."""
        ways = self._library.reached([place]).get(place, [])
        if [way.source for way in ways] != [place]:
            yield FileProgress(place, "opened")
        for way in ways:
            yield FileProgress(way.source, state, way.post_id, way.title)

    def leave(self, sources: Iterable[str]) -> list[str]:
        """Remove the posts to which nothing but these sources leads; return their ids."""
        removed: list[str] = []
        with self._indexing.changing:
            for source in sources:
                post_id, gone = self._library.leave(source)
                removed += [post_id] if post_id else []
                self._indexing.drop(gone)
            self._indexing.scrub()
        return removed

    def _read(self, tasks: Sequence[Task], stop: Event, dedupe: bool, away: frozenset[str]) -> Iterator[_Step]:
        for task in tasks:
            if stop.is_set():
                yield FileProgress(task.place, "stopped")
                continue
            yield FileProgress(task.place, "reading")
            try:
                yield from self._open(task, stop, dedupe, away)
            except Stopped:
                yield FileProgress(task.place, "stopped")
            except ModelError:  # without the embedder none of the others can be done either
                raise
            except FootnoteError as error:
                yield self._failed(task, stop, str(error))
                yield _Ended(task, Item(task.place, "waiting" if stop.is_set() else "failed"))
            except Exception as error:  # one file nobody thought of must not take the others with it
                traceback.print_exception(error)
                yield FileProgress(task.place, "failed", error=f"{task.place}: {ODD_FILE}")
                yield _Ended(task, Item(task.place, "failed"))

    def _failed(self, task: Task, stop: Event, reason: str) -> FileProgress:
        return (
            FileProgress(task.place, "stopped") if stop.is_set() else FileProgress(task.place, "failed", error=reason)
        )

    def _open(self, task: Task, stop: Event, dedupe: bool, away: frozenset[str]) -> Iterator[_Step]:
        """Yield what a task's document holds, each post split; then its end."""
        opened = task.open()
        if opened.instead:
            yield from self.rows(task.place, opened.instead)
            yield _Ended(task, opened.item)
            return
        seen: set[str] = set()
        refused = broken = False
        for outcome in opened.outcomes:
            if stop.is_set():
                yield FileProgress(task.place, "stopped")
                return  # not noted as done: what is missing comes another time
            if outcome.source != task.place and not seen:
                yield FileProgress(task.place, "opened")
            seen.add(outcome.source)
            refused = refused or isinstance(outcome, Refused)
            broken = broken or (isinstance(outcome, Refused) and outcome.source == task.place)
            if id_of(outcome.source) not in away:
                yield from self._prepared(outcome, task, stop, dedupe)
        if not seen:
            yield FileProgress(task.place, "failed", error=f"{task.place}: {NO_POST}")
        elif opened.whole and not refused:
            yield from self._no_longer(task, seen)
        well = seen and not broken and not (refused and len(seen) == 1)
        yield _Ended(task, opened.item if well else Item(task.place, "failed"))

    def _no_longer(self, task: Task, seen: set[str]) -> Iterator[FileProgress]:
        """Yield a row for each post that a file once gave and no longer holds."""
        for way in self._library.reached([task.place]).get(task.place, []):
            if way.source not in seen:
                yield FileProgress(way.source, "vanished", way.post_id, way.title)

    def _prepared(
        self, outcome: Post | Refused, task: Task, stop: Event, dedupe: bool
    ) -> Iterator[FileProgress | _Ready]:
        """Yield a post ready for its vectors, or what has become of it already."""
        if isinstance(outcome, Refused):
            yield FileProgress(outcome.source, "failed", error=outcome.reason)
            return
        try:
            known_by = sketch(outcome.text) if dedupe else []
            known = self._known(outcome, task.place, known_by) if dedupe else None
            if known:
                yield known
                return
            self._indexing.prepare()  # only now: what is unchanged needs no model
            embedder = self._indexing.embedder
            passages = self._indexing.split(outcome, embedder, stop)
            ready = _Ready(outcome, task.place, passages, known_by, embedder)
            yield FileProgress(outcome.source, "indexing", title=outcome.title)
            yield ready
        except ModelError:
            raise
        except FootnoteError as error:
            yield FileProgress(outcome.source, "failed", title=outcome.title, error=str(error))

    def _known(self, post: Post, place: str, known_by: Sequence[int]) -> FileProgress | None:
        """Say which post is here already with these words, under this source or another; None if it must be kept."""
        library = self._library
        with self._indexing.changing:  # what is found is still there when it is linked
            found = library.find(post)
            own = found is not None and library.post(found[0]).source == post.source
            if found and found[1]:
                if not own:
                    library.link(post.source, place, found[0])
                return self._same(post, found[0], own)
            if own:
                return None
            copy = self._copy(post, known_by)
            if copy is None and found:  # it was a copy of another post and has become one of its own
                library.unlink(post.source)
            if copy is None:
                return None
            library.link(post.source, place, copy)
            return self._same(post, copy, own=False)

    def _same(self, post: Post, post_id: str, own: bool) -> FileProgress:
        title = "" if own else self._library.post(post_id).title
        return FileProgress(post.source, "unchanged", post_id, post.title, same_as=title)

    def _copy(self, post: Post, known_by: Sequence[int]) -> str | None:
        for post_id, other in self._library.similar(known_by, LOOKED_AT):
            if likeness(known_by, other) >= SAME and is_copy(post, self._library.post(post_id)):
                return post_id
        return None

    def _embed(self, batches: Iterable[list[_Step]], stop: Event, failed: set[str]) -> Iterator[list[_Written]]:
        """Yield steps as they come, posts with their vectors: all that wait are embedded together."""
        for batch in batches:
            progress = [step for step in batch if isinstance(step, FileProgress)]
            if progress:
                yield list(progress)
            ready = [step for step in batch if isinstance(step, _Ready)]
            try:
                written: list[_Written] = list(self._with_vectors(ready, stop))
            except Stopped:
                failed.update(post.place for post in ready)
                yield [FileProgress(post.post.source, "stopped") for post in ready]
                continue
            except FootnoteError as error:
                failed.update(post.place for post in ready)
                written = [FileProgress(post.post.source, "failed", error=str(error)) for post in ready]
            yield [*written, *(step for step in batch if isinstance(step, _Ended))]

    def _with_vectors(self, ready: Sequence[_Ready], stop: Event) -> Iterator[tuple[_Ready, Vectors]]:
        """Yield posts with their vectors. Raise Stopped between two groups of passages."""

        def report(done: int, total: int) -> None:  # noqa: ARG001 - it has the form of a Progress
            if stop.is_set():
                raise Stopped

        for embedder, posts in groupby(ready, key=lambda post: post.embedder):
            alike = list(posts)
            vectors = self._indexing.vectors([passage for post in alike for passage in post.passages], report, embedder)
            for post in alike:
                yield post, vectors[: len(post.passages)]
                vectors = vectors[len(post.passages) :]

    def _write(self, steps: Sequence[_Written], dedupe: bool, failed: set[str]) -> list[FileProgress]:
        """Put posts into library and index; return what became of each. `failed` gathers the places that lost one.

        Not a generator: the lock must be let go by the thread that took it, and a web server changes threads.
        """
        outcomes: list[FileProgress] = []
        stored: list[Passage] = []
        gone: list[int] = []
        rows: list[Vectors] = []
        with self._indexing.changing:
            for step in steps:
                if isinstance(step, FileProgress):
                    outcomes.append(step)
                elif isinstance(step, tuple):
                    outcome, new, old, vectors = self._put(*step, dedupe=dedupe)
                    outcomes.append(outcome)
                    stored, gone, rows = stored + new, gone + old, rows + [vectors] * bool(new)
                    failed.update({step[0].place} if outcome.state == "failed" else ())
            self._indexing.drop(gone)
            if stored:
                self._indexing.bring(stored, np.concatenate(rows))
            for step in steps:
                if isinstance(step, _Ended) and step.task.ended:
                    step.task.ended(Item(step.item.place, "failed") if step.item.place in failed else step.item)
        return outcomes

    def _put(
        self, ready: _Ready, vectors: Vectors, *, dedupe: bool
    ) -> tuple[FileProgress, list[Passage], list[int], Vectors]:
        """Put a post into the library; return what became of it, its passages, those it replaced, and its vectors."""
        post, library, embedder = ready.post, self._library, self._indexing.embedder
        try:
            known = self._known(post, ready.place, ready.sketch) if dedupe else None  # again: its twin may have come
            if known:
                return known, [], [], vectors
            before = library.find(post) if dedupe else None
            passages = ready.passages
            if ready.embedder.fingerprint != embedder.fingerprint:  # another was put into use meanwhile
                passages = self._indexing.split(post, embedder)
                vectors = self._indexing.vectors(passages)
            stored, gone = library.put(
                post, passages, vectors, embedder.fingerprint, place=ready.place, sketch=ready.sketch
            )
        except FootnoteError as error:
            return FileProgress(post.source, "failed", title=post.title, error=str(error)), [], [], vectors
        except Exception as error:  # one post nobody thought of must not take the others with it
            traceback.print_exception(error)
            return FileProgress(post.source, "failed", error=f"{post.source}: {ODD_FILE}"), [], [], vectors
        state: Any = "updated" if before else "added"
        return FileProgress(post.source, state, stored[0].post_id, post.title, len(stored)), stored, gone, vectors


class _Ahead(Generic[Part]):
    """Runs an iterator in a thread of its own, a few steps ahead of whoever reads it."""

    def __init__(self, parts: Iterator[Part], room: int) -> None:
        self._parts = parts
        self._made: queue.Queue[tuple[bool, Any]] = queue.Queue(room)
        self._closed = Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def batches(self) -> Iterator[list[Part]]:
        """Yield all parts that are there, waiting for the first; raise what the iterator raised."""
        more = True
        while more:
            batch, error = [], None
            entry = self._made.get()
            while True:
                more, value = entry
                if not more:
                    error = value
                    break
                batch.append(value)
                try:
                    entry = self._made.get_nowait()
                except queue.Empty:
                    break
            if batch:
                yield batch
            if error is not None:
                raise error

    def close(self) -> None:
        """End the thread at its next step."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._made.get(timeout=0.05)
            except queue.Empty:
                continue

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for part in self._parts:
                self._made.put((True, part))
                if self._closed.is_set():
                    break
        except BaseException as raised:  # told to the thread that reads
            error = raised
        finally:
            close = getattr(self._parts, "close", None)
            if close:
                close()
            self._made.put((False, error))
