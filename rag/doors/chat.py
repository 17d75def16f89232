"""A door for chat clients: the part of OpenAI's API that they ask for, answered by the posts.

Sentences are sent as they are proven; footnotes come as text below them and as a field of their own."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from rag.conversations import as_text, cited_as_dict
from rag.doors.asking import growing, last, read_json
from rag.engine import Engine
from rag.errors import BadFile, BadQuestion, FootnoteError
from rag.finding.followups import turns_of
from rag.records import Answer, Turn

MODEL = "footnote"
REMEMBERED = 6  # questions before the one that is asked; a follow-up leans on the last ones
_GONE = 499  # whoever asked has gone and does not read it
LISTED = 50  # posts of an answer about posts
_MODEL = {"id": MODEL, "object": "model", "created": 0, "owned_by": "footnote"}
_CORRECTED = "\n\nNot all of that is borne out by your posts. What is:\n\n"
_NOTES = re.compile(r"\n\n\[1\] .*", re.S)  # what earlier answers had below them
_MARKS = re.compile(r" \[\d+\]| \((?:partly|not) in your posts\)")


class BadRequest(FootnoteError):
    """A request that cannot be answered; `param` and `code` as OpenAI has them."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param, self.code = param, code


@dataclass(frozen=True)
class Asked:
    """What a client asks: the question, the turns before it, oldest first, and how it wants to be answered."""

    question: str
    turns: tuple[Turn, ...] = ()
    stream: bool = False
    usage: bool = False


def routes(engine: Engine) -> list[Any]:
    """Return the web routes of this door."""
    # imported here: only the process that serves the page needs it
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    async def complete(request: Request) -> Response:
        try:
            asked = asked_of(await read_json(request))
            answers = growing(engine, asked.question, asked.turns, request.is_disconnected)
            first = await anext(answers, None)  # what cannot be searched for is refused before anything is sent
            if first and asked.stream:
                return StreamingResponse(_events(first, answers, asked), media_type="text/event-stream")
            answer = await last(answers) or first
            return JSONResponse(_whole(answer)) if answer and answer.done else Response(status_code=_GONE)
        except FootnoteError as error:
            return refused(error)

    def refused(error: FootnoteError) -> Response:
        missing = getattr(error, "code", None) == "model_not_found"
        status = 404 if missing else 400 if isinstance(error, (BadRequest, BadQuestion, BadFile)) else 503
        return JSONResponse(_error(error, status), status)

    def models(request: Request) -> Response:  # noqa: ARG001 - every route takes it
        return JSONResponse({"object": "list", "data": [_MODEL]})

    def model(request: Request) -> Response:
        name = request.path_params["name"]
        return JSONResponse(_MODEL) if name == MODEL else refused(_no_model(name))

    return [
        Route("/v1/chat/completions", complete, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
    ]


def asked_of(body: Any) -> Asked:
    """Return what a request's body asks. Raise BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("The request is no JSON object. Send one with messages.")
    if body.get("model", MODEL) != MODEL:
        raise _no_model(body["model"])
    if body.get("n") not in (None, 1):
        raise BadRequest("There is one answer to a question. Leave n out.", "n")
    said = body.get("messages")
    if not isinstance(said, list) or not all(isinstance(message, dict) for message in said):
        raise BadRequest("messages is no list of messages. Send at least a question.", "messages")
    spoken = [_spoken(message) for message in said if message.get("role") in ("user", "assistant")]
    if not spoken or spoken[-1]["role"] != "user":
        raise BadRequest("The last message asks nothing. Let it be a user's.", "messages")
    options = body.get("stream_options")
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    return Asked(spoken[-1]["content"], turns_of(spoken[:-1])[-REMEMBERED:], bool(body.get("stream")), usage)


def _spoken(message: Mapping[str, Any]) -> dict[str, str]:
    """Return who said what, the footnotes of earlier answers left out."""
    content, role = message.get("content"), message["role"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise BadRequest("Only text can be answered. Send the content as text.", "messages")
    text = "\n".join(part["text"] for part in parts)
    if role == "assistant":
        text = _MARKS.sub("", _NOTES.sub("", text.rpartition(_CORRECTED)[2]))
    return {"role": role, "content": text}


def content_of(answer: Answer) -> str:
    """Return an answer as text: its sentences, their footnotes, the posts it lists, and what is to be said of it."""
    listed = [f"- {post.title}" + (f", {post.date}" if post.date else "") for post in answer.posts[:LISTED]]
    if len(answer.posts) > LISTED:
        listed.append(f"- and {len(answer.posts) - LISTED:,} more")
    return "\n\n".join(part for part in (as_text(answer), "\n".join(listed), answer.note) if part)


def _proven(answer: Answer) -> str:
    """Return the sentences of a growing answer that have ended, each with its footnote's number."""
    if not answer.sentences:
        return ""
    return as_text(replace(answer, text=answer.text[: answer.sentences[-1].end], citations=(), quotes=()))


async def _events(first: Answer, rest: AsyncGenerator[Answer, None], asked: Asked) -> AsyncIterator[str]:
    """Yield an answer as server-sent events; whoever goes away ends it."""
    head = {**_head(), "object": "chat.completion.chunk"}
    usage = {"usage": None} if asked.usage else {}

    def event(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return f"data: {json.dumps({**head, 'choices': [choice], **usage})}\n\n"

    answer, sent = first, ""
    async with aclosing(rest):
        try:
            yield event({"role": "assistant", "content": ""})
            async for answer in _with_first(first, rest):
                for piece in _new(sent, content_of(answer) if answer.done else _proven(answer)):
                    yield event({"content": piece})
                    sent = sent + piece if piece is not _CORRECTED else ""
        except FootnoteError as error:
            yield f"data: {json.dumps(_error(error, 503))}\n\n"
            return
    yield event({"footnotes": _footnotes(answer)}, "stop")
    if asked.usage:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': _usage(answer)})}\n\n"
    yield "data: [DONE]\n\n"


async def _with_first(first: Answer, rest: AsyncIterator[Answer]) -> AsyncIterator[Answer]:
    yield first
    async for answer in rest:
        yield answer


def _new(sent: str, now: str) -> Iterator[str]:
    """Yield what is to be sent on, so that the text stands; what was sent cannot be taken back."""
    if not now.startswith(sent):
        yield _CORRECTED
        sent = ""
    if now != sent:
        yield now[len(sent) :]


def _whole(answer: Answer) -> dict[str, Any]:
    """Return a finished answer as one object."""
    message = {"role": "assistant", "content": content_of(answer), "refusal": None, "footnotes": _footnotes(answer)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_head(), "object": "chat.completion", "choices": [choice], "usage": _usage(answer)}


def _head() -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": MODEL}


def _footnotes(answer: Answer) -> list[dict[str, Any]]:
    return list(map(cited_as_dict, answer.citations))


def _usage(answer: Answer) -> dict[str, int]:
    read, written = answer.timings.prompt_tokens, answer.timings.answer_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _no_model(name: object) -> BadRequest:
    return BadRequest(f"There is no model {str(name)[:80]!r}. Ask for {MODEL!r}.", "model", "model_not_found")


def _error(error: FootnoteError, status: int) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    more = {"param": getattr(error, "param", None), "code": getattr(error, "code", None)}
    return {"error": {"message": str(error), "type": kind, **more}}
