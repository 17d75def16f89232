"""Tab Ask: a question, the answer as it is written, its footnotes and the passages behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.errors import FootnoteError, NotFound
from rag.overview import tags_of
from rag.query import narrowing
from rag.records import Answer
from rag.ui import render
from rag.ui.work import in_thread

EXAMPLES = 3
TAGS = 500  # of the most used that can be chosen; others can be typed
_READ_WHEN_OPENED = """
element.addEventListener("toggle", async (event) => {
  const card = event.target, place = card.querySelector(":scope > .opened");
  if (!card.open || !place || place.innerHTML) return;
  place.innerHTML = "…";
  place.innerHTML = await server.read(card.dataset.post);
}, true);
"""
_ANY_TAG = ("any", "")
_QUIET: dict[str, Any] = {"show_progress": "hidden"}


@dataclass(frozen=True)
class AskTab:
    """What the page joins to the rest: how to bring the tab up to date, and where it leads."""

    refresh: Callable[[], list[Any]]
    fresh: list[gr.components.Component]
    to_posts: gr.Button
    to_samples: gr.Button


def build(engine: Engine) -> AskTab:
    """Build the tab inside the page that is being built."""
    stops: dict[str, Event] = {}
    with gr.Column(visible=False, elem_id="empty") as empty:
        gr.HTML(render.EMPTY, padding=False)
        with gr.Row():
            to_posts = gr.Button("Add your posts", variant="primary")
            to_samples = gr.Button("Try it with the sample posts")
    with gr.Row(elem_id="asking"):
        question = gr.Textbox(
            label="Your question",
            placeholder="Ask your posts in plain words",
            max_lines=6,
            scale=5,
            autofocus=True,
        )
        submit = gr.Button("Ask", variant="primary", scale=1, min_width=96, elem_id="submit")
        stop = gr.Button("Stop", variant="stop", scale=1, min_width=96, visible=False, elem_id="stop")
    with gr.Accordion("Narrow the search", open=False, visible=False, elem_id="narrow") as narrow, gr.Row():
        tag = gr.Dropdown(label="Tag", choices=[_ANY_TAG], value="", allow_custom_value=True, min_width=160)
        after = gr.Textbox(label="From", placeholder="2023 or 2023-03-15", max_lines=1, min_width=160)
        before = gr.Textbox(label="Until", placeholder="2023-03", max_lines=1, min_width=160)
    with gr.Row(elem_id="examples"):
        examples = [gr.Button(visible=False, size="sm", elem_classes="example") for _ in range(EXAMPLES)]
    answer = gr.HTML(elem_id="answer", padding=False)
    sources = gr.HTML(elem_id="sources", padding=False)
    posts = gr.HTML(
        elem_id="found-posts", padding=False, server_functions=[_reader(engine)], js_on_load=_READ_WHEN_OPENED
    )
    with gr.Accordion("All passages found", open=False, visible=False, elem_id="hits") as fold:
        hits = gr.HTML()

    inputs = [question, tag, after, before]
    outputs = [answer, sources, posts, hits, fold, submit, stop]

    def ask(asked: str, tag: str, after: str, before: str, request: gr.Request) -> Iterator[Any]:
        stops.get(request.session_hash or "", Event()).set()  # a new question ends the answer to the last
        mine = Event()
        stops[request.session_hash or ""] = mine
        try:
            chosen = (tag or "", after or "", before or "")
            yield from _stream(engine, asked or "", chosen, mine)
        finally:
            mine.set()  # also when the tab is closed: the writer ends
            if stops.get(request.session_hash or "") is mine:
                del stops[request.session_hash or ""]

    def halt(request: gr.Request) -> None:
        stops.get(request.session_hash or "", Event()).set()

    gr.on([submit.click, question.submit], ask, inputs, outputs, trigger_mode="once", concurrency_limit=8, **_QUIET)
    stop.click(halt, queue=False, **_QUIET)
    for example in examples:
        example.click(lambda text: text, example, question, **_QUIET).then(
            ask, inputs, outputs, concurrency_limit=8, **_QUIET
        )
    refresh = lambda: _refresh(engine)  # noqa: E731
    return AskTab(refresh, [empty, question, submit, narrow, tag, *examples], to_posts, to_samples)


def _stream(engine: Engine, asked: str, chosen: tuple[str, str, str], stop: Event) -> Iterator[list[Any]]:
    """Yield the tab's outputs while an answer grows."""
    busy, idle = (
        [gr.Button(visible=False), gr.Button(visible=True)],
        [gr.Button(visible=True), gr.Button(visible=False)],
    )
    shown: Answer | None = None
    yield [render.waiting("Searching your posts…"), "", "", "", gr.Accordion(visible=False), *busy]
    try:
        typed = f"{asked} {narrowing(*chosen)}"
        for answers in in_thread(engine.ask(typed, stop)):
            if not answers:
                yield [gr.skip()] * 7  # a closed tab is noticed only at a yield
                continue
            last = answers[-1]
            new_sources = shown is None or last.citations != shown.citations
            new_hits = shown is None or last.hits != shown.hits
            ends = new_hits or last.done
            yield [
                render.answer(last),
                render.sources(last, _texts(engine, last)) if new_sources else gr.skip(),
                render.posts(last) if last.posts else gr.skip(),
                render.hits(last) if new_hits else gr.skip(),
                # with nothing proven, the passages themselves are the best there is to read
                gr.Accordion(visible=bool(last.hits), open=last.done and not last.citations) if ends else gr.skip(),
                *[gr.skip(), gr.skip()],
            ]
            shown = last
    except FootnoteError as error:
        yield [render.trouble(str(error)), "", "", "", gr.Accordion(visible=False), *idle]
        return
    yield [*[gr.skip()] * 5, *idle]


def _texts(engine: Engine, answer: Answer) -> dict[str, str]:
    """Return the text of each cited post."""
    texts = {}
    for post_id in {citation.post_id for citation in answer.citations}:
        with suppress(NotFound):  # it was removed since
            texts[post_id] = engine.post(post_id).text
    return texts


def _reader(engine: Engine) -> Callable[[str], str]:
    """Return what the page calls when a post in a list is opened: thousands of texts would not fit into it."""

    def read(post_id: str) -> str:
        try:
            return render.post(engine.post(str(post_id)))
        except FootnoteError as error:
            return render.trouble(str(error))

    return read


def _refresh(engine: Engine) -> list[Any]:
    """Show the empty state or the question box, and examples from the library's own titles."""
    posts = engine.posts()
    questions = [render.example(post.title) for post in posts[:EXAMPLES]]
    questions += [""] * (EXAMPLES - len(questions))
    some = bool(posts)
    buttons = [gr.Button(value=text, visible=bool(text)) for text in questions]
    tags = [(f"{tag} ({count:,})", tag) for tag, count in tags_of(posts)[:TAGS]]
    return [
        gr.Column(visible=not some),
        gr.Textbox(visible=some),
        gr.Button(visible=some),
        gr.Accordion(visible=some),
        gr.Dropdown(choices=[_ANY_TAG, *tags], visible=bool(tags)),
        *buttons,
    ]
