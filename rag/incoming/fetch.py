"""Addresses -> bytes, politely and within limits; no server can make Footnote hang, or reach into the person's network.

One door, `Fetcher.get`. The host is looked up once, every address it has is checked, and the connection goes to one of
those: there is no second lookup that could answer otherwise. robots.txt is kept, a host gets one request at a time.
"""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from threading import Event
from urllib.parse import urlsplit

import httpcore

from rag.addresses import absolute, canonical, host_of
from rag.errors import BadAddress, Gone
from rag.incoming.wire import STEP, Clock, Guard, NoHost, Shut, Untrusted, trust
from rag.jobs import Stopped
from rag.records import Document

__all__ = ["Fetcher", "Page", "canonical", "document"]

USER_AGENT = "Footnote/0.1 (+reads the blogs their readers ask for)"
ROBOT = "Footnote"  # the name under which robots.txt may address it
ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

MAX_REDIRECTS = 5
RETRIES = 3  # how often "come back in n seconds" is obeyed before the page is given up
LONGEST_CRAWL_DELAY = 10.0  # seconds; some robots.txt ask for an hour
ROBOTS_LAST = 3600.0  # seconds for which a robots.txt holds
TROUBLE_LASTS = 60.0  # seconds before a robots.txt that could not be read is asked for again
ROBOTS_BYTES = 500_000  # what RFC 9309 asks a crawler to read at least
LONGEST_REST = 86_400.0  # seconds; a server may not shut a host for longer
KEEP_ALIVE = 4.0  # seconds; many servers close after 5, and a request must not meet a closing connection

PAGE_BYTES = 25_000_000  # that an answer may hold, expanded
_INTERNET_ONLY = "Footnote fetches from the internet only; set FOOTNOTE_ALLOW_PRIVATE=1 for a site on your own network."
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_NO_TEXT = ("image/", "audio/", "video/", "font/")
_CHARSETS = re.compile(  # only these: some codecs of Python's take minutes on bytes made for it
    r"(?:iso-?8859-\d+|latin-?1|windows-\d+|cp\d+|shift[-_]jis|euc-(?:jp|kr)|big5|gb(?:k|2312|18030)|koi8-[ru]|utf-?16(?:[lb]e)?)"
)
_PROGRAMS = (".php", ".asp", ".aspx", ".jsp", ".cgi")  # endings that say how a page is made, not what it is
_ENDINGS = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "application/pdf": ".pdf",
    "application/epub+zip": ".epub",
    "application/rss+xml": ".xml",
    "application/atom+xml": ".xml",
    "application/rdf+xml": ".xml",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "application/feed+json": ".json",
    "application/json": ".json",
    "application/zip": ".zip",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "multipart/related": ".mhtml",
}


@dataclass(frozen=True)
class Page:
    """What an address answered: `status` is 200, or 304 with no data where nothing has changed.

    `address` is where it was found after redirects. `charset` is what the server says of its
    text, "" if it says nothing.
    """

    address: str
    status: int
    data: bytes
    media_type: str
    charset: str
    etag: str
    modified: str


def document(page: Page, source: str) -> Document:
    """Make a document of a page: its name's ending says the format, by media type, else by path, else .html.

    Text in a character set that only the server named becomes UTF-8.
    """
    data = page.data
    if page.media_type in ("text/html", "text/plain", "text/markdown") and _CHARSETS.fullmatch(page.charset):
        # with its mark in front, so that no line in the page can say otherwise
        encoding = "cp1252" if page.charset in ("iso-8859-1", "latin1", "latin-1") else page.charset
        with suppress(LookupError):  # "cp9999" is none
            data = data.decode(encoding, "replace").encode("utf-8-sig")
    return Document(source=source, name=_name(page), data=data, address=page.address)


class Fetcher:
    """Fetches pages. Safe to use from several threads; a host still gets one request at a time.

    `delay`: seconds between two requests to a host, more if its robots.txt asks for more. `seconds`: time for one
    request, whatever the server does. `max_bytes`: the most that an answer may hold, expanded. `pause`: seconds before
    a failed request is tried once more. `patience`: the longest "come back later" that is waited for.
    `allow_private` lets it reach this machine and the network around it.
    """

    def __init__(
        self,
        allow_private: bool = False,
        delay: float = 0.5,
        *,
        seconds: float = 30.0,
        max_bytes: int = PAGE_BYTES,
        pause: float = 2.0,
        patience: float = 60.0,
    ) -> None:
        self._delay, self._seconds, self._max_bytes = delay, seconds, max_bytes
        self._pause, self._patience = pause, patience
        self._clock = Clock()
        self._pool = httpcore.ConnectionPool(
            ssl_context=trust(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=Guard(self._clock, allow_private),
        )
        self._hosts: dict[str, _Host] = {}
        self._rules: dict[str, _Rules] = {}
        self._lock = threading.Lock()

    def get(
        self, address: str, etag: str = "", modified: str = "", stop: Event | None = None, accept: str = ACCEPT
    ) -> Page:
        """Fetch a page. With `etag` or `modified` of an earlier one the answer may be 304: it is the same still.

        Raise Gone if there is nothing at the address, BadAddress if it cannot or must not be fetched, and Stopped soon
        after `stop` is set.
        """
        here = absolute(address)
        headers = {"Accept": accept, **_conditions(etag, modified)}
        seen = {here}
        for _ in range(MAX_REDIRECTS + 1):
            self._heed_robots(here, stop)
            answer = self._ask(here, headers, stop)
            target = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not target:
                return _page(here, answer, conditional=bool(etag or modified))
            here = _target(here, target)
            if here in seen:
                raise BadAddress(f"{address}: this address leads back to itself. Check it in your browser.")
            seen.add(here)
        raise BadAddress(
            f"{address}: it leads on more than {MAX_REDIRECTS} times. Open it in your browser and give the address "
            "at which you end up."
        )

    def sitemaps(self, address: str, stop: Event | None = None) -> tuple[str, ...]:
        """Return the sitemaps that the robots.txt of an address's host names."""
        return self._rules_for(absolute(address), stop).sitemaps

    def close(self) -> None:
        """Close the connections that are still open."""
        self._pool.close()

    def _heed_robots(self, address: str, stop: Event | None) -> None:
        rules = self._rules_for(address, stop)
        if rules.trouble:
            raise BadAddress(f"{address}: {rules.trouble}")
        if not rules.allow(address):
            raise BadAddress(
                f"{address}: the site's robots.txt asks programs not to read this page. Save it in your browser and "
                "add the file."
            )

    def _rules_for(self, address: str, stop: Event | None) -> _Rules:
        parts = urlsplit(address)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            rules = self._rules.setdefault(origin, _Rules())
        with _held(rules.lock, stop):
            if time.monotonic() >= rules.until:
                self._read_robots(f"{origin}/robots.txt", rules, stop)
                self._host(address).crawl_delay = rules.crawl_delay
        return rules

    def _read_robots(self, address: str, rules: _Rules, stop: Event | None) -> None:
        here = address
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = self._ask(here, {"Accept": "text/plain,*/*;q=0.5"}, stop)
                target = answer.headers.get("location", "")
                if answer.status not in _REDIRECTS or not target:
                    break
                here = _target(here, target)
        except BadAddress as error:
            rules.shut(str(error).removeprefix(f"{here}: "))
            return
        if answer.status >= 500:
            rules.shut(
                f"the site's robots.txt cannot be read just now (it answers {answer.status}), so nothing is fetched "
                "from there. Try again later."
            )
        else:  # RFC 9309: a robots.txt that is not there, or leads nowhere, forbids nothing
            rules.read(answer.data if answer.status in (200, 203) else b"")

    def _ask(self, address: str, headers: dict[str, str], stop: Event | None) -> _Answer:
        """Make one request, and again where the server asks to wait or fails once."""
        host = self._host(address)
        waited, failed = 0, False
        while True:
            try:
                with self._turn(host, address, stop):
                    answer = self._exchange(address, headers, stop)
            except _Broken:
                if failed:
                    raise
                answer = None
            rest = _rest(answer, self._pause * 2**waited)
            if rest is not None:
                waited += 1
                host.rest(rest)
                if rest > self._patience or waited > RETRIES:
                    host.close(rest)
                    raise _come_back(address, host)
            elif failed or (answer is not None and answer.status < 500):
                assert answer is not None  # a second break has been raised
                return answer
            else:
                failed = True
                host.rest(self._pause)

    def _host(self, address: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(host_of(address), _Host())

    @contextmanager
    def _turn(self, host: _Host, address: str, stop: Event | None) -> Iterator[None]:
        """Wait until it is this request's turn, and let the next one wait for its delay."""
        with _held(host.lock, stop):
            if time.time() < host.closed_until:
                raise _come_back(address, host)
            while (wait := host.next_at - time.monotonic()) > 0:
                _pause(wait, stop)
            try:
                yield
            finally:
                host.rest(max(self._delay, host.crawl_delay))

    def _exchange(self, address: str, headers: dict[str, str], stop: Event | None) -> _Answer:
        parts = urlsplit(address)
        sent = {"Host": parts.netloc, "User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate"}
        self._clock.start(self._seconds, stop)
        try:
            with self._pool.stream(
                "GET",
                httpcore.URL(
                    scheme=parts.scheme.encode(),
                    host=(parts.hostname or "").encode(),
                    port=parts.port,
                    target=(parts.path + (f"?{parts.query}" if parts.query else "")).encode(),
                ),
                headers=[(name.encode(), value.encode()) for name, value in {**sent, **headers}.items()],
                extensions={"timeout": {"pool": self._seconds}},
            ) as response:
                answer = _Answer(response.status, _headers(response.headers))
                if answer.status in (200, 203, 304) and not answer.media_type.startswith(_NO_TEXT):
                    answer = replace(answer, data=self._body(response, answer, address))
                return answer
        except Shut as error:
            raise BadAddress(f"{address}: it leads to {error} address. {_INTERNET_ONLY}") from error
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise self._sentence(address, error) from error

    def _body(self, response: httpcore.Response, answer: _Answer, address: str) -> bytes:
        coding = answer.headers.get("content-encoding", "").strip().lower()
        length = answer.headers.get("content-length", "")
        chunks = response.iter_stream()
        try:
            if length.isdigit() and len(length) < 20 and int(length) > self._max_bytes:
                raise _TooLong
            if coding in ("", "identity"):
                return _joined(chunks, self._max_bytes)
            if coding in ("gzip", "x-gzip", "deflate"):
                return _expanded(chunks, coding, self._max_bytes)
        except _TooLong:
            raise BadAddress(
                f"{address}: it holds more than {self._max_bytes / 1e6:g} MB, too much for a post. Save the part that "
                "you want as a file and add that."
            ) from None
        except zlib.error as error:
            raise _Broken(f"{address}: its text arrived damaged ({error}). Try again later.") from error
        raise BadAddress(
            f"{address}: it is packed in a way that Footnote does not read ({coding[:40]}). Save it in your browser "
            "and add the file."
        )

    def _sentence(self, address: str, error: Exception) -> BadAddress:
        host = host_of(address)
        if isinstance(error, Untrusted):
            return BadAddress(
                f"{address}: {host} does not prove who it is ({error}), so nothing was fetched. Check the address."
            )
        if isinstance(error, NoHost):
            return BadAddress(
                f"{address}: there is no host called {host}, or the network is down. Check the address and try again."
            )
        if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
            return BadAddress(f"{address}: {host} does not answer. Check the address, or try again later.")
        if isinstance(error, httpcore.TimeoutException):
            return BadAddress(
                f"{address}: it took longer than {self._seconds:g} seconds, and was given up. Try again later, or save "
                "the page in your browser and add the file."
            )
        return _Broken(f"{address}: the connection broke off before all was there. Try again later.")


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    data: bytes = b""

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        match = re.search(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", self.headers.get("content-type", ""), re.I)
        return match.group(1).lower() if match else ""


class _Host:
    """Whose turn it is at a host, and when the next one may be."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.next_at = 0.0  # time.monotonic()
        self.closed_until = 0.0  # time.time(): it is shown to the person
        self.crawl_delay = 0.0

    def rest(self, seconds: float) -> None:
        self.next_at = max(self.next_at, time.monotonic() + seconds)

    def close(self, seconds: float) -> None:
        self.closed_until = time.time() + seconds


class _Rules:
    """A robots.txt, or what kept it from being read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = 0.0
        self.trouble = ""
        self.sitemaps: tuple[str, ...] = ()
        self.crawl_delay = 0.0
        self.allow: Callable[[str], bool] = lambda _address: True

    def shut(self, trouble: str) -> None:
        self.trouble, self.sitemaps, self.until = trouble, (), time.monotonic() + TROUBLE_LASTS

    def read(self, data: bytes) -> None:
        # imported here: a command that fetches nothing does without it
        from protego import Protego

        parsed = Protego.parse(_for_us(data[:ROBOTS_BYTES].decode("utf-8-sig", "replace")))
        self.allow = lambda address: bool(parsed.can_fetch(address, ROBOT))
        self.crawl_delay = min(max(parsed.crawl_delay(ROBOT) or 0.0, 0.0), LONGEST_CRAWL_DELAY)
        self.sitemaps = tuple(dict.fromkeys(parsed.sitemaps))[:50]
        self.trouble, self.until = "", time.monotonic() + ROBOTS_LAST


class _TooLong(Exception):
    """More bytes than are allowed."""


class _Broken(BadAddress):
    """A failure that may be gone a moment later."""


@contextmanager
def _held(lock: threading.Lock, stop: Event | None) -> Iterator[None]:
    while not lock.acquire(timeout=STEP):
        _pause(0, stop)
    try:
        _pause(0, stop)
        yield
    finally:
        lock.release()


def _pause(seconds: float, stop: Event | None) -> None:
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Stopped


def _conditions(etag: str, modified: str) -> dict[str, str]:
    conditions = {"If-None-Match": etag, "If-Modified-Since": modified}
    return {name: value for name, value in conditions.items() if value and value.isprintable() and value.isascii()}


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        shown = re.sub(r"[\0-\x1f\x7f-\x9f]", "", value.decode("latin-1"))  # a server's words may reach a terminal
        headers.setdefault(name.decode("latin-1").lower(), shown.strip())
    return headers


def _target(here: str, location: str) -> str:
    try:
        text = location.encode("latin-1").decode("utf-8")  # some servers write addresses in plain UTF-8
    except UnicodeError:
        text = location
    try:
        return absolute(text, here)
    except BadAddress as error:
        raise BadAddress(f"{here}: it leads to an address that cannot be fetched. {error}") from error


def _page(address: str, answer: _Answer, conditional: bool) -> Page:
    """Return the page that an answer holds, or raise what its status means."""
    status = 200 if answer.status == 203 else answer.status
    browser = "Save it in your browser and add the file."
    if status in (404, 410):
        raise Gone(f"{address}: there is no such page ({status}). Check the address.")
    if answer.headers.get("cf-mitigated", "").lower() == "challenge":
        raise BadAddress(f"{address}: the site checks that a person is asking (Cloudflare). {browser}")
    if status in (401, 407):
        raise BadAddress(f"{address}: the site asks for a login ({status}). {browser}")
    if status in (403, 451):
        raise BadAddress(f"{address}: the site refuses to show this page to programs ({status}). {browser}")
    if status >= 500:
        raise BadAddress(f"{address}: the site is out of order ({status}). Try again later.")
    if status != 200 and not (status == 304 and conditional):
        raise BadAddress(f"{address}: the site does not give this page out (it answers {status}). Check the address.")
    if answer.media_type.startswith(_NO_TEXT):
        raise BadAddress(
            f"{address}: this is no text but {answer.media_type[:60]}. Give the address of the page around it."
        )
    if status == 200 and not answer.data.strip():
        raise BadAddress(f"{address}: the site answered with an empty page. Check the address, or try again later.")
    etag, modified = (answer.headers.get(name, "")[:1000] for name in ("etag", "last-modified"))
    return Page(address, status, answer.data, answer.media_type, answer.charset, etag, modified)


def _name(page: Page) -> str:
    """Name a page's file: the last part of its path, with the ending that its media type, or the path, asks for."""
    path = urlsplit(page.address).path.rstrip("/")
    stem = re.sub(r"[^\w.-]+", "-", path.rpartition("/")[2])[-100:] or "index"
    known = _ENDINGS.get(page.media_type)
    loose = known is None or page.media_type in ("application/xml", "text/xml", "application/json")
    ending = re.search(r"\.[a-z][a-z0-9]{1,9}$", stem, re.I)
    if loose and ending and ending.group().lower() not in _PROGRAMS:
        return stem
    known = known or (".txt" if page.media_type == "text/plain" else ".html")
    return stem if stem.lower().endswith(known) else f"{stem}{known}"


def _rest(answer: _Answer | None, pause: float) -> float | None:
    """Return for how many seconds the server asks to be left alone, None if it does not."""
    if answer is None or answer.status not in (429, 503):
        return None
    asked = answer.headers.get("retry-after", "")
    seconds: float | None = pause if answer.status == 429 else None
    if re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", asked):
        seconds = float(asked)
    elif asked:
        with suppress(ValueError, TypeError, OverflowError, IndexError):
            seconds = parsedate_to_datetime(asked).timestamp() - time.time()
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_REST)


def _come_back(address: str, host: _Host) -> BadAddress:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(host.closed_until + 59))
    return BadAddress(f"{address}: the site asks to be left alone for a while. Try again after {when}.")


def _for_us(robots: str) -> str:
    """Put all robots but ours under one name: a file of a hundred thousand names takes minutes to parse otherwise."""
    lines = []
    for line in robots.splitlines():
        match = re.match(r"\s*user[- ]?agent\b[\s:]*([^#]*)", line, re.I)
        if match and match.group(1).strip() and ROBOT.lower() not in line.lower() and "*" not in match.group(1):
            line = "User-agent: another"
        if len(line) <= 2000 and line.count("*") <= 30:
            lines.append(line)
    return "\n".join(lines)


def _joined(chunks: Iterable[bytes], limit: int) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise _TooLong
    return bytes(data)


def _expanded(chunks: Iterable[bytes], coding: str, limit: int) -> bytes:
    """Unpack as it arrives, and never more than one byte beyond the limit."""
    data = bytearray()
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, as its first bytes say
    first = True
    for chunk in chunks:
        while chunk and not unpack.eof:
            try:
                data += unpack.decompress(chunk, limit + 1 - len(data))
            except zlib.error:
                if not first or coding != "deflate":
                    raise
                unpack = zlib.decompressobj(-zlib.MAX_WBITS)  # "deflate" without the wrapper that the standard asks for
                continue
            finally:
                first = False
            if len(data) > limit:
                raise _TooLong
            chunk = unpack.unconsumed_tail
            if unpack.eof and unpack.unused_data.startswith(b"\x1f\x8b"):
                chunk, unpack = unpack.unused_data, zlib.decompressobj(zlib.MAX_WBITS | 16)
    if not unpack.eof:
        raise zlib.error("its end is missing")
    return bytes(data)
