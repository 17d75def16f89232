"""One tuning from the posts to the page: pairs, training, the gate, and the exchange of embedder and index.

The engine goes on answering with the pair that is in use until the last step, which puts another in its place at once.
What was in use before is kept, to go back to."""

from __future__ import annotations

import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from threading import Event

from rag.background import Background
from rag.errors import Busy, NotFound
from rag.finding.cut import Cut, cut
from rag.indexing import Indexing
from rag.jobs import Stopped
from rag.ports import Catalogue, Conversations, Embedder, Library, Progress, Workshop, Writer
from rag.records import Pair, Passage, Recipe, Step
from rag.tuning import exam
from rag.tuning.exam import Questions
from rag.tuning.known import Known
from rag.tuning.pairs import pairs_asked, pairs_from_text, pairs_from_writer
from rag.tuning.reading import in_library, pairs_from_file
from rag.tuning.roundtrip import by_search
from rag.tuning.shelf import TRAINING, Shelf, Tuned
from rag.tuning.sift import Sifted, sift

PAIRS = 1000  # made of the posts' own text, if no more are wanted
LEAST_PAIRS = 20  # fewer teach nothing
MINUTES = 10.0  # that training and measuring may take if nobody says otherwise
TAKEN = 0.5
"""How much is kept of what was learned from text alone, which is not worded as questions are. MiniLM, 3 epochs, gain of
dense NDCG@10 on real questions (seed_posts: about pieces put aside, 6 splits; the others: pairs of the whole text, 2
seeds; a GPU, 2026-11-26):

                seed_posts  xquad_en  zoomcamp_faq  blog_summary_18f
all of it           +0.011    -0.023        +0.024            +0.006
0.75                +0.021    -0.013        +0.023            +0.018
0.6                 +0.024    -0.007        +0.022            +0.023
0.5                 +0.025    -0.004        +0.021            +0.024
0.4                 +0.023    -0.002        +0.018            +0.023
rate 2e-5, all      +0.025    -0.014        +0.028            +0.021
rate 1e-4, 0.5      +0.032    -0.008        +0.021            +0.022

From 152 real questions all is best kept: +0.069 (0.5: +0.053) on seed_posts, +0.018 (+0.012) on zoomcamp_faq, +0.059
(+0.050) on blog_summary_18f."""
READING = 1 / 6  # of what a pair costs in training, to read a text for the gate: two texts go there and back, here one
SHOWN = ("ndcg@10", "accuracy@1", "accuracy@10", "mrr@10")
STAGES = MAKING, TIMING, LEARNING, BEFORE, AFTER = (
    "Making pairs of your posts",
    "Trying a few steps, to tell how long it takes",
    "Training",
    "Measuring what it was before",
    "Measuring what it is now",
)
"""What is done, one after the other."""
_BUSY = "A tuning is running already. Wait until it has ended, or cancel it."
_EXCHANGED = "Another search model is being put into use. Wait until that has ended, or cancel it."


@dataclass(frozen=True)
class Wanted:
    """What a person wants tuned, and how. `pairs` is their own file, `base` another model to begin with, "" the one
    that the settings name; `minutes` bounds training and measuring; `asked` lets questions with a thumbs-up count;
    `struck` are questions not to train on; `install`: what passes the gate is put into use at once, and does not wait
    for that."""

    pairs: str = ""
    base: str = ""
    recipe: Recipe | None = None
    minutes: float | None = None
    asked: bool = True
    struck: frozenset[str] = frozenset()
    install: bool = True


@dataclass(frozen=True)
class Plan:
    """What a tuning will do: the pairs, what they were put aside for, how it trains and how long all of it takes.

    `library` is how many posts and passages there were.
    """

    sifted: Sifted
    split: exam.Split
    recipe: Recipe
    pairs: tuple[Pair, ...]
    seconds: float
    library: tuple[int, int]


@dataclass(frozen=True)
class Stage:
    """How far a tuning is: what is being done, how much of how much, and of a training its last step."""

    what: str
    done: int = 0
    total: int = 0
    step: Step | None = None


class Tuning(Background):
    """Tunes the embedder in the background and remembers what came of it. Safe to call from several threads."""

    def __init__(
        self,
        library: Library,
        catalogue: Catalogue,
        conversations: Conversations,
        indexing: Indexing,
        workshop: Workshop,
        folder: Path,
        setting: str,
        question_writer: Writer | None,
        passages_for: Callable[[str], Sequence[Passage]],
    ) -> None:
        """Join the parts. Models lie in `folder`, `setting` is the embedder that the environment names; by
        `passages_for`, a search, pairs must find their passages."""
        super().__init__()
        self._library = library
        self._conversations = conversations
        self._indexing = indexing
        self._workshop = workshop
        self._question_writer = question_writer
        self._passages_for = passages_for
        self._shelf = Shelf(folder, catalogue, indexing, workshop, setting)
        self._going = False
        self.stage = Stage("")
        """How far it is."""
        self.losses: list[float] = []
        """The loss after each step of the training that runs, or ran last."""
        self._plan: Plan | None = None
        self.changes = 0
        """A number that grows whenever something here has changed that is not told by `stage` and `losses`."""
        self.history = self._shelf.history
        self.use = self._shelf.use

    @property
    def running(self) -> bool:
        """Whether something goes on, begun here or by a command."""
        return self._going or super().running

    @property
    def ready(self) -> bool:
        """Whether `use` can tell what search uses."""
        return self._indexing.prepared

    @property
    def plan(self) -> Plan | None:
        """What was looked at last, or is being done; None once posts have come or gone: it holds text of theirs."""
        if self._plan and self._plan.library != self._library.count():
            self._plan = None
        return self._plan

    def do(self, work: Callable[[Event], object]) -> None:
        """Do one of the things below in the background. Raise Busy if something goes on already."""
        if self.running or not self.begin(work):
            raise Busy(_BUSY)

    def start(self, wanted: Wanted, *, force: bool = False) -> None:
        """Begin to tune in the background; cancelled, it goes on later where it was. Raise Busy."""
        self.do(lambda stop: list(self.tune(wanted, stop, force=force)))

    def look(self, wanted: Wanted, stop: Event) -> Plan:
        """Make the pairs and say what a tuning would do, without doing it. Raise FootnoteError."""
        with self._alone(MAKING, stop):
            return self._planned(wanted, stop)

    def tune(self, wanted: Wanted, stop: Event, *, force: bool = False) -> Iterator[Stage | Plan | Tuned]:
        """Tune: yield what is being done, the plan, and at last what came of it. Raise FootnoteError.

        Whatever happens before the last step, what is in use stays. If `stop` is set it ends without a result.
        """
        with self._alone(MAKING, stop) as report, suppress(Stopped):
            for event in self._steps(wanted, stop, report, force):
                if isinstance(event, Stage):
                    self.stage = event
                yield event

    def install(self, model: str, stop: Event | None = None) -> None:
        """Put a tuned model into use, whatever the gate said. Raise NotFound, Busy, ModelError or StoreError."""
        with self._alone("Putting it into use", stop) as report:
            self._shelf.install(model, report)

    def choose(self, dimension: int) -> None:
        """Search with the first numbers of the vectors from now on; nothing is embedded again. Raise FootnoteError."""
        with self._alone("Cutting the vectors"):
            self._shelf.choose(dimension)

    def rollback(self, stop: Event | None = None) -> str:
        """Go back to the embedder that was in use before; return its name. Raise NotFound, Busy or ModelError."""
        with self._alone("Going back", stop) as report:
            return self._shelf.rollback(report)

    def discard(self, model: str) -> None:
        """Delete a tuned model that is not in use. Raise NotFound, Busy, or BadQuestion if it is in use."""
        with self._alone("Deleting it"):
            self._shelf.discard(model)

    def clear(self) -> list[str]:
        """Delete every tuned model that is neither in use nor what can be gone back to; return their names."""
        with self._alone("Deleting them"):
            return self._shelf.clear()

    def publish(self, repo: str) -> str:
        """Send the tuned model in use to the Hub, private; return its address. Raise NotFound or ModelError."""
        return self._shelf.publish(repo)

    @contextmanager
    def _alone(self, what: str, stop: Event | None = None) -> Iterator[Progress]:
        """Let one at a time do something, and tell how far it is. Raise Busy at once if another does."""
        if not self._indexing.exchanging.acquire(blocking=False):
            raise Busy(_BUSY if self._going else _EXCHANGED)
        self._going = True
        stop = self._stop = stop or Event()
        self.stage, self.failure = Stage(what), ""

        def report(done: int, total: int) -> None:
            if stop.is_set():
                raise Stopped
            self.stage = replace(self.stage, done=done, total=total)

        try:
            yield report
        finally:
            self.stage = Stage("")
            self.changes += 1
            self._going = False
            self._indexing.exchanging.release()

    def _steps(self, wanted: Wanted, stop: Event, report: Progress, force: bool) -> Iterator[Stage | Plan | Tuned]:
        began = time.monotonic()
        self.losses = []
        yield Stage(MAKING)
        plan = self._planned(wanted, stop)
        yield plan
        base = self._workshop.folder(wanted.base)
        training = self._shelf.folder / TRAINING
        for step in self._workshop.train(base, plan.pairs, plan.recipe, training, stop):
            if step.loss is not None:
                self.losses.append(step.loss)
            yield Stage(LEARNING, step.done, step.total, step)
        made = self._workshop.finished(training)
        if made and not stop.is_set():
            yield from self._judgement(wanted, plan, made, began, report, force)

    def _judgement(
        self, wanted: Wanted, plan: Plan, made: Path, began: float, report: Progress, force: bool
    ) -> Iterator[Stage | Tuned]:
        """Hold what was made against what it comes from and what is in use; keep it, and use it if it is better."""
        plan, lost = self._left(plan)
        yield Stage(BEFORE)
        asked = exam.questions(plan.split, self._library, self._indexing.asking, plan.sifted.kept, plan.recipe.seed)
        before = self._judged(self._workshop.open(wanted.base), plan, asked, report)
        current = before
        if not self._in_use_is(wanted.base):
            use = self._indexing.in_use.embedder
            current = self._judged(self._indexing.embedder, plan, asked, report, use.dimension)
        yield Stage(AFTER)
        after = self._judged(self._workshop.open(str(made)), plan, asked, report)
        verdict = exam.verdict(current.ndcg, after.ndcg, current.hybrid, after.hybrid, plan.recipe.seed)
        tuned = Tuned(
            moment=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            model=self._name(wanted.base),
            base=wanted.base,
            made=plan.sifted.made,
            kept=len(plan.sifted.kept),
            trained_on=len(plan.pairs),
            refused=plan.sifted.counts,
            questions=asked.kinds,
            before=before.metrics,
            after=after.metrics,
            hybrid_before=_mean(current.hybrid),
            hybrid_after=_mean(after.hybrid),
            confidence=verdict.confidence,
            reason=verdict.reason,
            seconds=round(time.monotonic() - began, 1),
            losses=self.losses[:],
            current=_mean(current.ndcg),
            lost=lost,
        )
        training = self._shelf.folder / TRAINING
        self._describe(tuned, plan, made, training, asked)
        made.rename(self._shelf.folder / tuned.model)
        shutil.rmtree(training, ignore_errors=True)
        self._shelf.remember(tuned)
        self._plan = None
        if force or (verdict.better and wanted.install):
            yield Stage("Putting it into use")
            self._shelf.install(tuned.model, report)
        yield self.history()[0]

    def _planned(self, wanted: Wanted, stop: Event) -> Plan:
        self._indexing.prepare()
        library = self._library.count()
        recipe = wanted.recipe or Recipe()
        base = self._workshop.open(wanted.base)
        base.load()
        recipe = replace(recipe, dims=self._workshop.widths(base.dimension, recipe.dims))
        split = exam.split(self._library, recipe.seed)
        if not split.held_out or len(split.training) < 2:
            raise NotFound(
                "There are too few posts to tune on: some must be put aside to measure with. Add more posts."
            )
        pairs = [pair for pair in self._raw(wanted, split.training, stop) if pair.question not in wanted.struck]
        if stop.is_set():
            raise Stopped
        sifted = sift(pairs, self._library, by_search(self._passages_for))
        held = _held_out(sifted.kept, split)
        training = tuple(pair for pair in sifted.kept if pair not in held)
        if len(training) < LEAST_PAIRS:
            raise NotFound(_too_few(sifted, len(training)))
        self.stage = Stage(TIMING)
        recipe = replace(recipe, taken=taken_from(training))
        pace = self._workshop.pace(self._workshop.folder(wanted.base), training, recipe, stop)
        if pace is None:
            raise Stopped
        budget = 60 * (wanted.minutes or MINUTES)
        measuring = READING * pace.pair * min(len(split.training) + len(split.held_out), exam.CORPUS)
        recipe, chosen = self._workshop.fitted(recipe, training, pace, max(budget / 2, budget - measuring))
        seconds = pace.seconds(len(chosen), recipe.epochs) + measuring
        self._plan = Plan(sifted, split, recipe, chosen, seconds, library)
        self.changes += 1
        return self._plan

    def _left(self, plan: Plan) -> tuple[Plan, int]:
        """Return a plan without the passages that were removed or changed meanwhile, and how many those are.

        Raise NotFound if that leaves nothing to measure with; the model that learned from them is thrown away.
        """
        hashes = {passage.id: passage.hash for passage in self._library.passages()}
        training, held_out = (
            tuple(passage for passage in part if hashes.get(passage.id) == passage.hash)
            for part in (plan.split.training, plan.split.held_out)
        )
        if not training or not held_out:
            shutil.rmtree(self._shelf.folder / TRAINING, ignore_errors=True)
            raise NotFound("The posts it was to be measured with were removed while it trained. Nothing was changed.")
        lost = len(plan.split.training) + len(plan.split.held_out) - len(training) - len(held_out)
        return replace(plan, split=exam.Split(training, held_out)), lost

    def _raw(self, wanted: Wanted, passages: Sequence[Passage], stop: Event) -> list[Pair]:
        """Return every pair that there is, good or not: the person's own, or else what the posts and a writer give."""
        pairs = list(pairs_asked(self._conversations, self._library)) if wanted.asked else []
        if wanted.pairs:
            return [*pairs, *pairs_from_file(wanted.pairs, in_library(self._library))]
        if self._question_writer:
            pairs += pairs_from_writer(passages, self._question_writer, PAIRS, stop)
        return [*pairs, *pairs_from_text(passages, PAIRS)]

    def _judged(
        self, embedder: Embedder, plan: Plan, asked: Questions, report: Progress, width: int | None = None
    ) -> _Judged:
        """Hold an embedder, cut to `width`, against the questions, at each width, alone and in search as a whole."""
        report(0, 0)
        embedder.load()
        vectors = self._indexing.vectors(asked.passages, report, embedder)
        if width and width < embedder.dimension:
            embedder, vectors = Cut(embedder, width), cut(vectors, width)
        known = {passage.embedded_text: vector for passage, vector in zip(asked.passages, vectors, strict=True)}
        embedder = Known(embedder, known, report)
        found = self._workshop.exam(embedder, asked.queries, asked.corpus, asked.relevant)
        dims = sorted({found.width, *(dim for dim in plan.recipe.dims if dim <= found.width)}, reverse=True)
        hybrid = exam.hybrid(asked, self._library, embedder, vectors)
        return _Judged({dim: found.at(dim) for dim in dims}, found.ndcg(found.width), hybrid)

    def _in_use_is(self, base: str) -> bool:
        use = self._indexing.in_use.embedder
        whole = use.dimension == self._indexing.embedder.dimension
        return not use.model and not base and whole

    def _name(self, base: str) -> str:
        """Return a name for a model that was tuned just now."""
        moment = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        return f"{Path(base or self._workshop.open(base).name).name}-tuned-{moment}-{uuid.uuid4().hex[:4]}"

    def _describe(self, tuned: Tuned, plan: Plan, made: Path, training: Path, asked: Questions) -> None:
        self._workshop.card(
            made,
            training,
            {
                "base": tuned.base or self._workshop.open("").name,
                "recipe": plan.recipe,
                "before": tuned.before,
                "after": tuned.after,
                "questions": len(asked.queries),
                "passages": len(asked.corpus),
                "origins": dict(Counter(pair.origin for pair in plan.pairs)),
                "refused": tuned.refused,
                "hybrid_before": tuned.hybrid_before,
                "hybrid_after": tuned.hybrid_after,
                "confidence": tuned.confidence,
                "date": tuned.moment[:10],
            },
        )


@dataclass(frozen=True)
class _Judged:
    metrics: Mapping[int, Mapping[str, float]]
    ndcg: Mapping[str, float]
    hybrid: Mapping[str, float]


def taken_from(pairs: Sequence[Pair]) -> float:
    """Return how much of what such pairs teach is kept: all of it where most are real questions."""
    made = sum(pair.origin == "text" for pair in pairs)
    return TAKEN if 2 * made > len(pairs) else 1.0


def _held_out(pairs: Sequence[Pair], split: exam.Split) -> set[Pair]:
    """Return the pairs that stand in what was put aside: they measure, and never train."""
    return {pair for pair, _ in exam.own(pairs, split.held_out)}


def _too_few(sifted: Sifted, count: int) -> str:
    reasons = ", ".join(f"{number} {reason}" for reason, number in list(sifted.counts.items())[:4])
    why = f" Of {sifted.made} pairs were refused: {reasons}." if reasons else ""
    return f"{count} pairs are too few to tune on.{why} Add more posts, or give a file with more questions."


def _mean(values: Mapping[str, float]) -> float:
    return round(fmean(values.values()), 4) if values else 0.0
