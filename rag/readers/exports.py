"""What Ghost, Substack and Medium give to those who take their blog away: only what was published is read."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import PurePosixPath
from typing import Any, Protocol

from rag.errors import BadFile
from rag.readers import facts
from rag.readers.decode import decode, printable, tidy
from rag.readers.feeds import Item, paragraphs, posts
from rag.readers.limits import Exhausted, Limits
from rag.readers.pandoc import html_tree
from rag.records import Document, Post, Refused


class Files(Protocol):
    """An unpacked archive: its paths, and each one's content."""

    @property
    def names(self) -> Collection[str]:
        """Return the paths of its files."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's content. Raise BadFile."""
        ...


def read_archive(document: Document, archive: Files, limits: Limits) -> Iterator[Post | Refused] | None:
    """Return the posts of an archive that Substack or Medium made, None if it is another."""
    pages = [name for name in archive.names if re.search(r"(?:^|/)posts/[^/]+\.html$", name)]
    document = replace(document, address=None)  # it is not where the posts are
    if not pages:
        return None
    if tables := [name for name in archive.names if PurePosixPath(name).name == "posts.csv"]:
        return posts(document, _substack(document, archive, min(tables, key=len), limits))
    pages = [name for name in pages if not PurePosixPath(name).name.startswith("draft")]
    if pages and b"h-entry" in archive.read(pages[0], limits.post_bytes)[:20_000]:
        return posts(document, _medium(archive, pages, limits))
    return None


def _page(archive: Files, path: str, limits: Limits) -> tuple[str, str]:
    """Return a page, and why it cannot be read, "" if it can."""
    try:
        return decode(archive.read(path, limits.post_bytes), printable(path)), ""
    except Exhausted:
        raise
    except BadFile as error:
        return "", str(error)


# ---- Substack ------------------------------------------------------------------------------------------------------


def _substack(document: Document, archive: Files, table: str, limits: Limits) -> Iterator[Item]:
    """Yield what `table` (posts.csv) says was published; posts/*.html is its text."""
    rows = csv.DictReader(io.StringIO(decode(archive.read(table, limits.post_bytes), table)))
    folder = PurePosixPath(table).parent
    published = False
    try:
        for row in rows:
            identity = (row.get("post_id") or "").strip()
            path = str(folder / "posts" / f"{identity}.html")
            if (row.get("is_published") or "").strip().lower() != "true" or path not in archive.names:
                continue
            published = True
            page, trouble = _page(archive, path, limits)
            subtitle = facts.line(row.get("subtitle"))
            yield Item(
                guid=identity,
                title=facts.line(tidy(row.get("title") or "")),
                date=facts.iso_day(row.get("post_date")),
                html=paragraphs(subtitle) + page,
                trouble=trouble,
            )
    except csv.Error as error:
        raise BadFile(f"{document.name}: the list of posts in this export is damaged. Export it again.") from error
    if not published:
        raise BadFile(f"{document.name}: this Substack export holds no published post. Publish one, or add its text.")


# ---- Medium --------------------------------------------------------------------------------------------------------


def _medium(archive: Files, pages: Sequence[str], limits: Limits) -> Iterator[Item]:
    """Yield what pages hold that are each marked up as an h-entry."""
    for path in pages:
        page, trouble = _page(archive, path, limits)
        blank = Item(printable(path), title=facts.title_from_name(path), trouble=trouble)
        tree = html_tree(page)
        yield blank if tree is None else _entry(tree, blank)


def _entry(tree: Any, blank: Item) -> Item:
    # imported here: only this format needs it
    from lxml.html import tostring

    def first(name: str) -> Any:
        found = tree.xpath(f"//*[contains(concat(' ', normalize-space(@class), ' '), ' {name} ')]")
        return found[0] if found else None

    def words(name: str) -> str:
        element = first(name)
        return facts.line(tidy(element.text_content())) if element is not None else ""

    title, body, published, address = words("p-name"), first("e-content"), first("dt-published"), first("p-canonical")
    if body is not None:
        for repeated in body.xpath(".//*[contains(@class, 'graf--title')]")[:1]:
            if facts.line(repeated.text_content()) == title:
                repeated.drop_tree()
    return replace(
        blank,
        address=facts.web_address(address.get("href")) if address is not None else None,
        title=title or blank.title,
        date=facts.iso_day(published.get("datetime")) if published is not None else facts.day_from_name(blank.guid),
        author=facts.author_of(words("p-author")),
        html=str(tostring(body, encoding="unicode")) if body is not None else "",
    )


# ---- Ghost ---------------------------------------------------------------------------------------------------------


def is_ghost(beginning: bytes) -> bool:
    """Whether the beginning of a JSON file says that it is an export of Ghost's."""
    head = beginning[:65_536]
    return bool(re.match(rb'\s*\{\s*"(?:db|meta|data)"\s*:', head)) and (
        b'"exported_on"' in head or b'"posts"' in head or b'"mobiledoc"' in head
    )


def ghost(document: Document, data: bytes, limits: Limits) -> Iterator[Post | Refused]:  # noqa: ARG001 - all take it
    """Read a Ghost export: the published posts and pages, with their tags and authors."""
    try:
        export = json.loads(decode(data, document.name))
        tables = (export["db"][0] if "db" in export else export)["data"]
        published = [row for row in tables["posts"] if isinstance(row, dict) and row.get("status") == "published"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadFile(f"{document.name}: this JSON file is no feed and no Ghost export. Export it again.") from error
    if not published:
        raise BadFile(f"{document.name}: this Ghost export holds no published post. Publish one and export again.")
    yield from posts(replace(document, address=None), _ghost_items(tables, published))


def _ghost_items(tables: dict[str, Any], published: list[dict[str, Any]]) -> Iterator[Item]:
    tags = _linked(tables, "posts_tags", "tag_id", "tags")
    authors = _linked(tables, "posts_authors", "author_id", "users")
    for row in published:
        address = facts.web_address(row.get("canonical_url"))
        yield Item(
            guid=str(row.get("slug") or row.get("id") or ""),
            address=address,
            title=facts.line(tidy(str(row.get("title") or ""))),
            date=facts.iso_day(row.get("published_at") or row.get("created_at")),
            tags=facts.tags_of([tag for tag in tags.get(str(row.get("id")), ()) if not tag.startswith("#")]),
            author=facts.author_of(authors.get(str(row.get("id")))),
            html=_ghost_html(row).replace("__GHOST_URL__", ""),
            base=address or "",
        )


def _linked(tables: dict[str, Any], links: str, key: str, target: str) -> dict[str, list[str]]:
    """Return the names in `target` that each post is linked to."""

    def rows(table: str) -> list[dict[str, Any]]:
        found = tables.get(table)
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    names = {str(row.get("id")): str(row.get("name") or "") for row in rows(target)}
    linked: dict[str, list[str]] = {}
    for row in sorted(rows(links), key=lambda row: str(row.get("sort_order") or 0).zfill(6)):
        linked.setdefault(str(row.get("post_id")), []).append(names.get(str(row.get(key)), ""))
    return linked


def _ghost_html(row: dict[str, Any]) -> str:
    """Return a post's HTML, made from what else there is where it was not exported."""
    if isinstance(html := row.get("html"), str) and html.strip():
        return html
    for key, render in (("lexical", _lexical), ("mobiledoc", _mobiledoc)):
        if isinstance(stored := row.get(key), str):
            with suppress(ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):  # it is torn
                if html := render(json.loads(stored)):
                    return html
    plain = row.get("plaintext")
    return paragraphs(plain) if isinstance(plain, str) else ""


def _card(name: str, card: dict[str, Any]) -> str:
    """Return the HTML of a card: code, a picture, a call-out."""
    if name in ("code", "codeblock"):
        language = escape(str(card.get("language") or ""))
        return f'<pre class="{language}">{escape(str(card.get("code") or ""))}</pre>'
    if name in ("markdown", "card-markdown"):
        return _rendered(str(card.get("markdown") or ""))
    if name == "html":
        return str(card.get("html") or "")
    if name == "image":
        return f'<p><img src="x" alt="{escape(str(card.get("alt") or ""))}"> {card.get("caption") or ""}</p>'
    texts = (card.get(key) for key in ("heading", "header", "calloutText", "content", "title", "caption"))
    return "".join(f"<p>{text}</p>" for text in texts if isinstance(text, str) and text.strip())


def _rendered(markdown: str) -> str:
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark").enable("table").render(markdown))


_LEXICAL_TAGS = {"paragraph": "p", "heading": "h2", "list": "ul", "listitem": "li"}
_LEXICAL_TAGS |= {"quote": "blockquote", "aside": "blockquote"}


def _lexical(state: dict[str, Any]) -> str:
    return _lexical_nodes(state["root"].get("children", []))


def _lexical_nodes(nodes: Sequence[Any]) -> str:
    html = []
    for node in nodes:
        kind = str(node.get("type")).removeprefix("extended-")
        inside = _lexical_nodes(node.get("children") or [])
        if kind == "text":
            mark = int(node.get("format") or 0)  # bits: 1 bold, 2 italic, 16 code
            words = escape(str(node.get("text") or ""))
            tag = "code" if mark & 16 else "b" if mark & 1 else "i" if mark & 2 else ""
            html.append(f"<{tag}>{words}</{tag}>" if tag else words)
        elif kind == "linebreak":
            html.append("<br>")
        elif kind == "link":
            html.append(f'<a href="{escape(str(node.get("url") or ""))}">{inside}</a>')
        elif kind in _LEXICAL_TAGS:
            tag = str(node.get("tag"))
            tag = tag if re.fullmatch(r"ul|ol|h[1-6]", tag) else _LEXICAL_TAGS[kind]
            html.append(f"<{tag}>{inside}</{tag}>")
        else:
            html.append(_card(kind, node) or inside)
    return "".join(html)


def _mobiledoc(document: dict[str, Any]) -> str:
    """Return the HTML of a mobiledoc: sections of marked text, pictures, lists and cards."""
    html = []
    for section in document["sections"]:
        kind = section[0]
        if kind == 1:
            tag = section[1] if re.fullmatch(r"p|h[1-6]|blockquote|aside", str(section[1])) else "p"
            html.append(f"<{tag}>{_markers(section[2])}</{tag}>")
        elif kind == 3:
            items = "".join(f"<li>{_markers(item)}</li>" for item in section[2])
            tag = "ol" if section[1] == "ol" else "ul"
            html.append(f"<{tag}>{items}</{tag}>")
        elif kind == 10:
            name, card = document["cards"][section[1]][:2]
            html.append(_card(str(name), card))
    return "".join(html)


def _markers(markers: Sequence[Any]) -> str:
    return "".join(escape(str(marker[3])) for marker in markers if marker and marker[0] == 0)
