"""The gold set: questions whose right passages a person has marked, found again after an edit, and given away.

A mark is a place in a post, not a passage: passages come and go with edits, embedders and the rules that split them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rag.errors import NotFound
from rag.incoming.twins import SAME, likeness, sketch
from rag.ports import Gold, Library
from rag.records import Judged, Mark, Passage


@dataclass(frozen=True)
class Placed:
    """A judged question as the posts are now: the passages that answer it, each with its mark, and the marks `lost`.

    `denied`: the person says that no passage answers it.
    """

    question: str
    marks: Mapping[int, Mark] = field(default_factory=dict)
    lost: tuple[Mark, ...] = ()
    denied: bool = False


class GoldSet:
    """What a person has judged. Safe to call from several threads."""

    def __init__(self, gold: Gold, library: Library) -> None:
        """Join the marks and the posts they stand in."""
        self._gold = gold
        self._library = library

    def all(self) -> list[Placed]:
        """List the judged questions, in the order in which they came."""
        return [self._placed(judged) for judged in self._gold.judged()]

    def of(self, question: str) -> Placed:
        """Return what is judged of a question."""
        judged = next((judged for judged in self._gold.judged() if judged.question == question), None)
        return self._placed(judged) if judged else Placed(question)

    def mark(self, question: str, passage_id: int) -> None:
        """Note that a passage answers a question. Raise NotFound if it is gone."""
        found = self._library.passages([passage_id])
        if not found:
            raise NotFound("This passage is gone: its post was changed or removed. Search again.")
        [passage] = found
        self._gold.mark(question, Mark(passage.post_id, passage.start, passage.end, passage.text))

    def unmark(self, question: str, passage_id: int) -> None:
        """Take back that a passage answers a question."""
        if mark := self.of(question).marks.get(passage_id):
            self._gold.unmark(question, mark)

    def deny(self, question: str) -> None:
        """Note that no passage answers a question; its marks go."""
        self._gold.deny(question)

    def forget(self, question: str) -> None:
        """Forget what was judged of a question."""
        self._gold.forget(question)

    def export(self) -> bytes:
        """Return a zip in BEIR layout, passages as its documents: corpus.jsonl, queries.jsonl and qrels.tsv."""
        placed = self.all()
        passages = self._library.passages()
        lines = [
            f"q{number}\t{id_}\t1" for number, question in enumerate(placed, start=1) for id_ in sorted(question.marks)
        ]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(
                "corpus.jsonl", _rows({"_id": str(p.id), "title": p.heading, "text": p.text} for p in passages)
            )
            file.writestr("queries.jsonl", _rows(_queries(placed)))
            file.writestr("qrels.tsv", "\n".join(["query-id\tcorpus-id\tscore", *lines, ""]))
        return packed.getvalue()

    def _placed(self, judged: Judged) -> Placed:
        found: dict[int, Mark] = {}
        lost = []
        for mark in judged.marks:
            passages = self._passages(mark)
            found.update((passage.id, mark) for passage in passages)
            if not passages:
                lost.append(mark)
        return Placed(judged.question, found, tuple(lost), denied=not judged.marks)

    def _passages(self, mark: Mark) -> list[Passage]:
        """Return the passages of a mark: where it was, where its text is now, or where most of that is."""
        try:
            text = self._library.post(mark.post_id).text
        except NotFound:  # removed since the marks were read
            return []
        kin = self._library.kin([mark.post_id]).get(mark.post_id)
        passages = self._library.passages(kin.tolist()) if kin is not None else []
        if (start := _place(mark, text)) is not None:
            return [passage for passage in passages if _covers(passage, start, start + len(mark.quote))]
        known = sketch(mark.quote)
        like = {passage.id: likeness(known, sketch(passage.text)) for passage in passages}
        return [passage for passage in passages if like[passage.id] >= SAME and like[passage.id] == max(like.values())]


def _place(mark: Mark, text: str) -> int | None:
    """Return where a mark's text begins now, the place that is nearest to where it was; None if it is not there."""
    if text.startswith(mark.quote, mark.start):
        return mark.start
    places = []
    at = text.find(mark.quote)
    while at >= 0:
        places.append(at)
        at = text.find(mark.quote, at + 1)
    return min(places, key=lambda place: abs(place - mark.start), default=None)


def _covers(passage: Passage, start: int, end: int) -> bool:
    """Say whether a passage and a place have more than half of the shorter one in common."""
    shared = min(passage.end, end) - max(passage.start, start)
    return shared * 2 > min(passage.end - passage.start, end - start)


def _queries(placed: Iterable[Placed]) -> Iterator[dict[str, object]]:
    for number, question in enumerate(placed, start=1):
        yield {"_id": f"q{number}", "text": question.question, "answerable": not question.denied}


def _rows(rows: Iterable[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
