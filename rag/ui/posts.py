"""Tab Posts: drop files or name an address, see what becomes of each, find posts again, remove them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from rag.amounts import counted
from rag.engine import Engine
from rag.errors import FootnoteError
from rag.incoming.sources import described, is_address
from rag.ui import render
from rag.ui.render import QUIET
from rag.ui.sources import build as build_sources

COLUMNS = ["Title", "Date", "Passages", "Source", "Id"]
SHOW_CHOSEN = "() => document.querySelector('#chosen')?.scrollIntoView({block: 'nearest', behavior: 'smooth'})"
_DOTTED = "Nothing was added: a file's name begins with a dot. Rename it, or leave it out, and drop the others again."
_LISTED_EVERY_S = 10  # while posts come in: thousands of them take the browser a while
_TICK_S, _VISITORS_TICK_S = 1, 4  # how often a running import is looked at


@dataclass(frozen=True)
class PostsTab:
    """What the page joins to the rest."""

    refresh: Callable[[], list[Any]]
    fresh: list[gr.components.Component]
    add_samples: Callable[[], None]
    changed: gr.Number
    """Its value changes whenever posts came or went, here or elsewhere."""


def build(engine: Engine, samples: Path, *, local: bool, visitor: bool = False) -> PostsTab:
    """Build the tab inside the page that is being built; `local`: folders of this machine may be named.

    A `visitor` of a Space adds files alone, and has no sources.
    """
    changed = gr.Number(0, visible=False)
    files = gr.File(
        label="Markdown, HTML, PDF, Word, EPUB, an export of your blog…",
        file_count="multiple",
        height=160,
        elem_id="drop",
    )
    if not visitor:
        _build_address(engine, local)
    counts = _build_progress(engine, changed, _VISITORS_TICK_S if visitor else _TICK_S)
    message = gr.HTML(elem_id="message", padding=False)
    table = gr.Dataframe(
        headers=COLUMNS,
        datatype="str",
        interactive=False,
        show_search="search",
        max_height=420,
        wrap=True,
        column_widths=["34%", "105px", "95px", "26%", "125px"],
        elem_id="list",
    )
    _build_detail(engine, table, message, counts)
    if not visitor:
        build_sources(engine, changed)

    def upload(paths: list[str] | None) -> str:
        try:
            engine.add_uploads([(Path(path), Path(path).name) for path in paths or []])
        except FootnoteError as error:
            return render.trouble(str(error))
        return ""

    dropped = files.upload(upload, files, message, **QUIET)
    dropped.then(lambda: None, outputs=files, **QUIET)
    dropped.failure(lambda: render.trouble(_DOTTED), outputs=message, **QUIET)  # Gradio refuses the whole drop

    def add_samples() -> None:
        engine.add([str(samples)])

    return PostsTab(lambda: _list(engine), [counts, table], add_samples, changed)


def _build_address(engine: Engine, local: bool) -> None:
    """Build the box for an address or a folder, and the choice of what was found there."""
    found = gr.State([])
    with gr.Row(elem_id="address"):
        where = gr.Textbox(
            label="Or take a whole blog",
            placeholder="Address of your blog, a feed or a page" + (", or a folder on this machine" if local else ""),
            max_lines=1,
            scale=5,
        )
        look = gr.Button("Look", scale=1, min_width=96, elem_id="look")
    note = gr.HTML(elem_id="found-note", padding=False)
    with gr.Column(visible=False, elem_id="found") as panel:
        choice = gr.Radio(label="Found there", choices=[])
        with gr.Row():
            take = gr.Button("Add these posts", variant="primary", size="sm")
            leave = gr.Button("Cancel", size="sm")
    outputs = [note, panel, choice, found, where]

    def look_there(typed: str) -> list[Any]:
        typed = (typed or "").strip()
        try:
            if not typed:
                return [render.trouble("There is no address yet. Type one."), *_closed(gr.skip())]
            place = os.path.expanduser(typed)
            there = os.path.exists(place)  # noqa: PTH110 - pathlib's raises where a name is too long
            if local and typed.startswith(("/", "~", ".")) and not there:
                return [render.trouble(f"{typed}: there is no such file or folder here."), *_closed(gr.skip())]
            if local and not is_address(typed) and there:
                engine.add([typed])
                return ["", *_closed("")]
            findings = engine.look(typed)
        except FootnoteError as error:
            return [render.trouble(str(error)), *_closed(gr.skip())]
        if len(findings) == 1 and findings[0].kind in ("page", "feed"):
            engine.add([(findings[0].kind, findings[0].location)])
            return ["", *_closed("")]
        texts = [described(finding) for finding in findings]
        return ["", gr.Column(visible=True), gr.Radio(choices=texts, value=texts[0]), list(findings), gr.skip()]

    def take_chosen(chosen: str, findings: list[Any]) -> list[Any]:
        picked = [finding for finding in findings if described(finding) == chosen]
        engine.add([(finding.kind, finding.location) for finding in picked])
        return ["", *_closed("")]

    waiting = lambda: render.waiting("Looking at what is there…")  # noqa: E731
    gr.on([look.click, where.submit], waiting, outputs=note, **QUIET).then(look_there, where, outputs, **QUIET)
    take.click(take_chosen, [choice, found], outputs, **QUIET)
    leave.click(lambda: ["", *_closed("")], outputs=outputs, **QUIET)


def _closed(where: Any) -> list[Any]:
    return [gr.Column(visible=False), gr.skip(), [], where]


def _build_progress(engine: Engine, changed: gr.Number, tick_s: float) -> gr.HTML:
    """Build what shows the imports that run and the last that ended, whoever started them; return the posts' count."""
    seen = gr.State(None)
    outcome = gr.HTML(elem_id="outcome", padding=False)
    with gr.Row(elem_id="job"):
        cancel = gr.Button("Cancel", size="sm", visible=False, elem_id="cancel")
        retry = gr.Button("Try the failed ones again", size="sm", visible=False, elem_id="retry")
        prune = gr.Button(_remove_vanished(0), variant="stop", size="sm", visible=False, elem_id="prune")
    counts = gr.HTML(elem_id="counts", padding=False)

    def look(before: Any) -> list[Any]:
        jobs = list(engine.jobs.known)
        now = [[job.title, job.steps, job.ended, int(job.seconds)] for job in jobs]
        stamp = _stamp(engine, now)
        if before == [now, stamp]:
            return [gr.skip()] * 7
        busy, vanished = engine.jobs.busy, sum(len(job.vanished) for job in jobs)
        return [
            [now, stamp],
            render.jobs(jobs),
            gr.Button(visible=busy),
            gr.Button(visible=not busy and any(job.failed for job in jobs)),
            gr.Button(_remove_vanished(vanished), visible=not busy and vanished > 0),
            gr.skip() if before and before[1] == stamp else stamp,
            render.counts(*engine.count()),
        ]

    def stop() -> None:
        running = next((job for job in engine.jobs.known if not job.ended), None)
        if running is not None:
            running.stop.set()

    def try_again() -> None:
        engine.retry()

    def remove_vanished() -> None:
        engine.prune()

    timer = gr.Timer(tick_s)
    timer.tick(look, seen, [seen, outcome, cancel, retry, prune, changed, counts], queue=tick_s == _TICK_S, **QUIET)
    cancel.click(stop, **QUIET)
    retry.click(try_again, **QUIET)
    prune.click(remove_vanished, **QUIET)
    return counts


def _build_detail(engine: Engine, table: gr.Dataframe, message: gr.HTML, counts: gr.HTML) -> None:
    """Build the post that is chosen in the table, and the way to remove it."""
    chosen = gr.State("")
    with gr.Column(visible=False, elem_id="chosen") as panel:
        detail = gr.HTML()
        with gr.Row():
            remove = gr.Button("Remove this post…", variant="stop", size="sm")
            close = gr.Button("Close", size="sm")
        with gr.Row(visible=False, elem_id="confirm") as confirm:
            sure = gr.Button("Yes, remove it for good", variant="stop", size="sm")
            keep = gr.Button("No, keep it", size="sm")

    def select(event: gr.SelectData) -> list[Any]:
        post_id = str(event.row_value[-1])
        return [post_id, *_detail(engine, post_id), gr.Row(visible=False), ""]

    def remove_now(post_id: str) -> list[Any]:
        try:
            engine.remove([post_id])
            said = render.done("The post and all its passages are gone. It stays away when its source is read again.")
        except FootnoteError as error:
            said = render.trouble(str(error))
        return [said, *_list(engine), gr.Column(visible=False), ""]

    table.select(select, outputs=[chosen, panel, detail, confirm, message], **QUIET).then(js=SHOW_CHOSEN)
    remove.click(lambda: gr.Row(visible=True), outputs=confirm, **QUIET)
    keep.click(lambda: gr.Row(visible=False), outputs=confirm, **QUIET)
    close.click(lambda: gr.Column(visible=False), outputs=panel, **QUIET)
    sure.click(remove_now, chosen, [message, counts, table, panel, chosen], **QUIET)


def _list(engine: Engine) -> list[Any]:
    posts = engine.posts()
    rows = [[post.title, post.date or "", post.passages, render.short_source(post.source), post.id] for post in posts]
    return [render.counts(*engine.count()), gr.Dataframe(value=rows, headers=COLUMNS, visible=bool(posts))]


def _detail(engine: Engine, post_id: str) -> list[Any]:
    try:
        return [gr.Column(visible=True), render.post(engine.post(post_id))]
    except FootnoteError as error:
        return [gr.Column(visible=True), render.trouble(str(error))]


def _remove_vanished(count: int) -> str:
    return f"Remove {counted(count, 'vanished post')}"


def _stamp(engine: Engine, jobs: list[Any]) -> float:
    """Return a number that is another one whenever the library is, while posts come in at most every ten seconds."""
    if engine.jobs.busy:
        return float(time.monotonic() // _LISTED_EVERY_S) if engine.count()[0] else 0.0
    return float(hash((engine.count(), str(jobs))) % 1_000_000_007)
