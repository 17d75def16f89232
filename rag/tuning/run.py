"""One tuning from the posts to the page: pairs, training, the gate, and the exchange of embedder and index.

The engine goes on answering with the pair that is in use until the last step, which puts another in its place at once.
What was in use before is kept, to go back to."""

from __future__ import annotations

import json
import shutil
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from threading import Event
from typing import Any

from rag.errors import BadQuestion, Busy, FootnoteError, NotFound
from rag.indexing import Indexing
from rag.jobs import SURPRISE
from rag.ports import Catalogue, Conversations, Embedder, Library, Workshop, Writer
from rag.records import InUse, Pair, Passage, Recipe, Step
from rag.tuning import exam
from rag.tuning.exam import Questions
from rag.tuning.pairs import pairs_asked, pairs_from_text, pairs_from_writer
from rag.tuning.reading import in_library, pairs_from_file
from rag.tuning.roundtrip import by_search
from rag.tuning.sift import Sifted, sift

PAIRS = 1000  # made of the posts' own text, if no more are wanted
LEAST_PAIRS = 20  # fewer teach nothing
MINUTES = 10.0  # that training may take if nobody says otherwise
SHOWN = ("ndcg@10", "accuracy@1", "accuracy@10", "mrr@10")
_KEPT = 20  # runs that are remembered
_NOTE = "tunings"
_TRAINING = "training"  # the folder of a training that is not finished


@dataclass(frozen=True)
class Wanted:
    """What a person wants tuned, and how. `pairs` is their own file, `base` another model to begin with, "" the one
    that the settings name; `minutes` bounds the training; `asked` lets questions with a thumbs-up count."""

    pairs: str = ""
    base: str = ""
    recipe: Recipe | None = None
    minutes: float | None = None
    asked: bool = True
    struck: frozenset[str] = frozenset()
    """Questions that the person does not want trained on."""


@dataclass(frozen=True)
class Plan:
    """What a tuning will do: the pairs, what they were put aside for, how it trains and how long that takes."""

    sifted: Sifted
    split: exam.Split
    recipe: Recipe
    pairs: tuple[Pair, ...]
    seconds: float


@dataclass(frozen=True)
class Stage:
    """How far a tuning is: what is being done, how much of how much, and of a training its last step."""

    what: str
    done: int = 0
    total: int = 0
    step: Step | None = None


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning. `before` and `after` are the metrics by width; `hybrid` is NDCG@10 of search as a whole.

    `state`: "installed", "refused" (it did not pass, and can still be insisted on), "former" (it was in use), "gone".
    """

    moment: str
    model: str
    base: str
    made: int
    kept: int
    trained_on: int
    refused: Mapping[str, int]
    questions: Mapping[str, int]
    before: Mapping[int, Mapping[str, float]]
    after: Mapping[int, Mapping[str, float]]
    hybrid_before: float
    hybrid_after: float
    confidence: float
    reason: str
    seconds: float
    state: str
    losses: Sequence[float] = field(default_factory=list)


class Tuning:
    """Tunes the embedder in the background and remembers what came of it. Safe to call from several threads."""

    def __init__(
        self,
        library: Library,
        catalogue: Catalogue,
        conversations: Conversations,
        indexing: Indexing,
        workshop: Workshop,
        folder: Path,
        question_writer: Writer | None,
        passages_for: Callable[[str], Sequence[Passage]],
    ) -> None:
        """Join the parts. Models lie in `folder`; by `passages_for`, a search, pairs must find their passages."""
        self._library = library
        self._catalogue = catalogue
        self._conversations = conversations
        self._indexing = indexing
        self._workshop = workshop
        self._folder = folder
        self._question_writer = question_writer
        self._passages_for = passages_for
        self._one = threading.Lock()
        self._stop = Event()
        self._thread: threading.Thread | None = None
        self.stage = Stage("")
        """How far it is."""
        self.losses: list[float] = []
        """The loss after each step of the training that runs, or ran last."""
        self.plan: Plan | None = None
        """What was looked at last."""
        self.failure = ""
        """Why the last tuning has failed, for people; empty when it has not."""

    @property
    def running(self) -> bool:
        """Whether a tuning goes on."""
        return self._one.locked()

    def start(self, wanted: Wanted, *, force: bool = False) -> None:
        """Begin to tune, in a thread of its own. Raise Busy if that goes on already."""
        if self.running:
            raise Busy("A tuning is running already. Wait until it has ended, or cancel it.")
        self._stop, self.failure = Event(), ""
        self._thread = threading.Thread(target=self._run, args=(wanted, force, self._stop), daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End the tuning that goes on; the same tuning goes on later where it was."""
        self._stop.set()

    def close(self) -> None:
        """End the tuning that goes on, and wait for it."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()

    def history(self) -> list[Tuned]:
        """Return what came of earlier tunings, newest first."""
        return [_known(row) for row in json.loads(self._catalogue.fact(_NOTE) or "[]")]

    def look(self, wanted: Wanted, stop: Event) -> Plan:
        """Make the pairs and say what a tuning would do, without doing it. Raise FootnoteError."""
        with self._alone():
            return self._planned(wanted, stop)

    def tune(self, wanted: Wanted, stop: Event, *, force: bool = False) -> Iterator[Stage | Plan | Tuned]:
        """Tune: yield what is being done, the plan, and at last what came of it. Raise FootnoteError.

        Whatever happens before the last step, what is in use stays. If `stop` is set it ends without a result.
        """
        with self._alone():
            yield from self._steps(wanted, stop, force)

    def install(self, model: str) -> None:
        """Put a tuned model into use, whatever the gate said. Raise NotFound, Busy, ModelError or StoreError."""
        with self._alone():
            known = next((run for run in self.history() if run.model == model), None)
            if known is None or not (self._folder / model).is_dir():
                raise NotFound(f"There is no tuned model {model}. Tune again.")
            self._install(model, known.base)

    def choose(self, dimension: int) -> None:
        """Search with the first numbers of the vectors from now on; nothing is embedded again. Raise FootnoteError."""
        with self._alone():
            embedder, manifest = self._indexing.embedder, self._indexing.in_use
            if not 0 < dimension <= embedder.dimension:
                raise BadQuestion(f"The vectors have {embedder.dimension} numbers. Choose from 1 to that.")
            use = replace(manifest.embedder, dimension=dimension)
            self._indexing.swap(embedder, use, former=manifest.former)

    def rollback(self) -> str:
        """Go back to the embedder that was in use before; return its name. Raise NotFound, Busy or ModelError."""
        with self._alone():
            self._indexing.prepare()
            manifest = self._indexing.in_use
            former = manifest.former
            if former is None:
                raise NotFound("There is no former model to go back to. Tune one first.")
            embedder = self._workshop.open(str(self._folder / former.model) if former.model else "")
            self._indexing.swap(embedder, former, former=manifest.embedder)
            self._mark(former.model, manifest.embedder.model)
            return embedder.name

    def clear(self) -> list[str]:
        """Delete every tuned model that is neither in use nor what can be gone back to; return their names."""
        with self._alone():
            self._indexing.prepare()
            manifest = self._indexing.in_use
            kept = {manifest.embedder.model, manifest.former.model if manifest.former else ""}
            gone = [path.name for path in self._folder.glob("*") if path.is_dir() and path.name not in kept]
            for name in gone:
                shutil.rmtree(self._folder / name, ignore_errors=True)
            self._note([replace(run, state="gone") if run.model in gone else run for run in self.history()])
            return sorted(set(gone) - {_TRAINING})

    def publish(self, repo: str) -> str:
        """Send the tuned model in use to the Hub, private; return its address. Raise NotFound or ModelError."""
        self._indexing.prepare()
        model = self._indexing.in_use.embedder.model
        if not model:
            raise NotFound("No tuned model is in use. Tune one first.")
        return self._workshop.publish(self._folder / model, repo)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one tuning at a time do something. Raise Busy at once if another does."""
        if not self._one.acquire(blocking=False):
            raise Busy("A tuning is running already. Wait until it has ended, or cancel it.")
        try:
            yield
        finally:
            self._one.release()

    def _run(self, wanted: Wanted, force: bool, stop: Event) -> None:
        try:
            for event in self.tune(wanted, stop, force=force):
                if isinstance(event, Stage):
                    self.stage = event
        except FootnoteError as error:
            self.failure = str(error)
        except Exception as error:  # the last stop before the page
            traceback.print_exception(error)
            self.failure = SURPRISE

    def _steps(self, wanted: Wanted, stop: Event, force: bool) -> Iterator[Stage | Plan | Tuned]:
        began = time.monotonic()
        yield Stage("Making pairs of your posts")
        plan = self._planned(wanted, stop)
        if stop.is_set():
            return
        yield plan
        base = self._workshop.folder(wanted.base)
        self.losses = []
        training = self._folder / _TRAINING
        for step in self._workshop.train(base, plan.pairs, plan.recipe, training, stop):
            if step.loss is not None:
                self.losses.append(step.loss)
            yield Stage("Training", step.done, step.total, step)
        made = self._workshop.finished(training)
        if stop.is_set() or made is None:
            return
        yield Stage("Measuring what it was before")
        asked = exam.questions(plan.split, self._library, self._indexing.asking, plan.sifted.kept, plan.recipe.seed)
        before = self._judged(self._workshop.open(wanted.base), plan, asked)
        current = before if self._in_use_is(wanted.base) else self._judged(self._indexing.asking, plan, asked)
        yield Stage("Measuring what it is now")
        after = self._judged(self._workshop.open(str(made)), plan, asked)
        if stop.is_set():
            return
        verdict = exam.verdict(current.ndcg, after.ndcg, current.hybrid, after.hybrid, plan.recipe.seed)
        name = self._name(wanted.base)
        tuned = Tuned(
            moment=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            model=name,
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
            state="refused",
            losses=self.losses[:],
        )
        self._describe(tuned, plan, made, training, asked)
        made.rename(self._folder / name)
        shutil.rmtree(training, ignore_errors=True)
        self._note([tuned, *self.history()])
        if verdict.better or force:
            yield Stage("Putting it into use")
            self._install(name, wanted.base)
            tuned = replace(tuned, state="installed")
        yield tuned

    def _planned(self, wanted: Wanted, stop: Event) -> Plan:
        self._indexing.prepare()
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
        sifted = sift(pairs, self._library, by_search(self._passages_for))
        held = _held_out(sifted.kept, split)
        training = tuple(pair for pair in sifted.kept if pair not in held)
        if len(training) < LEAST_PAIRS:
            raise NotFound(_too_few(sifted, len(training)))
        folder = self._workshop.folder(wanted.base)
        pace = self._workshop.pace(folder, training, recipe)
        budget = 60 * (wanted.minutes or MINUTES)
        recipe, chosen = self._workshop.fitted(recipe, training, pace, budget)
        self.plan = Plan(sifted, split, recipe, chosen, pace.seconds(len(chosen), recipe.epochs))
        return self.plan

    def _raw(self, wanted: Wanted, passages: Sequence[Passage], stop: Event) -> list[Pair]:
        """Return every pair that there is, good or not: the person's own, or else what the posts and a writer give."""
        pairs = list(pairs_asked(self._conversations, self._library)) if wanted.asked else []
        if wanted.pairs:
            return [*pairs, *pairs_from_file(wanted.pairs, in_library(self._library))]
        if self._question_writer:
            pairs += pairs_from_writer(passages, self._question_writer, PAIRS, stop)
        return [*pairs, *pairs_from_text(passages, PAIRS)]

    def _judged(self, embedder: Embedder, plan: Plan, asked: Questions) -> _Judged:
        """Hold an embedder against the questions, at each width, alone and in search as a whole."""
        embedder.load()
        found = self._workshop.exam(embedder, asked.queries, asked.corpus, asked.relevant)
        dims = sorted({found.width, *(dim for dim in plan.recipe.dims if dim <= found.width)}, reverse=True)
        vectors = self._indexing.vectors(asked.passages, embedder=embedder)
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

    def _install(self, model: str, base: str) -> None:
        """Put a tuned model into use, and remember what was before."""
        embedder = self._workshop.open(str(self._folder / model))
        embedder.load()
        former = self._indexing.in_use.embedder
        use = InUse(embedder.fingerprint, embedder.dimension, model, base)
        self._indexing.swap(embedder, use, former=former)
        self._mark(model, former.model)

    def _mark(self, installed: str, former: str) -> None:
        states = {installed: "installed", former: "former"}
        self._note([replace(run, state=states.get(run.model, run.state)) for run in self.history()])

    def _note(self, runs: Sequence[Tuned]) -> None:
        self._catalogue.note(_NOTE, json.dumps([asdict(run) for run in runs[:_KEPT]]))


@dataclass(frozen=True)
class _Judged:
    metrics: Mapping[int, Mapping[str, float]]
    ndcg: Mapping[str, float]
    hybrid: Mapping[str, float]


def _held_out(pairs: Sequence[Pair], split: exam.Split) -> set[Pair]:
    """Return the pairs that stand in what was put aside: they measure, and never train."""
    return {pair for pair, _ in exam.own(pairs, split.held_out)}


def _too_few(sifted: Sifted, count: int) -> str:
    reasons = ", ".join(f"{number} {reason}" for reason, number in list(sifted.counts.items())[:4])
    why = f" Of {sifted.made} pairs were refused: {reasons}." if reasons else ""
    return f"{count} pairs are too few to tune on.{why} Add more posts, or give a file with more questions."


def _mean(values: Mapping[str, float]) -> float:
    return round(fmean(values.values()), 4) if values else 0.0


def _known(row: Mapping[str, Any]) -> Tuned:
    numbered = {name: {int(dim): value for dim, value in row[name].items()} for name in ("before", "after")}
    return Tuned(**{**row, **numbered})
