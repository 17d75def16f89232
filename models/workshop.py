"""What tuning needs of the neural models, behind one port: training, measuring, the card, the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from threading import Event
from typing import Any

from models import card, tune
from models.embedder import SentenceTransformerEmbedder
from models.measure import Measurement
from models.training import MODEL, run_of, widths
from rag.ports import Embedder
from rag.records import Pace, Pair, Recipe, Step


class SentenceTransformerWorkshop:
    """Tunes sentence-transformers models and measures them."""

    def __init__(self, setting: str = "", *, offline: bool = False, notes: Path | None = None) -> None:
        """Name the model that the settings name; `offline` and `notes` as SentenceTransformerEmbedder takes them."""
        self._setting = setting
        self._offline = offline
        self._notes = notes
        self._paced: tuple[tuple[Path, int, tuple[int, ...]], set[int], Pace] | None = None

    def open(self, model: str) -> SentenceTransformerEmbedder:
        """Return an embedder, not loaded yet: "" for the one that the settings name, a folder, or an id on the Hub."""
        return SentenceTransformerEmbedder(model or self._setting, offline=self._offline, notes=self._notes)

    def choose(self, model: str) -> None:
        """Let "" mean another model from now on: the one that a person chose."""
        self._setting = model

    def folder(self, model: str) -> Path:
        """Return where such a model lies. Raise ModelError if it is not to be had."""
        return self.open(model).folder

    def widths(self, width: int, asked: Sequence[int] = ()) -> tuple[int, ...]:
        """Return the widths that vectors of `width` are trained to be cut to. Raise ModelError for a wrong one."""
        return widths(width, asked)

    def pace(self, base: Path, pairs: Sequence[Pair], recipe: Recipe, stop: Event) -> Pace | None:
        """Try a few steps and say what training costs here; None if `stop` is set. Raise ModelError.

        What was tried a moment ago is known for the same pairs, or fewer: who looks first does not wait twice.
        """
        how, tried = (base, recipe.batch, recipe.dims), set(map(hash, pairs))
        if self._paced and self._paced[0] == how and tried <= self._paced[1]:
            return self._paced[2]
        if found := tune.pace(base, pairs, recipe, stop):
            self._paced = how, tried, found
        return found

    def fitted(
        self, recipe: Recipe, pairs: Sequence[Pair], cost: Pace, seconds: float
    ) -> tuple[Recipe, tuple[Pair, ...]]:
        """Fit a training into `seconds`: fewer epochs, then fewer pairs. Raise ModelError if that is too little."""
        return tune.fitted(recipe, pairs, cost, seconds)

    def train(self, base: Path, pairs: Sequence[Pair], recipe: Recipe, folder: Path, stop: Event) -> Iterator[Step]:
        """Tune a model, or go on where the same was interrupted; yield how far it is. Raise ModelError or Busy."""
        return tune.train(base, pairs, recipe, folder, stop)

    def finished(self, folder: Path) -> Path | None:
        """Return the model that a training in this folder has come to, None if it has come to none."""
        model = folder / MODEL
        return model if model.is_dir() else None

    def exam(
        self,
        embedder: Embedder,
        queries: Mapping[str, str],
        corpus: Mapping[str, str],
        relevant: Mapping[str, AbstractSet[str]],
    ) -> Measurement:
        """Embed questions and passages, by id, to judge them at any width. Raise ModelError."""
        return Measurement(embedder, queries, corpus, relevant)

    def card(self, model: Path, training: Path, facts: Mapping[str, Any]) -> None:
        """Write a model's card into its folder; `facts` are those that only the caller knows, see card.Facts."""
        card.write_card(model, card.Facts(run=run_of(training), **facts))

    def publish(self, model: Path, repo: str) -> str:
        """Send a model to the Hub, private, and return its address. Raise ModelError."""
        return card.push(model, repo)
