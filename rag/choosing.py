"""Which models are in use: others looked up, fetched, put into use and removed, while questions are answered.

What is in use stays until another is loaded and found good. The writer is exchanged at once, for the next question; the
embedder with its index in one step, measured on one's own posts before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from threading import Event

from rag.amounts import size
from rag.background import Background
from rag.errors import BadSetting, Busy, ModelError, NotFound, Unreachable
from rag.finding.cut import cut
from rag.indexing import Indexing
from rag.jobs import Stopped
from rag.measuring.questions import make_questions
from rag.ports import Catalogue, Embedder, Progress, Stock, Vectors, Workshop, Writer
from rag.records import InUse, Manifest, Model, ModelKind, Passage, Prompt, Segment
from rag.tuning.exam import LEAST, WORSE, Questions, hybrid

VARIABLES: dict[ModelKind, str] = {"writer": "FOOTNOTE_WRITER", "embedder": "FOOTNOTE_EMBEDDER"}
QUESTIONS = 100  # made of the posts, that another embedder is measured with
TIGHT = 0.7  # share of the machine's memory from which a model is a tight fit
_TUNED = "The search model is being tuned. Wait until that has ended, or cancel it, and choose again."
_OWN = "models"  # the note of the models that a person named or fetched
_SETTLED_S = 1.0  # of a download, before its speed is told
_HELLO = Prompt((Segment("user", "Hello", False),), (), 0)


@dataclass(frozen=True)
class Fetching:
    """A download: how many bytes are there of how many, and how fast they come (bytes a second; None: not yet told)."""

    model: Model
    done: int
    total: int
    speed: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """How long it may still take."""
        return (self.total - self.done) / self.speed if self.speed else None


class Choosing:
    """Lists, fetches, exchanges and removes models. Safe to call from several threads."""

    def __init__(
        self,
        stock: Stock,
        catalogue: Catalogue,
        indexing: Indexing,
        workshop: Workshop,
        tuned: Path,
        fixed: Mapping[ModelKind, str],
        exchange: Callable[[Writer], None],
    ) -> None:
        """Join the parts. `tuned` is the folder of tuned models, `fixed` what the environment names; `exchange` puts a
        writer in the place of the one in use."""
        self._stock = stock
        self._catalogue = catalogue
        self._indexing = indexing
        self._workshop = workshop
        self._tuned = tuned
        self._fixed = fixed
        self._exchange = exchange
        self._writer = fixed.get("writer") or chosen("writer", catalogue, stock)
        self._looked: dict[str, Model] = {}
        self.troubles: dict[str, str] = {}
        """Why models that were suggested cannot be had, by their settings."""
        self.asking = Background()
        """Asking the Hub for sizes."""
        self.fetching = Background()
        """A download."""
        self.changing = Background()
        """Putting a model into use."""
        self.download: Fetching | None = None
        """The download that goes on, or went on last."""
        self.stage = ""
        """What is being done to put a model into use."""
        self.said = ""
        """What came of that, or of a removal; for people."""
        self.refused: Model | None = None
        """The embedder that was not put into use because it finds less; it can be insisted on."""
        self.changes = 0
        """A number that grows whenever something here is over."""

    def in_use(self) -> list[Model]:
        """Return the writer and the embedder in use, as far as they are known."""
        return [self._known_as("writer", self._writer), self._known_as("embedder", self._embedder_setting())]

    def fixed(self, kind: ModelKind) -> str:
        """Return the variable of the environment that names the model in use, "" where a person may choose it."""
        return VARIABLES[kind] if self._fixed.get(kind) else ""

    def missing(self) -> str:
        """Say which writer was chosen and is not here any more, "" if there is none."""
        chosen = self._catalogue.fact("writer")
        return "" if self._fixed.get("writer") or chosen == self._writer else chosen

    def offers(self, kind: ModelKind) -> list[Model]:
        """Return the models that can be chosen: the one that ships, those that were suggested, those a person named."""
        shipped = self._place(kind, "")
        suggested = [self._with_size(model) for model in self._stock.suggested() if model.kind == kind]
        known = {model.setting for model in suggested}
        own = [model for model in self._own() if model.kind == kind and model.setting not in known]
        return [*([shipped] if shipped else []), *suggested, *own]

    def fit(self, model: Model) -> str:
        """Say how a model fits into this machine's memory: "fits", "tight", "too large", or "" if that is not known."""
        total = self._stock.memory()[0]
        if not total or not model.memory:
            return ""
        return "too large" if model.memory > total else "tight" if model.memory > TIGHT * total else "fits"

    def ask(self) -> None:
        """Ask the Hub, in the background, how large the suggested models are."""
        self.said = ""
        self.asking.begin(self._ask)

    def look(self, wanted: str) -> list[Model]:
        """Return what a person may mean by an id on the Hub, its address, or a path. Raise ModelError."""
        found = self._stock.look(wanted)
        self._looked.update({model.setting: model for model in found})
        return found

    def again(self, models: Sequence[Model]) -> list[Model]:
        """Return models that were looked up as they are by now: here, in part, or not."""
        return [self._find(model.kind, model.setting) for model in models if model.setting in self._looked]

    def fetch(self, kind: ModelKind, setting: str) -> None:
        """Download a model in the background. Raise NotFound or Busy."""
        model = self._find(kind, setting)
        if not self.fetching.begin(lambda stop: self._fetch(model, stop)):
            raise Busy("Another model is being downloaded. Wait until it is here, or cancel it.")

    def use(self, kind: ModelKind, setting: str, *, anyway: bool = False) -> None:
        """Put a model into use, in the background; an embedder that finds less only `anyway`. Raise FootnoteError."""
        if self.fixed(kind):
            raise BadSetting(
                f"{VARIABLES[kind]} is set, and wins. To choose here, leave it out and start Footnote again."
            )
        model = self._find(kind, setting)
        if not model.place:
            raise NotFound(f"{model.name} is not on this machine. Download it first.")
        if kind == "embedder" and self._indexing.exchanging.locked() and not self.changing.running:
            raise Busy(_TUNED)
        if not self.changing.begin(lambda stop: self._use(model, anyway, stop)):
            raise Busy("Another model is being put into use. Wait until that has ended.")

    def remove(self, kind: ModelKind, setting: str) -> None:
        """Delete a model that was downloaded; one that lies elsewhere is only forgotten. Raise FootnoteError."""
        model = self._find(kind, setting)
        if model.place and model.place == self._known_as(kind, self._setting(kind)).place:
            raise Busy(f"{model.name} is in use. Choose another, and remove it then.")
        if kind == "embedder" and self._tuned_from(setting):
            raise Busy(f"{model.name} is what the tuned model in use was made of. Choose another, and remove it then.")
        if self.changing.running:
            raise Busy("A model is being put into use. Wait until that has ended, and try again.")
        if self.fetching.running and self.download and self.download.model.setting == model.setting:
            raise Busy(f"{model.name} is being downloaded. Cancel that first.")
        own = Path(model.setting).is_absolute()
        freed = 0 if own else self._stock.remove(model)
        if setting in self._looked:
            self._looked[setting] = replace(self._looked[setting], place=model.place if own else "", part=0)
        self._note([known for known in self._own() if known.setting != model.setting])
        self.said = (
            f"{model.name} is off the list; its file stays."
            if own
            else f"{model.name} is gone; {size(freed)} are free."
        )
        self.changes += 1

    def name(self, model: Model) -> None:
        """Put a model that lies on this machine on the list."""
        self._note([*(known for known in self._own() if known.setting != model.setting), model])
        self.changes += 1

    def close(self) -> None:
        """End what goes on, and wait for it; a download goes on later where it was."""
        for work in (self.asking, self.fetching, self.changing):
            work.close()

    def _tuned_from(self, setting: str) -> bool:
        """Say whether the embedder in use is a tuned one that was made of this, and can be gone back from to it."""
        index = self._indexing.index.stored()
        bases = (self._fixed.get("embedder", ""), self._catalogue.fact("embedder"))
        return bool(setting and index and index.embedder.model) and setting in bases

    def _setting(self, kind: ModelKind) -> str:
        return self._writer if kind == "writer" else self._embedder_setting()

    def _embedder_setting(self) -> str:
        index, fixed = self._indexing.index.stored(), self._fixed.get("embedder", "")
        return searching(index, fixed, self._catalogue, self._stock, self._tuned)

    def _known_as(self, kind: ModelKind, setting: str) -> Model:
        """Return a model in use with all that is known of it."""
        try:
            here = self._stock.here(kind, setting)
        except ModelError as error:
            return Model(kind, setting, setting, about=str(error))
        if here is None:
            return Model(kind, setting, setting or self._indexing.embedder.name)
        known = [model for model in (*self._stock.suggested(), *self._own()) if model.setting == here.setting]
        return replace(here, name=known[0].name, licence=here.licence or known[0].licence) if known else here

    def _with_size(self, model: Model) -> Model:
        """Return a suggested model as the Hub described it, if it has."""
        if model.place or model.setting not in self._looked:
            return model
        looked = self._looked[model.setting]
        known = replace(looked, name=model.name, about=model.about, part=model.part)
        return replace(known, span=looked.span or model.span, licence=looked.licence or model.licence)

    def _find(self, kind: ModelKind, setting: str) -> Model:
        """Return a model that was offered or looked up. Raise NotFound."""
        for model in (*self.offers(kind), *self._looked.values()):
            if model.kind == kind and model.setting == setting:
                here = self._stock.here(kind, setting)
                return replace(here, name=model.name, licence=model.licence or here.licence) if here else model
        raise NotFound(f"{setting} is not on the list any more. Look for it again.")

    def _ask(self, stop: Event) -> None:
        self.troubles = {}
        try:
            for model in self._stock.suggested():
                if stop.is_set():
                    return
                if not model.place:
                    try:
                        self._looked[model.setting] = self._stock.look(model.setting)[0]
                    except Unreachable:
                        raise
                    except ModelError as error:
                        self.troubles[model.setting] = str(error)
                    self.changes += 1
        finally:
            self.changes += 1

    def _fetch(self, model: Model, stop: Event) -> None:
        self.said, self.download = "", Fetching(model, model.part, model.size)
        try:
            if "*" in model.setting:  # nobody has asked the Hub yet
                [model, *_] = self._stock.look(model.setting)
            began: list[tuple[float, int]] = []

            def report(done: int, total: int) -> None:
                now = time.monotonic()
                began.append((now, done)) if not began else None
                since, first = began[0]
                speed = (done - first) / (now - since) if now - since > _SETTLED_S else None
                self.download = Fetching(model, done, total, speed)

            if self._stock.fetch(model, stop, report):
                if all(model.setting != known.setting for known in self._stock.suggested()):
                    self.name(model)
                self.said = f"{model.name} is here. It is not in use yet."
            elif model.setting in self._looked:
                self._looked[model.setting] = replace(model, part=self.download.done)
        finally:
            self.download = None
            self.changes += 1

    def _use(self, model: Model, anyway: bool, stop: Event) -> None:
        self.said, self.refused = "", None
        try:
            self.stage = f"Loading {model.name}"
            free = self._stock.memory()[1]
            if free and model.memory > free:
                raise ModelError(
                    f"{model.name} needs about {size(model.memory)} of memory, and {size(free)} are free. Close other "
                    "programs, or choose a smaller one."
                )
            if model.kind == "writer":
                self._use_writer(model)
            elif self._indexing.exchanging.acquire(blocking=False):
                try:
                    self._use_embedder(model, anyway, stop)
                finally:
                    self._indexing.exchanging.release()
            else:
                raise Busy(_TUNED)
            if model.setting and all(known.setting != model.setting for known in self.offers(model.kind)):
                self.name(model)
        finally:
            self.stage = ""
            self.changes += 1

    def _use_writer(self, model: Model) -> None:
        writer = self._stock.writer(model.setting)
        writer.load()
        writer.count_tokens(_HELLO)  # a template that cannot be used is told now, not at the first question
        self._exchange(writer)
        self._writer = model.setting
        self._catalogue.note("writer", model.setting)
        self.said = f"{model.name} writes from now on."

    def _use_embedder(self, model: Model, anyway: bool, stop: Event) -> None:
        embedder = self._stock.embedder(model.setting)
        embedder.load()
        self._indexing.prepare()
        former = self._indexing.in_use.embedder
        found = self._measured(embedder, stop)
        if found and found.worse and not anyway:
            self.refused = model
            self.said = f"{found.sentence(model.name)} So {self._indexing.embedder.name} stays in use."
            return
        self.stage = f"Putting {model.name} into use"
        use = InUse(embedder.fingerprint, embedder.dimension, setting=model.setting)
        # what a person chose can be chosen again; only a tuned model is gone back to on the tab Quality
        self._indexing.swap(embedder, use, former=former if former.model else None, report=self._reading(stop))
        self._workshop.choose(model.setting)
        self._catalogue.note("embedder", model.setting)
        self.said = f"{model.name} searches from now on. {found.sentence(model.name) if found else ''}".rstrip()

    def _measured(self, embedder: Embedder, stop: Event) -> _Found | None:
        """Put questions made of the posts to both embedders; None where there are too few to tell anything."""
        library, old = self._indexing.library, self._indexing.asking
        passages = library.passages()
        if not passages:
            return None
        self.stage = "Making questions of your posts"
        made = list(make_questions(library, old, QUESTIONS))
        if len(made) < LEAST:
            return None
        asked = _asked([(question.text, question.passage) for question in made], passages)
        before = hybrid(asked, library, old, self._vectors(passages, self._indexing.embedder, old.dimension))
        vectors = self._indexing.vectors(passages, self._reading(stop), embedder)
        self.stage = "Measuring what it finds"
        return _Found(before, hybrid(asked, library, embedder, vectors))

    def _reading(self, stop: Event) -> Progress:
        """Return a report that says how far it is, and ends it when it is to stop."""

        def report(done: int, total: int) -> None:
            self.stage = f"Reading your posts: {done:,} of {total:,} passages"
            if stop.is_set():
                raise Stopped

        return report

    def _vectors(self, passages: Sequence[Passage], embedder: Embedder, dimension: int) -> Vectors:
        return cut(self._indexing.vectors(passages, embedder=embedder), dimension)

    def _own(self) -> list[Model]:
        """Return the models that a person named or fetched and that are here."""
        rows = json.loads(self._catalogue.fact(_OWN) or "[]")
        models = ((model, self._place(model.kind, model.setting)) for model in (Model(**row) for row in rows))
        return [replace(here, name=model.name, licence=model.licence or here.licence) for model, here in models if here]

    def _place(self, kind: ModelKind, setting: str) -> Model | None:
        """Return a model with its place; None if it is not here, or nothing that can be used."""
        try:
            return self._stock.here(kind, setting)
        except ModelError:
            return None

    def _note(self, models: Sequence[Model]) -> None:
        self._catalogue.note(_OWN, json.dumps([asdict(model) for model in models]))


def chosen(kind: ModelKind, catalogue: Catalogue, stock: Stock) -> str:
    """Return the model that a person chose, "" for the one that ships: also where the chosen one is gone."""
    noted = catalogue.fact(kind)
    return noted if _is_here(kind, noted, stock) else ""


def searching(index: Manifest | None, fixed: str, catalogue: Catalogue, stock: Stock, tuned: Path) -> str:
    """Return the embedder to search with, as a setting.

    The one that the environment names (`fixed`) wins over all but what was tuned in the folder `tuned` while it named
    the same; then comes the one that the index was built with, then the one that a person chose, if they are here.
    """
    use = index.embedder if index else None
    if use and use.model and (not fixed or fixed == use.base):
        folder = tuned / Path(use.model).name
        return str(folder) if folder.is_dir() else fixed or chosen("embedder", catalogue, stock)
    if use and not fixed and _is_here("embedder", use.setting, stock):
        return use.setting
    return fixed or chosen("embedder", catalogue, stock)


def _is_here(kind: ModelKind, setting: str, stock: Stock) -> bool:
    try:
        return bool(setting and stock.here(kind, setting))
    except ModelError:
        return False


@dataclass(frozen=True)
class _Found:
    """NDCG@10 of each question, by its id, before and after."""

    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def worse(self) -> bool:
        return fmean(self.after.values()) < fmean(self.before.values()) - WORSE

    def sentence(self, name: str) -> str:
        """Say in plain words what was found. A question has one right passage: 1 is the first place."""
        first_before, first_after = (sum(mark >= 1 for mark in marks.values()) for marks in (self.before, self.after))
        return (
            f"Of {len(self.before)} questions made of your posts, {name} puts the right passage first for "
            f"{first_after}, the model before it for {first_before}."
        )


def _asked(made: Sequence[tuple[str, Passage]], passages: Sequence[Passage]) -> Questions:
    """Return questions made of passages as they are put to search as a whole."""
    queries = {f"q{passage.id}": text for text, passage in made}
    relevant = {f"q{passage.id}": {str(passage.id)} for _, passage in made}
    return Questions(queries, {}, relevant, tuple(queries), tuple(passages))
