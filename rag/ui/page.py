"""The whole page: its tabs, what stands above them, and how it is launched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.ui import api, ask, models, posts, quality, render
from rag.ui.guard import same
from rag.ui.kept import export_route
from rag.ui.quality import gold_route
from rag.ui.render import QUIET

_SIGN_IN = (
    "Sign in with any name and the password that was set as FOOTNOTE_PASSWORD. After ten wrong ones, wait a minute."
)
_HERE = Path(__file__).parent
_SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_CODE_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build_ui(engine: Engine, samples: Path, *, local: bool = True) -> gr.Blocks:
    """Build the page over an engine; `samples` is the folder of posts offered while there are none.

    `local`: the page is for this machine alone, and may be told of folders on it.
    """
    with gr.Blocks(title="Footnote", analytics_enabled=False, fill_width=False) as page:
        api.build(engine, local=local)  # first, so that its names are its own
        gr.HTML(render.HEADER, elem_id="masthead", padding=False)
        status = gr.HTML(elem_id="activity", padding=False)
        with gr.Tabs() as tabs:
            with gr.Tab("Ask", id="ask"):
                asking = ask.build(engine)
            with gr.Tab("Posts", id="posts") as posts_tab:
                adding = posts.build(engine, samples, local=local)
            with gr.Tab("Quality", id="quality") as quality_tab:
                measuring = quality.build(engine)
            with gr.Tab("Models", id="models") as models_tab:
                choosing = models.build(engine, local=local)
        gr.Timer(2).tick(lambda: render.activity(engine), outputs=status, **QUIET)
        page.load(lambda: render.activity(engine), outputs=status, **QUIET)
        gr.on([page.load, adding.changed.change], asking.refresh, outputs=asking.fresh, **QUIET)
        gr.on([page.load, posts_tab.select, adding.changed.change], adding.refresh, outputs=adding.fresh, **QUIET)
        gr.on(
            [page.load, quality_tab.select, adding.changed.change], measuring.refresh, outputs=measuring.fresh, **QUIET
        )
        gr.on([page.load, models_tab.select], choosing.refresh, outputs=choosing.fresh, **QUIET)
        measuring.to_posts.click(lambda: gr.Tabs(selected="posts"), outputs=tabs, **QUIET)
        asking.to_posts.click(lambda: gr.Tabs(selected="posts"), outputs=tabs, **QUIET)
        asking.to_samples.click(lambda: gr.Tabs(selected="posts"), outputs=tabs, **QUIET).then(
            adding.add_samples, **QUIET
        )
        api.hide_others(page)
    return page


def _theme() -> gr.themes.Base:
    """Return the theme: system fonts, one accent colour, and greys dark enough to read."""
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="stone", font=_SYSTEM_FONTS, font_mono=_CODE_FONTS)
    return theme.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
        button_cancel_background_fill_dark="#b91c1c",
        button_cancel_text_color="white",
        button_cancel_text_color_dark="white",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_400",
        block_title_text_color="*neutral_600",
    )


def routes(engine: Engine) -> list[Any]:
    """Return what the page's server gives beside the page."""
    return [gold_route(engine), export_route(engine)]


def launch_options(password: str = "") -> dict[str, Any]:
    """Return what Blocks.launch needs to look right, stay on this machine and tell nobody anything."""
    asked = {"auth": lambda _, said: same(said, password), "auth_message": _SIGN_IN} if password else {}
    return {
        **asked,
        "theme": _theme(),
        "css": (_HERE / "style.css").read_text(encoding="utf-8"),
        "head": f"<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        "favicon_path": _HERE / "icon.svg",
        "pwa": True,
        "footer_links": [],
        "quiet": True,
        "share": False,
        "show_error": False,
        "allowed_paths": [],
        "enable_monitoring": False,
        "run_history": False,
    }
