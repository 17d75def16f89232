"""The process behind the reading room: takes documents on its input, answers in lines of JSON, under limits.

Run as `python -m rag.readers.worker MEMORY_BYTES SECONDS`. A task is a line of JSON and as many bytes as it announces.
It ends when its input does, with all that it started: nothing is left of it when Footnote ends, however that may be."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from rag.errors import BadFile
from rag.readers.decode import label
from rag.readers.limits import Limits
from rag.records import Document, Outline, Post, Refused

Read = Callable[[Document, Limits], Iterator[Post | Refused]]
Look = Callable[[Document], Outline]
Task = tuple[dict[str, Any], bytes]

_OPEN_FILES = 128
_SPARE_SECONDS = 10  # of processor time, beyond what Footnote waits for: this limit is for when Footnote is gone


def main() -> None:
    """Read documents with the readers that Footnote has."""
    from rag.readers import read

    serve(read, _outline)


def serve(read: Read, outline: Look) -> None:
    """Take tasks from the standard input until it ends."""
    memory_bytes, seconds = int(sys.argv[1]), float(sys.argv[2])
    tasks, answers = _take_over_streams()
    limit_this_process(memory_bytes)

    def say(**message: Any) -> None:
        line = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        answers.write(line.encode("utf-8", "surrogatepass") + b"\n")
        answers.flush()
        _grant(seconds + _SPARE_SECONDS)

    def do(head: dict[str, Any], data: bytes) -> None:
        _grant(seconds + _SPARE_SECONDS)
        document = Document(data=data, **head["document"])
        if head["task"] == "outline":
            trouble = _try(lambda: _say_outline(say, outline(document)), document, memory_bytes)
        else:
            limits = Limits(**head["limits"])
            trouble = _try(lambda: _say_all(say, read(document, limits)), document, memory_bytes)
        if trouble and head["task"] == "outline":
            say(kind="bad", reason=trouble)
        elif trouble:
            say(kind="refused", source=document.source, reason=trouble)
        say(kind="end", number=head["number"], tired=bool(trouble) or _peak() > memory_bytes / 2)

    while True:
        do(*tasks.get())


def limit_this_process(memory_bytes: int) -> None:
    """Limit memory, file sizes and open files, for this process and all that it starts, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: there, only the time is limited
        return
    for what, limit in (
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_FSIZE", 0),  # nothing that reads has a reason to write
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NOFILE", _OPEN_FILES),
    ):
        with suppress(OSError, ValueError, AttributeError):  # some systems know fewer limits
            _, most = resource.getrlimit(getattr(resource, what))
            limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
            resource.setrlimit(getattr(resource, what), (limit, limit))


def _outline(document: Document) -> Outline:
    from rag.readers.outline import outline

    return outline(document)


def _try(work: Callable[[], None], document: Document, memory_bytes: int) -> str:
    """Do the work; return a sentence about why it failed, "" if it did not."""
    try:
        work()
        return ""
    except BadFile as error:
        return str(error)
    except MemoryError:
        pass  # said below, where the memory is free again
    except Exception:
        traceback.print_exc()
        surprise = "something in this file surprised Footnote; its terminal says what"
        return f"{label(document)}: {surprise}. Save its text as .txt and add that."
    greed = f"reading this file takes more than {memory_bytes / 1e6:g} MB of memory"
    return f"{label(document)}: {greed}. Split it, or save its text as .txt and add that."


def _say_all(say: Callable[..., None], parts: Iterator[Post | Refused]) -> None:
    for part in parts:
        say(kind="post" if isinstance(part, Post) else "refused", **vars(part))


def _say_outline(say: Callable[..., None], found: Outline) -> None:
    fields = asdict(found)
    say(kind="outline", shape=fields.pop("kind"), **fields)


def _take_over_streams() -> tuple[queue.SimpleQueue[Task], BinaryIO]:
    """Return the tasks and where answers go, out of reach of libraries that print or read on their own."""
    source = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    # a thread, so that the end of Footnote is noticed in the middle of a document, too
    threading.Thread(target=_take_tasks, args=(source, tasks), daemon=True).start()
    return tasks, answers


def _take_tasks(source: BinaryIO, tasks: queue.SimpleQueue[Task]) -> None:
    try:
        while line := source.readline():
            head = json.loads(line)
            tasks.put((head, source.read(head["bytes"])))
    finally:
        with suppress(OSError):
            if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
                os.killpg(0, signal.SIGKILL)
        os._exit(0)


def _grant(seconds: float) -> None:
    """Allow this process so much more processor time, from now on."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, most))


def _peak() -> int:
    """Return the most memory that this process has held, in bytes; 0 where that is unknown."""
    with suppress(OSError, ValueError, StopIteration):  # not getrusage: its figure begins with that of the parent
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    return 0


if __name__ == "__main__":
    main()
