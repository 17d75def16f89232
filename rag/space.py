"""A Hugging Face Space: what of the checkout goes there, and nothing else ever, and where its posts outlast a restart.

What is sent is listed by what it may be, not by what it must not be: data, keys and notes are in no list."""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.amounts import counted, size
from rag.backups import Backups
from rag.errors import BadFile, BadSetting, FootnoteError
from rag.records import SNAPSHOT
from rag.settings import Settings

_FILES = ("README.md", "LICENSE", "CHANGELOG.md", "app.py", "pyproject.toml", "requirements.txt")
_FOLDERS = ("models", "rag", "samples", "store")
_KINDS = (".css", ".js", ".lua", ".md", ".py", ".svg")
_DATASETS = "datasets/"  # begins the name of a dataset repository
_MODELS = ("embedder", "reranker", "nli", "writer")
Send = Callable[[Path, str, Mapping[str, str], Mapping[str, str]], str]
"""Makes a Space what is in a folder, with variables and secrets; returns its address."""


@dataclass(frozen=True)
class Plan:
    """What would be sent: files by the names that they get, their sizes, the Space's variables and secrets."""

    files: tuple[tuple[str, Path], ...]
    variables: Mapping[str, str]
    secrets: Mapping[str, str]

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Return each file's name and bytes."""
        return [(name, path.stat().st_size) for name, path in self.files]


def describe(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add the command to a command line."""
    space = command("space", "Create or update a Space that answers from your posts.", "space me/my-posts --dry-run")
    space.add_argument("repo", metavar="REPO")
    space.add_argument(
        "--snapshot",
        metavar="FILE",
        help="the posts to answer from: what `backup FILE --public` wrote; without it none go, and what the Space has "
        "saved stays with it",
    )
    space.add_argument("--dry-run", action="store_true", help="only list every file and its size")
    space.add_argument("--yes", action="store_true", help="do not ask before anything is sent")


def plan(checkout: Path, settings: Settings, snapshot: Path | None, is_public: Callable[[Path], bool]) -> Plan:
    """Say what would be sent. Raise BadFile if the snapshot is none, or holds what is not for visitors."""
    files = [(name, checkout / name) for name in _FILES if _may_go(checkout, checkout / name)]
    for folder in _FOLDERS:
        found = (path for path in sorted((checkout / folder).rglob("*")) if path.suffix in _KINDS)
        files += [(path.relative_to(checkout).as_posix(), path) for path in found if _may_go(checkout, path)]
    variables = {f"FOOTNOTE_{name.upper()}": value for name in _MODELS if (value := _on_the_hub(settings, name))}
    secrets = {}
    if settings.writer.startswith("https://"):
        variables |= {"FOOTNOTE_WRITER": settings.writer, "FOOTNOTE_WRITER_MODEL": settings.writer_model}
        secrets = {"FOOTNOTE_WRITER_KEY": settings.writer_key} if settings.writer_key else {}
    if snapshot is not None:
        if not is_public(snapshot):
            raise BadFile(
                f"{snapshot} holds conversations and sources, which are not for visitors. Make another with "
                "`backup FILE --public`, and send that."
            )
        files.append((SNAPSHOT, snapshot))
        variables["FOOTNOTE_SNAPSHOT"] = SNAPSHOT
    return Plan(tuple(files), {name: value for name, value in variables.items() if value}, secrets)


def run(planned: Plan, repo: str, send: Send, *, dry: bool) -> Iterator[dict[str, Any]]:
    """Send what was planned, or only list it, yielding events as the other commands do. Raise ModelError."""
    rows, total = planned.sizes, sum(size for _, size in planned.sizes)
    lines = [f"{size:>11,}  {name}" for name, size in rows]
    lines += [f"   variable  {name}={value}" for name, value in planned.variables.items()]
    lines += [f"     secret  {name}" for name in planned.secrets]
    told = {
        "files": [{"name": name, "bytes": size} for name, size in rows],
        "bytes": total,
        "variables": dict(planned.variables),
        "secrets": list(planned.secrets),
    }
    if dry:
        lines += [f"{total:>11,}  bytes in {len(rows)} files for {repo}; nothing was sent\n"]
        yield {"text": "\n".join(lines), "result": {**told, "address": None}}
        return
    with tempfile.TemporaryDirectory(prefix="footnote-space-") as folder:
        _stage(planned, Path(folder))
        yield {"log": f"Sending {len(rows)} files, {size(total)}, to {repo}…"}
        address = send(Path(folder), repo, planned.variables, planned.secrets)
    text = f"{address}\nIf it is new, it is private: its page, under Settings, makes it public.\n"
    yield {"text": text, "result": {**told, "address": address}}


def confirmation(planned: Plan, repo: str) -> str:
    """Return what a person is asked before anything is sent."""
    posts = "with your posts" if SNAPSHOT in dict(planned.files) else "without posts"
    return f"This sends {len(planned.files)} files to the Space {repo}, {posts}."


def _stage(planned: Plan, folder: Path) -> None:
    """Copy what goes into a folder, the README naming the models that the Space is to bring along."""
    for name, path in planned.files:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    named = [planned.variables.get(f"FOOTNOTE_{name.upper()}", "") for name in _MODELS]
    preload = [f"  - {value.replace(':', ' ')}" for value in named if value and not value.startswith("https://")]
    if preload:
        card = folder / "README.md"
        head = "\n".join(["preload_from_hub:", *preload])
        card.write_text(card.read_text("utf-8").replace("\n---\n", f"\n{head}\n---\n", 1), "utf-8")


def _on_the_hub(settings: Settings, name: str) -> str:
    """Return a model's setting if a Space can have it, too: an id on the Hub, not a place on this machine."""
    value = str(getattr(settings, name))
    repo = value.partition(":")[0]
    return value if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", repo) and not Path(value).exists() else ""


def _may_go(checkout: Path, path: Path) -> bool:
    """Say whether a file is one of the checkout itself: no link, nothing hidden, nothing that was built."""
    parts = path.relative_to(checkout).parts
    here = [checkout.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return path.is_file() and not hidden and not any(step.is_symlink() for step in here)


class Kept:
    """The snapshot of a Space's posts, which outlasts its restarts: where the settings say, or nowhere."""

    def __init__(
        self,
        backups: Backups,
        checkout: Path,
        settings: Settings,
        fetch: Callable[[str], Path | None],
        send: Callable[[Path, str], None],
    ) -> None:
        """`fetch` gets what a dataset repository keeps, if it keeps something; `send` keeps a file there."""
        self._backups, self._settings, self._fetch, self._send = backups, settings, fetch, send
        self._place = checkout / settings.snapshot
        self._dataset = settings.snapshot.removeprefix(_DATASETS) if settings.snapshot.startswith(_DATASETS) else ""
        self._trouble = ""

    def bring_back(self) -> str:
        """Restore the posts into an empty library; return why that failed, or nothing."""
        try:
            if file := self._found():
                self._backups.restore(file)
        except FootnoteError as error:
            self._trouble = str(error)
        return self._trouble

    def save(self) -> str:
        """Keep the posts as they are now; return what a person is told. Raise FootnoteError."""
        if self._trouble:
            raise BadSetting(
                "The snapshot that is there could not be read, and would be replaced. Move it away, or set "
                "FOOTNOTE_SNAPSHOT to another place, restart this Space, and save again."
            )
        if self._dataset:
            saved = self._backups.save(self._settings.home / SNAPSHOT, public=True)
            try:
                self._send(Path(saved.file), self._dataset)
            finally:
                Path(saved.file).unlink(missing_ok=True)  # or posts that are removed later would stay in it
        elif self._settings.snapshot and self._place.is_dir():
            saved = self._backups.save(self._place / SNAPSHOT, public=True)
        else:
            raise BadSetting(
                "There is no place yet where a snapshot outlasts a restart. Set this Space's variable "
                "FOOTNOTE_SNAPSHOT to datasets/YOU/NAME, or to the folder of a mounted bucket, and save again."
            )
        what = f"{counted(saved.posts, 'post')} saved in {self._settings.snapshot}."
        return f"{what} Marks, sources and tuned models are not among them."

    def _found(self) -> Path | None:
        """Return the snapshot that is kept, None if none is yet. Raise FootnoteError."""
        if self._dataset:
            return self._fetch(self._dataset)
        if not self._settings.snapshot:
            return None
        if not self._place.exists():
            raise BadSetting(
                f"FOOTNOTE_SNAPSHOT={self._settings.snapshot} is not there. Mount it, or set another place."
            )
        file = self._place / SNAPSHOT if self._place.is_dir() else self._place
        return file if file.exists() else None
