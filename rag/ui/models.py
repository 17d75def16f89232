"""Tab Models: what is in use, what else there is, and the way to download, use and remove it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.errors import FootnoteError
from rag.records import Model, ModelKind
from rag.ui import render, stock
from rag.ui.render import QUIET

_TICK_S = 1  # how often what goes on is looked at, while something does
_EXPLAINED = (
    "<p class='note'>Sizes are read on the Hugging Face Hub, which is asked only when you press a button here. What a "
    "model needs in memory is an estimate.</p>"
)


@dataclass(frozen=True)
class ModelsTab:
    """What the page joins to the rest."""

    refresh: Callable[[], list[Any]]
    fresh: list[gr.components.Component]


def build(engine: Engine, *, local: bool) -> ModelsTab:
    """Build the tab inside the page that is being built; `local`: files of this machine may be named."""
    choosing = engine.choosing
    seen, looked = gr.State(None), gr.State([])
    timer = gr.Timer(_TICK_S, active=False)
    used = gr.HTML(elem_id="models-used", padding=False)
    doing = gr.HTML(elem_id="models-doing", padding=False, js_on_load=render.CLICKS)
    with gr.Row(elem_id="models-ask"):
        ask = gr.Button("Ask the Hub for sizes", size="sm", elem_id="ask-hub")
        gr.HTML(_EXPLAINED, padding=False)
    lists = gr.HTML(elem_id="models-list", padding=False, js_on_load=render.CLICKS)
    gr.HTML("<h2>Another model</h2>", elem_id="another-title", padding=False)
    with gr.Row(elem_id="another"):
        wanted = gr.Textbox(
            label="A repository on the Hub" + (", or a file or folder on this machine" if local else ""),
            placeholder="Qwen/Qwen2.5-0.5B-Instruct-GGUF",
            max_lines=1,
            scale=5,
        )
        look = gr.Button("Look", scale=1, min_width=96, elem_id="look-model")
    found = gr.HTML(elem_id="models-found", padding=False, js_on_load=render.CLICKS)
    shown: list[Any] = [seen, timer, used, doing, lists, found]

    def refresh(asked: str = "", models: Sequence[Model] = ()) -> list[Any]:
        return [
            _now(engine),
            gr.Timer(active=_busy(engine)),
            stock.in_use(choosing),
            stock.doing(choosing),
            stock.lists(choosing, asked),
            stock.found(choosing.again(models), choosing, asked),
        ]

    def tick(before: Any, models: list[Model]) -> list[Any]:
        now = _now(engine)
        if before and before[0] == now[0] and _busy(engine):
            still = [gr.skip(), gr.skip(), gr.skip() if before == now else stock.doing(choosing), gr.skip(), gr.skip()]
            return [now, *still]
        return refresh(models=models)

    def act(event: gr.EventData, models: list[Model]) -> list[Any]:
        said = event._data
        asked = str(said.get("setting", "")) if said.get("act") == "remove" else ""
        try:
            _act(engine, said)
            trouble = ""
        except FootnoteError as error:
            trouble = render.trouble(str(error))
        shown_now = refresh(asked, models)
        shown_now[3] += trouble
        return shown_now

    def ask_hub(models: list[Model]) -> list[Any]:
        choosing.ask()
        return refresh(models=models)

    def look_there(typed: str) -> list[Any]:
        try:
            if not (typed or "").strip():
                return [render.trouble("There is no name yet. Type one."), []]
            place = os.path.expanduser(typed.strip())
            if not local and os.path.exists(place):  # noqa: PTH110 - pathlib's raises where a name is too long
                return [render.trouble("Files of this machine cannot be named from another. Name a repository."), []]
            models = choosing.look(typed)
            return [stock.found(models, choosing, ""), models]
        except FootnoteError as error:
            return [render.trouble(str(error)), []]

    timer.tick(tick, [seen, looked], shown, **QUIET)
    for part in (doing, lists, found):
        part.click(act, looked, shown, **QUIET)
    ask.click(ask_hub, looked, shown, **QUIET)
    waiting = lambda: render.waiting("Looking for it…")  # noqa: E731
    gr.on([look.click, wanted.submit], waiting, outputs=found, trigger_mode="once", **QUIET).then(
        look_there, wanted, [found, looked], **QUIET
    )
    return ModelsTab(lambda: refresh()[:-1], shown[:-1])  # what was looked for stays


def _act(engine: Engine, said: dict[str, Any]) -> None:
    """Do what a button says; what comes from the page is only believed to be text."""
    choosing, setting = engine.choosing, str(said.get("setting", ""))
    kind: ModelKind = "writer" if said.get("kind") == "writer" else "embedder"
    acts: dict[str, Callable[[], None]] = {
        "fetch": lambda: choosing.fetch(kind, setting),
        "use": lambda: choosing.use(kind, setting),
        "anyway": lambda: choosing.use(kind, setting, anyway=True),
        "sure": lambda: choosing.remove(kind, setting),
        "cancel": choosing.fetching.cancel,
        "stop": choosing.changing.cancel,
    }
    if wanted := acts.get(str(said.get("act"))):
        wanted()


def _busy(engine: Engine) -> bool:
    choosing = engine.choosing
    return choosing.fetching.running or choosing.changing.running or choosing.asking.running


def _now(engine: Engine) -> list[Any]:
    """Return what changes when there is something new to show: the first part when a list has changed."""
    choosing = engine.choosing
    download = choosing.download
    return [
        choosing.changes,
        _busy(engine),
        choosing.stage,
        choosing.said,
        download and [download.done, download.speed],
    ]
