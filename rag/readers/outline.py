"""What a fetched document lists: the posts of a feed or a sitemap, the feeds of a page, and whether a page is a post.

Runs in the worker process, without a network: what it is given may be made to do harm.
"""

from __future__ import annotations

import gzip
import io
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rag.addresses import canonical, same_host
from rag.errors import BadAddress, BadFile
from rag.readers import feeds
from rag.readers.decode import decode
from rag.readers.facts import unmarked, web_address
from rag.readers.feeds import address_of
from rag.readers.pandoc import html_tree
from rag.records import Document, Entry, Outline

EXPANDED_BYTES = 50_000_000  # what a packed sitemap may hold: the sitemaps' own standard says so
MOST_ENTRIES = 50_000  # of one feed or sitemap, by the same standard
MOST_LINKS = 5_000  # of a page
WHOLE_TEXTS = 1_000_000
"""Characters of HTML that are turned into Markdown for one feed, at 2 s for a million; beyond, pages are read."""
WHOLE_TEXTS_SECONDS = 8  # then pages are read, too: what is begun by then, at most 10 s more, must fit into 20
SHORT_PAGE = 1500
"""Characters below which a page with a password field, say, is that and no more: of 181 real articles none with more
than this is refused, whatever stands beside the text."""

_LOC = re.compile(r"<loc>\s*([^<]{1,2000}?)\s*</loc>", re.I)
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
_ENDED = re.compile(r"</(?:[\w-]+:)?(?:urlset|sitemapindex)\s*>")
_CHALLENGE = re.compile(
    r"cf-chl-|/cdn-cgi/challenge-platform|cf_chl_opt|_incapsula_resource|px-captcha|hcaptcha\.com", re.I
)
_SCRIPTED = re.compile(
    r"(?:enable|turn on|activate|requires?|needs?|without) javascript|javascript (?:aktivieren|activé)"
    r"|javascript (?:is|to be) (?:disabled|required|enabled)",
    re.I,
)
_BROWSER = "Save it in your browser and add the file."
_EMPTY = f"this page is empty, or nested too deeply to be read. {_BROWSER}"


def outline(document: Document) -> Outline:
    """Say what a document lists or leads to. Raise BadFile if it cannot be read."""
    data = _unpacked(document)
    root = feeds.root(data)
    if feeds.is_feed(data):
        return _feed(document, data)
    if root == "urlset":
        return Outline("sitemap", entries=tuple(_listed(document, data)))
    if root == "sitemapindex":
        return Outline("sitemap", sitemaps=tuple(entry.address for entry in _listed(document, data)))
    name = document.name.lower()
    if name.endswith((".txt", ".txt.gz")) and (entries := _lines(data)):
        return Outline("sitemap", entries=entries)
    named = name.endswith((".html", ".htm", ".xhtml")) and not data.startswith((b"%PDF", b"PK\3\4"))
    if root == "html" or (named and b"\0" not in data):
        return _page(document, data)
    return Outline("file")


def not_a_post(html: str) -> str:
    """Say why a web page is no post (a login, a missing page, a check for robots), ending with what to do; else ""."""
    tree = html_tree(html)
    return _reason(tree, html) if tree is not None else _EMPTY


def _unpacked(document: Document) -> bytes:
    try:
        data = Path(document.path).read_bytes() if document.path and not document.data else document.data
        if not data.startswith(b"\x1f\x8b"):
            return data
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:  # half a list is refused: the rest would vanish
            data = packed.read(EXPANDED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{document.name}: this file is damaged ({error}). Fetch it again.") from error
    if len(data) > EXPANDED_BYTES:
        raise BadFile(
            f"{document.name}: this file unpacks to more than {EXPANDED_BYTES / 1e6:g} MB. Unpack it and add its parts."
        )
    return data


def _feed(document: Document, data: bytes) -> Outline:
    feed = feeds.parse(document, data)
    entries: dict[str, Entry] = {}
    for item, text in feeds.texts(_with_whole_texts(feed.items[:MOST_ENTRIES])):
        if entry := _entry(document, item, text or ""):
            entries.setdefault(entry.address, entry)
    following = _address(feed.following, document.address)
    return Outline("feed", title=feed.title, entries=tuple(entries.values()), following=following)


def _with_whole_texts(items: Iterable[feeds.Item]) -> Iterator[feeds.Item]:
    """Yield items, without text where that is not the whole of it, or would take too long."""
    began, taken = time.monotonic(), 0
    for item in items:
        taken += len(item.html)
        room = taken <= WHOLE_TEXTS and time.monotonic() - began < WHOLE_TEXTS_SECONDS
        yield item if room and not item.summary and not feeds.cut_off(item) else replace(item, html="")


def _entry(document: Document, item: feeds.Item, text: str) -> Entry | None:
    address: str = _address(item.address, None)
    url: str | None = address
    if not address and text and item.guid:  # it has no page; the feed is all there is of it
        address = f"{document.address or document.source}#{quote(item.guid[:300], safe='')}"
        url = document.address
    if not address:
        return None
    if text and url and document.address and not same_host(url, document.address):
        text = ""  # what a feed says of another's page is no proof of its words: the page itself is read
    post = feeds.post_of(replace(item, address=web_address(url)), address, text) if text else None
    return Entry(address, item.title, item.changed, post)


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
    except (ParseError, ValueError, LookupError) as error:  # a bare "&" in one address must not cost all the others
        text = data[:EXPANDED_BYTES].decode("utf-8", "replace")
        if not _ENDED.search(text, len(text) - 200):  # what it did not come to would seem to have vanished
            raise BadFile(f"{document.name}: this sitemap is cut short. Try again later.") from error
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
    html = decode(data, document.name)
    tree = html_tree(html)
    if tree is None:
        return Outline("page", reason=_EMPTY)
    base = document.address or ""
    for element in tree.iter("base"):
        base = address_of(element.get("href"), base) or base
        break
    named = (
        address_of(link.get("href"), base)
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
        feeds=tuple(dict.fromkeys(feed for feed in named if feed))[:20],
        links=tuple(links),
        reason=_reason(tree, html),
    )


def _reason(tree: Any, html: str) -> str:
    text = _visible(tree)
    title = _title(tree)
    headings = [" ".join(heading.text_content().split())[:200] for heading in list(tree.iter("h1"))[:3]]
    short = len(text) < SHORT_PAGE
    names = [part.strip() for part in re.split(r"\s[|–—·»«‹›:-]\s|\s[|·»]|: ", title)[:6]] + [title]
    missing = _any(_MISSING, names), _any(_MISSING, headings)
    if all(missing) or (short and any(missing)):
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
    found = address_of(value, base or "")
    try:
        return canonical(found) if found else ""
    except BadAddress:
        return ""


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""
