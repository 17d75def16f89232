"""What formats say about a post, made plain: a title, a day, an address, an author, tags. One place, so that a date is
understood alike in front matter, a feed and a PDF."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from html import unescape
from pathlib import PurePath
from typing import Any

_TITLE_LENGTH = 300
_TAG_LENGTH = 60
_TAGS = 50
_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_YEAR_FIRST = re.compile(r"\s*(?:D:)?(\d{4})(?:([-/.])(\d{1,2})\2(\d{1,2})(?!\d)|(\d\d)(\d\d))")
_DAY_FIRST = re.compile(r"\s*(?:[A-Za-z]{2,9},?\s+)?(\d{1,2})(?:st|nd|rd|th)?[ -]([A-Za-z]{3,9})\.?,?[ -](\d{4})\b")
_MONTH_FIRST = re.compile(r"\s*(?:[A-Za-z]{2,9},\s+)?([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})\b")
_DATED_NAME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[-_ ]+(?=.)|$)")
_FOLDER_SPEAKS = {"index", "_index", "readme"}  # Hugo and others keep a post as its folder's index


def line(value: Any) -> str:
    """Return a title or a name on one line, "" if it is none."""
    return " ".join(value.split())[:_TITLE_LENGTH].strip() if isinstance(value, str) else ""


def unmarked(value: Any) -> str:
    """Return a title or a name that may hold HTML as plain words."""
    return line(unescape(re.sub(r"</?[A-Za-z!][^<>]*>", "", value))) if isinstance(value, str) else ""


def iso_day(value: Any) -> str | None:
    """Return the day that a date names, as yyyy-mm-dd, or None: "1 May 2024", "2024-05-01T08:30Z", "D:20240501"."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    if not isinstance(value, str):
        return None
    value = value[:100]
    if match := _YEAR_FIRST.match(value):
        year, month, day = match.group(1), match.group(3) or match.group(5), match.group(4) or match.group(6)
    elif match := _DAY_FIRST.match(value):
        day, month, year = match.groups()
    elif match := _MONTH_FIRST.match(value):
        month, day, year = match.groups()
    else:
        return None
    try:
        return date(int(year), _MONTHS.get(month[:3].lower(), 0) or int(month), int(day)).isoformat()
    except ValueError:
        return None


def web_address(value: Any) -> str | None:
    """Return the value if it is an http or https address that can be shown as a link, else None."""
    if not isinstance(value, str) or len(value) > 2000:
        return None
    value = value.strip()
    return value if re.fullmatch(r"https?://[^\s<>\"'`\\]+", value) else None


def tags_of(value: Any) -> tuple[str, ...]:
    """Return tags from a list, or from one line with commas between them: each once, the first fifty."""
    if isinstance(value, str):
        value = re.split(r"[,;]", value.strip("[] "))
    if not isinstance(value, Iterable):
        return ()
    tags = (" ".join(tag.strip(" '\"#").split())[:_TAG_LENGTH].strip() for tag in value if isinstance(tag, str))
    return tuple(dict.fromkeys(tag for tag in tags if tag))[:_TAGS]


def author_of(value: Any) -> str | None:
    """Return the author's name from a text, a {"name": ...}, or a list of either."""
    if isinstance(value, dict):
        value = value.get("name")
    if isinstance(value, list):
        names = dict.fromkeys(name for each in value[:10] if not isinstance(each, list) and (name := author_of(each)))
        return ", ".join(names)[:_TITLE_LENGTH] or None
    return unmarked(value) or None


def title_from_name(name: str) -> str:
    """Make a title from a file's name, for posts that have none: "2024-05-01-my_post.md" -> "my post".

    A file called index or README speaks for its folder: "my-post/index.md" -> "my post".
    """
    path = PurePath(name)
    stem = path.parent.name if path.stem.lower() in _FOLDER_SPEAKS and path.parent.name else path.stem
    dated = _DATED_NAME.match(stem)
    if dated and dated.end() == len(stem):
        return stem
    stem = stem[dated.end() :] if dated else stem
    return line(stem.replace("_", " ").replace("-", " ")) or "Untitled"


def day_from_name(name: str) -> str | None:
    """Return the day at the beginning of a file's name, as Jekyll writes it, or of its folder's."""
    path = PurePath(name)
    stem = path.parent.name if path.stem.lower() in _FOLDER_SPEAKS else path.stem
    dated = _DATED_NAME.match(stem)
    return iso_day(dated.group(1)) if dated else None
