"""The sources on the tab Posts: what is remembered, when it was last read, and how to read it again or forget it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.errors import FootnoteError
from rag.ui import render
from rag.ui.render import QUIET

COLUMNS = ["Kind", "Where", "Posts", "Last read", "Id"]


def build(engine: Engine, changed: gr.Number) -> None:
    """Build the fold with the sources; `changed` tells when to look at them anew."""
    with gr.Accordion("Where your posts come from", open=False, visible=False, elem_id="sources-fold") as fold:
        table = gr.Dataframe(
            headers=COLUMNS,
            datatype="str",
            interactive=False,
            wrap=True,
            max_height=320,
            column_widths=["80px", "46%", "80px", "170px", "100px"],
            elem_id="sources-list",
        )
        with gr.Row():
            sync = gr.Button("Look for new and changed posts", size="sm", elem_id="sync")
            daily = gr.Checkbox(label="Do that once a day while Footnote is open", container=False, elem_id="daily")
        chosen = gr.State("")
        with gr.Column(visible=False, elem_id="source") as panel:
            said = gr.HTML()
            with gr.Row():
                one = gr.Button("Look at this one only", size="sm")
                forget = gr.Button("Forget it, keep its posts", size="sm")
                away = gr.Button("Forget it and remove its posts…", size="sm")
                close = gr.Button("Close", size="sm")
            with gr.Row(visible=False) as confirm:
                sure = gr.Button("Yes, forget it and remove its posts for good", variant="stop", size="sm")
                keep = gr.Button("No, keep them", size="sm")

    def hidden() -> gr.Row:
        return gr.Row(visible=False)

    fresh = [fold, table, daily]

    def refresh() -> list[Any]:
        sources = engine.sources()
        rows = [[s.kind, s.location, s.posts, render.moment(s.checked), s.id] for s in sources]
        return [
            gr.Accordion(visible=bool(sources)),
            gr.Dataframe(value=rows, headers=COLUMNS),
            gr.Checkbox(value=engine.scheduled),
        ]

    def select(event: gr.SelectData) -> list[Any]:
        return [str(event.row_value[-1]), gr.Column(visible=True), render.done(str(event.row_value[1])), hidden()]

    def forget_it(source_id: str, with_posts: bool) -> list[Any]:
        try:
            engine.forget(source_id, with_posts=with_posts)
        except FootnoteError as error:
            return [*refresh(), gr.Column(visible=True), render.trouble(str(error))]
        return [*refresh(), gr.Column(visible=False), ""]

    def set_daily(wanted: bool) -> None:
        engine.scheduled = wanted

    def sync_all() -> None:
        engine.sync()

    def sync_one(source_id: str) -> None:
        engine.sync(source_id)

    changed.change(refresh, outputs=fresh, **QUIET)
    fold.expand(refresh, outputs=fresh, **QUIET)
    sync.click(sync_all, **QUIET)
    daily.input(set_daily, daily, **QUIET)
    table.select(select, outputs=[chosen, panel, said, confirm], **QUIET)
    one.click(sync_one, chosen, **QUIET)
    forget.click(lambda id_: forget_it(id_, False), chosen, [*fresh, panel, said], **QUIET)
    away.click(lambda: gr.Row(visible=True), outputs=confirm, **QUIET)
    keep.click(hidden, outputs=confirm, **QUIET)
    sure.click(lambda id_: forget_it(id_, True), chosen, [*fresh, panel, said], **QUIET).then(
        hidden, outputs=confirm, **QUIET
    )
    close.click(lambda: gr.Column(visible=False), outputs=panel, **QUIET)
