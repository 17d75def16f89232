"""Tuning on the tab Quality: what it would do, how far it is, what came of it, and what search uses."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.errors import FootnoteError
from rag.tuning.run import MINUTES, Wanted
from rag.tuning.shelf import Tuned
from rag.ui import render, tuned
from rag.ui.render import QUIET

_TICK_S = 1  # how often a running tuning is looked at
_SHOWN = 25  # pairs that are shown at first, and each time more
_LEAST_MINUTES, _MOST_MINUTES = 1, 120
_DOTTED = "Nothing was taken: a file's name begins with a dot. Rename it and drop it again."
_CLICKS = """
let sure = null;
element.addEventListener("click", (event) => {
  const button = event.target.closest && event.target.closest("button[data-act]");
  if (!button) return;
  if (button.dataset.sure && sure !== button) { sure = button; button.textContent = button.dataset.sure; }
  else trigger("click", {...button.dataset});
});
"""
"""As on the rest of the tab, and what cannot be undone is asked twice."""


class _View:
    """What one open page shows of it: kept by Gradio, which copies it."""

    def __init__(self) -> None:
        self.struck: set[str] = set()  # questions not to train on
        self.pairs = _SHOWN  # how many pairs are shown
        self.model = ""  # the tuning whose result is shown; "" the last one


def build(engine: Engine) -> None:
    """Build the section inside the tab that is being built; it keeps itself up to date."""
    tuning = engine.tuning
    gr.HTML(tuned.INTRO, padding=False)
    with gr.Accordion("Your own pairs, and how long it may take", open=False, elem_id="tune-options"):
        file = gr.File(
            label="Your questions and what answers them: JSON lines, JSON or CSV",
            height=160,
            elem_id="tune-file",
        )
        minutes = gr.Slider(_LEAST_MINUTES, _MOST_MINUTES, value=MINUTES, step=1, label="Minutes that it may take")
        asked = gr.Checkbox(value=True, label="Learn from questions whose answers you gave a thumbs-up, too")
    with gr.Row(elem_id="tune-row"):
        start = gr.Button("Tune", variant="primary", size="sm", elem_id="tune")
        look = gr.Button("See what it would do", size="sm", elem_id="tune-look")
        cancel = gr.Button("Cancel", size="sm", visible=False, elem_id="cancel-tuning")
    going = gr.HTML(elem_id="tuning", padding=False)
    plan = gr.HTML(elem_id="tune-plan", padding=False, js_on_load=_CLICKS)
    result = gr.HTML(elem_id="tune-result", padding=False, js_on_load=_CLICKS)
    use = gr.HTML(elem_id="tune-use", padding=False, js_on_load=_CLICKS)
    with gr.Accordion("Earlier tunings", open=False, visible=False, elem_id="tunings") as fold:
        runs = gr.HTML(elem_id="tune-runs", padding=False, js_on_load=_CLICKS)
    view = gr.State(_View())
    seen = gr.State(None)
    shown: list[Any] = [start, look, cancel, going, plan, result, use, fold, runs]
    every = [view, seen, *shown]

    def fresh(now: _View) -> list[Any]:
        return [now, _stamp(engine), *_shown(engine, now)]

    def tick(now: _View, before: Any) -> list[Any]:
        stamp = _stamp(engine)
        if stamp == before:
            return [gr.skip()] * len(every)
        if before and stamp[0] == before[0]:  # only how far it is has changed
            return [gr.skip(), stamp, *([gr.skip()] * 3), _going(engine), *([gr.skip()] * 5)]
        return fresh(now)

    def attempt(now: _View, act: Callable[[], None]) -> list[Any]:
        try:
            act()
            return fresh(now)
        except FootnoteError as error:
            values = fresh(now)
            values[every.index(going)] = render.trouble(str(error))
            return values

    def wanted(now: _View, path: str | None, most: float, thumbs: bool) -> Wanted:
        most = min(max(float(most or MINUTES), _LEAST_MINUTES), _MOST_MINUTES)
        return Wanted(path or "", minutes=most, asked=bool(thumbs), struck=frozenset(now.struck), install=False)

    def start_it(now: _View, *typed: Any) -> list[Any]:
        now.model = ""
        return attempt(now, lambda: tuning.start(wanted(now, *typed)))

    def look_at_it(now: _View, *typed: Any) -> list[Any]:
        now.struck, now.pairs = set(), _SHOWN
        asked_for = wanted(now, *typed)
        return attempt(now, lambda: tuning.do(lambda stop: tuning.look(asked_for, stop)))

    def clicked(now: _View, event: gr.EventData) -> list[Any]:
        return attempt(now, lambda: _act(engine, now, event._data))

    typed = [view, file, minutes, asked]
    gr.Timer(_TICK_S).tick(tick, [view, seen], every, **QUIET)
    start.click(start_it, typed, every, **QUIET)
    look.click(look_at_it, typed, every, **QUIET)
    cancel.click(lambda: tuning.cancel(), **QUIET)
    for region in (plan, result, use, runs):
        region.click(clicked, view, every, **QUIET)
    dropped = file.upload(lambda: None, **QUIET)
    dropped.failure(lambda: render.trouble(_DOTTED), outputs=going, **QUIET)  # Gradio refuses the whole drop


def _stamp(engine: Engine) -> list[list[Any]]:
    """Return what is another whenever there is something new to show: of the whole, and of how far it is."""
    tuning = engine.tuning
    whole = [tuning.changes, tuning.running, tuning.failure, tuning.ready, engine.count()]
    return [whole, [tuning.stage.what, tuning.stage.done, tuning.stage.total, tuning.stopping]]


def _shown(engine: Engine, view: _View) -> list[Any]:
    """Return the value of everything that shows how it stands."""
    tuning = engine.tuning
    idle, plan, use, history = not tuning.running, tuning.plan, tuning.use(), tuning.history()
    passages = engine.count()[1]
    run = _chosen(history, view.model)
    former = use.former if use else ""
    return [
        gr.Button(visible=idle),
        gr.Button(visible=idle),
        gr.Button(visible=not idle),
        _going(engine),
        tuned.planned(plan, view.struck, view.pairs, idle=idle) if plan else "",
        tuned.result(run, passages, former, idle=idle) if run else "",
        tuned.in_use(use, passages, idle=idle) if use else "",
        gr.Accordion(visible=bool(history)),
        tuned.history(history),
    ]


def _going(engine: Engine) -> str:
    tuning = engine.tuning
    if tuning.running:
        return tuned.going(tuning.stage, tuning.losses, stopping=tuning.stopping)
    return render.trouble(tuning.failure) if tuning.failure else ""


def _chosen(history: list[Tuned], model: str) -> Tuned | None:
    """Return the tuning whose result is shown: the one chosen, or the last one."""
    return next((run for run in history if run.model == model), history[0] if history else None)


def _act(engine: Engine, view: _View, said: dict[str, Any]) -> None:
    """Do what a button says. What comes from the page is only believed where it names something that is known."""
    tuning = engine.tuning
    model = next((run.model for run in tuning.history() if run.model == said.get("model")), "")
    use, plan = tuning.use(), tuning.plan
    width = next((width for width in use.widths if str(width) == said.get("width")), 0) if use else 0
    question = str(said.get("question", ""))
    exchanges: dict[str, Callable[[Event], object]] = {
        "install": lambda stop: tuning.install(model, stop),
        "discard": lambda _: tuning.discard(model),
        "rollback": lambda stop: tuning.rollback(stop),
        "width": lambda _: tuning.choose(width),
        "clear": lambda _: tuning.clear(),
    }
    act = str(said.get("act"))
    if act in exchanges:
        tuning.do(exchanges[act])
    elif act == "show":
        view.model = model
    elif act == "more":
        view.pairs += _SHOWN
    elif act == "strike" and plan and any(pair.question == question for pair in plan.pairs):
        view.struck ^= {question}
