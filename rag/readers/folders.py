"""Which files of a folder are posts: ignore rules as in .gitignore, and what no reader of a blog ever sees left out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_BUILT = {"node_modules", "bower_components", "_site", "dist", "build", "target", "__pycache__", "venv", "env"}
_BUILT |= {"site-packages", "__macosx", "_layouts", "_includes", "_sass"}
_HUGO = {"public", "resources", "layouts", "themes", "archetypes"}  # only beside Hugo's own settings
_HUGO_SETTINGS = {f"{name}.{ending}" for name in ("hugo", "config") for ending in ("toml", "yaml", "yml", "json")}
_NOT_POSTS = {"robots.txt", "humans.txt", "ads.txt", "requirements.txt", "cmakelists.txt"}
_LISTS = {".xml", ".json"}
_SNIFFED = 65_536  # bytes of a list that say what it is
_RULES = 50_000  # bytes of a .gitignore that are read
_STARS = 2  # wildcards of one pattern: each more multiplies the time that a long name can take


def left_out(folder: str, siblings: Collection[str] = ()) -> bool:
    """Whether a folder of this name is hidden or built from others; `siblings` are the files beside it."""
    name = folder.lower()
    hugo = name in _HUGO and any(sibling.lower() in _HUGO_SETTINGS for sibling in siblings)
    return name.startswith(".") or name in _BUILT or hugo


def may_be_post(name: str, endings: Collection[str]) -> bool:
    """Whether a file of this name may be a post: not hidden, of a known ending, and not a site's machinery."""
    lower = name.lower()
    return not lower.startswith(".") and PurePath(lower).suffix in endings and lower not in _NOT_POSTS


def inside_left_out(path: PurePosixPath) -> bool:
    """Whether a path inside an archive runs through a folder that is left out."""
    return any(left_out(part) for part in path.parts[:-1])


def walk(folder: Path, endings: Collection[str], lists_posts: Callable[[bytes], bool]) -> Iterator[Path]:
    """Yield the files of a folder and below that may be posts, in order.

    XML and JSON files are posts only where their beginning says that they list some (`lists_posts`): most are settings.
    Links are followed to files inside the folder and nowhere else.
    """
    root = os.path.realpath(folder)
    seen: set[str] = set()
    rules: dict[str, GitIgnoreSpec | None] = {}
    for parent, folders, names in os.walk(folder, onerror=_give_up):
        above = _rules_for(folder, Path(parent), names, rules)
        here = set(names)
        folders[:] = sorted(
            name for name in folders if not left_out(name, here) and not _ignored(Path(parent, name), True, above)
        )
        for name in sorted(names):
            path = Path(parent, name)
            if not may_be_post(name, endings) or _ignored(path, False, above):
                continue
            real = os.path.realpath(path)
            if os.path.commonpath([root, real]) != root or real in seen or not Path(real).exists():
                continue
            seen.add(real)
            if PurePath(name).suffix.lower() not in _LISTS or _may_be_list(path, lists_posts):
                yield path


def _give_up(error: OSError) -> None:
    """Raise what keeps a folder from being looked into: its posts would seem to have vanished."""
    raise error


def _rules_for(
    root: Path, parent: Path, names: list[str], rules: dict[str, GitIgnoreSpec | None]
) -> list[tuple[Path, GitIgnoreSpec]]:
    """Return the ignore rules that hold in a folder, outermost first; the innermost that speaks decides."""
    rules[str(parent)] = _read_rules(parent / ".gitignore") if ".gitignore" in names else None
    above = [parent, *parent.parents]
    chain = above[: above.index(root) + 1][::-1]
    return [(folder, rule) for folder in chain if (rule := rules.get(str(folder))) is not None]


def _read_rules(path: Path) -> GitIgnoreSpec | None:
    # imported here: only folders with such a file need it
    from pathspec import GitIgnoreSpec

    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            lines = file.read(_RULES).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    sound = []
    for line in lines:
        with suppress(ValueError, re.error):  # a rule that cannot be understood ignores nothing
            stars = line.replace("**", "").count("*")
            if stars <= _STARS and line.count("**") <= _STARS and GitIgnoreSpec.from_lines([line]):
                sound.append(line)
    return GitIgnoreSpec.from_lines(sound)


def _ignored(path: Path, is_folder: bool, rules: list[tuple[Path, GitIgnoreSpec]]) -> bool:
    ignored = False
    for folder, rule in rules:
        relative = path.relative_to(folder).as_posix() + ("/" if is_folder else "")
        verdict = rule.check_file(relative).include
        ignored = ignored if verdict is None else verdict
    return ignored


def _may_be_list(path: Path, lists_posts: Callable[[bytes], bool]) -> bool:
    """Say whether a file may list posts, by its beginning; one that cannot be read may, or its posts would vanish."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return lists_posts(file.read(_SNIFFED))
    except OSError:
        return True
