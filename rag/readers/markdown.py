"""Markdown with optional YAML front matter: title, date, address and tags come from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from rag.markup import plain
from rag.records import Post

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S | re.M)
_HEADING = re.compile(r"^#[ \t]+(\S[^\n]*)$|^(\S[^\n]*)\n=+[ \t]*$", re.M)
_URL_KEYS = ("canonical_url", "canonical", "url", "permalink", "link")


def read(content: str, source: str, name: str) -> Post:
    """Read a Markdown post. Front matter that is not valid YAML is left in the text, so that nothing is lost."""
    matter, text = split_front_matter(content)
    heading = _HEADING.search(text)
    headed = (heading.group(1) or heading.group(2)).rstrip(" \t#")[:300] if heading else ""
    title = _line(matter.get("title")) or plain(headed) or name
    return Post(
        source=source,
        title=title[:300],
        text=text.strip("\n").rstrip(),
        date=_date(matter.get("date") or matter.get("published") or matter.get("created")),
        url=next((url for key in _URL_KEYS if (url := web_address(matter.get(key)))), None),
        tags=_tags(matter.get("tags") or matter.get("categories")),
    )


def split_front_matter(content: str) -> tuple[Mapping[str, Any], str]:
    """Return (front matter, text after it)."""
    match = _FRONT_MATTER.match(content)
    if not match:
        return {}, content
    try:
        matter = yaml.load(match.group(1), Loader=_Loader)  # noqa: S506 - it makes only text, lists and dicts
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # not front matter after all
        return {}, content
    if not isinstance(matter, dict):
        return {}, content
    return {str(key).lower(): value for key, value in matter.items()}, content[match.end() :]


class _Loader(yaml.BaseLoader):
    """Reads every value as text, and no aliases: a few lines of them can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def web_address(value: Any) -> str | None:
    """Return the value if it is an http or https address that can be shown as a link, else None."""
    if not isinstance(value, str) or len(value) > 2000:
        return None
    value = value.strip()
    return value if re.fullmatch(r"https?://[^\s<>\"'`\\]+", value) else None


def _line(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _date(value: Any) -> str | None:
    match = re.match(r"\s*(\d{4}-\d{2}-\d{2})", value) if isinstance(value, str) else None
    return match.group(1) if match else None


def _tags(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = re.split(r"[,;]", value.strip("[] "))
    if not isinstance(value, list):
        return ()
    tags = (" ".join(tag.strip(" '\"").split()) for tag in value if isinstance(tag, str))
    return tuple(dict.fromkeys(tag[:60] for tag in tags if tag))[:50]
