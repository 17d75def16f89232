"""The models that were tuned: what came of each, which one search uses, and how they are exchanged and thrown away.

On its own because nothing here tunes: all of it can be done with what lies on the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rag.errors import BadQuestion, NotFound
from rag.indexing import Indexing, silent
from rag.ports import Catalogue, Progress, Workshop
from rag.records import InUse

TRAINING = "training"  # the folder of a training that is not finished
_KEPT = 20  # runs that are remembered
_NOTE = "tunings"


@dataclass(frozen=True)
class Tuned:
    """What came of a tuning. `before` and `after` are the metrics by width; `hybrid` is NDCG@10 of search as a whole.

    `current` is NDCG@10 of what was in use then, `lost` counts passages that were removed or changed while it trained.
    `state`: "ready" (it passed, and waits), "refused" (it did not, and can be insisted on), "installed", "former" (it
    can be gone back to), "gone". It is told by what lies on the disk, and not kept.
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
    state: str = ""
    losses: Sequence[float] = field(default_factory=list)
    current: float = 0.0
    lost: int = 0


@dataclass(frozen=True)
class Use:
    """What search uses: a model's name, how many numbers of its vectors, and how many it could.

    `model` is "" for the one that the settings name; `former` names what can be gone back to, "" if there is nothing;
    `unused` are the tuned models that lie there for nothing, with `unused_bytes`.
    """

    name: str
    model: str
    width: int
    widths: tuple[int, ...]
    former: str
    unused: tuple[str, ...]
    unused_bytes: int


class Shelf:
    """Tuned models in a folder. Whoever changes something here must be the only one that does."""

    def __init__(
        self, folder: Path, catalogue: Catalogue, indexing: Indexing, workshop: Workshop, setting: str
    ) -> None:
        """Join the parts; `setting` is the embedder that the environment names: while it does, a tuned one stays."""
        self.folder = folder
        self._catalogue = catalogue
        self._indexing = indexing
        self._workshop = workshop
        self._setting = setting

    def history(self) -> list[Tuned]:
        """Return what came of earlier tunings, newest first."""
        manifest = self._indexing.index.stored()
        former = manifest.former if manifest else None
        states = {former.model: "former"} if former else {}
        states |= {manifest.embedder.model: "installed"} if manifest else {}

        def state(run: Tuned) -> str:
            if run.model in states:
                return states[run.model]
            if not (self.folder / run.model).is_dir():
                return "gone"
            return "refused" if run.reason else "ready"

        runs = [_known(row) for row in json.loads(self._catalogue.fact(_NOTE) or "[]")]
        return [replace(run, state=state(run)) for run in runs]

    def remember(self, tuned: Tuned) -> None:
        """Remember what came of a tuning."""
        tuned = replace(tuned, losses=[round(loss, 4) for loss in tuned.losses])
        rows = [asdict(replace(run, state="")) for run in [tuned, *self.history()][:_KEPT]]
        self._catalogue.note(_NOTE, json.dumps(rows))

    def use(self) -> Use | None:
        """Return what search uses; None while its model is not loaded yet."""
        if not self._indexing.prepared:
            return None
        manifest, embedder = self._indexing.in_use, self._indexing.embedder
        former = manifest.former
        unused = self._unused()
        return Use(
            embedder.name,
            manifest.embedder.model,
            manifest.dimension,
            tuple(sorted({manifest.dimension, *self._workshop.widths(embedder.dimension)}, reverse=True)),
            "" if former is None else former.model or self._workshop.open("").name,
            tuple(path.name for path in unused if path.name != TRAINING),
            sum(map(_size, unused)),
        )

    def install(self, model: str, report: Progress = silent) -> None:
        """Put a tuned model into use, and remember what was before. Raise NotFound, ModelError or StoreError."""
        known = next((run for run in self.history() if run.model == model), None)
        if known is None or not (self.folder / model).is_dir():
            raise NotFound(f"There is no tuned model {model}. Tune again.")
        embedder = self._workshop.open(str(self.folder / model))
        embedder.load()
        self._indexing.prepare()
        former = self._indexing.in_use.embedder
        if former.model == model:
            return
        use = InUse(embedder.fingerprint, embedder.dimension, model, self._setting)
        self._indexing.swap(embedder, use, former=former, report=report)

    def choose(self, dimension: int) -> None:
        """Search with the first numbers of the vectors from now on; nothing is embedded again. Raise FootnoteError."""
        embedder, manifest = self._indexing.embedder, self._indexing.in_use
        if not 0 < dimension <= embedder.dimension:
            raise BadQuestion(f"The vectors have {embedder.dimension} numbers. Choose from 1 to that.")
        use = replace(manifest.embedder, dimension=dimension)
        self._indexing.swap(embedder, use, former=manifest.former)

    def rollback(self, report: Progress = silent) -> str:
        """Go back to the embedder that was in use before; return its name. Raise NotFound, ModelError or StoreError."""
        self._indexing.prepare()
        manifest = self._indexing.in_use
        former = manifest.former
        if former is None:
            raise NotFound("There is no former model to go back to. Tune one first.")
        embedder = self._workshop.open(str(self.folder / former.model) if former.model else "")
        self._indexing.swap(embedder, former, former=manifest.embedder, report=report)
        return embedder.name

    def discard(self, model: str) -> None:
        """Delete a tuned model that is not in use. Raise NotFound, or BadQuestion if it is, or can be gone back to."""
        if self.folder / model not in self._unused():
            if any(run.model == model and run.state in ("installed", "former") for run in self.history()):
                raise BadQuestion(f"{model} is in use, or what can be gone back to. Go back to another model first.")
            raise NotFound(f"There is no tuned model {model}. Tune again.")
        self._delete([self.folder / model])

    def clear(self) -> list[str]:
        """Delete every tuned model that is neither in use nor what can be gone back to; return their names."""
        self._indexing.prepare()
        gone = self._unused()
        self._delete(gone)
        return sorted({path.name for path in gone} - {TRAINING})

    def publish(self, repo: str) -> str:
        """Send the tuned model in use to the Hub, private; return its address. Raise NotFound or ModelError."""
        self._indexing.prepare()
        model = self._indexing.in_use.embedder.model
        if not model:
            raise NotFound("No tuned model is in use. Tune one first.")
        return self._workshop.publish(self.folder / model, repo)

    def _unused(self) -> list[Path]:
        """Return the folders of the models, and of a training, that are neither in use nor can be gone back to."""
        manifest = self._indexing.in_use
        kept = {manifest.embedder.model, manifest.former.model if manifest.former else ""}
        return [path for path in self.folder.glob("*") if path.is_dir() and path.name not in kept]

    def _delete(self, folders: Sequence[Path]) -> None:
        """Delete models, and the vectors that they made."""
        for path in folders:
            shutil.rmtree(path, ignore_errors=True)
        manifest = self._indexing.in_use
        self._indexing.library.forget_vectors([use.fingerprint for use in (manifest.embedder, manifest.former) if use])


def _known(row: Mapping[str, Any]) -> Tuned:
    numbered = {name: {int(dim): value for dim, value in row[name].items()} for name in ("before", "after")}
    return Tuned(**{**row, **numbered})


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files; those of a training come and go meanwhile."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            size += file.stat().st_size if file.is_file() else 0
    return size
