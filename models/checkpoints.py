"""What a training has on the disk: its notes, its checkpoints and which of them are whole, and who may write there.

Apart from training.py because nothing here knows of a model: files, their hashes, and a lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.hub import sha256
from rag.errors import Busy
from rag.records import Pair, Recipe

_WHOLE = "whole.json"
_PATIENCE = 5.0  # seconds; a training whose page was killed ends within a moment


def identity_of(base: Path, pairs: Sequence[Pair], recipe: Recipe) -> str:
    """Return what a training is known by: its model's files, its pairs and its recipe."""
    digest = hashlib.sha256(repr(recipe).encode())
    for pair in pairs:
        digest.update(json.dumps([pair.question, pair.passage, pair.negatives]).encode())
    for path in sorted(path for path in base.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(base).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raise Busy if another training has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(folder / "lock"))
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise Busy("Another tuning is running. Wait for its end, or cancel it.") from error
    try:
        yield
    finally:
        lock.release()


def vouch(checkpoint: Path) -> None:
    """Write down the hash of each file of a checkpoint: one without it, or with others, is not whole."""
    hashes = {path.relative_to(checkpoint).as_posix(): sha256(path) for path in _files(checkpoint)}
    write_notes(checkpoint / _WHOLE, hashes)


def last_whole(checkpoints: Path) -> Path | None:
    """Return the last checkpoint that is whole; those after it are deleted."""
    numbered = [(int(path.name.rpartition("-")[2]), path) for path in checkpoints.glob("checkpoint-*[0-9]")]
    for _, path in sorted(numbered, reverse=True):
        hashes = read_notes(path / _WHOLE)
        files = {file.relative_to(path).as_posix(): file for file in _files(path)}
        if hashes and hashes.keys() == files.keys() and all(sha256(files[name]) == hashes[name] for name in hashes):
            return path
        remove(path)
    return None


def read_notes(file: Path) -> dict[str, Any]:
    """Return what is noted in a file, {} if nothing is or it cannot be read."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def write_notes(file: Path, value: Mapping[str, Any]) -> None:
    """Note something in a file, whole or not at all."""
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps(value), encoding="utf-8")
    new.replace(file)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; one that is not there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(checkpoint: Path) -> list[Path]:
    return [path for path in checkpoint.rglob("*") if path.is_file() and path.name != _WHOLE]
