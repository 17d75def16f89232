"""Visitors of a Space: they ask the owner's posts, and each may add a few of their own, which go when they do.

On its own, because what a visitor may do is decided here alone: a Visit has no way to anything else."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from rag.amounts import counted
from rag.conversations import Reopened
from rag.engine import Engine
from rag.errors import BadAddress, BadFile, Busy, FootnoteError, NotFound
from rag.finding.joined import OTHERS
from rag.incoming.sites import Finding
from rag.indexing import silent
from rag.jobs import Job, Jobs
from rag.ports import Progress, Readers
from rag.records import (
    Answer,
    Document,
    Found,
    KeptTurn,
    Outline,
    Post,
    Refused,
    SearchMode,
    StoredPost,
    Talk,
    Thumb,
    Turn,
)
from rag.search import SHOWN, clean_question
from rag.threads import attempt

NOBODY = ""
"""The visitor whose browser keeps no cookie: many may be this one, so that it can add nothing."""
_NOBODIES = 10  # visitors' worth of questions that all without a cookie may ask together
_LOOK_S = 0.5  # how often whoever waits looks at the line
_SWEEP_S = 60
_KNOWN = 10_000  # visitors without posts, and sessions, that are remembered; the oldest are forgotten first
_WINDOW_S = 600.0
_COUNTING = threading.Lock()
_CLOSE = "Ask again in a few minutes."


@dataclass(frozen=True)
class Allowed:
    """How much a Space bears, for each visitor and for all together. Measured in benchmarks/visitors.py."""

    at_once: int = 2
    """Answers that are written at a time; the writer itself writes one."""
    waiting: int = 40
    """Questions that wait behind these."""
    asking: int = 2
    """Questions of one visitor that are answered or wait."""
    questions: int = 30
    """Questions of one visitor within ten minutes."""
    libraries: int = 20
    """Visitors who have posts of their own at a time."""
    files: int = 20
    posts: int = 50
    characters: int = 1_000_000
    file_bytes: int = 5_000_000
    upload_bytes: int = 25_000_000
    """Of one visitor within ten minutes."""
    all_upload_bytes: int = 500_000_000
    """Of all visitors within ten minutes."""
    gone_s: float = 3600.0
    """After which somebody who was not seen has left."""


class Line:
    """A line to wait in: a few are served at a time, in the order in which they came, and only so many may wait."""

    def __init__(self, at_once: int, waiting: int, each: int) -> None:
        """Serve `at_once`, let `waiting` wait; `each` visitor may have so many places."""
        self._at_once, self._most, self._each = at_once, at_once + waiting, each
        self._places: list[tuple[str, object]] = []
        self._lock = threading.Lock()

    @contextmanager
    def place(self, visitor: str) -> Iterator[Callable[[], int]]:
        """Lend a place, as a function that says how many are still to come before it is served. Raise Busy."""
        mine = (visitor, object())
        with self._lock:
            if len(self._places) >= self._most:
                raise Busy(f"{len(self._places)} visitors are waiting for an answer just now. {_CLOSE}")
            each = self._each if visitor else self._most // 2
            if sum(name == visitor for name, _ in self._places) >= each:
                raise Busy("Your last questions are still being answered. Wait for them, or stop one.")
            self._places.append(mine)
        try:
            yield lambda: max(0, self._places.index(mine) - self._at_once + 1)
        finally:
            with self._lock:
                self._places.remove(mine)


class Visitors:
    """Who is here, and what each may do. Safe to call from several threads."""

    def __init__(
        self,
        owner: Engine,
        readers: Readers,
        make: Callable[[Path, Readers], Engine],
        folder: Path,
        uploads: Path,
        allowed: Allowed | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Receive visitors beside an owner. `make` joins an engine of a visitor's own posts, which lie in the folder
        that it is given, and `readers` read them; all lie below `folder`. What is sent arrives in `uploads`."""
        self.owner = owner
        self.allowed = allowed or Allowed()
        self.notice = ""
        """What visitors are told above everything else, "" for nothing."""
        self.line = Line(self.allowed.at_once, self.allowed.waiting, self.allowed.asking)
        self.clock = clock
        self._readers, self._make, self._folder, self._uploads = readers, make, folder, uploads
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._uploaded: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()
        self._closed = Event()
        shutil.rmtree(folder, ignore_errors=True)  # what a killed process left there

    def watch(self) -> None:
        """Send away, from now on, what visitors who have left had added."""
        threading.Thread(target=self._watch, daemon=True).start()

    def visit(self, visitor: str) -> Visit:
        """Return what a visitor can do, and note that they are here."""
        with self._lock:
            visit = self._visits.get(visitor) or Visit(self, visitor)
            self._visits[visitor] = visit
            self._visits.move_to_end(visitor)
            visit.seen = self.clock()
            if len(self._visits) > _KNOWN:
                del self._visits[next(name for name, one in self._visits.items() if not one.has_posts)]
            return visit

    def belongs(self, session: str, visitor: str) -> bool:
        """Say whether a session of the page is this visitor's; a new one becomes so."""
        with self._lock:
            whose = self._sessions.setdefault(session, visitor)
            self._sessions.move_to_end(session)
            while len(self._sessions) > _KNOWN:
                self._sessions.popitem(last=False)
            return whose == visitor

    def take_upload(self, visitor: str, size: int) -> None:
        """Count bytes that a visitor is about to send. Raise Busy or BadFile if that is too much."""
        self.visit(visitor).take_upload(size)
        with self._lock:
            _count(self._uploaded, self.clock(), size, self.allowed.all_upload_bytes, "all visitors together may send")

    def begin(self, visit: Visit) -> tuple[Engine, Path]:
        """Make an engine for a visitor's own posts, and say where they lie. Raise Busy or FootnoteError."""
        with self._lock:
            if sum(visit.has_posts for visit in self._visits.values()) >= self.allowed.libraries:
                raise Busy(
                    f"{self.allowed.libraries} visitors have posts of their own here just now, which is all that this "
                    "Space bears. Try again in an hour, or ask the posts that are here."
                )
            visit.has_posts = True
        folder = self._folder / secrets.token_hex(8)
        engine: Engine | None = None
        try:
            folder.mkdir(parents=True, mode=0o700)
            engine = self._make(folder, _Few(self._readers, self.allowed))
            engine.prepare()
        except BaseException:
            visit.has_posts = False
            if engine:
                engine.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return engine, folder

    def sweep(self) -> None:
        """Send away what those had added who were not seen for so long."""
        with self._lock:
            before = self.clock() - self.allowed.gone_s
            left = [visit for visit in self._visits.values() if visit.seen <= before]
            for visit in left:
                del self._visits[visit.name]
        for visit in left:
            attempt(visit.close)
        for path in self._uploads.rglob("*"):  # what was sent and never added
            with suppress(OSError):
                if path.is_file() and path.stat().st_mtime < time.time() - self.allowed.gone_s:
                    path.unlink()

    def close(self) -> None:
        """Send away what all visitors had added."""
        self._closed.set()
        for visit in list(self._visits.values()):
            visit.close()
        self._readers.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _watch(self) -> None:
        while not self._closed.wait(_SWEEP_S):
            attempt(self.sweep)  # whatever goes wrong: the next are sent away, too


class Visit:
    """What one visitor can do. It stands where an Engine does on the page, and has no more than is listed here."""

    def __init__(self, visitors: Visitors, name: str) -> None:
        """Begin with nothing of their own."""
        self.name = name
        self.seen = visitors.clock()
        self.has_posts = False
        """Whether they take up one of the places for those who have posts of their own."""
        self.talks = NoTalks()
        self._visitors = visitors
        self._own: Engine | None = None
        self._folder: Path | None = None
        self._lost = ""
        self._answering: set[Event] = set()
        self._files = 0
        self._asked: deque[tuple[float, int]] = deque()
        self._uploaded: deque[tuple[float, int]] = deque()
        self._adding = threading.RLock()

    @property
    def activity(self) -> str:
        """What goes on in the background, for people; empty when nothing does."""
        return self._engine.activity or self._visitors.owner.activity

    @property
    def trouble(self) -> str:
        """What is wrong, for people; empty when nothing is. Where the owner's files lie is none of theirs."""
        unwell = "Something is wrong with this Space; its owner finds out what in its log." * bool(self._owner.trouble)
        return self._lost or self._visitors.notice or unwell

    @property
    def jobs(self) -> Jobs:
        """What of theirs is being brought in, and what was last."""
        return self._own.jobs if self._own else _NO_JOBS

    def ask(self, question: str, stop: Event | None = None, turns: Sequence[Turn] = ()) -> Iterator[Answer]:
        """Yield a growing answer, and before it how many are to come first. Raise BadQuestion or Busy."""
        asked, stop = Answer(clean_question(question)), stop or Event()
        self._count_question()
        with self._visitors.line.place(self.name) as ahead:
            before = 0
            while (left := ahead()) and not stop.is_set():
                if left != before:
                    before = left
                    yield replace(asked, status=f"{counted(left, 'question')} before yours…")
                stop.wait(_LOOK_S)
            if stop.is_set():
                yield replace(asked, note="Stopped while it was waiting.", done=True)
                return
            with self._in_use(stop) as engine:
                yield from engine.ask(question, stop, turns)

    def search(self, question: str, mode: SearchMode = "hybrid", limit: int = SHOWN) -> Found:
        """Return the passages that fit a question best. Raise BadQuestion or Busy."""
        self._count_question()
        return self._engine.search(question, mode, limit)

    def prepare(self, report: Progress = silent) -> None:
        """Do nothing: the models are loaded behind the page, whoever comes."""

    def expect(self, questions: Sequence[str], turns: Sequence[Turn] = (), wait_s: float = 0.0) -> None:
        """Read nothing ahead: what is typed here and never asked is nobody's business, and others wait."""

    def add_uploads(self, files: Iterable[tuple[Path, str]]) -> Job:
        """Add files of their own. Raise BadFile or Busy, and nothing is added."""
        given = list(files)
        with self._adding:
            try:
                self._may_add([path for path, _ in given])
                if self._own is None:
                    self._own, self._folder = self._visitors.begin(self)
                self._files += len(given)
                self._lost = ""
                return self._own.add_uploads([(path, Path(name).name) for path, name in given])
            except FootnoteError:
                for path, _ in given:
                    path.unlink(missing_ok=True)
                raise

    def look(self, address: str) -> tuple[Finding, ...]:  # noqa: ARG002
        """Raise BadAddress: nothing is fetched for visitors."""
        raise BadAddress("Visitors cannot add addresses. Send a file.")

    def add(self, chosen: Iterable[Any]) -> Job:  # noqa: ARG002
        """Raise BadAddress: nothing is fetched for visitors, and no place on this machine is theirs."""
        raise BadAddress("Visitors cannot add addresses. Send a file.")

    def retry(self) -> Job | None:
        """Try again what failed of theirs."""
        return self._own.retry() if self._own else None

    def posts(self) -> list[StoredPost]:
        """List all posts that they can read, newest first."""
        return self._engine.posts()

    def post(self, post_id: str) -> Post:
        """Return one post whole. Raise NotFound."""
        if self._own is None:
            return self._owner.post(post_id.removeprefix(OTHERS))
        with suppress(NotFound):
            return self._own.post(post_id)
        return self._owner.post(post_id)  # a page that was there before they added anything names it so

    def count(self) -> tuple[int, int]:
        """Return how many posts and passages they can read."""
        return self._engine.count()

    def remove(self, post_ids: Sequence[str]) -> list[str]:
        """Remove posts of their own. Raise NotFound."""
        if self._own is None or any(post_id.startswith(OTHERS) for post_id in post_ids):
            raise NotFound("This post belongs to the owner of this Space. Only what you added yourself can be removed.")
        return self._own.remove(post_ids)

    def take_upload(self, size: int) -> None:
        """Count bytes that are about to come. Raise Busy or BadFile if that is too much."""
        if not self.name:
            raise BadFile(_NO_COOKIE)
        most = self._visitors.allowed.upload_bytes
        if size > most:
            raise BadFile(
                f"This is more than {most // 1_000_000} MB, the limit for visitors. Send fewer or smaller files."
            )
        with self._adding:
            _count(self._uploaded, self._visitors.clock(), size, most)

    def close(self) -> None:
        """Let what they added go, also from what the models have read."""
        with self._adding:
            own, self._own, folder = self._own, None, self._folder
            self.has_posts, self._files = False, 0
        if own is not None:
            own.close()
            self._owner.forget_read()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _count_question(self) -> None:
        most = self._visitors.allowed.questions * (1 if self.name else _NOBODIES)
        _count(self._asked, self._visitors.clock(), 1, most)

    @property
    def _owner(self) -> Engine:
        return self._visitors.owner

    @property
    def _engine(self) -> Engine:
        """Their own engine, as long as it fits the owner's, else the owner's."""
        if self._own and self._own.outdated:
            if self._answering:  # what is being answered ends first
                return self._owner
            self.close()
            self._lost = "The owner changed the search model, and what you had added is gone. Add it again."
        return self._own or self._owner

    @contextmanager
    def _in_use(self, stop: Event) -> Iterator[Engine]:
        """Lend the engine that answers; it is not closed meanwhile because the owner's search model is another."""
        engine = self._engine
        self._answering.add(stop)
        try:
            yield engine
        finally:
            self._answering.discard(stop)

    def _may_add(self, paths: Sequence[Path]) -> None:
        allowed = self._visitors.allowed
        if not self.name:
            raise BadFile(_NO_COOKIE)
        if self._files + len(paths) > allowed.files:
            raise BadFile(f"A visitor may add {allowed.files} files, and you have added {self._files}. Choose fewer.")
        if not all(path.is_file() for path in paths):
            raise BadFile("What you sent is not here any more. Send it again.")
        if any(path.stat().st_size > allowed.file_bytes for path in paths):
            size = allowed.file_bytes // 1_000_000
            raise BadFile(f"A file is larger than {size} MB, the limit for visitors. Leave it out and add the others.")


class NoTalks:
    """The conversations of a Space: none is kept."""

    def listed(self, search: str = "", limit: int = 0) -> list[Talk]:  # noqa: ARG002
        """List none."""
        return []

    def keep(self, talk_id: int, title: str, turn: KeptTurn, replaces: int = 0) -> tuple[int, int]:  # noqa: ARG002
        """Keep nothing."""
        return 0, 0

    def open(self, talk_id: int) -> list[Reopened]:  # noqa: ARG002
        """Raise NotFound."""
        raise NotFound(_NOT_KEPT)

    def judge(self, turn_id: int, thumb: Thumb) -> None:  # noqa: ARG002
        """Raise NotFound."""
        raise NotFound(_NOT_KEPT)

    def rename(self, talk_id: int, title: str) -> None:  # noqa: ARG002
        """Raise NotFound."""
        raise NotFound(_NOT_KEPT)

    def delete(self, talk_id: int) -> None:  # noqa: ARG002
        """Raise NotFound."""
        raise NotFound(_NOT_KEPT)


class _Few:
    """Readers that one visitor borrows: so many posts and so much text, and never closed by who borrowed them."""

    def __init__(self, readers: Readers, allowed: Allowed) -> None:
        self._readers = readers
        self._posts, self._characters = allowed.posts, allowed.characters
        self._allowed = allowed

    def read(self, document: Document) -> Iterator[Post | Refused]:
        """Yield each post of a document, as long as there is room for one."""
        for outcome in self._readers.read(document):
            if isinstance(outcome, Post):
                if not self._posts or len(outcome.text) > self._characters:
                    allowed = f"{self._allowed.posts} posts and {self._allowed.characters:,} characters"
                    yield Refused(outcome.source, f"{outcome.title}: a visitor may add {allowed}. Leave it out.")
                    return
                self._posts -= 1
                self._characters -= len(outcome.text)
            yield outcome

    def outline(self, document: Document) -> Outline:
        """Say what a fetched document lists: visitors fetch none."""
        raise BadFile(f"{document.name}: visitors cannot add addresses. Add a file.")

    def close(self) -> None:
        """Leave the readers open for others."""


_NO_JOBS = Jobs()
_NOT_KEPT = "Conversations are not kept here. Copy what you need."
_NO_COOKIE = (
    "Your browser keeps no cookie of this Space, so that nothing can be kept apart for you. Open it in a window of its "
    "own, or allow the cookie, and add the files again."
)


def _count(
    spent: deque[tuple[float, int]], now: float, more: int, most: int, what: str = "one visitor may ask for"
) -> None:
    """Count something against a limit for ten minutes. Raise Busy, and count nothing, if it would be passed."""
    with _COUNTING:
        while spent and spent[0][0] <= now - _WINDOW_S:
            spent.popleft()
        if sum(count for _, count in spent) + more > most:
            raise Busy(f"That is more than {what} within ten minutes. {_CLOSE}")
        spent.append((now, more))
