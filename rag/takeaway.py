"""The commands that take a library along, `backup`, `restore` and `export`: what can be typed and what they do."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rag.amounts import counted, size
from rag.engine import Engine
from rag.export import export


def describe(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add the commands to a command line."""
    saved = command("backup", "Write the whole library into one file.", "backup ~/footnote.backup")
    saved.add_argument("file", metavar="FILE")
    saved.add_argument(
        "--public", action="store_true", help="for others to read: only posts, nothing of yours or of here"
    )
    restored = command("restore", "Take the library back from a backup.", "restore ~/footnote.backup")
    restored.add_argument("file", metavar="FILE")
    restored.add_argument("--force", action="store_true", help="even if it replaces posts and conversations")
    written = command(
        "export", "Write all posts as Markdown, all conversations as JSON and Markdown.", "export ~/posts"
    )
    written.add_argument("folder", metavar="DIR")
    written.add_argument("--force", action="store_true", help="replace what has the same name in DIR")


def _backup(engine: Engine, file: str, public: bool) -> Iterator[dict[str, Any]]:
    saved = engine.backups.save(Path(file), public=public)
    yield {
        "result": asdict(saved),
        "text": f"{counted(saved.posts, 'post')} in {saved.file}, {size(saved.bytes)}, SHA-256 {saved.sha256}\n",
    }


def _restore(engine: Engine, file: str, force: bool) -> Iterator[dict[str, Any]]:
    posts = engine.backups.restore(Path(file), force=force)
    yield {"result": {"posts": posts}, "text": f"{counted(posts, 'post')} restored\n"}


def _export(engine: Engine, folder: str, force: bool) -> Iterator[dict[str, Any]]:
    written = export(engine, Path(folder), force=force)
    if written.replaced:
        yield {"log": f"{written.replaced} files that were there were replaced"}
    told = f"{counted(written.posts, 'post')} and {counted(written.conversations, 'conversation')} in {folder}\n"
    yield {"result": {"folder": folder, **asdict(written)}, "text": told}


COMMANDS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "backup": _backup,
    "restore": _restore,
    "export": _export,
}
