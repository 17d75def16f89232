"""What the core needs from the outside. The real parts are in models/ and store/, the fakes in tests/fakes.py;
one contract test runs over both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.records import (
    NO_FILTERS,
    Check,
    Document,
    Filters,
    Item,
    Judged,
    KeptTurn,
    Label,
    Manifest,
    Mark,
    Model,
    ModelKind,
    Outline,
    Pace,
    Pair,
    Passage,
    Post,
    Prompt,
    Recipe,
    Refused,
    Snapshot,
    Source,
    SourceKind,
    Step,
    StoredPost,
    Talk,
    Thumb,
    Way,
)

Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]
"""Ids of passages, ascending."""
Progress = Callable[[int, int], None]
"""Called with (done, total)."""

Read = Callable[[int, int], None]
"""Called with (tokens of the prompt that were read for this answer, tokens that had been read before)."""


def unread(prefill: int, cached: int) -> None:
    """Take no note of what was read."""


class Embedder(Protocol):
    """Turns text into unit vectors. Loads itself at first use; safe to call from several threads."""

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identify the model by its weights and prompts, never by name: 16 hex digits."""
        ...

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        ...

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads, special tokens not counted."""
        ...

    @property
    def prompts(self) -> Mapping[str, str]:
        """What is put before queries and documents."""
        ...

    def load(self) -> None:
        """Load the model, once. Raise ModelError if that cannot be done."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, special tokens not counted."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a question: float32, (len(texts), dimension)."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a passage: float32, (len(texts), dimension)."""
        ...

    def checks(self) -> list[Check]:
        """Say whether the model is there and whole."""
        ...


class Reranker(Protocol):
    """Reads a question and a passage together. Loads itself at first use; safe to call from several threads."""

    def scores(self, question: str, texts: Sequence[str]) -> Scores:
        """Return how well each text answers the question (0..1). Raise ModelError if the model cannot be used."""
        ...

    def checks(self) -> list[Check]:
        """Say whether the model is there and can be loaded."""
        ...


class Nli(Protocol):
    """Reads a text and a sentence together. Loads itself at first use; safe to call from several threads."""

    def entails(self, texts: Sequence[str], claim: str) -> list[bool]:
        """Say of each text whether the claim follows from it. Raise ModelError if the model cannot be used."""
        ...

    def checks(self) -> list[Check]:
        """Say whether the model is there and can be loaded."""
        ...


class Writer(Protocol):
    """Writes text. One at a time: a second caller waits for the first."""

    passages: int
    """How many passages it is given, 1: it does best with a sentence. A guess by its size until a trial has set it."""

    @property
    def name(self) -> str:
        """The model's name, for people."""
        ...

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        ...

    @property
    def budget(self) -> int:
        """How many tokens a prompt may have, so that the answer still fits behind it."""
        ...

    def load(self) -> None:
        """Load the model, once. Raise ModelError if that cannot be done."""
        ...

    def count_tokens(self, prompt: Prompt) -> int:
        """Count the tokens of the prompt as the model would read it, template included."""
        ...

    def write(self, prompt: Prompt, stop: Event, read: Read = unread) -> Iterator[str]:
        """Yield the answer piece by piece. Setting `stop` ends it at once, even before the first piece.

        `read` is told before the first piece how much of the prompt was read.
        """
        ...

    def warm(self, prompt: Prompt, stop: Event) -> None:
        """Read a prompt ahead, up to the question that may come. Such a question ends this at once, as `stop` does."""
        ...

    def forget(self) -> None:
        """Let go of whatever was kept of passages: one of them was removed."""
        ...

    def checks(self) -> list[Check]:
        """Say whether the model is there and whole."""
        ...


class Readers(Protocol):
    """Turns documents into posts, whatever they hold: hostile ones end as a Refused, never as a hang or a crash."""

    def read(self, document: Document) -> Iterator[Post | Refused]:
        """Yield each post of a document, and a Refused for each part that is none."""
        ...

    def outline(self, document: Document) -> Outline:
        """Say what a fetched document lists or leads to. Raise BadFile if it cannot be read."""
        ...

    def close(self) -> None:
        """End what was started for it."""
        ...


class Library(Protocol):
    """The posts, their passages, a full-text index over them, and vectors kept by content. The truth."""

    def put(
        self,
        post: Post,
        passages: Sequence[Passage],
        vectors: Vectors,
        fingerprint: str,
        *,
        place: str = "",
        sketch: Sequence[int] = (),
    ) -> tuple[list[Passage], list[int]]:
        """Add or replace a post in one transaction; return (its passages with ids, ids of those it replaced).

        A post from a known source keeps that post's id and replaces it whole. `vectors` has one row a passage. `place`
        is the file or address it was read from, its source if that is empty; `sketch` is what its copies are known by.
        """
        ...

    def find(self, post: Post) -> tuple[str, bool] | None:
        """Return (id, unchanged) of the post that `post` would replace or repeat, or None if it is new."""
        ...

    def similar(self, sketch: Sequence[int], limit: int) -> list[tuple[str, list[int]]]:
        """Return (id, sketch) of the posts that share most with a sketch, most first."""
        ...

    def link(self, source: str, place: str, post_id: str) -> None:
        """Note that a post can be reached by another source, too."""
        ...

    def unlink(self, source: str) -> None:
        """Forget that a post can be reached by this source."""
        ...

    def reached(self, places: Iterable[str]) -> dict[str, list[Way]]:
        """Return the ways to posts that go through these files and addresses; those without one are left out."""
        ...

    def leave(self, source: str) -> tuple[str | None, list[int]]:
        """Let go of a source that is gone; return (id of the post if nothing else led to it and it is now removed, ids
        of its passages)."""
        ...

    def put_away(self) -> set[str]:
        """Return the ids (see id_of) of the sources whose posts the person removed and has not added again since."""
        ...

    def remove(self, post_id: str) -> list[int]:
        """Remove a post; return the ids of the passages that went. Raise NotFound."""
        ...

    def scrub(self) -> None:
        """Overwrite on disk what was removed or replaced since the last scrub."""
        ...

    def replace_passages(self, passages: Sequence[Passage], splitter: str) -> None:
        """Replace every passage in one transaction; those that did not change keep their ids."""
        ...

    def posts(self) -> list[StoredPost]:
        """List all posts, newest date first."""
        ...

    def post(self, post_id: str) -> Post:
        """Return one post whole. Raise NotFound."""
        ...

    def labels(self, post_ids: Iterable[str]) -> dict[str, Label]:
        """Return what a hit shows of each of these posts; missing ones are left out."""
        ...

    def passages(self, ids: Sequence[int] | None = None) -> list[Passage]:
        """Return the passages with these ids (in this order, missing ones left out), or all by id."""
        ...

    def passage_ids(self) -> set[int]:
        """Return the ids of all passages."""
        ...

    def vectors(self, hashes: Iterable[str], fingerprint: str) -> dict[str, Vectors]:
        """Return the stored vectors of these passage hashes; missing ones are left out."""
        ...

    def keep_vectors(self, hashes: Sequence[str], vectors: Vectors, fingerprint: str) -> None:
        """Store vectors ahead of their passages, so that an interrupted rebuild resumes."""
        ...

    def forget_vectors(self, fingerprints: Sequence[str]) -> None:
        """Drop the vectors of every embedder but these, and those of no passage."""
        ...

    def lexical(self, words: Sequence[str], limit: int, filters: Filters = NO_FILTERS) -> list[tuple[int, float]]:
        """Return (passage id, BM25 score, larger is better) of passages with any of the words, best first.

        Only of those that the filters let through.
        """
        ...

    def weights(self, words: Sequence[str]) -> dict[str, float]:
        """Return how telling each word is here: its inverse document frequency, smoothed."""
        ...

    def kin(self, post_ids: Iterable[str]) -> dict[str, Ids]:
        """Return the ids of all passages of these posts."""
        ...

    def within(self, filters: Filters) -> Ids:
        """Return the ids of the passages that the filters let through."""
        ...

    def mentioning(self, phrases: Sequence[str], filters: Filters = NO_FILTERS) -> list[StoredPost]:
        """List the posts that the filters let through and that have each of the phrases somewhere, newest date first.

        A phrase is one word or several in a row, endings aside. A filter's own phrases and words count for the post
        as a whole here.
        """
        ...

    def count(self) -> tuple[int, int]:
        """Return how many posts and passages there are."""
        ...

    def splitter(self) -> str:
        """Return the splitter that made the stored passages, or "" if none has."""
        ...

    def checks(self) -> list[Check]:
        """Run the database's own integrity checks."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Catalogue(Protocol):
    """The sources that posts come from, and how each file and page of them was when it was last read."""

    def sources(self) -> list[Source]:
        """List the sources, in the order in which they came."""
        ...

    def remember(self, kind: SourceKind, location: str) -> Source:
        """Remember a source, or find it again by its location; what was a page can become a site, not the reverse."""
        ...

    def forget(self, source_id: str) -> None:
        """Forget a source and its items; its posts stay. Raise NotFound."""
        ...

    def checked(self, source_id: str, moment: str) -> None:
        """Note when a source was read."""
        ...

    def items(self, source_id: str) -> dict[str, Item]:
        """Return the items of a source by their places."""
        ...

    def keep(self, source_id: str, items: Sequence[Item]) -> None:
        """Add items to a source, or replace those of the same places."""
        ...

    def drop(self, source_id: str, places: Sequence[str]) -> None:
        """Take items out of a source."""
        ...

    def holders(self, place: str) -> list[str]:
        """Return the ids of the sources that have a place as an item, in the order in which they came."""
        ...

    def owner(self, place: str) -> str | None:
        """Return the id of the first source that has a place as an item that was read, or None."""
        ...

    def fact(self, name: str) -> str:
        """Return what was noted under a name, "" if nothing was."""
        ...

    def note(self, name: str, value: str) -> None:
        """Note something under a name: a choice that outlives the process."""
        ...


class Gold(Protocol):
    """The questions that a person has judged, and the places in posts that answer them; these go with their posts."""

    def judged(self) -> list[Judged]:
        """List the questions that were judged, in the order in which they came."""
        ...

    def mark(self, question: str, mark: Mark) -> None:
        """Note that a place in a post answers a question. Raise NotFound if the post is gone."""
        ...

    def unmark(self, question: str, mark: Mark) -> None:
        """Take a mark back; a question without any other is forgotten."""
        ...

    def deny(self, question: str) -> None:
        """Note that no passage answers a question; its marks go."""
        ...

    def forget(self, question: str) -> None:
        """Forget a question and its marks."""
        ...


class Exam(Protocol):
    """An embedder held against judged questions."""

    @property
    def width(self) -> int:
        """How many numbers its vectors have."""
        ...

    def at(self, dim: int) -> dict[str, float]:
        """Return the metrics (0..1) of vectors cut to `dim` numbers, by their usual names. Raise ModelError."""
        ...

    def ndcg(self, dim: int) -> dict[str, float]:
        """Return NDCG@10 of each question, by its id, of vectors cut to `dim` numbers. Raise ModelError."""
        ...


class Workshop(Protocol):
    """Tunes embedders and measures them."""

    def open(self, model: str) -> Embedder:
        """Return an embedder, not loaded yet: "" for the one that the settings name, a folder, or an id on the Hub."""
        ...

    def choose(self, model: str) -> None:
        """Let "" mean another model from now on: the one that a person chose."""
        ...

    def folder(self, model: str) -> Path:
        """Return where such a model lies. Raise ModelError if it is not to be had."""
        ...

    def widths(self, width: int, asked: Sequence[int] = ()) -> tuple[int, ...]:
        """Return the widths that vectors of `width` are trained to be cut to. Raise ModelError for a wrong one."""
        ...

    def pace(self, base: Path, pairs: Sequence[Pair], recipe: Recipe, stop: Event) -> Pace | None:
        """Try a few steps and say what training costs here; None if `stop` is set. Raise ModelError."""
        ...

    def fitted(
        self, recipe: Recipe, pairs: Sequence[Pair], cost: Pace, seconds: float
    ) -> tuple[Recipe, tuple[Pair, ...]]:
        """Fit a training into `seconds`: fewer epochs, then fewer pairs. Raise ModelError if that is too little."""
        ...

    def train(self, base: Path, pairs: Sequence[Pair], recipe: Recipe, folder: Path, stop: Event) -> Iterator[Step]:
        """Tune a model, or go on where the same was interrupted; yield how far it is. Raise ModelError or Busy."""
        ...

    def finished(self, folder: Path) -> Path | None:
        """Return the model that a training in this folder has come to, None if it has come to none."""
        ...

    def exam(
        self,
        embedder: Embedder,
        queries: Mapping[str, str],
        corpus: Mapping[str, str],
        relevant: Mapping[str, AbstractSet[str]],
    ) -> Exam:
        """Embed questions and passages, by id, to judge them at any width. Raise ModelError."""
        ...

    def card(self, model: Path, training: Path, facts: Mapping[str, Any]) -> None:
        """Write a model's card into its folder; `facts` are those that only the caller knows."""
        ...

    def publish(self, model: Path, repo: str) -> str:
        """Send a model to the Hub, private, and return its address. Raise ModelError."""
        ...


class Stock(Protocol):
    """The models that there are: on this machine, and on the Hub for the asking."""

    def suggested(self) -> list[Model]:
        """List models that are worth a try, with what of them is here. Nobody is asked."""
        ...

    def here(self, kind: ModelKind, setting: str) -> Model | None:
        """Return a model that lies here, None if it does not. Nobody is asked. Raise ModelError if it is another kind
        of thing than it should be."""
        ...

    def look(self, wanted: str) -> list[Model]:
        """Return what a person may mean by an id on the Hub, `repo:file.gguf` or a path; the Hub is asked for sizes.

        Raise ModelError if it is nothing that can be used.
        """
        ...

    def fetch(self, model: Model, stop: Event, report: Progress) -> bool:
        """Download a model, going on where it was cut off; say whether it is there, False if `stop` was set.

        `report` is told (bytes, of how many). Raise ModelError.
        """
        ...

    def remove(self, model: Model) -> int:
        """Delete a model that was downloaded, and what was cut off; return how many bytes that freed."""
        ...

    def writer(self, setting: str) -> Writer:
        """Return a writer that lies here, not loaded yet."""
        ...

    def embedder(self, setting: str) -> Embedder:
        """Return an embedder that lies here, not loaded yet."""
        ...

    def memory(self) -> tuple[int, int]:
        """Return how many bytes of memory there are for models, and how many are free now; 0 for what is not known."""
        ...


class Neighbours(Protocol):
    """Vectors of passages, to be compared with a question's."""

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        """Return (passage id, cosine) of the nearest passages, best first; empty if no index is open.

        `among`: only of these passages.
        """
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """Return the vector of each passage, float32, (len(ids), dimension); zeros where there is none."""
        ...


class VectorIndex(Neighbours, Protocol):
    """Nearest neighbours over passages. Derived: everything in it can be rebuilt from the library."""

    def open(self, manifest: Manifest, expected: Mapping[int, Vectors]) -> str:
        """Open the stored index and test it: every vector in `expected` must find itself.

        Return "" if it is sound and was built with this manifest, else why it must be rebuilt. An index of the same
        embedder that passes the test keeps answering until a rebuild replaces it.
        """
        ...

    def stored(self) -> Manifest | None:
        """Return what the index in use was built with, None if there is none."""
        ...

    def rebuild(self, manifest: Manifest, ids: Sequence[int], vectors: Vectors, progress: Progress) -> None:
        """Build a new index beside the old one and put it in its place in one step."""
        ...

    def ids(self) -> set[int]:
        """Return the ids in the index; empty if none is open."""
        ...

    @property
    def worn(self) -> bool:
        """Whether so much was deleted that a rebuild is due: until then some of that may lie on the disk."""
        ...

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add or replace vectors."""
        ...

    def delete(self, ids: Sequence[int]) -> None:
        """Delete vectors; ids that are not there do no harm."""
        ...

    def note(self, facts: Mapping[str, float]) -> None:
        """Keep what was measured on this index: it goes when the index goes."""
        ...

    def noted(self) -> dict[str, float]:
        """Return what was last noted, {} if nothing was."""
        ...

    def checks(self) -> list[Check]:
        """Say what the index holds and where it lies."""
        ...

    def close(self) -> None:
        """Let go of the folder."""
        ...


class Conversations(Protocol):
    """The conversations that are kept, each with its turns; the words of a post go from them with the post."""

    def listed(self, words: Sequence[str] = (), limit: int = 1000) -> list[Talk]:
        """List conversations, the last changed first: those that have each of the words, in any case, in their title,
        questions or answers."""
        ...

    def talk(self, talk_id: int) -> Talk:
        """Return how one is listed. Raise NotFound."""
        ...

    def turns(self, talk_id: int) -> list[KeptTurn]:
        """Return the turns of one, oldest first. Raise NotFound."""
        ...

    def keep(self, talk_id: int, title: str, turn: KeptTurn, replaces: int = 0) -> tuple[int, int]:
        """Add a turn; return (id of its conversation, its own). `replaces` is the id of a turn that goes for it.

        Where there is no such conversation, or not any more, one of this title begins; one that is called after the
        question that is replaced gets this title.
        """
        ...

    def judge(self, turn_id: int, thumb: Thumb) -> None:
        """Note what a person thinks of an answer. Raise NotFound."""
        ...

    def rename(self, talk_id: int, title: str) -> None:
        """Give a conversation another title. Raise NotFound."""
        ...

    def delete(self, talk_id: int) -> None:
        """Delete a conversation, words overwritten; one that is gone already does no harm."""
        ...


class Vault(Protocol):
    """Writes the whole library into one file, and takes it back from there."""

    def save(self, file: Path, *, public: bool = False) -> Snapshot:
        """Write the library to `file`, in one step. Raise BadFile or StoreError; then what was there is there still.

        `public`: only what visitors may read, without conversations, marks, sources, and places on this machine.
        """
        ...

    def restore(self, file: Path, *, force: bool = False, first: Callable[[], None]) -> int:
        """Put the library from `file` in the place of this one, in one step; return how many posts it has.

        `force`: even if there is something that this replaces. `first` is called once the file was found sound and
        before anything is replaced. Raise BadFile or StoreError; then nothing has changed.
        """
        ...
