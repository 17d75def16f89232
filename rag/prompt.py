"""Question + hits -> the prompt: what Footnote says itself, and what posts and people wrote, kept apart.

Written for a 135M-parameter model: one short instruction, the passages, the question last."""

from __future__ import annotations

from collections.abc import Sequence

from rag.errors import BadQuestion
from rag.ports import Writer
from rag.records import Hit, Prompt, Segment

MOST, LEAST = 8000, 100  # characters of a passage: what is tried first, and what is not worth reading
SYSTEM = "You answer questions about blog posts. Use only the passages. Answer in one or two short sentences."


def compose(question: str, hits: Sequence[Hit], writer: Writer) -> Prompt:
    """Return the longest prompt that fits the writer: hits are dropped from the lowest-ranked up, the question never.

    If not even the best one fits, its beginning is taken. Raise BadQuestion if the question alone is too long.
    """
    chosen, most = list(hits[: writer.passages]), MOST
    while most > LEAST:
        prompt = Prompt(_segments(question, chosen, most), tuple(chosen), 0)
        tokens = writer.count_tokens(prompt)
        if tokens <= writer.budget:
            return Prompt(prompt.segments, prompt.hits, tokens)
        if len(chosen) > 1:
            chosen.pop()
        else:
            most //= 2
    raise BadQuestion("This question is too long for the writer. Ask a shorter one.")


def _segments(question: str, hits: Sequence[Hit], most: int) -> tuple[Segment, ...]:
    segments = [Segment("system", SYSTEM, True), Segment("user", "Passages:\n\n", True)]
    for hit in reversed(hits):  # the best one last, nearest to the question
        segments.append(Segment("user", f"{hit.passage.embedded_text[:most]}\n\n", False, passage=True))
    segments += [Segment("user", "Question: ", True), Segment("user", question, False)]
    return tuple(segments)
