"""What could be asked next: two or three questions made of the hits' own headings and titles, by rules.

On its own, because a question that is offered must be one: short, plain, about what posts say, and not asked yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rag.errors import BadQuestion
from rag.finding.query import parse
from rag.markup import plain
from rag.measuring.questions import check_questions
from rag.records import NO_FILTERS, Answer, Hit
from rag.words import stems_of

OFFERED = 3
_HITS = 5  # the best ones; what stands further down is about something else
_LONGEST = 90  # characters of a question
_TELLING = 2  # words of a heading that carry meaning
_HEADING = re.compile(r"\s*#{2,6} +([^\n]+)")
_ODD = re.compile(r"[`<>\[\]{}\\|*#=\"“”]|\w:\S|www\.")  # what is code, an address or a filter
_QUESTION = re.compile(
    r"(?i)(?:how|what|when|where|which|who|whose|why|is|are|was|were|do|does|did|can|could|should|would|will)\b.*\?$"
)


def offers(answer: Answer, before: Sequence[str] = ()) -> tuple[str, ...]:
    """Return up to three questions that its hits may answer; none of them is the asked one, or one of those before."""
    if not answer.done or answer.refused:
        return ()
    asked = [stems_of(question) for question in (answer.question, answer.asked, *before)]
    found: dict[frozenset[str], str] = {}
    for subject, question in _candidates(answer):
        new = subject - frozenset().union(*found)
        if new and not any(subject <= known for known in asked) and _may_be_asked(question):
            found[subject] = question
        if len(found) == OFFERED:
            break
    return tuple(found.values())


def _candidates(answer: Answer) -> Iterator[tuple[frozenset[str], str]]:
    """Yield (stems of what it is about, question), the likeliest first."""
    hits = answer.hits[:_HITS]
    cited = {cited.passage_id for cited in answer.citations}
    for hit in (hit for hit in hits if hit.passage.id not in cited):  # what the answer has not said yet
        yield from _of_headings(hit)
    quoted = {cited.post_id for cited in answer.citations}
    others = [hit.title for hit in hits if hit.passage.post_id not in quoted]
    for name in map(_name, [*others, *(post.title for post in answer.posts)]):
        yield stems_of(name), f"What is ‘{name}’ about?"


def _of_headings(hit: Hit) -> Iterator[tuple[frozenset[str], str]]:
    _, *sections = hit.passage.heading.split(" › ")
    own = _HEADING.match(hit.passage.text)  # the heading that a passage begins with is not among those above it
    for heading in map(_name, [own[1]] if own else sections[-1:]):
        if _QUESTION.match(heading):
            yield stems_of(heading), heading
        elif len(stems_of(heading)) >= _TELLING:  # "Product" says too little
            yield stems_of(heading), f"What do the posts say about ‘{heading}’?"


def _name(heading: str) -> str:
    """Return a heading as it is said in a question: without marks, on one line."""
    return plain(heading).strip(" .:;,!–—-")


def _may_be_asked(question: str) -> bool:
    """Say whether it is a short, plain question without filters, whatever stood in the posts."""
    if len(question) > _LONGEST or _ODD.search(question) or not question.isprintable():
        return False
    try:
        return parse(question).filters == NO_FILTERS and check_questions([(question, "")]) == [""]
    except BadQuestion:
        return False
