"""A door for assistants that use tools: a server of the Model Context Protocol, over stdio and over HTTP.

Its tools are commands, so that they run alike here and in the process that serves the page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rag import commands
from rag.commands import Arguments, Event
from rag.doors.asking import BODY_BYTES, whole_body
from rag.engine import Engine
from rag.errors import BadFile, FootnoteError
from rag.search import SHOWN

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

Run = Callable[[str, Arguments], Iterator[Event]]
"""Runs a command where the data is."""
PATH = "/mcp"
MOST_HITS = 50
PART = 20_000  # characters of a post that are read at once
HELD_S = 60.0  # how long the data stays in hand after the last call: the models need not be loaded again
_QUESTION = {"type": "string", "description": 'In plain words. tag:bread, after:2023-05 and "a phrase" narrow it.'}
_TOOLS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "search_posts": (
        "Find the passages of the person's own blog posts that fit a question best.",
        {"question": _QUESTION, "limit": {"type": "integer", "minimum": 1, "maximum": MOST_HITS, "default": SHOWN}},
        ["question"],
    ),
    "read_post": (
        f"Read one post by the id that the other tools give, {PART:,} characters at a time.",
        {"id": {"type": "string"}, "start": {"type": "integer", "minimum": 0, "default": 0}},
        ["id"],
    ),
    "ask_posts": (
        "Ask the posts a question. Each sentence of the answer has a footnote: the words of the post that prove it.",
        {"question": _QUESTION},
        ["question"],
    ),
}
_TELLS = "Footnote searches a person's own blog posts and answers from them, each sentence with its proof."


def server(run: Run) -> Server[Any]:
    """Return the server; `run` runs a command where the data is."""
    # imported here: a second that no other command needs to wait
    import mcp_types as types
    from mcp.server.lowlevel import Server

    async def listed(*_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=what,
                    input_schema={"type": "object", "properties": given, "required": needed},
                    annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
                )
                for name, (what, given, needed) in _TOOLS.items()
            ]
        )

    async def called(_: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            text, result = await _outcome(run, asked.name, asked.arguments or {})
        except FootnoteError as error:
            return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=result)

    return Server("footnote", instructions=_TELLS, on_list_tools=listed, on_call_tool=called)


async def _outcome(run: Run, tool: str, given: Arguments) -> tuple[str, dict[str, Any]]:
    """Run a tool; return what it says and the same as data. Raise FootnoteError."""
    if tool == "search_posts":
        limit = _whole(given, "limit", SHOWN, 1, MOST_HITS)
        wanted = {"question": _text(given, "question"), "limit": limit, "search": "hybrid", "explain": False}
        result = await _result(run, "search", wanted)
        hits = [f"{hit['title']} (post {hit['post_id']})\n{hit['text']}" for hit in result["hits"]]
        return "\n\n".join(hits) or "No post fits.", result
    if tool == "read_post":
        start = _whole(given, "start", 0, 0, 10**9)
        post = await _result(run, "posts", {"id": _text(given, "id")})
        return _part_of(post, start)
    if tool == "ask_posts":
        result = await _result(run, "ask", {"question": _text(given, "question"), "history": None})
        return _answer(result), result
    raise BadFile(f"There is no tool {tool[:80]!r}. Use one of {', '.join(_TOOLS)}.")


async def _result(run: Run, command: str, arguments: Arguments) -> dict[str, Any]:
    """Return a command's result; a call that is cancelled ends it at its next event. Raise FootnoteError."""
    from anyio.to_thread import run_sync

    events = run(command, arguments)
    try:
        while (event := await run_sync(next, events, None)) is not None:
            if "error" in event:
                raise FootnoteError(event["error"])
            if "result" in event:
                return dict(event["result"])
    finally:
        events.close()  # type: ignore[attr-defined]
    raise FootnoteError("The command came to no end. Try again.")


def _text(given: Arguments, name: str) -> str:
    if not isinstance(given.get(name), str) or not given[name].strip():
        raise BadFile(f"{name} is missing. Give it as text.")
    return str(given[name])


def _whole(given: Arguments, name: str, default: int, low: int, high: int) -> int:
    number = given.get(name, default)
    if type(number) is not int or not low <= number <= high:
        raise BadFile(f"{name} cannot be used. Give a whole number from {low} to {high}.")
    return number


def _part_of(post: dict[str, Any], start: int) -> tuple[str, dict[str, Any]]:
    """Return a part of a post, and where it goes on."""
    text = str(post["text"])
    end = min(start + PART, len(text))
    part = {name: post[name] for name in ("id", "title", "date", "url", "author", "tags")}
    part |= {"text": text[start:end], "start": start, "end": end, "length": len(text)}
    head = ", ".join(str(post[name]) for name in ("title", "date", "url") if post[name])
    more = f"\n\nThe post goes on: read it again from start={end}." if end < len(text) else ""
    return f"{head}\n\n{text[start:end]}{more}", part


def _answer(result: dict[str, Any]) -> str:
    """Return an answer with its footnotes as text."""
    said, at = "", 0
    for sentence in result["sentences"]:
        mark = f" [{sentence['citation']}]" if sentence["citation"] else " (not in your posts)"
        mark += " (partly in your posts)" if sentence["support"] == "partly" else ""
        said += result["answer"][at : sentence["end"]] + mark
        at = sentence["end"]
    said += result["answer"][at:]
    notes = [f"[{c['number']}] {c['title']} (post {c['post_id']}): “{c['quote']}”" for c in result["citations"]]
    listed = [f"- {post['title']} (post {post['id']})" for post in result["posts"]]
    return "\n\n".join(part for part in (said, "\n".join([*notes, *listed]), result["note"]) if part)


def route(engine: Engine) -> Any:
    """Return the web route at which the server answers over HTTP."""
    # imported here: only the process that serves the page needs it
    from starlette.routing import Route

    return Route(PATH, _Http(lambda command, arguments: commands.run(engine, command, arguments, list)))


class _Http:
    """The server as an ASGI app: every request stands alone, so that nothing is kept of clients that have gone."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; a client that goes away ends it."""
        import anyio
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        from starlette.responses import PlainTextResponse

        if scope["method"] != "POST":
            refused = PlainTextResponse("Post JSON-RPC messages here.", 405, {"Allow": "POST"})
            await refused(scope, receive, send)
            return
        body = await whole_body(receive)
        if body is None:
            await PlainTextResponse(f"Send at most {BODY_BYTES} bytes.", 413)(scope, receive, send)
            return
        brought = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            return brought.pop() if brought else await anyio.sleep_forever()

        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            manager = StreamableHTTPSessionManager(server(self._run), json_response=True, stateless=True)
            async with manager.run():
                await manager.handle_request(scope, replay, send)
            group.cancel_scope.cancel()


@dataclass
class _Held:
    run: Run
    let_go: Callable[[], None]


class Hand:
    """The data, taken in hand at a call and let go when nobody has called for a minute, so that the page can be opened
    meanwhile. Where a page holds it already, calls are handed over."""

    def __init__(self, take: Callable[[], tuple[Run, Callable[[], None]] | None], hand_over: Run) -> None:
        """`take` returns how to run a command here and how to let the data go, or None if another process holds it."""
        self._take = take
        self._hand_over = hand_over
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._calls = 0
        self._timer: threading.Timer | None = None

    def run(self, command: str, arguments: Arguments) -> Iterator[Event]:
        """Run a command here, or hand it over."""
        try:
            with self._lock:
                if self._held is None and (taken := self._take()):
                    self._held = _Held(*taken)
                run = self._held.run if self._held else self._hand_over
                self._calls += 1
        except FootnoteError as error:
            yield {"error": str(error)}
            return
        try:
            yield from run(command, arguments)
        except FootnoteError as error:
            yield {"error": str(error)}
        finally:
            with self._lock:
                self._calls -= 1
                if self._timer:
                    self._timer.cancel()
                self._timer = threading.Timer(HELD_S, self.let_go)
                self._timer.daemon = True
                self._timer.start()

    def let_go(self) -> None:
        """Let the data go, unless a call is going on."""
        with self._lock:
            if self._held and not self._calls:
                self._held.let_go()
                self._held = None


def serve_stdio(hand: Hand) -> int:
    """Serve on standard input and output until the client closes them; return the exit code."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        served = server(hand.run)
        async with stdio_server() as (incoming, outgoing):
            await served.run(incoming, outgoing, served.create_initialization_options())

    with suppress(BrokenPipeError):
        anyio.run(serve)
    hand.let_go()
    return 0
