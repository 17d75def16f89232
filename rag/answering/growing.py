"""Question + hits -> a growing answer: the writer writes, each finished sentence is verified, drift is cut off."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from threading import Event

from rag.citations import Verifier
from rag.errors import ModelError
from rag.markup import plain
from rag.ports import Writer
from rag.prompt import compose
from rag.records import Answer, Sentence, Timings, Turn

REFUSAL = "Your posts do not cover this."
NEAREST = "These come nearest:"
DRIFTED = "The rest strayed from your posts, so Footnote left it out."
QUOTED = "Quoted from your post, word for word."
PROVEN = 0.5
"""Share of an answer's sentences that must be proven, partly proven ones counting less, for it to stand in place of the
best quote. With SmolLM2-135M on 100 questions of xquad_en, 2026-11-25: the text right in 64 %, in 56 % if one partly
proven sentence were enough. Since a verb must be in the post: 62 of 80, before 55."""
PARTLY, PARTLY_ABLE = 0.4, 0.5
"""What a partly proven sentence counts. A writer that can read several passages has words of its own: what is partly
proven throughout stands then, marked. Not measured: no such writer was at hand."""
DRIFT = 2  # sentences in a row without a footnote that end an answer
_ECHO = re.compile(r"(?:^|\s)(?:Question:|Passages:)|\n#{1,6} ")  # a small model goes on with the prompt's own form
_SENTENCE_ENDS = '.!?…。！？:)]"”’*`'


class Clock:
    """Seconds since the question, and how many pieces were written."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._timings = Timings()

    def searched(self) -> Timings:
        """Note the end of the search."""
        self._timings = replace(self._timings, search_s=self._now())
        return self._timings

    def quoted(self) -> Timings:
        """Note that the first quote is there."""
        self._timings = replace(self._timings, first_quote_s=self._now())
        return self._timings

    def read(self, prefill: int, cached: int) -> None:
        """Note how much of the prompt was read, and how much had been before."""
        tokens = prefill + cached
        self._timings = replace(self._timings, prompt_tokens=tokens, prefill_tokens=prefill, cached_tokens=cached)

    def wrote(self) -> Timings:
        """Note one more piece of the answer."""
        first = self._timings.first_token_s or self._now()
        written = self._timings.answer_tokens + 1
        self._timings = replace(self._timings, first_token_s=first, answer_tokens=written)
        return self._timings

    def ended(self) -> Timings:
        """Note the end."""
        return replace(self._timings, total_s=self._now())

    def _now(self) -> float:
        return round(time.perf_counter() - self._start, 4)


def write(
    answer: Answer, verifier: Verifier, writer: Writer, stop: Event, clock: Clock, turns: Sequence[Turn] = ()
) -> Iterator[Answer]:
    """Yield the answer while the writer writes it and each finished sentence is held against the hits.

    `turns` are the earlier ones of the conversation. The last answer is `done`. Whatever happens to the writer, the
    hits stay; `note` says what happened.
    """
    answer = replace(answer, quotes=verifier.quotes(), timings=clock.quoted())
    yield replace(answer, status="Reading the best passages…" if writer.ready else "Loading the writing model…")
    partly = PARTLY
    try:
        partly = PARTLY_ABLE if writer.passages > 1 else PARTLY
        prompt = compose(answer.asked, answer.hits, writer, answer.quotes, turns)
        with closing(writer.write(prompt, stop, clock.read)) as pieces:  # type: ignore[type-var]
            for piece in pieces:
                answer, goes_on = _with_piece(replace(answer, timings=clock.wrote()), piece, verifier)
                if not goes_on:
                    break
                yield replace(answer, status="Writing…")
    except ModelError as error:
        answer = replace(answer, note=str(error), failed=True)
    if stop.is_set():
        answer = replace(answer, note="Stopped. What was written until then is kept.")
    answer = _settled(answer, verifier, partly, stopped=stop.is_set())
    yield replace(answer, status="", done=True, timings=clock.ended())


def _with_piece(answer: Answer, piece: str, verifier: Verifier) -> tuple[Answer, bool]:
    """Return the answer with one more piece, and whether the writer may go on."""
    text = (answer.text + piece).lstrip()
    if echo := _ECHO.search(text):
        return replace(answer, text=text[: echo.start()]), False
    sentences, citations = verifier.verify(text, done=False)
    if _drifts(sentences):
        return replace(answer, text=text[: sentences[-DRIFT].start], note=DRIFTED), False
    return replace(answer, text=text, sentences=sentences, citations=citations), True


def _settled(answer: Answer, verifier: Verifier, partly: float, *, stopped: bool) -> Answer:
    """Return the answer as it stays: every sentence verified, or a quote in its place."""
    text = answer.text.rstrip()
    sentences, citations = verifier.verify(text, done=True)
    if not stopped and _breaks_off(sentences):
        text = text[: sentences[-2].end]
        sentences, citations = verifier.verify(text, done=True)
    answer = replace(answer, text=text, sentences=sentences, citations=citations)
    return answer if stopped or _holds(sentences, partly) else _quoted(answer)


def _quoted(answer: Answer) -> Answer:
    """Return the answer with the posts' own best sentence in place of a text that nothing in them proves."""
    if not answer.quotes:
        return answer
    text = plain(answer.quotes[0].quote)
    sentences = (Sentence(text, 0, len(text), 1, "yes"),)
    note = answer.note if answer.failed else QUOTED
    return replace(answer, text=text, sentences=sentences, citations=answer.quotes[:1], note=note)


def _holds(sentences: Sequence[Sentence], partly: float) -> bool:
    """Say whether enough of an answer is proven to be read rather than the posts' own words."""
    counts = {"yes": 1.0, "partly": partly, "no": 0.0}
    return sum(counts[sentence.support] for sentence in sentences) >= PROVEN * len(sentences) > 0


def _drifts(sentences: Sequence[Sentence]) -> bool:
    """Say whether the last two sentences are in no post: a small model does not find back from there."""
    return len(sentences) >= DRIFT and all(sentence.citation is None for sentence in sentences[-DRIFT:])


def _breaks_off(sentences: Sequence[Sentence]) -> bool:
    """Say whether the last sentence ran into the writer's limit. What is proven did not: a list ends without a stop."""
    return len(sentences) > 1 and sentences[-1].text[-1] not in _SENTENCE_ENDS and sentences[-1].support != "yes"
