"""How well search does on a person's own posts: a number that needs no judge, and the one from what they judged.

The first puts questions made of the posts (questions.py) through the engine's own search and looks for the passage that
each was made of; the second puts the questions of the gold set (gold.py)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from threading import Event
from typing import Any, Protocol, get_args

from rag.background import Background
from rag.errors import FootnoteError
from rag.measuring.gold import GoldSet, Placed
from rag.measuring.questions import MadeQuestion, check_questions, make_questions
from rag.ports import Catalogue, Embedder, Gold, Library
from rag.records import Found, SearchMode
from rag.search import SHOWN

SAMPLE = 200  # questions of one measurement: 95 % certainty to about 6 of 100
MODES: tuple[SearchMode, ...] = get_args(SearchMode)
_LOOKED_AT = 10  # passages of each search that are looked at
_KEPT = 20  # measurements that are remembered
_NOTE = "quality"
_NOTHING = (
    "No question could be made of your posts: too few of their sentences stand for themselves. Add more posts, and "
    "measure again."
)


class Searches(Protocol):
    """What is measured: the engine."""

    def prepare(self) -> None:
        """Load what a search needs."""
        ...

    def search(self, question: str, mode: SearchMode = "hybrid", limit: int = SHOWN) -> Found:
        """Return the passages that fit a question best."""
        ...


@dataclass(frozen=True)
class Score:
    """How one kind of search did: for how many questions the right passage was first, and among those shown.

    `mrr` is the mean of 1 over its place among the first ten.
    """

    first: int
    shown: int
    mrr: float


@dataclass(frozen=True)
class Measured:
    """One measurement. `gold` has NDCG@10 and accuracy@1 and @10 over the `judged` questions of the gold set that have
    an answer; of those that have none, `denied`, search said of `refused` that the posts do not cover them."""

    moment: str
    embedder: str
    passages: int
    questions: int
    scores: Mapping[SearchMode, Score]
    judged: int = 0
    gold: Mapping[SearchMode, Mapping[str, float]] = field(default_factory=dict)
    denied: int = 0
    refused: int = 0


class Quality(Background):
    """Measures search in the background and remembers what came out. Safe to call from several threads."""

    def __init__(
        self, library: Library, catalogue: Catalogue, gold: Gold, embedder: Callable[[], Embedder], engine: Searches
    ) -> None:
        """Join the parts; nothing is measured yet."""
        super().__init__()
        self._library = library
        self._catalogue = catalogue
        self._embedder = embedder
        self._engine = engine
        self.gold = GoldSet(gold, library)
        """What the person has judged."""
        self.progress = ("", 0, 0)
        """What is being done, how much of it is, and how much there is of it."""

    def start(self) -> None:
        """Begin to measure, in a thread of its own, unless that goes on already; cancelled, nothing of it is kept."""
        if not self.running:
            self.progress = ("Loading the search model", 0, 0)
        self.begin(self._run)

    def history(self) -> list[Measured]:
        """Return the measurements that are remembered, newest first."""
        rows = json.loads(self._catalogue.fact(_NOTE) or "[]")
        return [Measured(**{**row, "scores": {m: Score(**s) for m, s in row["scores"].items()}}) for row in rows]

    def measure(self, stop: Event) -> Measured | None:
        """Put questions and count; return None when stopped. Raise FootnoteError if no question can be made."""
        self._engine.prepare()
        questions = self._questions(stop)
        places: dict[SearchMode, list[int]] = {mode: [] for mode in MODES}
        for number, question in enumerate(questions):
            self.progress = ("Putting them to your posts", number, len(questions))
            if stop.is_set():
                return None
            if self._library.passages([question.passage.id]):  # it is not gone meanwhile
                for mode in MODES:
                    places[mode].append(self._place(question, mode))
        if stop.is_set():
            return None
        if not (count := len(places[MODES[0]])):
            raise FootnoteError(_NOTHING)
        moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
        scores = {mode: _score(found) for mode, found in places.items()}
        judged = self._judged(stop)
        if stop.is_set():
            return None
        return Measured(moment, self._embedder().name, self._library.count()[1], count, scores, **judged)

    def _run(self, stop: Event) -> None:
        measured = self.measure(stop)
        if measured:
            rows = [asdict(known) for known in [measured, *self.history()][:_KEPT]]
            self._catalogue.note(_NOTE, json.dumps(rows))

    def _questions(self, stop: Event) -> list[MadeQuestion]:
        """Make the questions; stopped, return those that there are."""
        self.progress = ("Making questions of your posts", 0, SAMPLE)
        made: list[MadeQuestion] = []
        for question in make_questions(self._library, self._embedder(), SAMPLE):
            made.append(question)
            self.progress = ("Making questions of your posts", len(made), SAMPLE)
            if stop.is_set():
                break
        reasons = check_questions([(question.text, str(question.passage.id)) for question in made])
        return [question for question, reason in zip(made, reasons, strict=True) if not reason]

    def _place(self, question: MadeQuestion, mode: SearchMode) -> int:
        """Return the place of the right passage, 1 is the first; 0 if it is not among those looked at."""
        hits = self._engine.search(question.text, mode, _LOOKED_AT).hits
        return next((place for place, hit in enumerate(hits, start=1) if hit.passage.id == question.passage.id), 0)

    def _judged(self, stop: Event) -> dict[str, Any]:
        """Measure the gold set; stopped, a part of it."""
        from rag.evaluate import measure  # imported here: it drives the engine, which owns this

        placed = self.gold.all()
        answered = [question for question in placed if question.marks]
        denied = [question for question in placed if question.denied]
        judgements = {question.question: {str(id_): 1 for id_ in question.marks} for question in answered}
        gold = {mode: measure(judgements, self._ranked(answered, mode, stop)) for mode in MODES} if answered else {}
        asked = (question.question for question in denied if not stop.is_set())
        refused = sum(self._engine.search(question).coverage == "not covered" for question in asked)
        return {"judged": len(answered), "gold": gold, "denied": len(denied), "refused": refused}

    def _ranked(self, questions: Iterable[Placed], mode: SearchMode, stop: Event) -> dict[str, dict[str, float]]:
        asked = (question.question for question in questions if not stop.is_set())
        found = {question: self._engine.search(question, mode, _LOOKED_AT).hits for question in asked}
        return {text: {str(hit.passage.id): hit.score for hit in hits} for text, hits in found.items()}


def certainty(successes: int, count: int) -> tuple[int, int]:
    """Return between which shares, in whole per cent, the true one lies with 95 % certainty (Wilson 1927)."""
    if not count:
        return 0, 100
    z, share = 1.96, successes / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    whole = 1 + z * z / count
    return math.floor(100 * (centre - spread) / whole + 0.5), math.floor(100 * (centre + spread) / whole + 0.5)


def _score(places: list[int]) -> Score:
    shown = sum(1 <= place <= SHOWN for place in places)
    mrr = sum(1 / place for place in places if place) / max(1, len(places))
    return Score(sum(place == 1 for place in places), shown, round(mrr, 4))
