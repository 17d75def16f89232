"""What is done while nobody waits: it begins when there has been quiet for a moment, and a question ends it at once."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from rag.errors import FootnoteError

Work = Callable[[Event], None]
"""Something that ends soon after the event it is given is set."""


class Idle:
    """Does one thing at a time in a thread of its own, only the last that was wished for. Safe for several threads."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._news = threading.Condition()
        self._stops: set[Event] = set()
        self._due: tuple[float, Work] | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def later(self, work: Work, wait_s: float = 0.0) -> None:
        """Do something when it has been quiet for so long; what was wished for before is given up."""
        with self._news:
            if self._closed:
                return
            self._end()
            self._due = (time.monotonic() + wait_s, work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._news.notify_all()

    def interrupt(self) -> None:
        """End whatever is being done: somebody waits."""
        with self._news:
            self._due = None
            self._end()

    @contextmanager
    def turn(self) -> Iterator[Event]:
        """Lend an event that is set when somebody waits."""
        stop = Event()
        with self._news:
            self._stops.add(stop)
            if self._closed:
                stop.set()
        try:
            yield stop
        finally:
            with self._news:
                self._stops.discard(stop)

    @property
    def closed(self) -> bool:
        """Whether nothing will be done any more."""
        return self._closed

    def close(self) -> None:
        """End what is being done, and wait for it."""
        with self._news:
            self._closed = True
            self._due = None
            self._end()
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _end(self) -> None:
        for stop in self._stops:
            stop.set()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            with self.turn() as stop:
                try:
                    work(stop)
                except FootnoteError:
                    pass  # whoever asks for it will be told
                except Exception as error:  # the next one is none the worse for it
                    traceback.print_exception(error)

    def _next(self) -> Work | None:
        with self._news:
            while not self._closed:
                if self._due is None:
                    self._news.wait()
                elif (left := self._due[0] - time.monotonic()) > 0:
                    self._news.wait(left)
                else:
                    _, work = self._due
                    self._due = None
                    return work
        return None
