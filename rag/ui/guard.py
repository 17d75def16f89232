"""Who may talk to the page: this machine's own browser, and no website that borrows its way in.

Without it a site could point its name at 127.0.0.1 and read the posts from there (DNS rebinding), or send files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]


class LocalOnly:
    """ASGI middleware: refuses requests to another host's name, and changes asked for by another site's page."""

    def __init__(self, app: Callable[[Scope, Channel, Channel], Awaitable[None]], hosts: Iterable[str]) -> None:
        """Guard `app`; `hosts` are the names it may be called by, without ports."""
        self._app = app
        self._hosts = frozenset(hosts)

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
        if _name(f"//{host}") not in self._hosts:
            return False
        origin = headers.get(b"origin")  # another port of this machine is another site, too
        return origin is None or origin.lower() in (f"http://{host}", f"https://{host}")


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
