"""Bytes -> posts: one file a format, one registry. A reader gets decoded text and knows nothing of disks;
`read_file` and `read_bytes` are the only doors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from rag.errors import BadFile
from rag.readers import html, markdown, text
from rag.readers.decode import decode, tidy
from rag.records import Post

Reader = Callable[[str, str, str], Post]
"""(content, source, name for lack of a title) -> Post."""

READERS: dict[str, Reader] = {
    ".md": markdown.read,
    ".markdown": markdown.read,
    ".html": html.read,
    ".htm": html.read,
    ".xhtml": html.read,
    ".txt": text.read,
    ".text": text.read,
}


def formats() -> list[str]:
    """List the endings of the files that can be read, with their dots."""
    return sorted(READERS)


def find_files(path: Path) -> list[Path]:
    """List the readable files at `path`: itself, or all in the folder and below, hidden ones left out.

    Raise BadFile if nothing is there or the folder holds no post.
    """
    try:
        if not path.exists():
            raise BadFile(f"{path}: there is no such file or folder. Check the spelling and try again.")
        if not path.is_dir():
            return [path]
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: this path cannot be opened ({_reason(error)}). Check it and try again.") from error
    files = sorted(_walk(path))
    if not files:
        raise BadFile(f"{path}: this folder holds no posts. Footnote reads {', '.join(formats())} files.")
    return files


def read_file(path: Path, max_bytes: int) -> Post:
    """Read one file. Raise BadFile if it cannot become a post."""
    try:
        if not path.is_file():
            raise BadFile(f"{path.name}: this is not a regular file. Give a file or a folder of posts.")
        size = path.stat().st_size
        data = path.read_bytes() if size <= max_bytes else b""
    except (OSError, ValueError) as error:
        raise BadFile(
            f"{path.name}: this file cannot be read ({_reason(error)}). Check its permissions and try again."
        ) from error
    if size > max_bytes:
        raise _too_large(path.name, size, max_bytes)
    return read_bytes(data, source=printable(os.path.realpath(path)), name=printable(path.name), max_bytes=max_bytes)


def read_bytes(data: bytes, *, source: str, name: str, max_bytes: int) -> Post:
    """Read the content of a file called `name`. Raise BadFile if it cannot become a post."""
    if len(data) > max_bytes:
        raise _too_large(name, len(data), max_bytes)
    reader = READERS.get(PurePath(name).suffix.lower())
    if reader is None:
        raise BadFile(f"{name}: Footnote cannot read this kind of file. It reads {', '.join(formats())} files.")
    if not data.strip():
        raise BadFile(f"{name}: this file is empty. Write something into it and add it again.")
    try:
        post = reader(decode(data, name), source, title_from_name(name))
    except RecursionError as error:
        raise BadFile(
            f"{name}: this file is nested too deeply to be read. Save it as plain text and try again."
        ) from error
    if not any(character.isalnum() for character in post.text):
        raise BadFile(
            f"{name}: no text was found in this file. Check that it holds a post, or save its text as .txt or .md."
        )
    return replace(
        post,
        title=" ".join(tidy(post.title).split()) or title_from_name(name),
        url=tidy(post.url) if post.url else None,
        tags=tuple(tidy(tag) for tag in post.tags),
    )


def printable(path: str) -> str:
    """Return a path whose bytes in no known character set are written as \\xNN: a database can keep it."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def title_from_name(name: str) -> str:
    """Make a title from a file's name, for posts that have none: "my_first-post.md" -> "my first post"."""
    return " ".join(PurePath(name).stem.replace("_", " ").replace("-", " ").split()) or "Untitled"


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and PurePath(name).suffix.lower() in READERS:
                yield Path(parent, name)


def _too_large(name: str, size: int, max_bytes: int) -> BadFile:
    return BadFile(
        f"{name}: this file has {size / 1e6:.1f} MB, more than the limit of {max_bytes / 1e6:g} MB. "
        "Split it, or raise FOOTNOTE_MAX_FILE_MB."
    )


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
