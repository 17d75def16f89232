"""Pairs to tune on, made of the library's own passages: by rules from their text, by a writer that is asked, or of
what was asked on the page.

On its own because nothing here judges: what is not fit to train on is told by the sift."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Event

from rag.markup import plain
from rag.measuring.questions import CODE, NO_PROSE
from rag.ports import Conversations, Library, Writer
from rag.records import Pair, Passage, Prompt, Segment
from rag.sentences import sentence_spans
from rag.tuning.furniture import is_furniture
from rag.words import stems_of

DROPPED = 0.8
"""How often a sentence is taken out of its passage when it becomes the question: where it stays, the words themselves
are learnt. The inverse cloze task has 0.9 (Lee, Chang and Toutanova 2019). MiniLM on the seed's two posts, 627 pairs,
one epoch, with 0.8: dense NDCG@10 on 500 questions from 0.744 to 0.791."""
SHORTEST, LONGEST = 5, 60  # words of a sentence that becomes a question
TELLING = 4  # stems of it that carry meaning
NAMING = 2  # those of a title or a heading: "Introduction" asks for nothing
LEFT = 10  # words of a passage that must be left when a sentence is gone
PROSE = 0.75  # share of a sentence's signs that are letters and spaces: less is code or a table
SEED = 7
_READ = 20_000  # passages that are looked at: more would take minutes, and no tuning on two cores uses as many pairs
_ASKED = 2  # questions about each passage
_HEARD = 2_000  # characters of a writer's answer that are read
_LEAST = 200  # characters of a passage that are worth asking about

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_HEADING = re.compile(r"(?m)^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$|^([^\n#>|*+-][^\n]*)\n(?:=+|-{2,})[ \t]*$")
_LIST_MARK = re.compile(r"^(?:[-*+•>]|\d{1,3}[.)])\s+")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^)]*\)")
_EMPTY_LINE = re.compile(r"(?m)^[ \t]*(?:[-*+•>]|\d{1,3}[.)])?[ \t]*$\n?")
_ADDRESS = re.compile(r"https?://\S+")
_GAP = re.compile(r"\n{3,}")
_JOINT = " › "  # between the headings of a path, as rag/passages.py joins them

SYSTEM = "You write the questions that people type into the search of a blog."
ORDER = (
    "Write two questions that this passage answers, each on a line of its own. Ask as someone would who has not read "
    "it: say what each question is about by its name, and never speak of the passage, the text or the author. Use "
    "other words than the passage where you can. Write in the language of the passage, and nothing but the questions."
)
"""What a writer is asked. A plain order of this kind gave nothing with SmolLM2-135M (333 written, 54 found their
passage, no gain): it is for a larger one."""


def pairs_from_text(
    passages: Sequence[Passage], count: int, seed: int = SEED, dropped: float = DROPPED
) -> Iterator[Pair]:
    """Yield up to `count` pairs made of passages: a sentence for the rest of its passage, a title or a heading for what
    stands below it.

    `dropped` (0..1) is how often the sentence is taken out. The same passages and seed give the same pairs. Each
    passage gives one before any gives two. What stands in several passages alike asks for none of them, and what a
    question repeats of the headings is taken out of its passage.
    """
    chosen = sorted(passages, key=lambda passage: _chance(seed, passage).random())[:_READ]
    known = _Known(chosen)
    more: list[Iterator[Pair]] = []
    made = 0
    for passage in chosen:
        pairs = _of_passage(passage, known, _chance(seed, passage), dropped)
        if made < count and (pair := next(pairs, None)):
            made += 1
            more.append(pairs)
            yield pair
    while more and made < count:
        going_on = []
        for pairs in more:
            if made < count and (pair := next(pairs, None)):
                made += 1
                going_on.append(pairs)
                yield pair
        more = going_on


def pairs_from_writer(
    passages: Sequence[Passage], writer: Writer, count: int, stop: Event, seed: int = SEED
) -> Iterator[Pair]:
    """Yield up to `count` pairs whose questions a writer wrote, two about a passage; what it wrote is not judged here.

    Passages without a sentence are left out. Setting `stop` ends it, in the middle of a question too. Raise ModelError
    if the writer cannot write.
    """
    made = 0
    for passage in sorted(passages, key=lambda passage: _chance(seed, passage).random()):
        if made >= count or stop.is_set():
            return
        if is_furniture(passage.text) or not any(True for _ in _sentences(passage)):
            continue
        for question in questions_in(_written(passage, writer, stop))[:_ASKED]:
            if made < count and not stop.is_set():
                made += 1
                yield Pair(question, passage.embedded_text, "writer", passage.post_id)


def pairs_asked(conversations: Conversations, library: Library) -> Iterator[Pair]:
    """Yield the questions whose answers a person gave a thumbs-up, each with the passage that was cited first.

    A question that leaned on an earlier one is taken as it was searched for. What cited nothing, or only passages that
    are gone, is left out.
    """
    for talk in conversations.listed():
        for turn in conversations.turns(talk.id):
            cited = [quote.passage_id for quote in (*turn.citations, *turn.quotes)]
            if turn.thumb == "up" and not turn.refused and (found := library.passages(cited)[:1]):
                yield Pair(turn.asked or turn.question, found[0].embedded_text, "asked", found[0].post_id)


def questions_in(text: str) -> list[str]:
    """Return the questions in what a writer wrote, without numbers, marks, quotes and what it said around them.

    Where nothing asks, its lines are returned as they are: whether they are questions is for the sift to say.
    """
    text = re.sub(r"(?s)<think>.*?(?:</think>|\Z)|```\w*", "", text)
    lines = [line for raw in re.split(r"[\n\r]+|(?<=[?？])(?:[\"'”’»]*\s*,)?\s+(?=\S)", text) if (line := _bare(raw))]
    asking = [line for line in lines if line.endswith(("?", "？", "؟"))]
    rest = [line for line in lines if not line.endswith((":", "："))]
    return list(dict.fromkeys(asking or rest))


def _bare(line: str) -> str:
    """Return a line without what a writer puts around a question."""
    before = None
    line = line.strip()
    while line != before:
        before = line
        line = re.sub(r"^(?:[-*+•>#\s]+|\(?\d{1,3}[.):]\s*|\[\s*\d*\s*\]|[a-zA-Z][.)]\s)", "", line)
        line = re.sub(
            r"(?i)^[*_]*(?:question|query|q|frage|pregunta|domanda)\s*(?:#|no\.?|nr\.?)?\s*\d*\s*[*_]*\s*[:.)–—-]\s*",
            "",
            line,
        )
        line = re.sub(r"^[*_`\"'“”‘’«»„\[{,\s]+(?=\S)|(?<=\S)[*_`\"'“”‘’«»,\]}\s]+$", "", line)
        line = re.sub(r"(?i)(?<=[?？])\s*\(?(?:answer|a)\s*:.*$", "", line)
        line = line.strip()
    return line


def _written(passage: Passage, writer: Writer, stop: Event) -> str:
    """Return what a writer answers when it is asked for questions about a passage; "" if not even its start fits."""
    text = passage.embedded_text
    while writer.count_tokens(prompt := _order(text)) > writer.budget:
        text = text[: len(text) // 2]
        if len(text) < _LEAST:
            return ""
    heard = ""
    with closing(writer.write(prompt, stop)) as pieces:  # type: ignore[type-var]
        for piece in pieces:
            heard += piece
            if len(heard) > _HEARD:
                break
    return heard[:_HEARD]


def _order(text: str) -> Prompt:
    return Prompt(
        (
            Segment("system", SYSTEM, True),
            Segment("user", "Passage:\n\n", True),
            Segment("user", f"{text}\n\n", False),
            Segment("user", ORDER, True),
        ),
        (),
        0,
    )


@dataclass(frozen=True)
class _Sentence:
    """A sentence of a passage in plain words, and the place it has in the text."""

    text: str
    start: int
    end: int


class _Known:
    """What stands in the passages more than once, and which passage each post begins with."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Read the passages once."""
        sentences: Counter[str] = Counter()
        headings: Counter[str] = Counter()
        first: dict[str, Passage] = {}
        for passage in passages:
            sentences.update({_folded(passage.text[start:end]) for start, end in sentence_spans(passage.text)})
            headings.update({_folded(heading) for heading, _, _ in _headings(passage.text)})
            known = first.get(passage.post_id)
            if (not known or passage.start < known.start) and _length(_said(passage.text)) >= LEFT:
                first[passage.post_id] = passage
        titles = Counter(_folded(_title(passage)) for passage in first.values())
        self.first: Mapping[str, Passage] = first
        self._sentences = {text for text, times in sentences.items() if times > 1}
        self._names = {text for counted in (headings, titles) for text, times in counted.items() if times > 1}

    def repeated(self, passage: Passage, sentence: _Sentence) -> bool:
        """Say whether another passage has the same sentence."""
        return _folded(passage.text[sentence.start : sentence.end]) in self._sentences

    def ambiguous(self, name: str) -> bool:
        """Say whether several posts, or several sections, are called so."""
        return _folded(name) in self._names


def _of_passage(passage: Passage, known: _Known, chance: random.Random, dropped: float) -> Iterator[Pair]:
    """Yield the pairs of a passage, in an order of chance."""
    if is_furniture(passage.text):
        return
    made = [*_of_title(passage, known), *_of_headings(passage, known), *_of_sentences(passage, known, chance, dropped)]
    chance.shuffle(made)
    for question, positive in made:
        yield Pair(question, positive, "text", passage.post_id)


def _of_title(passage: Passage, known: _Known) -> Iterator[tuple[str, str]]:
    """Yield a post's title and its first passage, in which it no longer stands as a heading."""
    title = _title(passage)
    if known.first.get(passage.post_id) is passage and _names(title) and not known.ambiguous(title):
        rest = passage.heading.split(_JOINT)[1:]
        yield from _unless_told(title, rest, _without_heading(passage.text, title))


def _of_headings(passage: Passage, known: _Known) -> Iterator[tuple[str, str]]:
    """Yield each heading in a passage and the passage without it."""
    title = _folded(_title(passage))
    for heading, _, _ in _headings(passage.text):
        if _names(heading) and not known.ambiguous(heading) and _folded(heading) != title:
            path = [name for name in passage.heading.split(_JOINT) if _folded(name) != _folded(heading)]
            yield from _unless_told(heading, path, _without_heading(passage.text, heading))


def _of_sentences(passage: Passage, known: _Known, chance: random.Random, dropped: float) -> Iterator[tuple[str, str]]:
    """Yield each sentence and its passage, without it as often as `dropped` says."""
    for sentence in _sentences(passage):
        rest = passage.text[: sentence.start].rstrip(" ") + " " + passage.text[sentence.end :].lstrip(" ")
        gone = chance.random() < dropped
        if known.repeated(passage, sentence) or _length(_said(rest)) < LEFT:
            continue
        text = _tidied(rest) if gone else passage.text
        yield sentence.text, f"{passage.heading}\n{text}" if passage.heading else text


def _sentences(passage: Passage) -> Iterator[_Sentence]:
    """Yield the sentences of a passage that can ask for it; code, tables, headings and lists of links have none."""
    # blanked, not cut out: places in the text stay
    text = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), passage.text)
    text = _HEADING.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    for start, end in sentence_spans(text):
        raw = _LIST_MARK.sub("", text[start:end])
        words = _LIST_MARK.sub("", plain(raw).strip("*_ "))
        if _may_ask(words) and sum(len(link) for link in _LINK.findall(raw)) * 2 <= len(words):
            yield _Sentence(words, start, end)


def _may_ask(sentence: str) -> bool:
    letters = sum(1 for sign in sentence if sign.isalpha() or sign.isspace())
    return (
        SHORTEST <= _length(sentence) <= LONGEST
        and len(stems_of(sentence)) >= TELLING
        and not NO_PROSE.search(sentence)
        and letters >= PROSE * len(sentence)
        and not sentence.endswith((":", "：", "…"))
    )


def _unless_told(name: str, path: Sequence[str], text: str) -> Iterator[tuple[str, str]]:
    """Yield a title or heading and its passage, unless that is too short or still begins with the very words."""
    positive = f"{_JOINT.join(path)}\n{text}" if path else text
    if _length(_said(text)) >= LEFT and not _folded(positive).startswith(_folded(name)):
        yield name, positive


def _title(passage: Passage) -> str:
    return passage.heading.split(_JOINT)[0]


def _names(name: str) -> bool:
    """Say whether a title or a heading says what its text is about."""
    return len(stems_of(name)) >= NAMING and not NO_PROSE.search(name) and _length(name) <= LONGEST


def _headings(text: str) -> list[tuple[str, int, int]]:
    """Return (words, start, end) of each heading in a text."""
    blanked = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)
    return [(plain(match[1] or match[2]), match.start(), match.end()) for match in _HEADING.finditer(blanked)]


def _without_heading(text: str, name: str) -> str:
    """Return a text without the headings of this name."""
    for heading, start, end in reversed(_headings(text)):
        if _folded(heading) == _folded(name):
            text = text[:start] + text[end:]
    return _tidied(text)


def _tidied(text: str) -> str:
    """Return a text without the marks of list items that are gone."""
    kept = _EMPTY_LINE.sub(lambda match: "\n" if not match.group().strip() else "", text)
    return _GAP.sub("\n\n", kept).strip()


def _said(text: str) -> str:
    """Return a text without its headings, code, tables and addresses."""
    return _ADDRESS.sub(" ", CODE.sub(" ", _HEADING.sub(" ", text)))


def _length(text: str) -> int:
    """Return how many words a text has; of a script without spaces two signs count as one."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_WORD.findall(_UNSPACED.sub(" ", text))) + unspaced // 2


def _folded(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _chance(seed: int, passage: Passage) -> random.Random:
    """Return chance that is the same for the same passage and seed, whatever else is in the library."""
    return random.Random(f"{seed} {passage.hash}")
