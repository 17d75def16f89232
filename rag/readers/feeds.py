"""Feeds and what is shaped like one: RSS, Atom, RDF, JSON Feed, and WordPress's export (WXR)."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from rag.errors import BadFile
from rag.readers import facts
from rag.readers.decode import decode, tidy
from rag.readers.limits import Limits
from rag.readers.pandoc import fragment_to_markdown
from rag.records import Document, Post, Refused

_ROOT = re.compile(rb"<(?:[\w.-]{1,30}:)?([A-Za-z][\w.-]{0,30})")
_FEED_ROOT = re.compile(rb"<(?:\w{1,30}:)?(?:rss|feed|RDF)[\s>]", re.I)
_FEEDS = {"rss", "feed", "rdf", "channel"}
_WORDPRESS = re.compile(rb"wordpress\.org/export|<wp:wxr_version")
_JSON_FEED = re.compile(rb'"version"\s{0,20}:\s{0,20}"https?:(?:\\?/){2}jsonfeed\.org', re.I)
_BEGINNING = 65_536
_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"


@dataclass(frozen=True)
class Item:
    """An entry of a feed as it stands there: `html` is what it carries of its text, "" if nothing."""

    guid: str
    address: str | None
    title: str
    date: str | None
    tags: tuple[str, ...]
    author: str | None
    html: str


def is_feed(beginning: bytes) -> bool:
    """Whether the beginning of an XML or JSON file says that it is a feed or a WordPress export."""
    plain = beginning.replace(b"\0", b"")  # UTF-16 looks like ASCII without its zeros
    if plain.lstrip(_BLANK).startswith(b"{"):
        return bool(_JSON_FEED.search(plain))
    return root(beginning) in _FEEDS


def root(beginning: bytes) -> str:
    """Return the name of an XML file's outermost element in small letters, without its prefix; "" if there is none."""
    rest = beginning[:_BEGINNING].replace(b"\0", b"").lstrip(_BLANK)
    while rest.startswith((b"<?", b"<!")):
        end = b"?>" if rest.startswith(b"<?") else b"-->" if rest.startswith(b"<!--") else b">"
        if end == b">" and 0 <= rest.find(b"[") < rest.find(b">"):
            end = b"]>"
        rest = rest.partition(end)[2].lstrip()
    if named := _ROOT.match(rest):
        return named.group(1).decode("ascii", "replace").lower()
    # some feeds have warnings of their server, or noise, before them
    return "rss" if _FEED_ROOT.search(rest) else ""


def read(document: Document, data: bytes, limits: Limits) -> Iterator[Post | Refused]:  # noqa: ARG001 - all take it
    """Read a feed or a WordPress export: a post for each entry that carries its text."""
    if _WORDPRESS.search(data[:_BEGINNING]):
        yield from _wordpress(document, data)
        return
    if data.lstrip(_BLANK)[:1] == b"{":
        items = _json_items(data, document.name)
    else:
        items = [_item(entry) for entry in _parsed(data, document.address or "").entries]
    if not items:
        raise BadFile(f"{document.name}: this feed is empty. Give the address of the site, or its posts as files.")
    sources = Sources(document)
    for item in items:
        yield post_of(item, sources.of(item), document.address or item.address or "", document.name)


def post_of(item: Item, source: str, base: str, name: str) -> Post | Refused:
    """Make a post of an entry, or say that there is no text in it."""
    try:
        text = fragment_to_markdown(item.html, base) if item.html.strip() else ""
    except BadFile:
        return Refused(source, f"{name}: the entry “{item.title[:80]}” cannot be read. Add its own page instead.")
    if not any(character.isalnum() for character in text):
        where = f"its page, {item.address}," if item.address else "its page"
        return Refused(source, f"{name}: the entry “{item.title[:80]}” has no text here. Add {where} instead.")
    title = item.title or " ".join(re.sub(r"[#*_`>\[\]]", "", text[:400]).split()[:12])
    return Post(source, title, text, item.date, item.address, item.tags, item.author)


class Sources:
    """Gives each entry of a document a source of its own, the same one at every reading."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._given: dict[str, int] = {}

    def of(self, item: Item) -> str:
        """Return an entry's address if it was fetched, else the document's source and what identifies the entry."""
        part = " ".join(tidy(item.guid or item.address or item.title).split())[:500]
        source = f"{self._document.source}#{part or 'entry'}"
        if self._document.address and item.address:
            source = item.address
        times = self._given[source] = self._given.get(source, 0) + 1
        return source if times == 1 else f"{source}#{times}"


def _parsed(data: bytes, address: str) -> Any:
    # imported here: only feeds need it
    import feedparser

    headers = {"content-location": address} if address else {}
    # cleaning and resolving is pandoc's work, which must be done for every format
    return feedparser.parse(
        io.BytesIO(data), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
    )


def _item(entry: Any) -> Item:
    published = next((d for key in ("published", "updated", "created") if (d := entry.get(key))), "")
    parsed = entry.get("published_parsed") or entry.get("updated_parsed")
    day = facts.iso_day(published) or (facts.iso_day(f"{parsed[0]:04}-{parsed[1]}-{parsed[2]}") if parsed else None)
    return Item(
        guid=str(entry.get("id", "")),
        address=facts.web_address(entry.get("link")),
        title=facts.unmarked(tidy(entry.get("title", ""))),
        date=day,
        tags=facts.tags_of([tidy(tag.get("term") or "") for tag in entry.get("tags", ())]),
        author=facts.author_of(tidy(entry.get("author") or "")),
        html=_body(entry),
    )


def _body(entry: Any) -> str:
    """Return the longest text that an entry carries, as HTML."""
    texts: list[Any] = [*entry.get("content", ()), entry.get("summary_detail") or {}]
    longest = max(texts, key=lambda text: len(text.get("value") or ""))
    value = str(longest.get("value") or "")
    return _as_html(value) if longest.get("type") == "text/plain" and not re.search(r"</?[a-z]", value) else value


def _as_html(plain: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in re.split(r"\n\s*\n", plain.strip()))


def _json_items(data: bytes, name: str) -> list[Item]:
    try:
        items = [item for item in json.loads(decode(data, name))["items"] if isinstance(item, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{name}: this JSON file is damaged or no feed. Check where it came from.") from error
    return [
        Item(
            guid=str(item.get("id") or ""),
            address=facts.web_address(item.get("url") or item.get("external_url")),
            title=facts.unmarked(item.get("title")),
            date=facts.iso_day(item.get("date_published") or item.get("date_modified")),
            tags=facts.tags_of(item.get("tags") or ()),
            author=facts.author_of(item.get("authors") or item.get("author")),
            html=_json_body(item),
        )
        for item in items
    ]


def _json_body(item: dict[str, Any]) -> str:
    if isinstance(html := item.get("content_html"), str):
        return html
    plain = item.get("content_text") or item.get("summary")
    return _as_html(plain) if isinstance(plain, str) else ""


# ---- WordPress -----------------------------------------------------------------------------------------------------

_BLOCK_TAG = re.compile(
    r"\s*</?(?:address|article|aside|blockquote|div|dl|figure|form|h[1-6]|hr|iframe|li|ol|p|pre|section|table|ul)\b",
    re.I,
)
_SOURCE_CODE = re.compile(r"\[(code|sourcecode)\b([^\]\n]{0,300})\]", re.I)
_LANGUAGE = re.compile(r"\b(?:lang|language)=[\"']?([\w+#-]{1,30})|^=[\"']?([\w+#-]{1,30})")
_SHORTCODE = re.compile(
    r"\[/?(?:[a-z][\w-]{0,40}(?:\s[^\]\n]{0,1000}=[^\]\n]{0,1000})"
    r"|/?(?:caption|gallery|embed|audio|video|playlist|wp_caption|contact-form|quote|column|row|(?:vc|et_pb)_\w{1,40}))"
    r"\s{0,5}/?\]",
    re.I,
)


def _wordpress(document: Document, data: bytes) -> Iterator[Post | Refused]:
    """Yield the posts and pages that were published; drafts, pictures, menus and comments are not posts."""
    sources = Sources(replace(document, address=None))
    published = False
    for entry in _parsed(data, "").entries:
        if entry.get("wp_status") != "publish" or entry.get("wp_post_type") not in ("post", "page"):
            continue
        if entry.get("wp_post_password"):
            continue
        published = True
        item = _item(entry)
        content = max((text.get("value") or "" for text in entry.get("content", ())), key=len, default="")
        item = replace(
            item,
            guid=str(entry.get("wp_post_name") or entry.get("wp_post_id") or item.guid),
            date=facts.iso_day(entry.get("wp_post_date")) or item.date,
            tags=_wordpress_tags(entry.get("tags", ())),
            html=classic_to_html(content),
        )
        yield post_of(item, sources.of(item), item.address or "", document.name)
    if not published:
        raise BadFile(f"{document.name}: this WordPress export holds no published post. Export “All content”.")


def _wordpress_tags(tags: Sequence[Any]) -> tuple[str, ...]:
    terms = [tag.get("term") or "" for tag in tags if (tag.get("scheme") or "category") in ("category", "post_tag")]
    return facts.tags_of([tidy(term) for term in terms if term != "Uncategorized"])


def classic_to_html(content: str) -> str:
    """Return the HTML of a WordPress post: shortcodes gone, and paragraphs where the classic editor had blank lines."""
    content = _code_shortcodes(content.replace("\r\n", "\n"))
    pieces = re.split(r"(<(?:pre|script|style)\b.*?</(?:pre|script|style)>)", content, flags=re.S | re.I)
    blocks = "<!-- wp:" in content
    html = []
    for number, piece in enumerate(pieces):
        if number % 2:
            html.append(piece)
            continue
        piece = _SHORTCODE.sub("", piece)
        parts = [piece] if blocks else re.split(r"\n[ \t]*\n", piece)
        html += [
            part if blocks or _BLOCK_TAG.match(part) or not part.strip() else f"<p>{part.strip()}</p>" for part in parts
        ]
    return "\n\n".join(html)


def _code_shortcodes(content: str) -> str:
    """Turn [code]...[/code] into pre; one without an end stays."""
    pieces: list[str] = []
    done = 0
    while opening := _SOURCE_CODE.search(content, done):
        closing = f"[/{opening.group(1)}]"
        end = content.find(closing, opening.end())
        if end < 0:
            break
        code = content[opening.end() : end].strip("\n")
        named = _LANGUAGE.search(opening.group(2))
        language = f' class="{named.group(1) or named.group(2)}"' if named else ""
        pieces += content[done : opening.start()], f"\n\n<pre{language}>{_escaped(code)}</pre>\n\n"
        done = end + len(closing)
    return "".join([*pieces, content[done:]])


def _escaped(code: str) -> str:
    """Escape code that WordPress has not escaped already."""
    return code if re.search(r"&(?:lt|gt|amp|quot|#\d+);", code) else escape(code, quote=False)
