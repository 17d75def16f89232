"""Imports that run by themselves: one after another, in a thread of their own, whoever watches.

A closed tab stops nothing; opened again, the page shows what is going on and what has ended."""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

from rag.errors import FootnoteError
from rag.records import ENDED, FileProgress

SURPRISE = (
    "Something went wrong that Footnote did not expect; the terminal it runs in says what. Try again, or run doctor."
)


class Stop(Event):
    """Set to end a job: because the person cancels it, or because the app is `closing` and it is to go on later."""

    closing = False


class Stopped(Exception):
    """Raised where the `stop` that was passed in has been set."""


Work = Callable[[Stop], Iterator[FileProgress]]
"""What a job does."""


class Job:
    """One import: a row for each file or page, how far it is, and a way to cancel it."""

    def __init__(self, title: str, work: Work, wanted: Sequence[Any] = ()) -> None:
        """Name a piece of work; it starts when its turn comes. `wanted` is what a person asked to add."""
        self.title = title
        self.wanted = wanted
        self.rows: dict[str, FileProgress] = {}
        self.failure: FootnoteError | None = None
        """Why the whole has failed, None when it has not."""
        self.stop = Stop()
        self.ended = False
        self._work = work
        self._events: list[FileProgress] = []
        self._news = threading.Condition()
        self._started = 0.0
        self._finished = 0.0

    @property
    def done(self) -> int:
        """How many rows have come to an end."""
        return sum(row.state in ENDED for row in list(self.rows.values()))

    @property
    def failed(self) -> list[str]:
        """The rows that failed."""
        return [row.source for row in list(self.rows.values()) if row.state == "failed"]

    @property
    def vanished(self) -> list[str]:
        """The rows of the posts that their sources no longer have."""
        return [row.source for row in list(self.rows.values()) if row.state == "vanished"]

    @property
    def steps(self) -> int:
        """How many steps there were; a number that grows with every change."""
        return len(self._events)

    @property
    def seconds(self) -> float:
        """How long it has been running, waiting for its turn left out."""
        return (self._finished or time.monotonic()) - self._started if self._started else 0.0

    @property
    def rate(self) -> float:
        """Passages a second so far."""
        return sum(row.passages for row in list(self.rows.values())) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it may still take, at the pace so far; None before that can be told."""
        done = self.done
        return self.seconds / done * (len(self.rows) - done) if done >= 3 and not self.ended else None

    def __iter__(self) -> Iterator[FileProgress]:
        """Yield every step, past ones first, until the job ends. Raise FootnoteError if it failed as a whole."""
        seen = 0
        while steps := self._since(seen):
            yield from steps
            seen += len(steps)
        if self.failure:
            raise self.failure

    def _since(self, seen: int) -> list[FileProgress]:
        """Return the steps after the first `seen`, waiting for one; none when the job has ended."""
        with self._news:
            self._news.wait_for(lambda: len(self._events) > seen or self.ended)
            return self._events[seen:]

    def run(self) -> None:
        """Do the work, in this thread."""
        self._started = time.monotonic()
        try:
            for step in self._work(self.stop):
                self._note(step)
        except FootnoteError as error:
            self.failure = error
        except Exception as error:  # the last stop before the page
            traceback.print_exception(error)
            self.failure = FootnoteError(SURPRISE)
        for row in [row for row in self.rows.values() if row.state not in ENDED]:
            self._note(replace(row, state="failed", error=str(self.failure or SURPRISE)))
        self.end()

    def end(self) -> None:
        """Tell those who watch that nothing more will come."""
        with self._news:
            self._finished = time.monotonic()
            self.ended = True
            self._news.notify_all()

    def _note(self, step: FileProgress) -> None:
        with self._news:
            if step.state == "opened":  # what it holds has rows of its own
                self.rows.pop(step.source, None)
            else:
                if step.state in ENDED:
                    self.rows.pop(step.source, None)  # rows stand in the order in which they ended
                self.rows[step.source] = step
            self._events.append(step)
            self._news.notify_all()


class Jobs:
    """Runs jobs one after another; keeps those that wait, the one that runs and the last that ended."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.known: list[Job] = []
        """Jobs that wait or run, and the last one that ended, oldest first."""

    def start(self, title: str, work: Work, wanted: Sequence[Any] = ()) -> Job:
        """Queue a piece of work; it runs when those before it have ended."""
        job = Job(title, work, wanted)
        with self._lock:
            self.known = [known for known in self.known if not known.ended] + [job]
            self._waiting.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        return job

    @property
    def busy(self) -> bool:
        """Whether a job waits or runs."""
        return any(not job.ended for job in self.known)

    def close(self) -> None:
        """Cancel what waits or runs, and wait until it has let go of the library."""
        self._closed = True
        for job in self.known:
            job.stop.closing = True
            job.stop.set()
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            if self._closed:
                job.end()
            else:
                job.run()
