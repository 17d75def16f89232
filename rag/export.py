"""Everything a library holds as files that any other program reads: posts as Markdown, conversations as JSON, too.

On its own, because what it writes is a promise: `add` reads the posts back as they were."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rag.engine import Engine
from rag.errors import BadFile, StoreError
from rag.readers.facts import day_from_name
from rag.readers.markdown import AS_IT_IS
from rag.records import Post

_NAME_BYTES = 120
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)", re.I)  # names that Windows keeps for devices
_NO_POSTS = "# Conversations are no posts: this keeps `add` from taking them for some.\n*\n"
_ALL = 1_000_000_000


@dataclass(frozen=True)
class Exported:
    """What was written: how many posts and conversations, and how many files that were there were replaced."""

    posts: int
    conversations: int
    replaced: int


def export(engine: Engine, folder: Path, *, force: bool = False) -> Exported:
    """Write all posts and conversations into a folder, made if need be. Raise BadFile if it is not empty, unless
    `force`: then files of the same names are replaced. Raise StoreError if it cannot be written."""
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not force)):
            raise BadFile(
                f"{folder} is not an empty folder. Choose another, or add --force to replace what has the same name."
            )
        replaced = posts = 0
        for name, text in _posts(engine):
            replaced += _write(folder / "posts" / name, text)
            posts += 1
        talks = engine.talks.listed(limit=_ALL)
        names = _Names()
        for talk in talks:
            name = names.of(f"{_slug(talk.begun[:10])}-{_slug(talk.title)}", str(talk.id))
            for ending in ("json", "md"):
                text = engine.talks.export(talk.id, ending)
                replaced += _write(folder / "conversations" / f"{name}.{ending}", text)
        if talks:
            _write(folder / "conversations" / ".gitignore", _NO_POSTS)
        return Exported(posts, len(talks), replaced)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror or error}). Choose another folder, or free some room."
        ) from error


def as_markdown(post: Post) -> str:
    """Return a post as Markdown behind front matter that keeps all that is known of it."""
    # imported here: only an export needs it
    import yaml

    matter: dict[str, Any] = {"title": post.title, "date": date.fromisoformat(post.date) if post.date else None}
    matter |= {"url": post.url, "author": post.author, "tags": list(post.tags), "pages": list(post.pages)}
    kept = {name: value for name, value in matter.items() if value} | {AS_IT_IS: True}
    head = yaml.safe_dump(kept, allow_unicode=True, sort_keys=False, width=_ALL, default_flow_style=None)
    return f"---\n{head}---\n{post.text}\n"


def _posts(engine: Engine) -> Iterator[tuple[str, str]]:
    """Yield (file name, text) of each post."""
    names = _Names()
    for listed in engine.posts():
        post = engine.post(listed.id)
        name = f"{post.date}-{_slug(post.title)}" if post.date else _slug(post.title)
        if not post.date and day_from_name(f"{name}.md"):
            name = f"undated-{name}"  # or the day would be read from it
        yield f"{names.of(name, listed.id)}.md", as_markdown(post)


class _Names:
    """File names that are told apart also where case makes no difference."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, name: str, id_: str) -> str:
        """Return a name, with an id behind it if it is taken."""
        if name.casefold() in self._taken or _RESERVED.fullmatch(name):
            name = f"{name}-{_slug(id_)}"  # of a backup that came from elsewhere, an id may be anything
        self._taken.add(name.casefold())
        return name


def _slug(title: str) -> str:
    """Return a title as part of a file name: letters, digits and hyphens."""
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", title).casefold())
    return words.encode("utf-8", "ignore")[:_NAME_BYTES].decode("utf-8", "ignore").strip("-") or "untitled"


def _write(file: Path, text: str) -> bool:
    """Write a file in one step; say whether it replaced one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    replaced = os.path.lexists(file)
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    os.replace(part, file)  # of a link the link is replaced, not what it leads to
    return replaced
