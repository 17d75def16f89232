"""Who may talk to the page and its doors: no website that borrows its way in, and where a password is set only who has
it.

Without it a site could point its name at 127.0.0.1 and read the posts from there (DNS rebinding), or send files."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware import Middleware

from rag.handover import PATH as COMMANDS
from rag.settings import LOOPBACK, Settings

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]
_OPEN = {"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/pwa_icon", "/robots.txt"}
_OPEN |= {f"/gradio_api/{name}" for name in ("startup-events", "theme.css", "login_check")}
_OPEN_BELOW = ("/assets/", "/static/", "/svelte/", "/pwa_icon/")
"""What the page to sign in is made of, or what Gradio itself answers only to who has signed in."""
_SIGN_IN = ("/login", "/login/")
_LOCKED = (401, "invalid_api_key", "This needs the password that was set as FOOTNOTE_PASSWORD.")
_WAIT = (429, "rate_limit_exceeded", "Too many wrong passwords came from this address. Wait a minute, and try again.")
_TRIES, _WITHIN = 10, 60.0  # wrong passwords from one address, in so many seconds
_ADDRESSES = 10_000  # that are remembered


def guard(settings: Settings) -> list[Middleware]:
    """Return the middleware that keeps other sites out of the page and its doors, and whoever has not the password."""
    if settings.space:
        return []  # it is shown in a frame of the Hub's, under a name that is not known here
    known = LOOPBACK if settings.local else None
    asked = [Middleware(Gate, password=settings.password)] if settings.password else []
    return [Middleware(LocalOnly, hosts=known), *asked]


class LocalOnly:
    """ASGI middleware: refuses requests to another host's name, and whatever another site's page asks for."""

    def __init__(self, app: Callable[[Scope, Channel, Channel], Awaitable[None]], hosts: Iterable[str] | None) -> None:
        """Guard `app`; `hosts` are the names it may be called by, without ports. None: any, for a network's names are
        not known here; then a password stands in the way of a site that points its name here."""
        self._app = app
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] in ("http", "websocket") and not self._allowed(scope):
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"Open Footnote at the address that its terminal shows."})
            return
        await self._app(scope, receive, _unframed(send))

    def _allowed(self, scope: Scope) -> bool:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "").lower()
        if self._hosts is not None and _name(f"//{host}") not in self._hosts:
            return False
        origin = headers.get(b"origin")  # another port of this machine is another site, too
        return origin is None or origin.lower() in (f"http://{host}", f"https://{host}")


class Gate:
    """ASGI middleware: lets nobody in but who shows the password, as Bearer or Basic, or has signed in on the page.

    Whoever tries many passwords waits; who has signed in does not."""

    def __init__(self, app: Callable[[Scope, Channel, Channel], Awaitable[None]], password: str) -> None:
        """Guard `app` with a password."""
        self._app = app
        self._password = password
        self._wrong: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_TRIES))

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Pass the request on, or answer 401, or 429 where too many passwords were wrong."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        address, said, signing_in = _address(scope), _password_said(scope), _is_sign_in(scope)
        if (signing_in or (said and scope.get("path") != COMMANDS)) and self._must_wait(address):
            await _refuse(send, *_WAIT)
        elif signing_in:
            self._count(address)  # before it is looked at: others may come meanwhile
            await self._app(scope, receive, self._forgiving(address, send))
        elif _is_open(scope) or same(said, self._password) or _signed_in(scope):
            await self._app(scope, receive, send)
        else:
            if said:
                self._count(address)
            await _refuse(send, *_LOCKED)

    def _must_wait(self, address: str) -> bool:
        wrong = self._wrong.get(address)
        return wrong is not None and len(wrong) == _TRIES and time.monotonic() - wrong[0] < _WITHIN

    def _count(self, address: str) -> None:
        if len(self._wrong) >= _ADDRESSES:
            self._wrong.clear()
        self._wrong[address].append(time.monotonic())

    def _forgiving(self, address: str, send: Channel) -> Channel:
        """Return a `send` that takes a count back where the page takes the password."""

        async def sending(message: Scope) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400 and self._wrong[address]:
                self._wrong[address].pop()
            await send(message)

        return sending


async def _refuse(send: Channel, status: int, code: str, why: str) -> None:
    headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]  # Basic: browsers ask
    error = {"message": why, "type": "invalid_request_error", "param": None, "code": code}
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})


def same(said: str, password: str) -> bool:
    """Compare a password that was said with the right one, in a time that tells nothing."""
    return hmac.compare_digest(said.encode("utf-8", "surrogatepass"), password.encode("utf-8", "surrogatepass"))


def _is_open(scope: Scope) -> bool:
    """Say whether a request needs no password: the page to sign in, and what asks for more itself."""
    path, method = scope.get("path", ""), scope.get("method", "")
    if method == "POST":
        return path == COMMANDS or _is_sign_in(scope)
    return method in ("GET", "HEAD") and (path in _OPEN or path.startswith(_OPEN_BELOW))


def _is_sign_in(scope: Scope) -> bool:
    return scope.get("method") == "POST" and scope.get("path") in _SIGN_IN


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _password_said(scope: Scope) -> str:
    """Return the password that a request shows in its head; "" for none."""
    kind, _, said = _headers(scope).get(b"authorization", "").partition(" ")
    return {"bearer": said, "basic": _password_of(said)}.get(kind.lower(), "")


def _password_of(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _signed_in(scope: Scope) -> bool:
    """Say whether a request has the cookies that Gradio gave to someone who signed in."""
    app = scope.get("app")
    try:
        given = SimpleCookie(_headers(scope).get(b"cookie", ""))
    except CookieError:
        return False
    names = [f"access-token{kind}-{getattr(app, 'cookie_id', '')}" for kind in ("", "-unsecure")]
    return any(name in given and given[name].value in getattr(app, "tokens", {}) for name in names)


def _headers(scope: Scope) -> dict[bytes, str]:
    return {name.lower(): value.decode("utf-8", "replace") for name, value in scope["headers"]}


def _unframed(send: Channel) -> Channel:
    """Return a `send` that forbids other pages to show this one in a frame, where its buttons could be clicked."""

    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            barred = [(b"x-frame-options", b"DENY"), (b"content-security-policy", b"frame-ancestors 'none'")]
            message["headers"] = [*message.get("headers", []), *barred]
        await send(message)

    return sending


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
