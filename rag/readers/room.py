"""The reading room: documents are read in a process of their own, which may be slow, greedy or die without harm.

What parses hostile bytes is not trusted either. It runs without the environment's secrets, under limits that it cannot
raise (see worker.py), and answers in lines of JSON, from which only known fields of the right type are taken: what a
captured reader can do to Footnote is to make up posts of the documents that it is given."""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any, cast

from rag.errors import BadFile
from rag.readers.decode import UNSEEN, label
from rag.readers.limits import Limits
from rag.records import Document, Entry, Outline, Post, Refused
from rag.settings import CHECKOUT

SECONDS = 20.0
MEMORY_BYTES = 1_000_000_000

_SPARE = 2  # idle workers kept: one reads what is added while another looks at addresses
_MOST_PARTS = 200_000  # of one document: a captured worker must not go on for ever
_LINE_FACTOR = 4  # a post's text as JSON: quotes, backslashes and line ends double it, the rest is small
_ERROR_LINES = 60  # of one worker, passed on to the terminal: a traceback or two
_KEPT = (
    *("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("HOME", "USERPROFILE", "APPDATA"),  # pypandoc looks for pandoc with it, and for a place to write without it
)
_CLOSING = "Footnote is closing. Add it again after the next start."
_SAFE = "Save its text as .txt or .md and add that, or leave it out."


class ReadingRoom:
    """Reads documents in worker processes; implements the port Readers. Safe to use from several threads.

    `seconds`: how long each post may take, with the parts before it that are refused. `memory_bytes`: how much one
    worker may take, enforced where the system can. `worker`: the module that is run.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        worker: str = "rag.readers.worker",
    ) -> None:
        self.limits = limits or Limits()
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self._module = worker
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._closed = False
        self._lock = threading.Lock()  # guards the two lists; reading itself needs none, each reader has its own worker

    def read(self, document: Document) -> Iterator[Post | Refused]:
        """Yield each post of a document, and a Refused for each part that is none. Never raises for bad input."""
        try:
            for message in self._ask("read", document):
                part = _part(message, document.source)
                if isinstance(part, Post) and len(part.text.encode()) > self.limits.post_bytes:
                    reason = f"has more text than the limit of {self.limits.post_bytes / 1e6:g} MB a post"
                    yield Refused(part.source, f"{label(document)}: a part of this file {reason}. Split it.")
                else:
                    yield part
        except _Trouble as trouble:
            yield Refused(document.source, f"{label(document)}: {trouble}")

    def outline(self, document: Document) -> Outline:
        """Say what a fetched document lists or leads to. Raise BadFile if it cannot be read."""
        try:
            outlines = [_outline(message) for message in self._ask("outline", document)]
            if not outlines:
                raise _Trouble(f"its reader gave no answer. {_SAFE}")
        except _Trouble as trouble:
            raise BadFile(f"{label(document)}: {trouble}") from trouble
        return outlines[0]

    def close(self) -> None:
        """End every worker, also one that is reading; what is asked for later is refused."""
        with self._lock:
            self._closed = True
            workers, self._idle, self._busy = self._idle + self._busy, [], []
        for worker in workers:
            worker.end()

    def _ask(self, task: str, document: Document) -> Iterator[Mapping[str, Any]]:
        """Yield a worker's messages about a document. Raise _Trouble if it fails; the worker is gone then."""
        worker = self._take()
        sound = False
        try:
            number = worker.send(task, document, self.limits)
            parts, left = 0, self.seconds
            while True:
                began = time.monotonic()
                message = worker.receive(left, self.seconds)
                if message.get("kind") == "end":
                    break
                # only a post earns the time for the next: a hundred thousand parts that are none must come to an end
                left = self.seconds if message.get("kind") == "post" else left - (time.monotonic() - began)
                parts += 1
                if parts > _MOST_PARTS:
                    raise _Trouble(f"this file has more than {_MOST_PARTS:,} parts. Split it and add what you need.")
                yield message
            if message.get("number") != number:  # else what is still to come would be taken for the next document's
                raise _Trouble(f"its reader gave an answer that makes no sense. {_SAFE}")
            sound = message.get("tired") is False
        finally:  # also when nobody wants the rest: a worker in mid-document cannot be used for another
            self._give_back(worker, sound)

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise _Trouble(_CLOSING)
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    break
                worker.end()  # it was ended from outside
            else:
                try:
                    line_bytes = _LINE_FACTOR * self.limits.post_bytes + 1_000_000
                    worker = _Worker(self._module, self.memory_bytes, self.seconds, line_bytes)
                except OSError as error:
                    reason = f"the process that reads files cannot be started ({error.strerror or 'unknown reason'})"
                    raise _Trouble(f"{reason}. Close other programs and try again.") from error
            self._busy.append(worker)
        return worker

    def _give_back(self, worker: _Worker, sound: bool) -> None:
        with self._lock:
            if worker in self._busy:
                self._busy.remove(worker)
            keep = sound and not self._closed and len(self._idle) < _SPARE
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.end()


class _Trouble(Exception):
    """A document whose worker failed; the message goes on after the document's name."""


class _Worker:
    """One worker process, and the threads that carry its words."""

    def __init__(self, module: str, memory_bytes: int, seconds: float, line_bytes: int) -> None:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        # each memory arena of the C library takes 64 MB of address space, which is what the limit counts
        environment |= {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "1"}
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", module, str(memory_bytes), str(seconds)],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that what it starts can be ended with it, and Ctrl-C is not its business
        )
        self._line_bytes = line_bytes
        self._lines: queue.Queue[bytes] = queue.Queue(maxsize=2)
        self._ended = threading.Event()
        _start(self._carry)
        _start(_pass_on, cast(IO[bytes], self.process.stderr))

    def send(self, task: str, document: Document, limits: Limits) -> int:
        """Hand a document over, in a thread: a worker that does not listen must not hold the caller up.

        Return the number that the end of the answer must bear.
        """
        number = secrets.randbits(48)
        fields = {name: getattr(document, name) for name in ("source", "name", "path", "address")}
        head = {"task": task, "document": fields, "limits": asdict(limits), "bytes": len(document.data)}
        _start(self._write, json.dumps(head | {"number": number}).encode() + b"\n", document.data)
        return number

    def receive(self, left: float, seconds: float) -> Mapping[str, Any]:
        """Return the next message.

        Raise _Trouble when the seconds that are `left` of so many are over, or if the worker ended or makes no sense.
        """
        try:
            line = self._lines.get(timeout=max(left, 0.0))
        except queue.Empty:
            raise _Trouble(f"reading this file was stopped after {seconds:g} seconds. {_SAFE}") from None
        if self._ended.is_set():
            raise _Trouble(_CLOSING)
        if not line:
            raise _Trouble(f"reading this file ended its reader{self._last_words()}. {_SAFE}")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise _Trouble(f"its reader gave an answer that makes no sense. {_SAFE}")
        return message

    def end(self) -> None:
        """End the worker and all that it started; who still waits for it is told so."""
        self._ended.set()
        with suppress(queue.Full):
            self._lines.put_nowait(b"")
        with suppress(OSError):  # the group may be gone
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        with suppress(OSError):  # what it did not read cannot be written any more
            cast(IO[bytes], self.process.stdin).close()

    def _last_words(self) -> str:
        """Say how the worker ended, for whoever looks into it."""
        with suppress(subprocess.TimeoutExpired, ValueError):
            code = self.process.wait(timeout=2)
            return f" ({signal.Signals(-code).name})" if code < 0 else f" (exit code {code})"
        return ""

    def _carry(self) -> None:
        """Put the worker's lines into the queue, b"" at the end; one that is too long is the last."""
        with cast(IO[bytes], self.process.stdout) as stream:
            line = b"\n"
            while line.endswith(b"\n") and not self._ended.is_set():
                line = b""
                with suppress(OSError, ValueError):
                    line = stream.readline(self._line_bytes)
                if line and not line.endswith(b"\n"):
                    line = b"?"
                while not self._ended.is_set():
                    with suppress(queue.Full):
                        self._lines.put(line, timeout=0.5)
                        break

    def _write(self, head: bytes, data: bytes) -> None:
        stream = cast(IO[bytes], self.process.stdin)
        with suppress(OSError, ValueError):  # it ended meanwhile: `receive` will say so
            stream.write(head)
            stream.write(data)
            stream.flush()


def _start(work: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, name="reading room", daemon=True).start()


def _pass_on(stream: IO[bytes]) -> None:
    """Pass the worker's errors on to the terminal, without the characters that could command it."""
    with stream:
        for number, raw in enumerate(iter(lambda: stream.readline(2000), b"")):
            text = raw.decode("utf-8", "replace").rstrip()
            if number < _ERROR_LINES:
                with suppress(OSError, ValueError, AttributeError):  # no terminal, or one that is closed
                    sys.stderr.write("".join(c if c.isprintable() else "?" for c in text) + "\n")


def _part(message: Mapping[str, Any], source: str) -> Post | Refused:
    """Rebuild what a worker found in the document `source`, whose parts are named after it."""
    kind = message.get("kind")
    if kind == "refused":
        part: Post | Refused = Refused(_text(message, "source"), _text(message, "reason"))
    elif kind == "post":
        part = _post(message)
    else:
        raise _Trouble(f"its reader gave an answer that makes no sense. {_SAFE}")
    if part.source != source and not part.source.startswith(f"{source}#"):
        raise _Trouble(f"its reader gave a post of another file. {_SAFE}")
    return part


def _post(message: Any) -> Post:
    if not isinstance(message, dict):
        raise _Trouble(f"its reader gave a post that is none. {_SAFE}")
    tags, pages = message.get("tags"), message.get("pages")
    if not isinstance(tags, list) or not isinstance(pages, list) or not all(type(page) is int for page in pages):
        raise _Trouble(f"its reader gave a post that is none. {_SAFE}")
    text = _text(message, "text")
    return Post(
        source=_text(message, "source"),
        title=_text(message, "title"),
        text=text,
        date=_optional(message, "date"),
        url=_optional(message, "url"),
        tags=tuple(_string(tag) for tag in tags),
        author=_optional(message, "author"),
        pages=tuple(sorted(page for page in pages if 0 <= page <= len(text))),
    )


def _outline(message: Mapping[str, Any]) -> Outline:
    if message.get("kind") == "bad":
        raise BadFile(_text(message, "reason"))
    lists = [message.get(name) for name in ("entries", "sitemaps", "feeds", "links")]
    shape = message.get("shape")
    if message.get("kind") != "outline" or not all(isinstance(found, list) for found in lists):
        raise _Trouble(f"its reader gave an answer that makes no sense. {_SAFE}")
    if shape not in ("feed", "sitemap", "page", "file"):
        raise _Trouble(f"its reader gave an answer that makes no sense. {_SAFE}")
    entries, sitemaps, feeds, links = cast("list[list[Any]]", lists)
    return Outline(
        kind=shape,
        title=_text(message, "title"),
        entries=tuple(_entry(entry) for entry in entries),
        sitemaps=tuple(_string(address) for address in sitemaps),
        feeds=tuple(_string(address) for address in feeds),
        links=tuple(_string(address) for address in links),
        following=_text(message, "following"),
        reason=_text(message, "reason"),
    )


def _entry(message: Any) -> Entry:
    if not isinstance(message, dict):
        raise _Trouble(f"its reader gave an entry that is none. {_SAFE}")
    post = message.get("post")
    return Entry(
        address=_text(message, "address"),
        title=_text(message, "title"),
        date=_optional(message, "date"),
        post=None if post is None else _post(post),
    )


def _text(message: Mapping[str, Any], name: str) -> str:
    return _string(message.get(name))


def _optional(message: Mapping[str, Any], name: str) -> str | None:
    return None if message.get(name) is None else _text(message, name)


def _string(value: Any) -> str:
    """Return a string that can be stored and shown: halves of characters and what commands a terminal become "?"."""
    if not isinstance(value, str):
        raise _Trouble(f"its reader gave an answer that makes no sense. {_SAFE}")
    return UNSEEN.sub("?", value)
