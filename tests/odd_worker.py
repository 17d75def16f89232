"""A worker for the tests of the reading room: what a document says is what happens to its reader."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rag.errors import BadFile
from rag.readers.limits import Limits
from rag.readers.worker import serve
from rag.records import Document, Entry, Outline, Post, Refused


def read(document: Document, limits: Limits) -> Iterator[Post | Refused]:
    """Do what the document says, line by line; a line that is no command becomes a post."""
    for number, line in enumerate(document.data.decode().splitlines()):
        command, _, rest = line.partition(" ")
        source = document.source if number == 0 else f"{document.source}#{number}"
        if command == "sleep":
            time.sleep(float(rest))
        elif command == "allocate":
            hoard = [bytearray(10_000_000) for _ in range(10_000)]
            assert not hoard
        elif command == "exit":
            os._exit(3)
        elif command == "segfault":
            ctypes.string_at(0)
        elif command == "raise":
            raise KeyError(rest)
        elif command == "write":
            Path(rest).write_text("I was here.")
        elif command == "flood":
            while True:
                os.write(answers_fd(), b"x" * 65536)
        elif command == "say":
            os.write(answers_fd(), rest.encode() + b"\n")
        elif command == "print":
            print(rest, flush=True)
            print(rest, flush=True, file=sys.stderr)
        elif command == "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            yield Post(source, "child", str(child.pid))
        elif command == "environment":
            yield Post(source, "environment", " ".join(sorted(os.environ)))
        elif command == "pid":
            yield Post(source, "pid", str(os.getpid()))
        elif command == "refuse":
            yield Refused(source, f"{document.name}: {rest}")
        elif command == "many":
            yield from (Post(f"{document.source}#{index}", "One of many", "Rye rises.") for index in range(int(rest)))
        elif command == "long":
            yield Post(source, "A long one", "x" * int(rest))
        else:
            yield Post(source, "Bread", line, "2026-01-02", "https://bread.example/", ("rye", "oats"), "Ada", (0, 2))


def outline(document: Document) -> Outline:
    """Name one post that the document holds, or do what it says."""
    if document.data == b"bad":
        raise BadFile(f"{document.name}: this lists nothing. Give another address.")
    posts = list(read(document, Limits()))
    post = next((post for post in posts if isinstance(post, Post)), None)
    entries = (Entry("https://bread.example/rye", "Rye", "2026-01-02", post), Entry("https://bread.example/oats"))
    return Outline(
        kind="feed",
        title="Bread",
        entries=entries,
        sitemaps=("https://bread.example/sitemap.xml",),
        feeds=("https://bread.example/feed",),
        links=("https://bread.example/oats",),
        following="https://bread.example/feed?page=2",
        reason="This is a login page.",
    )


def answers_fd() -> int:
    """Find the pipe that the answers go through: the one that is open for writing, beside the standard ones."""
    for number in range(3, 20):
        try:
            if os.write(number, b"") == 0 and not os.isatty(number):
                return number
        except OSError:
            continue
    raise AssertionError("there is no way out")


if __name__ == "__main__":
    serve(read, outline)
