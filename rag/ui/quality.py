"""Tab Quality: how well search does here, how one question is searched, and which passages a person says are right.

Tuning has a file of its own, tune.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rag.engine import Engine
from rag.errors import FootnoteError
from rag.search import clean_question
from rag.ui import figures, render, tune
from rag.ui.render import QUIET

_TICK_S = 1  # how often a running measurement is looked at


@dataclass(frozen=True)
class QualityTab:
    """What the page joins to the rest."""

    refresh: Callable[[], list[Any]]
    fresh: list[gr.components.Component]
    to_posts: gr.Button


def build(engine: Engine) -> QualityTab:
    """Build the tab inside the page that is being built."""
    with gr.Column(visible=False, elem_id="nothing-to-measure") as empty:
        gr.HTML(figures.EMPTY, padding=False)
        to_posts = gr.Button("Add your posts", variant="primary")
    with gr.Column(visible=False, elem_id="quality") as panel:
        measured = _build_number(engine)
        tune.build(engine)
        judged = _build_inspector(engine)

    def refresh() -> list[Any]:
        some = engine.count()[0] > 0
        shown = [gr.Column(visible=not some), gr.Column(visible=some)]
        return [*shown, *_number(engine), _gold(engine)]

    return QualityTab(refresh, [empty, panel, *measured, judged], to_posts)


def gold_route(engine: Engine) -> Route:
    """Return the web route that gives the gold set away; made when asked for, no copy of the posts lies on the disk."""

    def give(_: Request) -> Response:
        headers = {"Content-Disposition": 'attachment; filename="footnote-gold-set.zip"', "Cache-Control": "no-store"}
        return Response(engine.quality.gold.export(), media_type="application/zip", headers=headers)

    return Route("/footnote/gold-set.zip", give)


def _build_number(engine: Engine) -> list[gr.components.Component]:
    """Build the last measurement, the ones before, and the way to a new one; return what shows them."""
    number = gr.HTML(elem_id="number", padding=False)
    running = gr.HTML(elem_id="measuring", padding=False)
    with gr.Row(elem_id="measure-row"):
        measure = gr.Button("Measure", variant="primary", size="sm", elem_id="measure")
        cancel = gr.Button("Cancel", size="sm", visible=False, elem_id="cancel-measuring")
    with gr.Accordion("Earlier measurements", open=False, visible=False, elem_id="history") as fold:
        history = gr.HTML()
    shown: list[Any] = [number, fold, history, running, measure, cancel]
    seen = gr.State(None)

    def look(before: Any) -> list[Any]:
        quality = engine.quality
        now = [quality.running, quality.progress, quality.failure]
        if before == now:
            return [gr.skip()] * 7
        fresh = _number(engine)
        return [now, *([gr.skip()] * 3 + fresh[3:] if now[0] else fresh)]

    def start() -> list[Any]:
        engine.quality.start()
        return [None, *_number(engine)]  # nothing seen: it may end before the next look, with the same last words

    def stop() -> None:
        engine.quality.cancel()

    gr.Timer(_TICK_S).tick(look, seen, [seen, *shown], **QUIET)
    measure.click(start, outputs=[seen, *shown], **QUIET)
    cancel.click(stop, **QUIET)
    return shown


def _number(engine: Engine) -> list[Any]:
    quality = engine.quality
    known = quality.history()
    going = quality.running
    trouble = render.trouble(quality.failure) if quality.failure and not going else ""
    return [
        figures.number(known[0] if known else None),
        gr.Accordion(visible=len(known) > 1),
        figures.history(known),
        figures.progress(*quality.progress) if going else trouble,
        gr.Button("Measure again" if known else "Measure", visible=not going),
        gr.Button(visible=going),
    ]


def _build_inspector(engine: Engine) -> gr.HTML:
    """Build the place where one question is looked into and judged; return what lists the judged ones."""
    gr.HTML("<h2>Look into a search</h2>", padding=False)
    asked = gr.State("")
    with gr.Row(elem_id="inspecting"):
        question = gr.Textbox(label="A question", placeholder="See what search does with it", max_lines=3, scale=5)
        look = gr.Button("Search", scale=1, min_width=96, elem_id="inspect")
    found = gr.HTML(elem_id="inspected", padding=False, js_on_load=render.CLICKS)
    gr.HTML("<h2>Questions you have judged</h2>", padding=False)
    judged = gr.HTML(elem_id="gold", padding=False, js_on_load=render.CLICKS)

    def search(typed: str) -> list[Any]:
        try:
            wanted = clean_question(typed or "")
            return [wanted, _inspected(engine, wanted)]
        except FootnoteError as error:
            return ["", render.trouble(str(error))]

    def judge(wanted: str, event: gr.EventData) -> list[Any]:
        try:
            _judge(engine, wanted, event._data)
            return [_inspected(engine, wanted) if wanted else gr.skip(), _gold(engine)]
        except FootnoteError as error:
            return [render.trouble(str(error)), _gold(engine)]

    def choose(wanted: str, event: gr.EventData) -> list[Any]:
        if event._data.get("act") == "show":
            wanted = str(event._data.get("question", ""))
            return [wanted, *search(wanted), gr.skip()]
        return [gr.skip(), gr.skip(), *judge(wanted, event)]

    waiting = lambda: render.waiting("Searching your posts…")  # noqa: E731
    gr.on([look.click, question.submit], waiting, outputs=found, trigger_mode="once", **QUIET).then(
        search, question, [asked, found], **QUIET
    )
    found.click(judge, asked, [found, judged], **QUIET)
    judged.click(choose, asked, [question, asked, found, judged], **QUIET)
    return judged


def _inspected(engine: Engine, question: str) -> str:
    both, words, meaning = (engine.search(question, mode) for mode in ("hybrid", "lexical", "dense"))
    return figures.inspected(both, words, meaning, engine.quality.gold.of(question))


def _judge(engine: Engine, asked: str, said: dict[str, Any]) -> None:
    """Do what a button says; what comes from the page is only believed to be text."""
    gold = engine.quality.gold
    question = str(said.get("question") or asked)
    number = str(said.get("passage", ""))
    passage = int(number) if number.isascii() and number.isdigit() and len(number) < 16 else 0
    acts: dict[str, Callable[[], None]] = {
        "mark": lambda: gold.mark(question, passage),
        "unmark": lambda: gold.unmark(question, passage),
        "deny": lambda: gold.deny(question),
        "forget": lambda: gold.forget(question),
    }
    if question and (act := acts.get(str(said.get("act")))):
        act()


def _gold(engine: Engine) -> str:
    return figures.gold(engine.quality.gold.all())
