"""Conversations that are kept, as the page handles them: saved turn by turn, listed, opened again, taken along."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rag.answering.offers import offers
from rag.conversations import kept
from rag.engine import Engine
from rag.errors import FootnoteError, NotFound
from rag.records import Thumb
from rag.ui import deeds, render
from rag.ui.conversation import Conversation, Exchange
from rag.words import sound

_MANY = 2000  # conversations that a list can have
_SAVING = threading.Lock()  # one for all tabs: a turn must not be saved twice
_THUMBS: dict[str, Thumb] = {"up": "up", "down": "down"}
_KINDS = {"md": "text/markdown", "json": "application/json"}


def save(engine: Engine, talk: Conversation) -> str:
    """Keep what the library has not yet of a conversation; return why that could not be done, or nothing."""
    with _SAVING:
        for one in talk.ready():
            turn = kept(one.answer, alone=one.alone)
            try:
                talk.talk, id_ = engine.talks.keep(talk.talk, one.answer.question, turn, one.replaces)
            except FootnoteError as error:
                return f"This answer could not be kept. {error}"
            talk.change(replace(one, kept=id_, replaces=0))
    return ""


def shown(talk: Conversation, trouble: str = "") -> str:
    """Render what can be done with the last answer of a conversation."""
    if not talk.exchanges:
        return ""
    return deeds.deeds(talk.exchanges[-1], talk.talk, offered(talk), editing=talk.editing, trouble=trouble)


def offered(talk: Conversation) -> tuple[str, ...]:
    """Return what could be asked next in a conversation."""
    return offers(talk.exchanges[-1].answer, [one.answer.question for one in talk.exchanges]) if talk.exchanges else ()


def judge(engine: Engine, talk: Conversation, said: Any) -> str:
    """Set the thumb that was clicked, or take it back; return why that could not be done, or nothing."""
    wanted = _THUMBS.get(str(said.get("act")), "")
    one = next((one for one in talk.exchanges if str(one.number) == str(said.get("number"))), None)
    if not one or not wanted:
        return ""
    thumb = "" if one.thumb == wanted else wanted
    try:
        engine.talks.judge(one.kept, thumb)
    except FootnoteError as error:
        return str(error)
    talk.change(replace(one, thumb=thumb))
    return ""


def reopen(engine: Engine, talk: Conversation, said: Any) -> None:
    """Go on with a conversation that was chosen from the list. Raise NotFound."""
    id_ = _number(said.get("talk"))
    turns = engine.talks.open(id_)
    talk.reopen(id_, [Exchange(0, t.answer, t.turn.alone, kept=t.turn.id, thumb=t.turn.thumb) for t in turns])


def server_functions(engine: Engine) -> list[Callable[[Any], str]]:
    """Return what the list calls from the page; what comes from there is only believed to be text."""

    def talks(asked: Any) -> str:
        search = sound(str(asked.get("search") or "")[:200])
        return deeds.listed(engine.talks.listed(search, _MANY), search, whole=bool(asked.get("all")))

    def asked(said: Any) -> str:
        question = str(said.get("question") or "")
        last = engine.talks.listed("", 1)[:1] if question else []
        turns = engine.talks.open(last[0].id) if last else []
        return str(last[0].id) if turns and turns[-1].answer.question.startswith(question) else ""

    def rename(asked: Any) -> str:
        return _trouble(lambda: engine.talks.rename(_number(asked.get("talk")), str(asked.get("title") or "")))

    def remove(asked: Any) -> str:
        return _trouble(lambda: engine.talks.delete(_number(asked.get("talk"))))

    return [talks, asked, rename, remove]


def export_route(engine: Engine) -> Route:
    """Return the web route that gives a conversation away as a file; it is made when it is asked for."""

    def give(request: Request) -> Response:
        talk = _number(request.path_params["talk"])
        ending = "json" if request.path_params["ending"] == "json" else "md"
        try:
            whole = engine.talks.export(talk, ending)  # type: ignore[arg-type]
        except NotFound as error:
            return PlainTextResponse(str(error), status_code=404)
        name = f"conversation-{talk}.{ending}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(whole.encode("utf-8", "replace"), media_type=_KINDS[ending], headers=headers)

    return Route("/footnote/conversations/{talk:int}.{ending}", give)


def _trouble(act: Callable[[], None]) -> str:
    try:
        act()
    except FootnoteError as error:
        return render.trouble(str(error))
    return ""


def _number(said: Any) -> int:
    text = str(said)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
