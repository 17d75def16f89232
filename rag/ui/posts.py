"""Tab Posts: drop files, see what becomes of each, find posts again, remove them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.errors import FootnoteError
from rag.records import FileProgress
from rag.ui import render
from rag.ui.work import in_thread

COLUMNS = ["Title", "Date", "Passages", "Source", "Id"]
_QUIET: dict[str, Any] = {"show_progress": "hidden"}


@dataclass(frozen=True)
class PostsTab:
    """What the page joins to the rest."""

    refresh: Callable[[], list[Any]]
    fresh: list[gr.components.Component]
    add_samples: Callable[[], Iterator[list[Any]]]
    outcome: list[gr.components.Component]
    changed: gr.Number
    """Its value changes whenever posts came or went."""


def build(engine: Engine, samples: Path) -> PostsTab:
    """Build the tab inside the page that is being built."""
    changed = gr.Number(0, visible=False)
    files = gr.File(
        label="Drop posts here: Markdown, saved web pages, plain text",
        file_count="multiple",
        height=160,
        elem_id="drop",
    )
    outcome = gr.HTML(elem_id="outcome", padding=False)
    counts = gr.HTML(elem_id="counts", padding=False)
    table = gr.Dataframe(
        headers=COLUMNS,
        datatype="str",
        interactive=False,
        show_search="search",
        max_height=420,
        wrap=True,
        column_widths=["36%", "110px", "90px", "30%", "130px"],
        elem_id="list",
    )
    chosen = gr.State("")
    with gr.Column(visible=False, elem_id="chosen") as panel:
        detail = gr.HTML()
        with gr.Row():
            remove = gr.Button("Remove this post…", variant="stop", size="sm")
            close = gr.Button("Close", size="sm")
        with gr.Row(visible=False, elem_id="confirm") as confirm:
            sure = gr.Button("Yes, remove it for good", variant="stop", size="sm")
            keep = gr.Button("No, keep it", size="sm")

    fresh = [counts, table]
    outputs = [outcome, counts, table, files, changed]

    def add_samples() -> Iterator[list[Any]]:
        yield from _add(engine, engine.add([str(samples)]))

    def upload(paths: list[str] | None) -> Iterator[list[Any]]:
        yield from _add(engine, _uploads(engine, [Path(path) for path in paths or []]))

    def select(event: gr.SelectData) -> list[Any]:
        post_id = str(event.row_value[-1])
        return [post_id, *_detail(engine, post_id), gr.Row(visible=False)]

    def remove_now(post_id: str) -> list[Any]:
        try:
            engine.remove([post_id])
            message = render.done("The post and all its passages are gone.")
        except FootnoteError as error:
            message = render.trouble(str(error))
        return [message, *_list(engine), gr.skip(), _stamp(engine), gr.Column(visible=False), ""]

    files.upload(upload, files, outputs, concurrency_limit=1, **_QUIET)
    table.select(select, outputs=[chosen, panel, detail, confirm], **_QUIET)
    remove.click(lambda: gr.Row(visible=True), outputs=confirm, **_QUIET)
    keep.click(lambda: gr.Row(visible=False), outputs=confirm, **_QUIET)
    close.click(lambda: gr.Column(visible=False), outputs=panel, **_QUIET)
    sure.click(remove_now, chosen, [*outputs, panel, chosen], **_QUIET)
    return PostsTab(lambda: _list(engine), fresh, add_samples, outputs, changed)


def _add(engine: Engine, steps: Iterator[FileProgress]) -> Iterator[list[Any]]:
    """Yield the tab's outputs while files are added: one row a file."""
    rows: dict[str, FileProgress] = {}
    skip = gr.skip()
    try:
        for batch in in_thread(steps):
            rows.update((progress.source, progress) for progress in batch)
            yield [render.outcome(rows) if batch else skip, skip, skip, skip, skip]
        message = render.outcome(rows)
    except FootnoteError as error:
        message = render.outcome(rows) + render.trouble(str(error))
    yield [message, *_list(engine), None, _stamp(engine)]


def _uploads(engine: Engine, paths: list[Path]) -> Iterator[FileProgress]:
    """Add uploaded files; the copies that Gradio made of them do not stay."""
    try:
        yield from engine.add_uploads([(path, path.name) for path in paths])
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _list(engine: Engine) -> list[Any]:
    posts = engine.posts()
    rows = [[post.title, post.date or "", post.passages, render.short_source(post.source), post.id] for post in posts]
    return [render.counts(*engine.count()), gr.Dataframe(value=rows, headers=COLUMNS, visible=bool(posts))]


def _detail(engine: Engine, post_id: str) -> list[Any]:
    try:
        return [gr.Column(visible=True), render.post(engine.post(post_id))]
    except FootnoteError as error:
        return [gr.Column(visible=True), render.trouble(str(error))]


def _stamp(engine: Engine) -> float:
    """Return a number that is another one whenever the library is."""
    return float(hash(tuple(post.id for post in engine.posts())) % 1_000_000_007)
