"""What a fetched document lists: the posts of a feed or a sitemap, the feeds of a page, and whether a page is a post.

Runs in the worker process, without a network: what it is given may be made to do harm.
"""

from __future__ import annotations

import json
import re
import secrets
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rag.addresses import absolute, canonical
from rag.errors import BadAddress, BadFile
from rag.readers.facts import author_of, iso_day, tags_of, unmarked, web_address
from rag.records import Document, Entry, Outline, Post

EXPANDED_BYTES = 50_000_000  # what a packed sitemap may hold: the sitemaps' own standard says so
MOST_ENTRIES = 50_000  # of one feed or sitemap, by the same standard
MOST_LINKS = 5_000  # of a page
WHOLE_TEXTS = 1_000_000
"""Characters of HTML that are turned into Markdown for one feed, at 2 s for a million; beyond, pages are read."""
WHOLE_TEXT = 600
"""Characters from which a feed's description counts as the post itself: of 285 summaries that the authors of a blog
wrote, the longest had 553; of its 510 posts 2, and of 577 short notes 3, had fewer than 500."""
SHORT_PAGE = 1500
"""Characters below which a page with a password field, say, is that and no more: of 181 real articles none with more
than this is refused, whatever stands beside the text."""

_BATCH = 300_000  # characters of HTML for one start of pandoc, which takes 10 ms
_HEAD = 65_536  # bytes in which a document shows what it is
_PREAMBLE = re.compile(rb"\s+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.S | re.I)
_ROOT = re.compile(rb"<(?:[\w.-]+:)?([\w.-]+)")
_LOC = re.compile(r"<loc>\s*([^<]{1,2000}?)\s*</loc>", re.I)
_CUT_OFF = re.compile(
    r"(?:…|\.\.\.|\[…\]|\[\.\.\.\]|read (?:more|the rest|on)|continue reading|keep reading|weiterlesen|mehr lesen|"
    r"lire la suite|leer más|seguir leyendo|leia mais|lees (?:meer|verder)|続きを読む)[^.!?]{0,120}$",
    re.I,
)
_APPEARED = re.compile(r"\s*The post .{1,800} appeared first on .{1,600}\Z")  # WordPress adds it to each entry
_FEED_TYPES = re.compile(r"application/(?:rss|atom|rdf|feed)\+(?:xml|json)|application/json|text/xml", re.I)

_LOGIN = re.compile(r"\b(?:(?:log|sign) ?in|login|password|anmelden|passwort|connexion|iniciar sesión)\b", re.I)
_LOGIN_NAME = re.compile(
    r"(?:please )?(?:(?:log|sign) ?in|login|anmelden|anmeldung|connexion|iniciar sesión)"
    r"(?: page| required| (?:to|with) .*)?",
    re.I,
)
_MISSING = re.compile(
    r"(?:oops|sorry|whoops|uh[- ]oh)?[\s!,.:…-]*(?:(?:http )?(?:error|fehler)\s*:?\s*)?"
    r"(?:404(?:\s*[-:–—|.,]*\s*(?:error|not found|page not found|page doesn.t exist))?"
    r"|(?:this |the |that )?(?:page|post|article|content|nothing)(?: (?:was|is|could|can|you.{0,40}))?"
    r"(?:n.t|not| not)?(?: be)? found(?: here)?|not found|page (?:does not|doesn.t) exist"
    r"|(?:page |error )?404|seite (?:wurde )?nicht gefunden|page introuvable|página no encontrada|pagina non trovata"
    r"|página não encontrada|pagina niet gevonden)[\s!.:…-]*",
    re.I,
)
_CHECK = re.compile(
    r"just a moment|attention required|checking (?:your browser|if the site)|verify(?:ing)? (?:you are|that you are)"
    r"|are you (?:a )?(?:human|robot)|ddos-guard|security check|access (?:to this page has been )?denied|captcha"
    r"|request unsuccessful|pardon our interruption|bot verification|one moment, please",
    re.I,
)
_CHALLENGE = re.compile(
    r"cf-chl-|/cdn-cgi/challenge-platform|cf_chl_opt|_incapsula_resource|px-captcha|hcaptcha\.com", re.I
)
_SCRIPTED = re.compile(
    r"(?:enable|turn on|activate|requires?|needs?|without) javascript|javascript (?:aktivieren|activé)"
    r"|javascript (?:is|to be) (?:disabled|required|enabled)",
    re.I,
)
_BROWSER = "Save it in your browser and add the file."


def outline(document: Document) -> Outline:
    """Say what a document lists or leads to. Raise BadFile if it cannot be read."""
    data = _unpacked(document)
    head = _head(data)
    root = match.group(1).lower() if (match := _ROOT.match(head)) else b""
    if root in (b"rss", b"feed", b"rdf"):
        return _feed(document, data)
    if root == b"urlset":
        return Outline("sitemap", entries=tuple(_listed(document, data)))
    if root == b"sitemapindex":
        return Outline("sitemap", sitemaps=tuple(entry.address for entry in _listed(document, data)))
    if head.startswith(b"{") and (found := _json_feed(document, data)):
        return found
    if document.name.lower().endswith((".txt", ".txt.gz")) and (entries := _lines(data)):
        return Outline("sitemap", entries=entries)
    named = document.name.lower().endswith((".html", ".htm", ".xhtml"))
    if root == b"html" or (named and b"\0" not in data[:_HEAD] and not head.startswith((b"%PDF", b"PK\3\4"))):
        return _page(document, data)
    return Outline("file")


def not_a_post(html: str) -> str:
    """Say why a web page is no post (a login, a missing page, a check for robots), ending with what to do; else ""."""
    tree = _tree(html)
    return _reason(tree, html) if tree is not None else f"this page is empty. {_BROWSER}"


def _unpacked(document: Document) -> bytes:
    try:
        data = Path(document.path).read_bytes() if document.path and not document.data else document.data
        if not data.startswith(b"\x1f\x8b"):
            return data
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        data = unpack.decompress(data, EXPANDED_BYTES + 1)
    except (OSError, zlib.error) as error:
        raise BadFile(f"{document.name}: this file is damaged ({error}). Fetch it again.") from error
    if len(data) > EXPANDED_BYTES:
        raise BadFile(
            f"{document.name}: this file unpacks to more than {EXPANDED_BYTES / 1e6:g} MB. Unpack it and add its parts."
        )
    return data


def _head(data: bytes) -> bytes:
    """Return the beginning of a document without what may stand before its first element."""
    head = data[:_HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "replace").encode()
    head = head.removeprefix(b"\xef\xbb\xbf")
    while match := _PREAMBLE.match(head):
        head = head[match.end() :]
    return head


def _feed(document: Document, data: bytes) -> Outline:
    # imported here: only feeds need it
    import feedparser

    base = {"content-location": document.address} if document.address else {}
    # as a stream: bytes of its own it would take for a file's name
    found = feedparser.parse(BytesIO(data.lstrip()), response_headers=base)
    links = {link.get("rel"): link.get("href") for link in found.feed.get("links", []) if link.get("href")}
    return Outline(
        "feed",
        title=unmarked(found.feed.get("title")),
        entries=_entries(document, map(_from_feed, found.entries)),
        following=_address(links.get("next") or links.get("prev-archive"), document.address),
    )


def _json_feed(document: Document, data: bytes) -> Outline | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    items = found.get("items") if isinstance(found, dict) else None
    if not isinstance(items, list) or "jsonfeed.org" not in str(found.get("version", ""))[:200]:
        return None
    return Outline(
        "feed",
        title=unmarked(found.get("title")),
        entries=_entries(document, (_from_json(item) for item in items if isinstance(item, dict))),
        following=_address(found.get("next_url"), document.address),
    )


@dataclass(frozen=True)
class _Draft:
    """What a feed says of a post; `html` is all or the beginning of its text, "" if there is none of it."""

    link: Any
    guid: Any
    title: Any
    html: str
    day: str | None
    changed: str | None
    author: str | None
    tags: tuple[str, ...]


def _entries(document: Document, drafts: Iterable[_Draft]) -> tuple[Entry, ...]:
    listed = list(islice(drafts, MOST_ENTRIES))
    texts = _texts([draft.html for draft in listed], document.address or "")
    entries: dict[str, Entry] = {}
    for draft, text in zip(listed, texts, strict=True):
        entry = _entry(document, draft, text)
        if entry is not None:
            entries.setdefault(entry.address, entry)
    return tuple(entries.values())


def _from_feed(item: Any) -> _Draft:
    contents = [part for part in item.get("content", []) if part.get("value")]
    body = max(contents, key=lambda part: len(part["value"]), default=None)
    if body is None and len(_words(item.get("summary", ""))) >= WHOLE_TEXT:
        body = item.get("summary_detail") or {"value": item["summary"]}
    published, updated = (
        _moment(item[name], item.get(f"{name}_parsed")) if name in item else None for name in ("published", "updated")
    )
    body = body or {"value": ""}
    return _Draft(
        link=item.get("link"),
        guid=item.get("id"),
        title=item.get("title"),
        html=_paragraphs(body["value"]) if body.get("type") == "text/plain" else body["value"],
        day=iso_day(item.get("published")) or iso_day(published) or iso_day(updated),
        changed=updated or published,
        author=author_of(item.get("author_detail")) or author_of(item.get("author")),
        tags=tags_of([tag.get("label") or tag.get("term") for tag in item.get("tags", [])]),
    )


def _from_json(item: Mapping[str, Any]) -> _Draft:
    html, text = item.get("content_html"), item.get("content_text")
    if not isinstance(html, str):
        html = _paragraphs(text) if isinstance(text, str) else ""
    published, updated = (_moment(item.get(name), None) for name in ("date_published", "date_modified"))
    return _Draft(
        link=item.get("url") or item.get("external_url"),
        guid=item.get("id"),
        title=item.get("title"),
        html=html,
        day=iso_day(published) or iso_day(updated),
        changed=updated or published,
        author=author_of(item.get("authors") or item.get("author")),
        tags=tags_of(item.get("tags")),
    )


def _entry(document: Document, draft: _Draft, text: str) -> Entry | None:
    address = _address(draft.link, document.address) or _address(draft.guid, None)
    url: str | None = address
    if not address and text and isinstance(draft.guid, str):  # it has no page; the feed is all there is of it
        address = f"{document.address or document.source}#{quote(draft.guid[:300], safe='')}"
        url = document.address
    if not address:
        return None
    title = unmarked(draft.title)
    post = None
    if text:
        post = Post(address, title or "Untitled", text, draft.day, web_address(url), draft.tags, draft.author)
    return Entry(address, title, draft.changed, post)


def _texts(htmls: Sequence[str], base: str) -> list[str]:
    """Return each entry's HTML as Markdown, "" for one that is only the beginning of a post."""
    texts = [""] * len(htmls)
    batch: dict[int, str] = {}
    taken = 0
    for number, html in enumerate(htmls):
        taken += len(html)
        if taken > WHOLE_TEXTS:
            break
        if _is_whole(html):
            batch[number] = html
        if sum(map(len, batch.values())) > _BATCH:
            _convert(batch, base, texts)
            batch = {}
    _convert(batch, base, texts)
    return texts


def _convert(batch: Mapping[int, str], base: str, texts: list[str]) -> None:
    """Put each fragment's Markdown in its place; one start of pandoc for all of them."""
    # imported here: only feeds that carry their posts need it
    from rag.readers.pandoc import fragment_to_markdown

    if not batch:
        return
    mark = secrets.token_hex(12)  # which no feed can know, and so none can pass words of one post off as another's
    joined = "".join(f"<p>{mark}</p>{_closed(html, base)}" for html in batch.values())
    try:
        parts = fragment_to_markdown(joined, base).split(mark)[1:]
    except BadFile:  # their pages may still be read
        return
    for number, part in zip(batch, parts if len(parts) == len(batch) else [], strict=False):
        texts[number] = _unsigned(part.strip()).strip()


def _closed(html: str, base: str) -> str:
    """Return HTML with every element in it closed and its links whole."""
    from lxml.html import tostring  # type: ignore[import-untyped,unused-ignore]

    tree = _tree(f"<body>{html}")
    if tree is None:
        return ""
    if base:
        tree.make_links_absolute(base, resolve_base_href=False, handle_failures="ignore")
    for body in tree.iterchildren("body"):
        body.tag = "div"
    # a stray "</body>" leaves some beside the body
    return "".join(str(tostring(part, encoding="unicode")) for part in tree)


def _is_whole(html: str) -> bool:
    words = _unsigned(_words(html)).rstrip(" »→>›")
    return any(letter.isalnum() for letter in words) and not _CUT_OFF.search(words[-200:])


def _unsigned(text: str) -> str:
    return text[:-1500] + _APPEARED.sub("", text[-1500:])


def _words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^<>]*>", " ", html)).split())


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in re.split(r"\n\s*\n", text) if part.strip())


def _moment(written: Any, parsed: Any) -> str | None:
    """Return a moment as the list writes it, if that is ISO 8601, else its day and time in UTC."""
    if isinstance(written, str) and re.fullmatch(r"\s*\d{4}-\d\d-\d\d(?:[T ][\d:.,+Z-]{4,30})?\s*", written[:60]):
        return written.strip()
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", parsed) if parsed else None
    except (ValueError, TypeError, OverflowError):
        return None


def _listed(document: Document, data: bytes) -> Iterator[Entry]:
    """Yield what a sitemap lists."""
    # imported here: only sitemaps need it
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        rows = [{_local(field.tag): field.text or "" for field in row} for row in fromstring(data.strip())]
    except DefusedXmlException as error:
        raise BadFile(
            f"{document.name}: this sitemap defines entities, as attacks do, and was not read. Give the blog's feed."
        ) from error
    except (ParseError, ValueError, LookupError):  # a bare "&" in one address must not cost all the others
        text = data[:EXPANDED_BYTES].decode("utf-8", "replace")
        rows = [{"loc": unescape(match.group(1))} for match in _LOC.finditer(text)]
    seen = set()
    for row in rows[:MOST_ENTRIES]:
        address = _address(row.get("loc"), document.address)
        if address and address not in seen:
            seen.add(address)
            changed = row.get("lastmod", "").strip()
            yield Entry(address, date=changed if re.fullmatch(r"\d{4}-\d\d[\dT :.,+Z-]{0,30}", changed) else None)


def _lines(data: bytes) -> tuple[Entry, ...]:
    """Return the addresses of a sitemap in plain text, () if any line is something else."""
    lines = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    if not all(line.startswith(("http://", "https://")) and " " not in line for line in lines):
        return ()
    addresses = (_address(line, None) for line in lines[:MOST_ENTRIES])
    return tuple(Entry(address) for address in dict.fromkeys(addresses) if address)


def _page(document: Document, data: bytes) -> Outline:
    from rag.readers.decode import decode

    html = decode(data, document.name)
    tree = _tree(html)
    if tree is None:
        return Outline("page", reason=f"this page is empty. {_BROWSER}")
    base = document.address or ""
    for element in tree.iter("base"):
        base = _absolute(element.get("href"), base) or base
        break
    feeds = (
        _absolute(link.get("href"), base)
        for link in tree.iter("link")
        if "alternate" in (link.get("rel") or "").lower().split()
        and _FEED_TYPES.match((link.get("type") or "").strip())
    )
    links: dict[str, None] = {}
    for element in tree.iter("a"):
        if len(links) < MOST_LINKS and (address := _address(element.get("href"), base)):
            links[address] = None
    return Outline(
        "page",
        title=_title(tree),
        feeds=tuple(dict.fromkeys(feed for feed in feeds if feed))[:20],
        links=tuple(links),
        reason=_reason(tree, html),
    )


def _tree(html: str) -> Any:
    # imported here: sitemaps and feeds do without it
    from lxml import etree  # type: ignore[import-untyped,unused-ignore]
    from lxml.html import HTMLParser, document_fromstring  # type: ignore[import-untyped,unused-ignore]

    try:
        # its own declaration is no longer true of text that has been decoded
        return document_fromstring(html.encode("utf-8", "replace"), parser=HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError, AssertionError):
        return None


def _reason(tree: Any, html: str) -> str:
    text = _visible(tree)
    title = _title(tree)
    headings = [" ".join(heading.text_content().split())[:200] for heading in list(tree.iter("h1"))[:3]]
    short = len(text) < SHORT_PAGE
    names = [part.strip() for part in re.split(r"\s[|–—·»«‹›:-]\s|\s[|·»]|: ", title)[:6]] + [title]
    if _any(_MISSING, names) and (short or _any(_MISSING, headings)):
        return "the site says that this page does not exist. Check the address."
    if short and _any(_MISSING, headings):
        return "the site says that this page does not exist. Check the address."
    if short and (_CHECK.match(title) or (_CHALLENGE.search(html) and _CHECK.search(text + title))):
        return f"the site checks that a person is asking. {_BROWSER}"
    password = any((field.get("type") or "").lower() == "password" for field in tree.iter("input"))
    if short and (_any(_LOGIN_NAME, names) or (password and _LOGIN.search(f"{title} {text}"))):
        return "the site asks for a login. Log in with your browser, save the page there and add the file."
    shown = [script.text_content() for script in tree.iter("noscript")]
    if len(text) < 400 and (_SCRIPTED.search(text) or any(map(_SCRIPTED.search, shown))):
        return f"this page shows its text only where JavaScript runs. {_BROWSER}"
    if not any(letter.isalnum() for letter in text):
        return f"there is no text on this page. {_BROWSER}"
    return ""


def _any(pattern: re.Pattern[str], texts: Iterable[str]) -> bool:
    return any(pattern.fullmatch(text) for text in texts if text)


def _title(tree: Any) -> str:
    for element in tree.iter("title"):
        return unmarked(element.text_content())
    return ""


def _visible(tree: Any) -> str:
    """Return the text that a page shows, as one line."""
    hidden = {"script", "style", "noscript", "template", "head", "svg"}
    parts: list[str] = []
    stack = [(tree, False)]
    while stack:  # a stack of our own: hostile pages are nested deeper than Python can call
        element, tail = stack.pop()
        if tail:
            parts.append(element.tail or "")
            continue
        stack.append((element, True))
        if isinstance(element.tag, str) and element.tag not in hidden:
            parts.append(element.text or "")
            stack.extend((child, False) for child in reversed(element))
    return " ".join(" ".join(parts).split())


def _address(value: Any, base: str | None) -> str:
    """Return the canonical form of an address that a document gives, "" if it is none."""
    found = _absolute(value, base)
    try:
        return canonical(found) if found else ""
    except BadAddress:
        return ""


def _absolute(value: Any, base: str | None) -> str:
    """Return a whole address as it is to be asked for, "" if it is none."""
    if not isinstance(value, str) or not value.strip() or value.strip().startswith("#"):
        return ""
    if not base and not value.strip().lower().startswith(("http://", "https://")):
        return ""
    try:
        return absolute(value.strip(), base or "")
    except BadAddress:
        return ""


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""
