"""Markdown and MDX with optional front matter (YAML, TOML, JSON), which gives title, date, address, author and tags."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from rag.markup import plain
from rag.readers import facts
from rag.readers.dialects import readable, segments
from rag.readers.facts import web_address as web_address
from rag.records import Post

_YAML = re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S | re.M)
_TOML = re.compile(r"\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.S | re.M)
_MATTER = 100_000  # characters; the YAML reader takes a second for so much
_HEADING = re.compile(r"^#[ \t]+(\S[^\n]*)$|^(\S[^\n]*)\n=+[ \t]*$", re.M)
_URL_KEYS = ("canonical_url", "canonical", "canonicalurl", "url", "permalink", "link")
_DATE_KEYS = ("date", "published", "publishdate", "pubdate", "pubdatetime", "date_published", "created", "publishedat")
_AUTHOR_KEYS = ("author", "authors", "by")
_TAG_KEYS = ("tags", "categories", "keywords", "tag", "category")
AS_IT_IS = "as_it_is"
"""Front matter of a post that Footnote has exported: its text was made readable before, and is taken as it stands."""
_EXPORTED = re.compile(r"\b(title|date|publishedAt|author)\s{0,10}[:=]\s{0,10}([\"'`])([^\"'`\n]{1,300})\2")


def read(content: str, source: str, name: str, mdx: bool = False) -> Post:
    """Read a Markdown post. Front matter that is none after all is left in the text, so that nothing is lost."""
    matter, text = split_front_matter(content)
    if mdx and not matter:
        matter = _exported(text)
    exported = matter.get(AS_IT_IS) == "true"
    text = (text if exported else readable(text, mdx)).strip("\n").rstrip()
    return Post(
        source=source,
        title=facts.line(matter.get("title")) or _first_heading(text)[:300] or name,
        text=text,
        date=next((day for key in _DATE_KEYS if (day := facts.iso_day(matter.get(key)))), None),
        url=next((url for key in _URL_KEYS if (url := web_address(matter.get(key)))), None),
        tags=next((tags for key in _TAG_KEYS if (tags := _tags(matter, key))), ()),
        author=next((author for key in _AUTHOR_KEYS if (author := facts.author_of(matter.get(key)))), None),
        pages=_pages(matter.get("pages"), len(text)) if exported else (),
    )


def read_mdx(content: str, source: str, name: str) -> Post:
    """Read an MDX post: Markdown in which imports and JSX stand."""
    return read(content, source, name, mdx=True)


def split_front_matter(content: str) -> tuple[Mapping[str, Any], str]:
    """Return (front matter with small keys, text after it)."""
    matter: Any = None
    rest = 0
    try:
        if match := _YAML.match(content, 0, _MATTER):
            matter = yaml.load(match.group(1), Loader=_Loader)  # noqa: S506 - it makes only text, lists and dicts
            rest = match.end()
        elif match := _TOML.match(content, 0, _MATTER):
            matter, rest = _toml(match.group(1)), match.end()
        elif content.startswith(("{\n", "{ ")):
            matter, rest = json.JSONDecoder().raw_decode(content[:_MATTER])
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # not front matter after all
        return {}, content
    if not isinstance(matter, dict):
        return {}, content
    return {str(key).lower(): value for key, value in matter.items()}, content[rest:]


class _Loader(yaml.BaseLoader):
    """Reads every value as text, and no aliases: a few lines of them can expand to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _toml(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _tags(matter: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the tags under a key; Zola keeps them in a table of taxonomies."""
    value = matter.get(key)
    taxonomies = matter.get("taxonomies")
    if value is None and isinstance(taxonomies, dict):
        value = taxonomies.get(key)
    return facts.tags_of(value) if isinstance(value, (str, list)) else ()


def _pages(value: Any, length: int) -> tuple[int, ...]:
    """Return where the pages of an exported post begin, () if that makes no sense."""
    listed = value if isinstance(value, list) and all(isinstance(at, str) and at.isdecimal() for at in value) else []
    pages = tuple(int(at[:12]) for at in listed)
    return pages if pages and pages[0] == 0 and list(pages) == sorted(set(pages)) and pages[-1] <= length else ()


def _exported(text: str) -> dict[str, str]:
    """Return what an MDX post without front matter exports: `export const meta = { title: "..." }`."""
    found = re.search(r"^export[ \t]+const[ \t]+\w+[^\n]*(?:\n[^\n]+){0,50}", text, re.M)
    return {key.lower(): value for key, _, value in _EXPORTED.findall(found.group())} if found else {}


def _first_heading(text: str) -> str:
    """Return the words of the first heading of the first level; a # in code is none."""
    for code, piece in segments(text):
        heading = None if code else _HEADING.search(piece)
        if heading:
            return plain((heading.group(1) or heading.group(2)).rstrip(" \t#")[:300])
    return ""
