"""Conversations that outlive the page: kept turn by turn, opened again, searched, taken along with their footnotes.

On its own, because the page, the exports and what is on the disk must agree on what a turn is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import quote

from rag.answering.growing import NEAREST
from rag.errors import BadQuestion
from rag.markup import plain
from rag.ports import Conversations, Library
from rag.records import (
    Answer,
    Citation,
    Hit,
    KeptHit,
    KeptTurn,
    Label,
    Passage,
    Said,
    Sentence,
    Support,
    Talk,
    Thumb,
)
from rag.words import sound, stems_in_order

LONGEST_TITLE = 200  # characters
RUN = 5  # words in a row, endings aside, from which a sentence has them from a post
_DOUBTS: dict[Support, str] = {"yes": "", "partly": " (partly in your posts)", "no": " (not in your posts)"}
# what would end a line, or turn its direction, in one viewer and not in another
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]+")
_MARKS = re.compile(r"[\\`*_{}\[\]|~#$^@]|(?<=\w):(?=//)|(?i:(?<=www)\.)")
_LINE_MARKS = re.compile(r"(?m)^(\d{0,9})([-+=.)])")  # what begins a list or underlines a heading
_ENTITIES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


@dataclass(frozen=True)
class Reopened:
    """A turn that is shown again: its answer, with those of its hits that are still there."""

    turn: KeptTurn
    answer: Answer


class Talks:
    """The conversations in a library. Safe to call from several threads."""

    def __init__(self, conversations: Conversations, library: Library) -> None:
        """Join the conversations to the posts that their hits are in."""
        self._kept = conversations
        self._library = library

    def listed(self, search: str = "", limit: int = 1000) -> list[Talk]:
        """List conversations, the last changed first, those that have each word of `search` somewhere."""
        return self._kept.listed(search.split(), limit)

    def talk(self, talk_id: int) -> Talk:
        """Return how a conversation is listed. Raise NotFound."""
        return self._kept.talk(talk_id)

    def open(self, talk_id: int) -> list[Reopened]:
        """Return the turns of a conversation, oldest first. Raise NotFound."""
        turns = self._kept.turns(talk_id)
        found = self._library.passages(sorted({hit.passage_id for turn in turns for hit in turn.hits}))
        passages = {passage.id: passage for passage in found}
        labels = self._library.labels({passage.post_id for passage in found})
        reopened = []
        for turn in turns:
            pairs = [(hit, passages[hit.passage_id]) for hit in turn.hits if hit.passage_id in passages]
            hits = [_hit(hit, passage, labels.get(passage.post_id, Label(""))) for hit, passage in pairs]
            reopened.append(Reopened(turn, answer_of(turn, hits)))
        return reopened

    def keep(self, talk_id: int, title: str, turn: KeptTurn, replaces: int = 0) -> tuple[int, int]:
        """Keep a turn; return (id of its conversation, its own). See Conversations.keep."""
        return self._kept.keep(talk_id, shortened(title), turn, replaces)

    def judge(self, turn_id: int, thumb: Thumb) -> None:
        """Note what a person thinks of an answer. Raise NotFound."""
        self._kept.judge(turn_id, thumb)

    def rename(self, talk_id: int, title: str) -> None:
        """Give a conversation another title. Raise NotFound, or BadQuestion for a title without a word."""
        if not (wanted := shortened(title)):
            raise BadQuestion("A conversation needs a title. Type a word or two.")
        self._kept.rename(talk_id, wanted)

    def delete(self, talk_id: int) -> None:
        """Delete a conversation, words overwritten."""
        self._kept.delete(talk_id)

    def export(self, talk_id: int, form: Literal["md", "json"]) -> str:
        """Return a conversation with its footnotes as Markdown or JSON. Raise NotFound."""
        talk, turns = self.talk(talk_id), self._kept.turns(talk_id)
        return as_markdown(talk, turns) if form == "md" else as_json(talk, turns)


def kept(answer: Answer, *, alone: bool = False) -> KeptTurn:
    """Return a turn as it is kept: hits without their words, each sentence with the posts whose words it has."""
    return KeptTurn(
        answer.question,
        datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        tuple(_said(answer)),
        answer.citations,
        answer.quotes,
        tuple(map(_kept_hit, answer.hits)),
        answer.posts,
        answer.asked,
        answer.coverage,
        answer.probability,
        answer.refused,
        answer.failed,
        answer.note,
        alone,
    )


def answer_of(turn: KeptTurn, hits: Iterable[Hit] = ()) -> Answer:
    """Return the answer of a turn that was kept."""
    text, sentences = "", []
    for piece in turn.said:
        if piece.support is not None:
            place = len(text), len(text) + len(piece.text)
            sentences.append(Sentence(piece.text, *place, piece.citation, piece.support))
        text += piece.text
    return Answer(
        turn.question,
        text=text,
        sentences=tuple(sentences),
        citations=turn.citations,
        quotes=tuple(quoted for quoted in turn.quotes if quoted.quote),  # those of a removed post say nothing
        hits=tuple(hits),
        posts=turn.posts,
        asked=turn.asked,
        coverage=turn.coverage,
        probability=turn.probability,
        refused=turn.refused,
        failed=turn.failed,
        note=turn.note,
        done=True,
    )


def as_text(answer: Answer) -> str:
    """Return an answer in plain words with its numbered sources below: what is copied."""
    said = "".join(
        piece.text + (f" [{piece.citation}]" if piece.citation else "") + _doubt(piece) for piece in _said(answer)
    )
    shown = answer.citations
    if not said:  # stopped before a word was written: the quotes are the answer
        shown = answer.quotes
        said = "\n".join(f"{plain(quoted.quote)} [{quoted.number}]" for quoted in shown)
    notes = [f"[{cited.number}] {_named(cited)}" for cited in shown]
    return "\n".join([_ODD.sub(" ", said), *([""] if notes else []), *notes])


def as_markdown(talk: Talk, turns: Sequence[KeptTurn]) -> str:
    """Return a conversation as Markdown: nothing that a post or a person wrote becomes a mark, a link or HTML in it."""
    parts = [f"# {_line(talk.title)}"]
    for number, turn in enumerate(turns, start=1):
        parts += [f"## {_line(turn.question)}", f"*{turn.asked_at[:16].replace('T', ' ')} UTC*"]
        others = [cited for cited in _uncited(turn) if cited.quote or not turn.refused]
        quotes = [f"> {_quoted(cited) or _line(cited.title)}[^{number}-q{cited.number}]" for cited in others]
        said = [_paragraphs("".join(_marked(piece, number) for piece in turn.said))]
        parts += [*said, *([NEAREST] if quotes else []), *quotes] if turn.refused else quotes + said
        parts += [f"*{_line(turn.note)}*"] if turn.note else []
        parts += ["\n".join(f"- {_line(post.title)}{_day(post.date)}" for post in turn.posts)]
        labels = [(f"{number}-q{cited.number}", cited) for cited in others]
        labels += [(f"{number}-{cited.number}", cited) for cited in turn.citations]
        parts += ["\n".join(f"[^{label}]: {_footnote(cited)}" for label, cited in labels)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(talk: Talk, turns: Sequence[KeptTurn]) -> str:
    """Return a conversation as JSON, its footnotes and its hits' ranks with it."""
    whole = {"title": talk.title, "begun": talk.begun, "changed": talk.changed, "turns": list(map(_as_dict, turns))}
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def shortened(title: str) -> str:
    """Return a title on one line and no longer than a list can show."""
    line = " ".join(_ODD.sub(" ", sound(title)).split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1].rstrip() + "…"


def _said(answer: Answer) -> Iterator[Said]:
    """Yield the pieces of an answer's text, one after the other."""
    words = _Words(answer)
    position = 0
    for sentence in answer.sentences:
        if position < sentence.start:
            yield Said(answer.text[position : sentence.start])
        text = answer.text[sentence.start : sentence.end]
        yield Said(text, words.owners(text, sentence.citation), sentence.citation, sentence.support)
        position = sentence.end
    if rest := answer.text[position:]:
        named = [post.id for post in answer.posts if post.title in rest]  # "Your first post about rye is “Rye”."
        yield Said(rest, tuple(dict.fromkeys([*named, *words.owners(rest, None)])))


class _Words:
    """Which of the posts found for an answer have a sentence's words in a row."""

    def __init__(self, answer: Answer) -> None:
        self._cited = {cited.number: cited.post_id for cited in answer.citations}
        self._runs: dict[str, set[tuple[str, ...]]] = {}
        for cited in (*answer.citations, *answer.quotes):
            self._runs.setdefault(cited.post_id, set()).update(_runs(stems_in_order(cited.quote)))
        for hit in answer.hits:
            self._runs.setdefault(hit.passage.post_id, set()).update(_runs(stems_in_order(hit.passage.text)))

    def owners(self, text: str, citation: int | None) -> tuple[str, ...]:
        """Return the post that a sentence is from, and those that have words of it which that one has not."""
        cited = self._cited.get(citation or 0)
        own = _runs(stems_in_order(text)) - (self._runs.get(cited, set()) if cited else set())
        others = sorted(id_ for id_, runs in self._runs.items() if id_ != cited and not own.isdisjoint(runs))
        return ((cited,) if cited else ()) + tuple(others)


def _runs(stems: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(stems[at : at + RUN]) for at in range(len(stems) - RUN + 1)}


def _kept_hit(hit: Hit) -> KeptHit:
    place = (hit.passage.id, hit.passage.post_id, hit.passage.start, hit.passage.end)
    return KeptHit(*place, hit.score, hit.cosine, hit.lexical, hit.lexical_rank, hit.dense_rank)


def _hit(kept_hit: KeptHit, passage: Passage, label: Label) -> Hit:
    return Hit(
        passage,
        label.title,
        label.url,
        label.date,
        kept_hit.score,
        kept_hit.cosine,
        kept_hit.lexical,
        label.pages,
        kept_hit.lexical_rank,
        kept_hit.dense_rank,
    )


def _doubt(piece: Said) -> str:
    return _DOUBTS[piece.support] if piece.support else ""


def _named(cited: Citation) -> str:
    """Return a footnote in plain words: title, day, page, address, quote."""
    page = f"page {cited.page}" if cited.page else ""
    named = ", ".join(_ODD.sub(" ", part) for part in (cited.title, cited.date, page, address_of(cited)) if part)
    return f"{named}: “{plain(_ODD.sub(' ', cited.quote))}”" if cited.quote else named


def address_of(cited: Citation) -> str:
    """Return the address of a footnote's post, whatever could end it early made harmless; "" if it has none."""
    safe = cited.url if cited.url and cited.url.startswith(("https://", "http://")) else ""
    return quote(safe, safe="/:?#[]@!$&'()*+,;=%~-._")


def _marked(piece: Said, number: int) -> str:
    note = f"[^{number}-{piece.citation}]" if piece.citation else ""
    doubt = f" *{_doubt(piece).strip()}*" if _doubt(piece) else ""
    return f"{_escaped(piece.text)}{note}{doubt}"


def _footnote(cited: Citation) -> str:
    address = f", <{address}>" if (address := address_of(cited).replace("&", "&amp;")) else ""
    page = f", page {cited.page}" if cited.page else ""
    said = f": “{_quoted(cited)}”" if cited.quote else ""
    return f"{_line(cited.title)}{_day(cited.date)}{page}{address}{said}"


def _quoted(cited: Citation) -> str:
    return _line(plain(_ODD.sub(" ", cited.quote)))


def _uncited(turn: KeptTurn) -> list[Citation]:
    """Return the quotes that the answer's text has no footnote to."""
    places = {(cited.post_id, cited.start, cited.end) for cited in turn.citations}
    return [quoted for quoted in turn.quotes if (quoted.post_id, quoted.start, quoted.end) not in places]


def _day(date: str | None) -> str:
    return f", {_escaped(date)}" if date else ""


def _line(text: str) -> str:
    return _LINE_MARKS.sub(r"\1\\\2", " ".join(_escaped(text).split()))


def _paragraphs(escaped: str) -> str:
    lines = [line.strip() for line in escaped.split("\n")]
    hard = ["  " if line and after else "" for line, after in pairwise([*lines, ""])]
    whole = "\n".join(line + end for line, end in zip(lines, hard, strict=True)).strip()
    return re.sub(r"\n{3,}", "\n\n", _LINE_MARKS.sub(r"\1\\\2", whole))


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", _ODD.sub(" ", text).translate(_ENTITIES))


def _as_dict(turn: KeptTurn) -> dict[str, Any]:
    answer = answer_of(turn)
    return {
        "question": turn.question,
        "asked_at": turn.asked_at,
        "answer": answer.text,
        "refused": turn.refused,
        "sentences": [{"text": s.text, "support": s.support, "citation": s.citation} for s in answer.sentences],
        "quotes": list(map(cited_as_dict, turn.quotes)),
        "footnotes": list(map(cited_as_dict, turn.citations)),
        "posts": [{"id": post.id, "title": post.title, "date": post.date} for post in turn.posts],
        "hits": [
            {"rank": rank, "post_id": hit.post_id, "passage_id": hit.passage_id, "score": hit.score}
            for rank, hit in enumerate(turn.hits, start=1)
        ],
        "note": turn.note,
        "thumb": turn.thumb,
    }


def cited_as_dict(cited: Citation) -> dict[str, Any]:
    """Return a footnote as an export has it."""
    return {
        "number": cited.number,
        "title": cited.title,
        "address": address_of(cited),
        "date": cited.date,
        "page": cited.page,
        "quote": cited.quote,
        "post_id": cited.post_id,
        "start": cited.start,
        "end": cited.end,
    }
