"""Tab Ask: a question, the answer as it is written, its footnotes, and what was asked before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from rag.engine import Engine
from rag.errors import FootnoteError, NotFound
from rag.finding.overview import tags_of
from rag.finding.query import narrowing
from rag.records import Answer
from rag.search import clean_question
from rag.threads import in_thread
from rag.ui import deeds, kept, render
from rag.ui.conversation import Conversation
from rag.ui.render import QUIET

EXAMPLES = 3
TYPING_S = 0.4  # without a key, before what is typed is taken for what will be asked
TAGS = 500  # of the most used that can be chosen; others can be typed
_READ_WHEN_OPENED = """
element.addEventListener("toggle", async (event) => {
  const card = event.target, place = card.querySelector(":scope > .opened");
  if (!card.open || !place || place.innerHTML) return;
  place.innerHTML = "…";
  place.innerHTML = await server.read({...card.dataset});
  card.dispatchEvent(new Event("toggle"));  // page.js brings the passage into view
}, true);
"""
_BUTTONS = """
element.addEventListener("click", (event) => {
  if (event.target.closest && event.target.closest("button.quiet")) trigger("click");
});
"""
_TO_THE_QUESTION = "() => document.querySelector('#question textarea').focus()"
_ANY_TAG = ("any", "")
Step = dict[Any, Any]
"""What changes on the page: a component's new value each."""


@dataclass(frozen=True)
class AskTab:
    """What the page joins to the rest: how to bring the tab up to date, and where it leads."""

    refresh: Callable[[], list[Any]]
    fresh: list[gr.components.Component]
    to_posts: gr.Button
    to_samples: gr.Button


@dataclass(frozen=True)
class _Parts:
    """The parts of the tab that an answer changes.

    Whether the buttons are there is read from these by style.css: Gradio loses what is hidden and shown again at once.
    """

    earlier: gr.HTML
    preface: gr.HTML
    answer: gr.HTML
    deeds: gr.HTML
    sources: gr.HTML
    posts: gr.HTML
    hits: gr.HTML

    def cleared(self) -> Step:
        """Return what stands there before the first question: nothing."""
        return {getattr(self, part.name): "" for part in fields(self)}

    def begun(self, talk: Conversation, said: str) -> Step:
        """Return what stands in place of the last answer."""
        return {**self.cleared(), self.earlier: render.conversation(talk.exchanges), self.answer: said}

    def reopened(self, engine: Engine, talk: Conversation) -> Step:
        """Return what stands there when a kept conversation is opened: its last answer, the others folded."""
        if not talk.exchanges:
            return self.begun(talk, "")
        *before, last = talk.exchanges
        step = {**self.cleared(), self.earlier: render.conversation(before), self.deeds: kept.shown(talk)}
        return {**step, **self.grown(engine, last.number, None, last.answer)}

    def grown(self, engine: Engine, number: int, before: Answer | None, now: Answer) -> Step:
        """Return what has changed with one more piece of an answer."""
        step: Step = {self.answer: render.answer(now, number)}
        if before is None or render.footnotes(before) != render.footnotes(now):
            step[self.sources] = render.sources(now, _texts(engine, now), number)
        if before is None or before.hits != now.hits or now.done:
            step[self.preface] = render.preface(now)
            step[self.hits] = render.hits(now, number)
        if now.done:
            step[self.posts] = render.posts(now, number)
        return step


def build(engine: Engine, *, visitor: bool = False) -> AskTab:
    """Build the tab inside the page that is being built; for a `visitor` of a Space no conversations are listed."""
    state = gr.State(Conversation())  # each tab of a browser gets a copy; a reload begins anew
    reading: dict[str, Any] = {"padding": False, "server_functions": [_reader(engine)]}
    with gr.Column(visible=False, elem_id="empty") as empty:
        gr.HTML(render.EMPTY, padding=False)
        with gr.Row():
            to_posts = gr.Button("Add your posts", variant="primary")
            to_samples = gr.Button("Try it with the sample posts", visible=not visitor)
    listing: dict[str, Any] = {"padding": False, "server_functions": kept.server_functions(engine)}
    talks = gr.HTML(deeds.PANEL, visible=not visitor, elem_id="kept", js_on_load=deeds.LIST, **listing)
    earlier = gr.HTML(elem_id="earlier", js_on_load=_READ_WHEN_OPENED + _BUTTONS + deeds.CLICKS, **reading)
    with gr.Row(elem_id="asking"):
        question = gr.Textbox(
            label="Your question",
            placeholder="Ask your posts in plain words",
            max_lines=6,
            scale=5,
            autofocus=True,
            elem_id="question",
        )
        submit = gr.Button("Ask", variant="primary", scale=1, min_width=96, elem_id="submit")
        stop = gr.Button("Stop", variant="stop", scale=1, min_width=96, elem_id="stop")
    with gr.Accordion("Narrow the search", open=False, visible=False, elem_id="narrow") as narrow, gr.Row():
        tag = gr.Dropdown(label="Tag", choices=[_ANY_TAG], value="", allow_custom_value=True, min_width=160)
        after = gr.Textbox(label="From", placeholder="2023 or 2023-03-15", max_lines=1, min_width=160)
        before = gr.Textbox(label="Until", placeholder="2023-03", max_lines=1, min_width=160)
    with gr.Row(elem_id="examples"):
        examples = [gr.Button(visible=False, size="sm", elem_classes="example") for _ in range(EXAMPLES)]
    with gr.Row(elem_id="reading"):
        with gr.Column(scale=3):
            preface = gr.HTML(elem_id="preface", padding=False, js_on_load=_BUTTONS)
            answer = gr.HTML(elem_id="answer", padding=False)
            below = gr.HTML(elem_id="deeds", padding=False, js_on_load=deeds.CLICKS + deeds.TELL)
        with gr.Column(scale=2):
            sources = gr.HTML(elem_id="sources", padding=False)
            posts = gr.HTML(elem_id="found-posts", js_on_load=_READ_WHEN_OPENED, **reading)
            hits = gr.HTML(elem_id="hits", padding=False)
    parts = _Parts(earlier, preface, answer, below, sources, posts, hits)
    filters = [tag, after, before]
    outputs = {state, *parts.cleared()}

    def ask(talk: Conversation, typed: str, tag: str, after: str, before: str) -> Iterator[Step]:
        yield {state: talk}  # what was never given back, Gradio does not let go of when the tab is closed
        yield from _stream(engine, parts, talk, typed or "", (tag or "", after or "", before or ""))

    def ask_alone(talk: Conversation) -> Iterator[Step]:
        for exchange in talk.exchanges[-1:]:  # with its filters: they stand in what was asked
            yield from _stream(engine, parts, talk, exchange.answer.question, alone=True)

    def start_anew(talk: Conversation, typed: str = "") -> Step:
        talk.interrupt()
        kept.save(engine, talk)
        talk.clear()
        return {**parts.cleared(), question: typed, **dict.fromkeys(filters, "")}

    asked: dict[str, Any] = {
        "fn": ask,
        "inputs": [state, question, *filters],
        "outputs": outputs,
        "concurrency_limit": None if visitor else 8,  # visitors wait in a line of their own
        **QUIET,
    }
    anew: dict[str, Any] = {"fn": start_anew, "outputs": {*outputs, question, *filters}, **QUIET}
    gr.on([submit.click, question.submit], trigger_mode="multiple", **asked)
    typing: dict[str, Any] = {"queue": False, "trigger_mode": "always_last", **QUIET}
    if not visitor:  # what is typed and never asked is not sent
        question.input(lambda talk, typed: engine.expect([typed], talk.turns(), TYPING_S), [state, question], **typing)
    preface.click(ask_alone, state, outputs, concurrency_limit=8, **QUIET)
    stop.click(Conversation.halt, state, queue=False, **QUIET)
    earlier.click(inputs=state, **anew).then(js=_TO_THE_QUESTION)
    for example in examples:
        example.click(inputs=[state, example], **anew).then(**asked)
    talks.click(inputs=state, **anew)
    _join(engine, parts, state, question, talks, _TO_THE_QUESTION)
    refresh = lambda: _refresh(engine)  # noqa: E731
    return AskTab(refresh, [empty, question, submit, narrow, tag, *examples], to_posts, to_samples)


def _join(
    engine: Engine, parts: _Parts, state: gr.State, question: gr.Textbox, talks: gr.HTML, to_the_question: str
) -> None:
    """Join what can be done with answers, and the list of conversations, to the rest of the tab."""

    def do(talk: Conversation, event: gr.EventData) -> Iterator[Step]:
        act, last = event._data.get("act"), talk.exchanges[-1] if talk.exchanges else None
        if act == "ask" and (offered := str(event._data.get("question") or "")):
            yield {question: offered}
            yield from _stream(engine, parts, talk, offered)
        elif act == "again" and last:
            yield from _stream(engine, parts, talk, last.answer.question, alone=last.alone)
        elif act in ("edit", "keep") and last:
            talk.editing = act == "edit"
            yield {parts.deeds: kept.shown(talk), question: last.answer.question if talk.editing else ""}
        else:
            yield {parts.deeds: kept.shown(talk, kept.judge(engine, talk, event._data))}

    def judge_earlier(talk: Conversation, event: gr.EventData) -> Step:
        trouble = kept.judge(engine, talk, event._data)
        return {parts.earlier: render.conversation(talk.before()), parts.deeds: kept.shown(talk, trouble)}

    def open_again(talk: Conversation, event: gr.EventData) -> Step:
        talk.interrupt()
        kept.save(engine, talk)
        try:
            kept.reopen(engine, talk, event._data)
        except FootnoteError as error:
            return parts.begun(talk, render.trouble(str(error)))
        return {**parts.reopened(engine, talk), question: talk.exchanges[-1].answer.question if talk.exchanges else ""}

    outputs = {state, question, *parts.cleared()}
    done = parts.deeds.like(do, state, outputs, concurrency_limit=8, **QUIET)
    done.then(js=f"() => {{ if (document.querySelector('#deeds [data-act=keep]')) ({to_the_question})(); }}")
    parts.earlier.like(judge_earlier, state, outputs, **QUIET)
    talks.like(open_again, state, outputs, **QUIET)


def _stream(
    engine: Engine,
    parts: _Parts,
    talk: Conversation,
    typed: str,
    chosen: tuple[str, str, str] = ("", "", ""),
    *,
    alone: bool = False,
) -> Iterator[Step]:
    """Yield what changes on the tab while an answer grows."""
    talk.interrupt()
    kept.save(engine, talk)  # what there is of an answer that this question interrupts
    try:
        whole = " ".join(part for part in (typed, narrowing(*chosen)) if part)
        asking = talk.begin(clean_question(whole), alone=alone)
    except FootnoteError as error:
        talk.interrupt()
        yield parts.begun(talk, render.trouble(str(error)))
        return
    yield parts.begun(talk, render.waiting("Searching your posts…"))
    last: Answer | None = None
    try:
        for answers in in_thread(engine.ask(asking.question, asking.stop, asking.turns)):
            if not answers:
                yield gr.skip()  # a closed tab is noticed only at a yield
                continue
            if not talk.keep(asking, answers[-1]):
                yield gr.skip()  # the last step is repeated at the end, over what has taken this answer's place
                return
            yield parts.grown(engine, asking.number, last, answers[-1])
            last = answers[-1]
        trouble = kept.save(engine, talk)
        yield {parts.deeds: kept.shown(talk, trouble)} if talk.last_of(asking) else gr.skip()
        engine.expect(kept.offered(talk), talk.turns())
    except FootnoteError as error:
        yield parts.begun(talk, render.trouble(str(error))) if talk.drop(asking) else gr.skip()
    finally:
        asking.stop.set()  # also when the tab is closed: the writer ends
        if last and not last.done and talk.last_of(asking):
            talk.interrupt()
            kept.save(engine, talk)


def _texts(engine: Engine, answer: Answer) -> dict[str, str]:
    """Return the text of each cited post."""
    texts = {}
    for post_id in {cited.post_id for cited in render.footnotes(answer)}:
        with suppress(NotFound):  # it was removed since
            texts[post_id] = engine.post(post_id).text
    return texts


def _reader(engine: Engine) -> Callable[[Any], str]:
    """Return what the page calls with a card's data when it is opened."""

    def read(card: Any) -> str:
        named = card if isinstance(card, dict) else {}
        first, end, quoted, unquoted = (int(n) for n in re.findall(r"\d{1,9}", f"{named.get('places')} 0 0 0 0")[:4])
        try:
            shown = engine.post(str(named.get("post")))
        except FootnoteError as error:
            return render.trouble(str(error))
        said = str(named.get("said") or "")
        return render.opened(shown, (first, end), (quoted, unquoted), said) if end else render.post(shown)

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
