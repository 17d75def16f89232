"""Long work under a handler: in a thread of its own, so that Stop and a caller who has gone are noticed at once."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar

from rag.errors import FootnoteError
from rag.jobs import SURPRISE

Step = TypeVar("Step")
_POLL_S, _LONGEST_POLL_S = 0.1, 3.0  # longer and longer: whoever waits in a line does not have to be told that often


def in_thread(steps: Iterator[Step]) -> Iterator[list[Step]]:
    """Yield the steps made since the last time, often none; the steps run on when nobody asks any more.

    Raise FootnoteError as the steps do; anything else is printed on the terminal and becomes a FootnoteError.
    """
    made: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        try:
            with closing(steps):  # type: ignore[type-var]
                for step in steps:
                    made.put(("step", step))
            made.put(("end", None))
        except FootnoteError as error:
            made.put(("error", error))
        except Exception as error:  # the last stop before the page
            traceback.print_exception(error)
            made.put(("error", FootnoteError(SURPRISE)))

    threading.Thread(target=work, daemon=True).start()
    poll = _POLL_S
    while True:
        batch, end = _drain(made, poll)
        poll = _POLL_S if batch else min(1.2 * poll, _LONGEST_POLL_S)
        yield [value for kind, value in batch if kind == "step"]
        if end:
            if end[0] == "error":
                raise end[1]
            return


def _drain(made: queue.Queue[Any], poll: float) -> tuple[list[Any], Any]:
    """Return what has come, waiting a moment for the first, and the end if it is among it."""
    batch = []
    try:
        batch.append(made.get(timeout=poll))
        while True:
            batch.append(made.get_nowait())
    except queue.Empty:
        pass
    end = batch.pop() if batch and batch[-1][0] != "step" else None
    return batch, end


def attempt(work: Callable[[], object]) -> None:
    """Do something that repeats, or is one of several: whatever goes wrong is told to the terminal and ends nothing."""
    try:
        work()
    except FootnoteError as error:  # say, a disk that is full
        sys.stderr.write(f"{error}\n")
    except Exception:
        traceback.print_exc()
