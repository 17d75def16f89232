"""A blog on 127.0.0.1 that behaves as badly as it is told to, and counts what it is asked."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from xml.sax.saxutils import escape

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Reply:
    """An answer as it is sent. Text gets an ETag of its own, unless `etag` is "", and 304 where it is known."""

    body: str | bytes = ""
    status: int = 200
    type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None

    @property
    def data(self) -> bytes:
        return self.body.encode("utf-8") if isinstance(self.body, str) else self.body


Answer = str | bytes | Reply | Behaviour
"""A page's HTML, an answer in detail, or a function that writes to the connection as it likes."""


class LoopbackSite:
    """Serve `pages`, path -> answer, or a list of answers of which the last one stays. Others are 404.

    `pages` may be changed at any time. `requests` are the paths asked for, in order, with their queries; `headers`
    what came with them; `most_at_once` how many requests were ever being answered together.
    """

    def __init__(self, pages: Mapping[str, Answer | list[Answer]] | None = None) -> None:
        self.pages: dict[str, Answer | list[Answer]] = dict(pages or {})
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each page costs 40 ms

            def do_GET(self) -> None:
                site._serve(self)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False
            request_queue_size = 50

            def handle_error(self, *arguments: Any) -> None:  # a client that hangs up is what we test
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> LoopbackSite:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def address(self, path: str = "/") -> str:
        return self.url + path

    def count(self, path: str) -> int:
        """Return how often a path was asked for."""
        return self.requests.count(path)

    def forget(self) -> None:
        """Begin counting anew."""
        with self._lock:
            self.requests.clear()
            self.headers.clear()
            self.times.clear()

    def blog(
        self,
        posts: Mapping[str, tuple[str, str]],
        *,
        dates: Mapping[str, str] | None = None,
        whole: bool = False,
        title: str = "The bread blog",
    ) -> None:
        """Publish posts, path -> (title, HTML): a page each, a front page, /feed.xml, /sitemap.xml and /robots.txt.

        `whole`: the feed carries the text of the posts, else a line of each. What was published before is taken down.
        """
        dates = dates or {}
        posted = {path: dates.get(path, "2024-05-01") for path in posts}
        self.pages = {path: post_page(name, text) for path, (name, text) in posts.items()}
        links = "".join(f'<li><a href="{path}">{escape(name)}</a></li>' for path, (name, _) in posts.items())
        self.pages["/"] = (
            f'<!doctype html><html><head><title>{escape(title)}</title><link rel="alternate" '
            f'type="application/rss+xml" href="/feed.xml"></head><body><h1>{escape(title)}</h1><ul>{links}</ul>'
            "</body></html>"
        )
        self.pages["/feed.xml"] = feed(
            title,
            self.url,
            [(path, name, text if whole else "", posted[path]) for path, (name, text) in posts.items()],
        )
        self.pages["/sitemap.xml"] = sitemap({self.address(path): posted[path] for path in posts} | {self.url: ""})
        self.pages["/robots.txt"] = robots(f"User-agent: *\nDisallow: /private/\nSitemap: {self.url}/sitemap.xml\n")

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        with self._lock:
            self.requests.append(path)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            answer = self.pages.get(path, Reply("<h1>Not here</h1>", 404, etag=""))
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        try:
            with suppress(OSError):
                if isinstance(answer, str | bytes):
                    answer = Reply(answer)
                if isinstance(answer, Reply):
                    _send(handler, answer)
                else:
                    answer(handler)
        finally:
            with self._lock:
                self._at_once -= 1


def post_page(title: str, text: str) -> str:
    """Return a post's page; `text` is HTML."""
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{escape(title)}</title></head><body><nav>Home About'
        f"</nav><article><h1>{escape(title)}</h1>{text}</article></body></html>"
    )


def feed(title: str, site: str, posts: list[tuple[str, str, str, str]], following: str = "") -> Reply:
    """Return an RSS feed of (path, title, HTML or "", day)."""
    items = "".join(
        f"<item><title>{escape(name)}</title><link>{site}{path}</link><guid>{site}{path}</guid>"
        f"<pubDate>{time.strftime('%a, %d %b %Y 08:00:00 +0000', time.strptime(day, '%Y-%m-%d'))}</pubDate>"
        f"<description>{escape(name)} in a line.</description>"
        + (f"<content:encoded>{escape(text)}</content:encoded>" if text else "")
        + "</item>"
        for path, name, text, day in posts
    )
    link = f'<atom:link rel="next" href="{escape(following)}"/>' if following else ""
    return Reply(
        '<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>'
        f"<title>{escape(title)}</title><link>{site}/</link>{link}{items}</channel></rss>",
        type="application/rss+xml; charset=utf-8",
    )


def sitemap(pages: Mapping[str, str]) -> Reply:
    """Return a sitemap of address -> day of its last change, or ""."""
    rows = "".join(
        f"<url><loc>{escape(address)}</loc>{f'<lastmod>{day}</lastmod>' if day else ''}</url>"
        for address, day in pages.items()
    )
    return Reply(f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</urlset>', type="application/xml")


def sitemap_index(sitemaps: list[str]) -> Reply:
    """Return a sitemap of sitemaps."""
    rows = "".join(f"<sitemap><loc>{escape(address)}</loc></sitemap>" for address in sitemaps)
    return Reply(
        f'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</sitemapindex>',
        type="application/xml",
    )


def robots(text: str) -> Reply:
    """Return a robots.txt."""
    return Reply(text, type="text/plain")


def redirect(target: str, status: int = 302) -> Reply:
    """Lead on to another address."""
    return Reply("", status, headers={"Location": target}, etag="")


def later(seconds: str, status: int = 429) -> Reply:
    """Ask to come back: seconds, or a date."""
    return Reply("later", status, headers={"Retry-After": seconds}, etag="")


def gzip_bomb(megabytes: int) -> Reply:
    """Return a page of zeros that is a thousand times smaller on its way."""
    packed = gzip.compress(b"\0" * 1_000_000) * megabytes
    return Reply(packed, headers={"Content-Encoding": "gzip"}, etag="")


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    """Send the headers a byte at a time, without end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(2000):
        handler.wfile.write(b"a")
        time.sleep(0.05)


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    """Send the body a byte at a time, without end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>")
    for _ in range(2000):
        handler.wfile.write(b"a")
        time.sleep(0.05)


def silent(handler: BaseHTTPRequestHandler) -> None:
    """Take the request and say nothing for a long time."""
    handler.connection.settimeout(60)
    handler.connection.recv(1)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Send a body that does not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n")
    while True:
        handler.wfile.write(b"<p>and so on</p>" * 1000)


def endless_headers(handler: BaseHTTPRequestHandler) -> None:
    """Send headers that do not end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: and so on\r\n" * 1000)


def wrong_length(handler: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\n<p>Short</p>")
    handler.close_connection = True


def broken_chunks(handler: BaseHTTPRequestHandler) -> None:
    """Send chunks whose lengths are no numbers."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n<p>Odd</p>\r\n")
    handler.close_connection = True


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection off."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def no_http(handler: BaseHTTPRequestHandler) -> None:
    """Answer in another protocol."""
    handler.wfile.write(b"220 mail.example ESMTP\r\n")
    handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    data = reply.data
    etag = reply.etag if reply.etag is not None else f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    same = bool(etag) and reply.status == 200 and handler.headers.get("If-None-Match") == etag
    handler.send_response(304 if same else reply.status)
    if etag:
        handler.send_header("ETag", etag)
    if not same:
        for name, value in {"Content-Type": reply.type, "Content-Length": str(len(data)), **reply.headers}.items():
            handler.send_header(name, value)
    handler.end_headers()
    if not same:
        handler.wfile.write(data)
