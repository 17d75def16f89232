"""A command given while the page is open: handed to the process that serves it, over loopback.

One process holds the data. It leaves its port and a token in FOOTNOTE_HOME, in a file only its owner can read; a
command sent with that token runs there, and its events come back line by line."""

from __future__ import annotations

import hmac
import http.client
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rag.commands import Arguments, Event
from rag.errors import StoreError

PATH = "/footnote/command"
_FILE = "server.json"
_REACH_S = 5  # to connect; how long a command then takes is its own affair


@dataclass(frozen=True)
class Server:
    """The process that serves the page: where to reach it, and what proves that a caller may."""

    host: str
    port: int
    url: str
    pid: int
    token: str


def announce(home: Path, host: str, port: int, url: str) -> Server:
    """Write down how to reach this process; return it."""
    server = Server(host, port, url, os.getpid(), secrets.token_urlsafe(32))
    new = home / f"{_FILE}.new"
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(server), file)
    os.replace(new, home / _FILE)
    return server


def withdraw(home: Path) -> None:
    """Take the announcement back."""
    (home / _FILE).unlink(missing_ok=True)


def find(home: Path) -> Server:
    """Return the process that serves the page. Raise StoreError if the data is held by one that does not."""
    try:
        return Server(**json.loads((home / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"Another Footnote command is using {home}. Wait until it has finished, then try again."
        ) from error


def send(home: Path, command: str, arguments: Arguments) -> Iterator[Event]:
    """Run a command in the process that serves the page, yielding its events. Raise StoreError if that fails."""
    server = find(home)
    held = f"The Footnote page (process {server.pid}) holds {home}"
    connection = http.client.HTTPConnection(server.host, server.port, timeout=_REACH_S)
    try:
        body = json.dumps({"command": command, "arguments": arguments})
        headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        connection.connect()
        connection.sock.settimeout(None)
        connection.request("POST", PATH, body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise StoreError(f"{held} but refused the command ({response.status}). Close the page and try again.")
        finished = False
        for line in response:
            event = json.loads(line)
            finished = finished or "result" in event or "error" in event
            yield event
        if not finished:
            raise StoreError(f"{held} but closed in the middle of the command. Start it again and check `posts`.")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StoreError(
            f"{held} but does not answer. Close it, or end process {server.pid}, and try again."
        ) from error
    finally:
        connection.close()


def route(server: Callable[[], Server | None], run: Callable[[str, Arguments], Iterator[Event]]) -> Any:
    """Return the web route that runs commands for callers who show the token; `server` says which, once it is known."""
    # imported here: only the process that serves the page needs it
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        known = server()
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if known is None or not hmac.compare_digest(shown.encode(), known.token.encode()):
            return PlainTextResponse("This door is for Footnote's own command line.", status_code=403)
        try:
            wanted = json.loads(await request.body())
            events = run(str(wanted["command"]), dict(wanted["arguments"]))
        except (ValueError, KeyError, TypeError):
            return PlainTextResponse("This is not a command.", status_code=400)
        return StreamingResponse((json.dumps(event) + "\n" for event in events), media_type="application/x-ndjson")

    return Route(PATH, answer, methods=["POST"])
