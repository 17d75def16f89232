"""Feeds and what is shaped like one: RSS, Atom, RDF, JSON Feed, and WordPress's export (WXR).

`parse` says what stands in a feed, also for `outline`; `posts` makes posts of what any list holds, also for exports."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape, unescape
from typing import Any

from rag.addresses import absolute
from rag.errors import BadAddress, BadFile
from rag.readers import facts
from rag.readers.decode import decode, tidy
from rag.readers.limits import Limits
from rag.readers.pandoc import TOGETHER, fragments_to_markdown
from rag.records import Document, Post, Refused

WHOLE_TEXT = 600
"""Characters from which a feed's description counts as the post itself: of 285 summaries that the authors of a blog
wrote, the longest had 553; of its 510 posts 2, and of 577 short notes 3, had fewer than 500."""
ENTRIES_TOGETHER = 20
"""Entries that are converted before the first of them is done, for a start of pandoc costs 25 ms."""

_ROOT = re.compile(rb"<(?:[\w.-]{1,30}:)?([A-Za-z][\w.-]{0,30})")
_FEED_ROOT = re.compile(rb"<\?xml[^<>]{0,300}>\s{0,100}<(?:\w{1,30}:)?(?:rss|feed|RDF)[\s>]", re.I)
_FEEDS = {"rss", "feed", "rdf", "channel"}
_WORDPRESS = re.compile(rb"wordpress\.org/export|<wp:wxr_version")
_JSON_FEED = re.compile(rb'"version"\s{0,20}:\s{0,20}"https?:(?:\\?/){2}jsonfeed\.org', re.I)
_BEGINNING = 65_536
_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"
_CUT_OFF = re.compile(
    r"(?:…|\.\.\.|\[…\]|\[\.\.\.\]|read (?:more|the rest|on)|continue reading|keep reading|weiterlesen|mehr lesen|"
    r"lire la suite|leer más|seguir leyendo|leia mais|lees (?:meer|verder)|続きを読む)[^.!?]{0,120}$",
    re.I,
)
_APPEARED = re.compile(r"\s*The post .{1,800} appeared first on .{1,600}\Z")  # WordPress adds it to each entry


@dataclass(frozen=True)
class Item:
    """An entry of a feed or an export as it stands there.

    `html` is what it carries of its text, "" if nothing, `base` where its links start from; `summary`: it was given as
    a description, and is so short that it may be no more; `trouble`: why its text cannot be read, a sentence. `changed`
    is the moment of its last change, `date` the day on which it was published.
    """

    guid: str
    address: str | None = None
    title: str = ""
    date: str | None = None
    tags: tuple[str, ...] = ()
    author: str | None = None
    html: str = ""
    base: str = ""
    summary: bool = False
    changed: str | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Feed:
    """A feed as it stands there; `following` is the address of its next part, "" if it is the last."""

    title: str
    items: list[Item]
    following: str


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
        yield from posts(replace(document, address=None), _wordpress(document, data))
        return
    items = parse(document, data).items
    if not items:
        raise BadFile(f"{document.name}: this feed is empty. Give the address of the site, or its posts as files.")
    yield from posts(document, (replace(item, html="") if item.address and cut_off(item) else item for item in items))


def parse(document: Document, data: bytes) -> Feed:
    """Say what stands in a feed. Raise BadFile if it is damaged."""
    address = document.address or ""
    if data.lstrip(_BLANK)[:1] == b"{":
        return _json_feed(data, address, document.name)
    found = _parsed(data, address)
    links = {link.get("rel"): link.get("href") for link in found.feed.get("links", [])}
    return Feed(
        title=facts.unmarked(found.feed.get("title")),
        items=[_item(entry) for entry in found.entries],
        following=address_of(links.get("next") or links.get("prev-archive"), address),
    )


def posts(document: Document, items: Iterable[Item]) -> Iterator[Post | Refused]:
    """Make a post of each item, or say that its text is not here.

    A post's source is its address if the list was fetched, else the document's source and what identifies the entry:
    the same one at every reading.
    """
    given: dict[str, int] = {}
    for item, text in texts(items):
        part = " ".join(tidy(item.guid or item.address or item.title).split())[:500]
        fetched = item.address if document.address else None
        source = fetched or f"{document.source}#{part or 'entry'}"
        times = given[source] = given.get(source, 0) + 1
        source = source if times == 1 else f"{source}#{times}"
        entry = f"{document.name}: the entry “{''.join(filter(str.isprintable, item.title[:80]))}”"
        if text is None:
            yield Refused(source, item.trouble or f"{entry} cannot be read. Add its own page instead.")
        elif not text:
            where = f"its page, {item.address}," if item.address else "its page"
            yield Refused(source, f"{entry} does not have its text here. Add {where} instead.")
        else:
            yield post_of(item, source, text)


def post_of(item: Item, source: str, text: str) -> Post:
    """Make a post of an entry and its text; one without a title begins with its first words."""
    title = item.title or facts.line(" ".join(re.sub(r"[#*_`>\[\]]", "", text[:400]).split()[:12]))
    return Post(source, title, text, item.date, item.address, item.tags, item.author)


def texts(items: Iterable[Item]) -> Iterator[tuple[Item, str | None]]:
    """Yield each item with its text as Markdown, "" if it has no words, None if it cannot be read.

    A few are converted together, and yielded before the next ones: the time for a post is never that for an export.
    """
    batch: list[Item] = []
    try:
        for item in items:
            size = sum(len(each.html) for each in batch)
            if batch and (size + len(item.html) > TOGETHER or len(batch) == ENTRIES_TOGETHER):
                yield from _converted(batch)
                batch = []
            batch.append(item)
    except BadFile:  # the rest cannot be read; what came before can
        yield from _converted(batch)
        raise
    yield from _converted(batch)


def _converted(batch: Sequence[Item]) -> Iterator[tuple[Item, str | None]]:
    written = [item for item in batch if item.html.strip()]
    found = iter(fragments_to_markdown([(item.html, item.base) for item in written]))
    for item in batch:
        text = next(found) if item.html.strip() else ""
        text = text and _unsigned(text).strip()
        if text and not any(character.isalnum() for character in text):
            text = ""
        yield item, None if item.trouble else text


def cut_off(item: Item) -> bool:
    """Whether an entry says itself that its text goes on elsewhere."""
    return bool(_CUT_OFF.search(_unsigned(_words(item.html)).rstrip(" »→>›")[-200:]))


def _words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^<>]*>", " ", html)).split())


def _unsigned(text: str) -> str:
    return text[:-1500] + _APPEARED.sub("", text[-1500:])


def address_of(value: Any, base: str) -> str:
    """Return a whole address as it is to be asked for, "" if it is none."""
    if not isinstance(value, str) or not value.strip() or value.strip().startswith("#"):
        return ""
    if not base and not value.strip().lower().startswith(("http://", "https://")):
        return ""
    try:
        return absolute(value.strip(), base)
    except BadAddress:
        return ""


def _parsed(data: bytes, address: str) -> Any:
    # imported here: only feeds need it
    import feedparser

    headers = {"content-location": address} if address else {}
    # a stream, for bytes may be taken for a file's name; cleaning is pandoc's work, which is done for every format
    stream = io.BytesIO(data.lstrip())
    return feedparser.parse(stream, response_headers=headers, sanitize_html=False, resolve_relative_uris=False)


def _item(entry: Any) -> Item:
    address = address_of(entry.get("link"), "") or address_of(entry.get("id"), "") or None
    dates = {name: entry[name] for name in ("published", "updated", "created") if name in entry}
    moments = {name: _moment(written, entry.get(f"{name}_parsed")) for name, written in dates.items()}
    days = (facts.iso_day(date) for name in dates for date in (dates[name], moments[name]))
    contents = [part for part in entry.get("content", ()) if part.get("value")]
    body = max([*contents, entry.get("summary_detail") or {}], key=lambda part: len(part.get("value") or ""))
    html = str(body.get("value") or "")
    if body.get("type") == "text/plain" and not re.search(r"</?[a-z]", html):
        html = paragraphs(html)
    return Item(
        guid=str(entry.get("id", "")),
        address=address,
        title=facts.unmarked(tidy(entry.get("title", ""))),
        date=next(filter(None, days), None),
        tags=facts.tags_of([tidy(tag.get("label") or tag.get("term") or "") for tag in entry.get("tags", ())]),
        author=facts.author_of(entry.get("author_detail")) or facts.author_of(entry.get("author")),
        html=html,
        base=body.get("base") or address or "",
        summary=not contents and len(_words(html)) < WHOLE_TEXT,
        changed=moments.get("updated") or moments.get("published"),
    )


def _moment(written: Any, parsed: Any) -> str | None:
    """Return a moment as the list writes it, if that is ISO 8601, else its day and time in UTC."""
    if isinstance(written, str) and re.fullmatch(r"\s*\d{4}-\d\d-\d\d(?:[T ][\d:.,+Z-]{4,30})?\s*", written[:60]):
        return written.strip()
    with suppress(ValueError, TypeError, OverflowError):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", parsed) if parsed else None
    return None


def paragraphs(plain: str) -> str:
    """Return plain text as HTML."""
    return "".join(f"<p>{escape(part)}</p>" for part in re.split(r"\n\s*\n", plain) if part.strip())


def _json_feed(data: bytes, address: str, name: str) -> Feed:
    try:
        found = json.loads(decode(data, name))
        items = [_json_item(item, address) for item in found["items"] if isinstance(item, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadFile(f"{name}: this JSON file is damaged or no feed. Check where it came from.") from error
    return Feed(facts.unmarked(found.get("title")), items, address_of(found.get("next_url"), address))


def _json_item(item: dict[str, Any], address: str) -> Item:
    published, updated = (_moment(item.get(name), None) for name in ("date_published", "date_modified"))
    html, plain = item.get("content_html"), item.get("content_text") or item.get("summary")
    if not isinstance(html, str):
        html = paragraphs(plain) if isinstance(plain, str) else ""
    page = address_of(item.get("url") or item.get("external_url"), address) or address_of(item.get("id"), "") or None
    return Item(
        guid=str(item.get("id") or ""),
        address=page,
        title=facts.unmarked(item.get("title")),
        date=facts.iso_day(item.get("date_published") or item.get("date_modified")),
        tags=facts.tags_of(item.get("tags") or ()),
        author=facts.author_of(item.get("authors") or item.get("author")),
        html=html,
        base=address or page or "",
        summary="content_html" not in item and "content_text" not in item and len(_words(html)) < WHOLE_TEXT,
        changed=updated or published,
    )


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


def _wordpress(document: Document, data: bytes) -> Iterator[Item]:
    """Yield the posts and pages that were published; drafts, pictures, menus and comments are not posts."""
    published = False
    for entry in _parsed(data, "").entries:
        if entry.get("wp_status") != "publish" or entry.get("wp_post_type") not in ("post", "page"):
            continue
        if entry.get("wp_post_password"):
            continue
        published = True
        item = _item(entry)
        content = max((text.get("value") or "" for text in entry.get("content", ())), key=len, default="")
        yield replace(
            item,
            guid=str(entry.get("wp_post_name") or entry.get("wp_post_id") or item.guid),
            date=facts.iso_day(entry.get("wp_post_date")) or item.date,
            tags=_wordpress_tags(entry.get("tags", ())),
            html=classic_to_html(content),
        )
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
