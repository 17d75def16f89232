"""What every door does alike: read what was sent, and ask in a thread that ends when whoever asked has gone."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from threading import Event
from typing import Any

from rag.engine import Engine
from rag.errors import BadFile
from rag.records import Answer, Turn
from rag.threads import in_thread

BODY_BYTES = 1_000_000


async def read_json(request: Any) -> Any:
    """Return the JSON that a request brings. Raise BadFile if it is none, or too much."""
    body = await whole_body(request.receive)
    if body is None:
        raise BadFile(f"The request is larger than {BODY_BYTES // 1000} kB. Send less.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadFile("The request is no JSON. Send a JSON object.") from error


async def whole_body(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    """Return a request's body, None if it is larger than BODY_BYTES."""
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return body


async def growing(
    engine: Engine, question: str, turns: Sequence[Turn], gone: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Answer, None]:
    """Yield an answer as it grows, from the moment when something was found; the last one is `done`.

    Whoever asked has `gone`, or closes this: then the writer stops. Raise FootnoteError.
    """
    # imported here: only the process that serves the page needs it
    from starlette.concurrency import run_in_threadpool

    stop = Event()
    steps = in_thread(_steps(engine, question, turns, stop))
    try:
        while (answers := await run_in_threadpool(next, steps, None)) is not None:
            if await gone():
                return
            for answer in answers:
                if answer.quotes or answer.done:
                    yield answer
    finally:
        stop.set()


async def last(answers: AsyncIterator[Answer]) -> Answer | None:
    """Return the last of a growing answer's steps that are still to come, None if none is."""
    answer = None
    async for step in answers:
        answer = step
    return answer


def _steps(engine: Engine, question: str, turns: Sequence[Turn], stop: Event) -> Iterator[Answer]:
    engine.prepare()
    yield from engine.ask(question, stop, turns)
