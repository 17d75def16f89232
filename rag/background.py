"""Long work that is begun on the page and goes on by itself, whoever watches: one piece at a time, in a thread.

On its own because measuring, tuning and choosing are begun, cancelled and waited for alike."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from threading import Event

from rag.errors import FootnoteError
from rag.jobs import SURPRISE, Stopped


class Background:
    """Does one piece of work at a time. Safe to call from several threads."""

    def __init__(self) -> None:
        """Do nothing yet."""
        self._stop = Event()
        self._beginning = threading.Lock()
        self._thread: threading.Thread | None = None
        self.failure = ""
        """Why the last piece of work has failed, for people; empty when it has not."""

    @property
    def running(self) -> bool:
        """Whether something goes on."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether what goes on was told to end."""
        return self._stop.is_set()

    def begin(self, work: Callable[[Event], object]) -> bool:
        """Begin a piece of work, in a thread of its own, unless one goes on; say whether it was begun.

        It ends soon after its event is set, as if it were done or by raising Stopped.
        """
        with self._beginning:
            if self.running:
                return False
            self._stop, self.failure = Event(), ""
            self._thread = threading.Thread(target=self._do, args=(work, self._stop), daemon=True)
            self._thread.start()
            return True

    def cancel(self) -> None:
        """End what goes on."""
        self._stop.set()

    def close(self) -> None:
        """End what goes on, and wait until it has let go of the library."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()

    def _do(self, work: Callable[[Event], object], stop: Event) -> None:
        try:
            work(stop)
        except Stopped:
            pass
        except FootnoteError as error:
            self.failure = str(error)
        except Exception as error:  # the last stop before the page
            traceback.print_exception(error)
            self.failure = SURPRISE
