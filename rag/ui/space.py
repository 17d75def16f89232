"""The page of a Hugging Face Space: one for visitors, who read, and one for the owner, who signs in.

On its own, because on a Space who asks decides what is there: a name that this server issued says which visitor it is,
and the Hub's sign-in who the owner is. Both are looked at before Gradio sees a request."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import gradio as gr
from gradio.context import LocalContext
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from rag.doors.asking import whole_body
from rag.engine import Engine
from rag.errors import FootnoteError
from rag.settings import Settings
from rag.ui import api, ask, posts, render
from rag.ui.page import build_ui, launch_options, routes
from rag.visitors import NOBODY, Visitors

Scope = MutableMapping[str, Any]
Channel = Callable[..., Awaitable[Any]]
OWNERS = "/owner"
"""Where the owner's page lies."""
COOKIE = "footnote-visitor"
_HEADER = b"x-footnote-visitor"  # who it is, for the page's handlers; from outside it is never taken
_API = "/gradio_api/"
_UPLOADS = "/gradio_api/upload"
_FILES = ("/gradio_api/file", "/gradio_api/proxy")  # the page shows none, and an upload is its visitor's alone
_IN_PATH = re.compile(r"/gradio_api/(?:heartbeat|stream)/([^/]+)")
_LOOKS_S = 5  # seconds between two looks at how things go; with sixty visitors a short time adds up
_HANDLERS = 200  # at a time; most of them wait
_WAITING = 300  # calls of the page that may wait
_QUIET: dict[str, Any] = {**render.QUIET, "queue": False}
_HEADER_TEXT = (
    "<h1>Footnote</h1><p>Answers from the posts that are here, each sentence with its source. Files that you add on "
    "the tab Posts are yours alone: nobody else sees them, and they are gone an hour after you leave.</p>"
)
_TO_THE_OWNERS = "<p class='note'>Is this your Space? Sign in, and open <a href='owner/'>the owner's page</a>.</p>"
_WRONG_SESSION = "This page belongs to another visit. Reload it."
_OWNER_ONLY = "This is for the owner of this Space. Sign in on its page first."
_NO_FILES = "There are no files here."
_OTHER_SITE = "Open this Space at its own address."
_NO_LENGTH = "Say how large the upload is."
_TOO_LARGE = "This request is too large. Send less."
_NOT_JSON = "This request cannot be read. Send JSON."


class Names:
    """The names by which visitors are known: only this server can make one."""

    def __init__(self) -> None:
        """Begin anew: names that an earlier process issued lead nowhere, as do the posts that were added there."""
        self._key = secrets.token_bytes(32)

    def new(self) -> str:
        """Return a name that nobody has yet, as its cookie has it."""
        name = secrets.token_urlsafe(18)
        return f"{name}.{self._seal(name)}"

    def known(self, said: str) -> str:
        """Return the name in a cookie, NOBODY if this server did not issue it."""
        name, _, seal = said.partition(".")
        return name if name and hmac.compare_digest(seal.encode(), self._seal(name).encode()) else NOBODY

    def _seal(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()


class Reception:
    """ASGI middleware: finds out who asks, and turns away who is not what they say."""

    def __init__(
        self, app: Callable[..., Awaitable[None]], visitors: Visitors, names: Names, settings: Settings
    ) -> None:
        """Stand before `app`."""
        self._app, self._visitors, self._names, self._settings = app, visitors, names, settings

    async def __call__(self, scope: Scope, receive: Channel, send: Channel) -> None:
        """Pass a request on, with the visitor's name in a header of its own, or say in a sentence why not."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        if not _same_site(headers, self._settings.reached_as):
            await _say(send, 403, _OTHER_SITE)
            return
        if path == OWNERS or path.startswith(f"{OWNERS}/"):
            if is_owner(scope.get("session"), self._settings.owner):
                await self._app(scope, receive, send)
            else:
                await _say(send, 401, _OWNER_ONLY)
            return
        if path.startswith(_FILES):
            await _say(send, 404, _NO_FILES)
            return
        visitor = self._names.known(_cookie(headers.get(b"cookie", "")))
        if not visitor and path in ("/", "/config"):
            cookie = self._names.new()
            visitor, send = self._names.known(cookie), _with_cookie(send, cookie, _is_secure(scope, headers))
        scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != _HEADER]
        scope["headers"].append((_HEADER, visitor.encode()))
        if path.startswith(_UPLOADS) and scope["method"] == "POST":
            said = headers.get(b"content-length", "")
            trouble = self._upload_trouble(visitor, said)
        else:
            receive, trouble = await self._checked(scope, visitor, receive)
        if trouble:
            await _say(send, *trouble)
        else:
            await self._app(scope, receive, send)

    def _upload_trouble(self, visitor: str, said: str) -> tuple[int, str] | None:
        """Say why an upload is not taken, None if it is."""
        if not said.isdigit():
            return 411, _NO_LENGTH
        try:
            self._visitors.take_upload(visitor, int(said))
        except FootnoteError as error:
            return 413, str(error)
        return None

    async def _checked(self, scope: Scope, visitor: str, receive: Channel) -> tuple[Channel, tuple[int, str] | None]:
        """Return how to receive a request, and why it is turned away, if it is: a session is its visitor's alone."""
        path = scope["path"]
        sessions = [found[1] for found in [_IN_PATH.match(path)] if found]
        sessions += parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", [])
        if scope["method"] == "POST" and path.startswith(_API):
            body = await whole_body(receive)
            if body is None:
                return receive, (413, _TOO_LARGE)
            try:
                said = json.loads(body or b"{}")
            except (ValueError, RecursionError):
                return receive, (400, _NOT_JSON)
            if isinstance(said, dict) and said.get("session_hash") is not None:
                sessions.append(str(said["session_hash"]))
            receive = _again(body, receive)
        if all(self._visitors.belongs(session[:200], visitor) for session in sessions):
            return receive, None
        return receive, (403, _WRONG_SESSION)


def is_owner(session: Any, owner: str) -> bool:
    """Say whether a session, whose seal was proven, is that of the owner, signed in and not expired."""
    signed_in = session.get("oauth_info") if isinstance(session, Mapping) else None
    if not owner or not isinstance(signed_in, Mapping):
        return False
    person, until = signed_in.get("userinfo"), signed_in.get("expires_at")
    fresh = isinstance(until, (int, float)) and until > time.time()
    return fresh and isinstance(person, Mapping) and person.get("preferred_username") == owner


def launch(visitors: Visitors, settings: Settings, samples: Path, save: Callable[[], str], trouble: str) -> gr.Blocks:
    """Serve both pages; return the visitors'. `save` keeps a snapshot and says where, or raises a FootnoteError.

    `trouble` is why there are no posts, for the owner.
    """
    owners, lifespan = _mounted(_owners_page(visitors.owner, samples, save, trouble), visitors.owner, settings)
    page = _visitors_page(visitors, samples, sign_in=bool(settings.owner))
    page.space_id = None  # or Gradio's script adds a heading of the Hub's, with fonts from elsewhere
    page.queue(max_size=_WAITING, default_concurrency_limit=8)
    page.launch(
        server_name=settings.host,
        server_port=settings.port or None,
        max_file_size=visitors.allowed.file_bytes,
        max_threads=_HANDLERS,
        ssr_mode=False,
        prevent_thread_lock=True,
        app_kwargs={
            "routes": owners,
            "lifespan": lifespan,
            "middleware": [Middleware(Reception, visitors=visitors, names=Names(), settings=settings)],
        },
        **launch_options(),
    )
    return page


def _visitors_page(visitors: Visitors, samples: Path, *, sign_in: bool) -> gr.Blocks:
    """Build the page on which one asks and adds a few files."""
    engine = cast(Engine, _Theirs(visitors))  # a Visit has what these two tabs need of an engine, and no more
    with gr.Blocks(title="Footnote", analytics_enabled=False, fill_width=False, delete_cache=(600, 3600)) as page:
        api.build(engine, local=False)
        gr.HTML(_HEADER_TEXT, elem_id="masthead", padding=False)
        status = gr.HTML(elem_id="activity", padding=False)
        with gr.Tabs() as tabs:
            with gr.Tab("Ask", id="ask"):
                asking = ask.build(engine, visitor=True)
            with gr.Tab("Posts", id="posts") as posts_tab:
                adding = posts.build(engine, samples, local=False, visitor=True)
        if sign_in:
            gr.HTML(_TO_THE_OWNERS, padding=False)
            gr.LoginButton(size="sm", icon=None, elem_id="sign-in")
        gr.Timer(_LOOKS_S).tick(lambda: _goes_on(engine), outputs=status, **_QUIET)
        page.load(lambda: _goes_on(engine), outputs=status, **_QUIET)
        gr.on([page.load, adding.changed.change], asking.refresh, outputs=asking.fresh, **_QUIET)
        gr.on([page.load, posts_tab.select, adding.changed.change], adding.refresh, outputs=adding.fresh, **_QUIET)
        asking.to_posts.click(lambda: gr.Tabs(selected="posts"), outputs=tabs, **_QUIET)
    api.hide_others(page)
    return page


def _goes_on(engine: Engine) -> str:
    """Render what a visitor should know of what goes on, or nothing."""
    if engine.trouble:
        return render.trouble(engine.trouble)
    return render.waiting(engine.activity) if engine.activity else ""


def _owners_page(owner: Engine, samples: Path, save: Callable[[], str], trouble: str) -> gr.Blocks:
    """Build the owner's page: the whole, and below it what keeps the posts when the Space sleeps."""

    def save_now() -> str:
        try:
            return render.done(save())
        except FootnoteError as error:
            return render.trouble(str(error))

    with build_ui(owner, samples, local=False) as page:
        button = gr.Button("Save a snapshot of the posts", size="sm", elem_id="save-snapshot")
        said = gr.HTML(render.trouble(trouble) if trouble else "", elem_id="saved", padding=False)
        button.click(save_now, outputs=said, **render.QUIET)
    return page


def _mounted(page: gr.Blocks, owner: Engine, settings: Settings) -> tuple[list[BaseRoute], Any]:
    """Return the routes of the owner's page, and what starts and ends it together with the visitors'."""
    # imported here: gradio brings it along
    from fastapi import FastAPI

    around = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    options = {
        name: value for name, value in launch_options().items() if name not in ("quiet", "share", "favicon_path")
    }
    gr.mount_gradio_app(around, page, OWNERS, ssr_mode=False, max_file_size=8 * settings.max_file_bytes, **options)

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        async with around.router.lifespan_context(around):
            yield

    beside = [Route(OWNERS + route.path, route.endpoint, methods=route.methods) for route in routes(owner)]
    return [*beside, *around.routes], lifespan


class _Theirs:
    """Stands where an engine does on the visitors' page: each handler meets the visitor who called it."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._visitors.visit(_caller()), name)


def _caller() -> str:
    """Return the visitor for whom a handler runs."""
    request = LocalContext.request.get(None)
    return str(request.headers.get(_HEADER.decode(), NOBODY)) if request else NOBODY


def _same_site(headers: Mapping[bytes, str], names: tuple[str, ...]) -> bool:
    """Say whether a request comes from the Space's own page, or from no page at all."""
    origin = headers.get(b"origin")
    if origin is None:
        return True
    known = {headers.get(b"host", "").lower(), *names}
    try:
        return urlsplit(origin.lower()).netloc in known
    except ValueError:  # "http://["
        return False


def _is_secure(scope: Scope, headers: Mapping[bytes, str]) -> bool:
    return scope.get("scheme") == "https" or headers.get(b"x-forwarded-proto", "").startswith("https")


def _cookie(said: str) -> str:
    try:
        given = SimpleCookie(said)
    except CookieError:
        return ""
    return given[COOKIE].value if COOKIE in given else ""


def _with_cookie(send: Channel, value: str, secure: bool) -> Channel:
    """Return a `send` that gives a visitor a name; in a frame of the Hub's it must be allowed to cross sites."""
    crossing = "; SameSite=None; Secure; Partitioned" if secure else "; SameSite=Lax"
    cookie = f"{COOKIE}={value}; Path=/; HttpOnly; Max-Age=86400{crossing}".encode()

    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"set-cookie", cookie)]
        await send(message)

    return sending


def _again(body: bytes, receive: Channel) -> Channel:
    """Return a `receive` that gives a body which was read already, and then what comes after it."""
    given: list[Scope] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Any:
        return given.pop() if given else await receive()

    return receiving


async def _say(send: Channel, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
