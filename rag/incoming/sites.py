"""What lies at an address, a page, a feed or a whole site, and which posts a remembered one lists now.

Apart from `rag.incoming.fetch`, which knows nothing of blogs; and from the readers, which know nothing of networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Literal
from urllib.parse import urljoin, urlsplit

from rag.addresses import absolute, canonical, host_of, same_host
from rag.errors import BadAddress, BadFile, Gone
from rag.incoming.fetch import ACCEPT, Fetcher, Page, document
from rag.ports import Readers
from rag.records import Entry, Outline

Kind = Literal["page", "feed", "site"]

MAX_SITEMAPS = 50  # read for one site
MAX_PAGES = 10_000  # posts of one site; more than any blog that one person wrote
MAX_FEED_PARTS = 20  # of a feed that comes in parts
MAX_FEEDS = 4  # looked at for one page; the others are of its comments and its tags, as a rule
SAMPLES = 5

_LISTS = "application/rss+xml,application/atom+xml,application/feed+json,application/xml;q=0.9,*/*;q=0.8"
_SITEMAP_PATHS = ("/sitemap.xml", "/sitemap_index.xml", "/wp-sitemap.xml")
_SITEMAP_NAMED = re.compile(r"sitemap|\.xml(?:\.gz)?$|\.txt$", re.I)
_NO_POST = re.compile(  # a page of links to posts, or no page at all
    r"/(?:tags?|categor(?:y|ies)|authors?|labels?|wp-(?:admin|content|includes|json))(?:/|$)"
    r"|/(?:search|archives?|topics?|feeds?|rss|atom|login|wp-login)(?:\.html?|\.php)?/?$|/page/\d+/?$"
    r"|\.(?:xml|rss|atom|json|gz|jpe?g|png|gif|webp|avif|svg|ico|mp[34]|m4a|webm|css|js|woff2?)$",
    re.I,
)
_FRONT = re.compile(r"/?(?:index\.(?:html?|php))?", re.I)
_NUMBERED = re.compile(r"(?:p|page_id|post|id|story)=\w", re.I)  # WordPress without readable addresses: "/?p=17"
_NO_POST_MAP = re.compile(r"(?:categor|post_tag|tags?[-_.]|author|taxonom|users?[-_.]|image|video|product)[^/]*$", re.I)
_COMMENTS = re.compile(r"/comments?/|comments?\.(?:xml|rss)|/feed/?\?.*comment", re.I)


@dataclass(frozen=True)
class Finding:
    """Something that can be added: `location` is the address to remember, `count` how many posts it lists now, None
    where that is not known; `samples` are the titles, or the addresses, of a few."""

    kind: Kind
    location: str
    title: str = ""
    count: int | None = None
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The posts that a source lists now. `complete`: what is not among them is no longer there. A feed shows only its
    newest, and is never complete.

    `unchanged`: a feed said that it is the same as when its `etag` and `modified` were noted; then there is nothing
    else. `troubles` are parts of a source that could not be read, a sentence each.
    """

    entries: tuple[Entry, ...] = ()
    complete: bool = False
    unchanged: bool = False
    etag: str = ""
    modified: str = ""
    troubles: tuple[str, ...] = ()


def discover(address: str, fetcher: Fetcher, readers: Readers) -> tuple[Finding, ...]:
    """Say what lies at an address, first what the person most likely meant.

    Raise BadAddress if nothing there can be added.
    """
    look = _Look(fetcher, readers)
    asked = canonical(address)
    page, found = look.at(asked)
    here = canonical(page.address)
    if found.kind == "feed":
        if not found.entries:
            raise BadAddress(f"{asked}: this feed lists no posts. Give the blog's address instead.")
        return (_finding("feed", asked, found.title, found.entries),)
    if found.kind == "sitemap":
        listed = look.sitemaps([(page, found)])
        if not listed.entries:
            raise BadAddress(f"{asked}: this sitemap lists no posts. Give the blog's address instead.")
        return (_finding("site", here, host_of(here), listed.entries),)
    if found.kind == "file":
        return (Finding("page", here, found.title, 1),)
    return _around(here, found, look)


def listing(
    kind: Literal["feed", "site"],
    location: str,
    fetcher: Fetcher,
    readers: Readers,
    *,
    etag: str = "",
    modified: str = "",
    stop: Event | None = None,
) -> Listing:
    """List the posts of a remembered source. `etag` and `modified` are those of a feed's last listing.

    Raise BadAddress if it cannot be read, Gone if there is nothing any more, Stopped soon after `stop` is set.
    """
    look = _Look(fetcher, readers, stop)
    return look.feed(location, etag, modified) if kind == "feed" else look.site(location)


def _around(here: str, found: Outline, look: _Look) -> tuple[Finding, ...]:
    """Say what a page belongs to, and whether it is a post of its own."""
    front = bool(_FRONT.fullmatch(urlsplit(here).path)) and not urlsplit(here).query
    if found.reason and not front and not found.feeds:
        raise BadAddress(f"{here}: {found.reason}")
    feeds = look.feeds(found)
    mapped = look.mapped(here)
    near = _below(here, mapped.entries)
    if not mapped.entries and not feeds:
        near = _linked(here, found)
    wide = front or len(near) > 1 or any(len(_below(here, feed.entries)) > 1 for _, feed in feeds)
    sites = []
    if front or len(near) > 1:
        sites = [_finding("site", here, found.title, near)] if near else []
    elif mapped.entries:
        sites = [_finding("site", urljoin(here, "/"), host_of(here), mapped.entries)]
    lists = sites + [_finding("feed", location, feed.title, feed.entries) for location, feed in feeds]
    lists.sort(key=lambda finding: -(finding.count or 0))
    pages = [] if found.reason else [Finding("page", here, found.title, 1, (found.title or here,))]
    findings = (*lists, *pages) if wide else (*pages, *lists)
    if not findings:
        raise BadAddress(f"{here}: {found.reason}")
    return findings


@dataclass
class _Look:
    """One look around: what is fetched for it, and what could not be."""

    fetcher: Fetcher
    readers: Readers
    stop: Event | None = None
    troubles: list[str] = field(default_factory=list)
    missing: bool = False
    """Whether a list that another names is not there: what it named may all the same be."""

    def at(self, address: str, accept: str = ACCEPT, etag: str = "", modified: str = "") -> tuple[Page, Outline]:
        """Fetch an address and say what it holds; with `etag` or `modified` perhaps only that it has not changed."""
        page = self.fetcher.get(address, etag, modified, stop=self.stop, accept=accept)
        if page.status == 304:
            return page, Outline("file")
        got = document(page, canonical(page.address))
        try:
            return page, self.readers.outline(got)
        except BadFile as error:
            raise BadAddress(f"{address}: {str(error).removeprefix(f'{got.name}: ')}") from error

    def feed(self, location: str, etag: str, modified: str) -> Listing:
        """List a feed and the parts that follow it."""
        page, found = self.at(location, _LISTS, etag, modified)
        if page.status == 304:
            return Listing(unchanged=True)
        if found.kind != "feed":
            raise BadAddress(f"{location}: this is no longer a feed. Forget this source and add the blog's address.")
        entries = {entry.address: entry for entry in found.entries}
        seen, following = {location, page.address}, found.following
        while following and following not in seen and len(seen) <= MAX_FEED_PARTS and len(entries) < MAX_PAGES:
            seen.add(following)
            part = self._maybe(following) if host_of(following) == host_of(page.address) else None
            if part is None:
                break
            for entry in part[1].entries:
                entries.setdefault(entry.address, entry)
            following = part[1].following
        kept = tuple(entries.values())[:MAX_PAGES]
        return Listing(kept, etag=page.etag, modified=page.modified, troubles=tuple(self.troubles))

    def feeds(self, found: Outline) -> list[tuple[str, Outline]]:
        """Return the feeds with posts that a page names: (address, outline)."""
        feeds: dict[str, Outline] = {}
        for address in [address for address in found.feeds if not _COMMENTS.search(address)][:MAX_FEEDS]:
            looked = self._maybe(address)
            if looked and looked[1].kind == "feed" and looked[1].entries:
                same = [feed for feed in feeds.values() if feed.entries[0].address == looked[1].entries[0].address]
                if not same:  # RSS and Atom of one blog
                    feeds[canonical(address)] = looked[1]
        return list(feeds.items())

    def site(self, location: str) -> Listing:
        """List a site, or the part of it below a path: by its sitemaps, else by the links on its page."""
        if _SITEMAP_NAMED.search(urlsplit(location).path):
            page, found = self.at(location, _LISTS)
            if found.kind == "sitemap":
                return self.sitemaps([(page, found)])
        mapped = self.mapped(location)
        entries = _below(location, mapped.entries)
        if entries:
            return replace(mapped, entries=entries)
        if mapped.troubles:
            raise BadAddress(mapped.troubles[0])
        page, found = self.at(location)
        if not (entries := _linked(canonical(page.address), found)):
            raise BadAddress(
                f"{location}: {found.reason or 'this site lists no posts any more. Check it in your browser.'}"
            )
        return Listing(entries)

    def mapped(self, location: str) -> Listing:
        """List all that the sitemaps of a site's host name; () if it has none."""
        self.troubles.clear()
        named = []
        for address in self.fetcher.sitemaps(location, self.stop):
            with suppress(BadAddress):  # robots.txt may hold anything
                named.append(absolute(address, location))
        found = [got for address in named if (got := self._maybe(address)) and got[1].kind == "sitemap"]
        if not found and not self.troubles:
            first = urlsplit(location).path.split("/")[1]
            for path in (*_SITEMAP_PATHS, *([f"/{first}/sitemap.xml"] if first else [])):
                got = self._maybe(urljoin(location, path), quiet=True)
                if got and got[1].kind == "sitemap":
                    found = [got]
                    break
        return self.sitemaps(found, of=location)

    def sitemaps(self, found: list[tuple[Page, Outline]], of: str = "") -> Listing:
        """List what sitemaps name, and the sitemaps that they name: pages of one host that may be posts."""
        if not found:
            return Listing(troubles=tuple(self.troubles))
        of = of or found[0][0].address
        entries: dict[str, Entry] = {}
        looks: list[tuple[Page, Outline] | str] = [*found]
        seen = {canonical(page.address) for page, _ in found}
        for look in looks:  # which grows meanwhile
            if len(entries) > MAX_PAGES:
                break
            got = self._maybe(look) if isinstance(look, str) else look
            for entry in got[1].entries if got else ():
                if same_host(entry.address, of) and _may_be_post(entry.address):
                    entries.setdefault(entry.address, entry)
            for address in got[1].sitemaps if got else ():
                if address not in seen and not _NO_POST_MAP.search(urlsplit(address).path):
                    seen.add(address)
                    looks.append(address)
            if len(looks) > MAX_SITEMAPS or len(entries) > MAX_PAGES:
                full = f"{host_of(of)}: this site is larger than Footnote reads at once. Add its parts by path."
                self.troubles = [*(trouble for trouble in self.troubles if trouble != full), full]
                del looks[MAX_SITEMAPS:]
        return Listing(
            tuple(entries.values())[:MAX_PAGES],
            complete=not self.troubles and not self.missing,
            troubles=tuple(self.troubles),
        )

    def _maybe(self, address: str, quiet: bool = False) -> tuple[Page, Outline] | None:
        """Look at what need not be there; what keeps it from being read is noted, unless `quiet`."""
        try:
            return self.at(address, _LISTS)
        except BadAddress as error:
            if isinstance(error, Gone):
                self.missing = self.missing or not quiet
            elif not quiet:
                self.troubles.append(str(error))
            return None


def _finding(kind: Kind, location: str, title: str, entries: Sequence[Entry]) -> Finding:
    samples = tuple(entry.title or entry.address for entry in entries[:SAMPLES])
    return Finding(kind, location, title, len(entries), samples)


def _linked(here: str, found: Outline) -> tuple[Entry, ...]:
    """Return the pages of the same site, and below the same path, that a page links to."""
    links = (Entry(link) for link in found.links if link != here)
    return _below(here, [entry for entry in links if same_host(entry.address, here)][:MAX_PAGES])


def _below(here: str, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the possible posts below a page's path, the page itself left out."""
    folder = _folder(here)
    return tuple(
        entry
        for entry in entries
        if (parts := urlsplit(entry.address)).path.startswith(folder)
        and (parts.path.rstrip("/") != folder.rstrip("/") or parts.query)
        and _may_be_post(entry.address)
    )


def _folder(address: str) -> str:
    """Return the path below which a site's pages lie: "/blog" and "/blog/index.html" -> "/blog/"."""
    path = urlsplit(address).path
    folder, _, last = path.rpartition("/")
    return f"{folder}/" if "." in last or not last else f"{path}/"


def _may_be_post(address: str) -> bool:
    parts = urlsplit(address)
    if _FRONT.fullmatch(parts.path):
        return bool(_NUMBERED.match(parts.query))
    return not _NO_POST.search(parts.path)
