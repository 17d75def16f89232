"""One post out of one file, for tests of what a reader makes of it."""

from __future__ import annotations

import os
from pathlib import Path

from rag.errors import BadFile
from rag.readers import printable, read
from rag.readers.limits import Limits
from rag.records import Document, Post


def read_file(path: Path, max_bytes: int) -> Post:
    """Read one file of one post. Raise BadFile if it cannot become one."""
    source = printable(os.path.realpath(path))
    return _only(Document(source, path.name, path=str(path)), Limits(post_bytes=max_bytes))


def read_bytes(data: bytes, *, source: str, name: str, max_bytes: int) -> Post:
    """Read the content of a file called `name` with one post. Raise BadFile if it cannot become one."""
    return _only(Document(source, name, data), Limits(post_bytes=max_bytes))


def _only(document: Document, limits: Limits) -> Post:
    [result] = read(document, limits)
    if isinstance(result, Post):
        return result
    raise BadFile(result.reason)
