"""Parts for tests that stand behind the ports of the core: small, in memory, with nothing random about them.

test_contracts.py holds each of them against the real part."""

from __future__ import annotations

import hashlib
import re
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from dataclasses import replace
from math import log
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import numpy as np
from snowballstemmer.porter_stemmer import PorterStemmer

from rag.errors import BadFile, ModelError, NotFound, StoreError
from rag.ports import Embedder, Ids, Progress, Read, Vectors, Writer, unread
from rag.readers import read
from rag.readers.limits import Limits
from rag.readers.outline import outline
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
    folded,
    id_of,
)


class FakeEmbedder:
    """Texts that share words of four letters or more get similar vectors; no meaning beyond that.

    It reads so few tokens that each section of a story becomes a passage of its own. Another fingerprint gives other
    vectors, as another model would. `encoded` lists every text it was given.
    """

    name = "fake-embedder"
    prompts: Mapping[str, str] = {}

    def __init__(self, fingerprint: str = "fa1e000000000001", dimension: int = 256, max_tokens: int = 48) -> None:
        self.fingerprint = fingerprint
        self.dimension = dimension
        self.max_tokens = max_tokens
        self.ready = False
        self.alike = fingerprint  # embedders of which this is the same give the same vectors
        self.encoded: list[str] = []
        self.trouble = ""

    def load(self) -> None:
        if self.trouble:
            raise ModelError(self.trouble)
        self.ready = True

    @property
    def passages(self) -> list[str]:
        """The texts that were passages: a line of headings, then the words."""
        return [text for text in self.encoded if "\n" in text]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts)

    def checks(self) -> list[Check]:
        self.ready = not self.trouble
        return [Check("embedder", self.ready, self.trouble or f"{self.name}, {self.dimension} wide")]

    def _encode(self, texts: Sequence[str]) -> Vectors:
        self.load()
        self.encoded += texts
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w{4,}", text.lower()) or [text]:
                number = zlib.crc32(f"{self.alike} {word.removesuffix('s')}".encode("utf-8", "replace"))
                row[number % self.dimension] += 1 if number & (1 << 20) else -1
            if not row.any():  # words that cancel each other out
                row[0] = 1
            row /= np.linalg.norm(row)
        return vectors


class FakeWriter:
    """Writes the pieces it was given, whatever it is asked; `prompts` lists what it was asked, `warmed` what it was to
    read ahead, `forgotten` counts how often it was told to forget.

    `error` is raised after the pieces. `closed` counts the answers that came to an end, one way or another.
    """

    name = "fake-writer"
    passages = 3

    def __init__(self, *pieces: str, budget: int = 1000, passages: int = 3) -> None:
        self.pieces = pieces
        self.budget = budget
        self.passages = passages
        self.ready = False
        self.error: ModelError | None = None
        self.prompts: list[Prompt] = []
        self.warmed: list[Prompt] = []
        self.forgotten = 0
        self.closed = 0
        self._lock = threading.Lock()

    def load(self) -> None:
        self.ready = True

    def count_tokens(self, prompt: Prompt) -> int:
        return sum(len(segment.text.split()) for segment in prompt.segments)

    def write(self, prompt: Prompt, stop: Event, read: Read = unread) -> Iterator[str]:
        if self.count_tokens(prompt) > self.budget:
            raise ModelError("The question has too many words for the fake writer. Ask a shorter one.")
        while not self._lock.acquire(timeout=0.01):
            if stop.is_set():
                return
        try:
            self.load()
            self.prompts.append(prompt)
            read(self.count_tokens(prompt), 0)
            for piece in self.pieces:
                if stop.is_set():
                    return
                yield piece
            if self.error:
                raise self.error
        finally:
            self.closed += 1
            self._lock.release()

    def warm(self, prompt: Prompt, stop: Event) -> None:
        if not stop.is_set():
            self.warmed.append(prompt)

    def forget(self) -> None:
        self.forgotten += 1

    def checks(self) -> list[Check]:
        return [Check("writer", True, self.name)]


class FakeWorkshop:
    """Opens the embedder it was given; what it tunes is a fake of another fingerprint, judged as it is told to be."""

    def __init__(self, embedder: FakeEmbedder) -> None:
        self.embedder = embedder
        self.tuned = FakeEmbedder("fa1e0000000000ff")
        self.tuned.alike = embedder.alike  # search as a whole finds the same
        self.after = 0.9
        self.cards: list[Path] = []
        self.trained: list[Pair] = []
        self.published: list[tuple[Path, str]] = []

    def open(self, model: str) -> FakeEmbedder:
        return self.tuned if model else self.embedder

    def choose(self, model: str) -> None:
        self.chosen = model

    def folder(self, model: str) -> Path:
        return Path(model or "base")

    def widths(self, width: int, asked: Sequence[int] = ()) -> tuple[int, ...]:
        if any(dim > width for dim in asked):
            raise ModelError("The vectors are not so wide. Give --dims from 1.")
        return tuple(asked) or (width, width // 2)

    def pace(self, base: Path, pairs: Sequence[Pair], recipe: Recipe, stop: Event) -> Pace | None:
        return Pace(1.0, 0.1, 0.0)

    def fitted(
        self, recipe: Recipe, pairs: Sequence[Pair], cost: Pace, seconds: float
    ) -> tuple[Recipe, tuple[Pair, ...]]:
        return recipe, tuple(pairs)

    def train(self, base: Path, pairs: Sequence[Pair], recipe: Recipe, folder: Path, stop: Event) -> Iterator[Step]:
        self.trained = list(pairs)
        for done in (1, 2):
            if stop.is_set():
                return
            yield Step(done, 2, done / 2, 1 / done, 2.0 - done)
        (folder / "model").mkdir(parents=True)

    def finished(self, folder: Path) -> Path | None:
        return folder / "model" if (folder / "model").is_dir() else None

    def exam(
        self,
        embedder: Embedder,
        queries: Mapping[str, str],
        corpus: Mapping[str, str],
        relevant: Mapping[str, AbstractSet[str]],
    ) -> FakeExam:
        assert set(relevant) == set(queries)
        assert set().union(*relevant.values()) <= set(corpus)
        return FakeExam(
            embedder.dimension, sorted(queries), self.after if embedder.fingerprint == self.tuned.fingerprint else 0.5
        )

    def card(self, model: Path, training: Path, facts: Mapping[str, Any]) -> None:
        (model / "README.md").write_text(str(facts), encoding="utf-8")
        self.cards.append(model)

    def publish(self, model: Path, repo: str) -> str:
        self.published.append((model, repo))
        return f"https://hub.test/{repo}"


class FakeExam:
    """Gives every question the same mark."""

    def __init__(self, width: int, asked: Sequence[str], mark: float) -> None:
        self.width = width
        self._asked = asked
        self._mark = mark

    def at(self, dim: int) -> dict[str, float]:
        return dict.fromkeys(("ndcg@10", "accuracy@1", "accuracy@10", "mrr@10"), self._mark)

    def ndcg(self, dim: int) -> dict[str, float]:
        return dict.fromkeys(self._asked, self._mark)


class FakeStock:
    """Models in dictionaries: those of a Hub, and those that lie here. What they do is what the fakes given do."""

    def __init__(self, writer: Writer, embedder: Embedder) -> None:
        self.hub: dict[str, Model] = {}
        self.placed: dict[str, Model] = {}
        self.writers: dict[str, Writer] = {"": writer}
        self.embedders: dict[str, Embedder] = {"": embedder}
        self.trouble = ""
        """Why the Hub cannot be asked."""
        self.free = (16_000_000_000, 8_000_000_000)
        self.pause = Event()
        """A download goes on once this is set."""
        self.pause.set()
        self._parts: dict[str, int] = {}

    def suggested(self) -> list[Model]:
        wanted = [model for model in self.hub.values() if model.about]
        return [
            self.placed.get(model.setting) or replace(model, size=0, memory=0, part=self._parts.get(model.setting, 0))
            for model in wanted
        ]

    def here(self, kind: ModelKind, setting: str) -> Model | None:
        if not setting:
            return Model(kind, "", f"the {kind} that ships", "apache-2.0", 100, 100, 256, f"/shipped/{kind}")
        found = self.placed.get(setting)
        return found if found and found.kind == kind else None

    def look(self, wanted: str) -> list[Model]:
        if self.trouble:
            raise ModelError(self.trouble)
        found = self.placed.get(wanted) or self.hub.get(wanted)
        if found is None:
            raise ModelError(f"{wanted} is not on the Hub. Check the spelling.")
        return [found]

    def fetch(self, model: Model, stop: Event, report: Progress) -> bool:
        [known] = self.look(model.setting)
        for done in range(self._parts.get(model.setting, 0), known.size + 1, max(1, known.size // 4)):
            self._parts[model.setting] = done
            report(done, known.size)
            while not self.pause.wait(0.01):
                if stop.is_set():
                    return False
        self._parts.pop(model.setting)
        self.placed[model.setting] = replace(known, place=f"/cache/{model.setting}", part=0)
        return True

    def remove(self, model: Model) -> int:
        if model.setting not in self.hub:
            raise ModelError(f"Footnote did not download {model.name}, and leaves it where it is. Delete it yourself.")
        freed = self._parts.pop(model.setting, 0)
        placed = self.placed.pop(model.setting, None)
        return freed + (placed.size if placed else 0)

    def writer(self, setting: str) -> Writer:
        return self.writers[setting]

    def embedder(self, setting: str) -> Embedder:
        return self.embedders[setting]

    def memory(self) -> tuple[int, int]:
        return self.free


class FakeLibrary:
    """The posts in dictionaries."""

    def __init__(self) -> None:
        self._posts: dict[str, Post] = {}
        self._passages: dict[int, Passage] = {}
        self._vectors: dict[tuple[str, str], Vectors] = {}
        self._origins: dict[str, tuple[str, str]] = {}  # source -> (place, post id)
        self._sketches: dict[str, list[int]] = {}
        self._put_away: set[str] = set()
        self._splitter = ""
        self._last = 0
        self._lock = threading.RLock()
        self.scrubbed = 0

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
        with self._lock:
            post_id = next((id_ for id_, known in self._posts.items() if known.source == post.source), "")
            while not post_id or (post_id in self._posts and self._posts[post_id].source != post.source):
                post_id = replace(post, source=post_id).id if post_id else post.id
            if post_id in self._posts and self._posts[post_id].text != post.text:  # copies are read again
                self._origins = {s: o for s, o in self._origins.items() if o[1] != post_id or s == post.source}
            self._posts[post_id] = post
            self._origins[post.source] = (place or post.source, post_id)
            self._put_away.discard(id_of(post.source))
            self._sketches[post_id] = list(sketch)
            gone = self._drop(post_id)
            stored = [self._insert(passage, post_id) for passage in passages]
            self.keep_vectors([passage.hash for passage in passages], vectors, fingerprint)
            return stored, gone

    def find(self, post: Post) -> tuple[str, bool] | None:
        with self._lock:
            return self._find(post)

    def _find(self, post: Post) -> tuple[str, bool] | None:
        if post.source in self._origins:
            id_ = self._origins[post.source][1]
            return id_, self._posts[id_] == post
        same = (id_ for id_, known in self._posts.items() if known.content_hash == post.content_hash)
        return next(((id_, True) for id_ in same), None)

    def similar(self, sketch: Sequence[int], limit: int) -> list[tuple[str, list[int]]]:
        with self._lock:
            shared = {id_: len(set(sketch) & set(own)) for id_, own in self._sketches.items() if set(sketch) & set(own)}
        return [(id_, self._sketches[id_]) for id_ in sorted(shared, key=lambda id_: (-shared[id_], id_))[:limit]]

    def link(self, source: str, place: str, post_id: str) -> None:
        self._origins[source] = (place, post_id)
        self._put_away.discard(id_of(source))

    def unlink(self, source: str) -> None:
        self._origins.pop(source, None)

    def reached(self, places: Iterable[str]) -> dict[str, list[Way]]:
        found: dict[str, list[Way]] = {}
        wanted = set(places)
        for source, (place, id_) in sorted(self._origins.items()):
            if place in wanted:
                found.setdefault(place, []).append(Way(source, id_, self._posts[id_].title))
        return found

    def leave(self, source: str) -> tuple[str | None, list[int]]:
        with self._lock:
            if source not in self._origins:
                return None, []
            _, id_ = self._origins.pop(source)
            others = sorted(other for other, origin in self._origins.items() if origin[1] == id_)
            if others:
                if self._posts[id_].source == source:
                    self._posts[id_] = replace(self._posts[id_], source=others[0])
                return None, []
            gone = self._drop(id_)
            del self._posts[id_]
            self._sketches.pop(id_, None)
            return id_, gone

    def put_away(self) -> set[str]:
        return set(self._put_away)

    def remove(self, post_id: str) -> list[int]:
        with self._lock:
            self.post(post_id)
            gone = self._drop(post_id)
            mine = {source for source, origin in self._origins.items() if origin[1] == post_id}
            self._put_away |= set(map(id_of, mine))
            self._origins = {source: origin for source, origin in self._origins.items() if source not in mine}
            self._sketches.pop(post_id, None)
            del self._posts[post_id]
            return gone

    def scrub(self) -> None:
        self.scrubbed += 1

    def replace_passages(self, passages: Sequence[Passage], splitter: str) -> None:
        with self._lock:
            old = {_place(passage): passage for passage in self._passages.values()}
            self._passages = {p.id: p for p in (old.get(_place(new)) for new in passages) if p}
            for passage in passages:
                if _place(passage) not in old:
                    self._insert(passage, passage.post_id)
            self._splitter = splitter

    def posts(self) -> list[StoredPost]:
        stored = [
            StoredPost(id_, p.source, p.title, p.url, p.date, p.tags, len(self._of(id_)))
            for id_, p in self._posts.items()
        ]
        stored.sort(key=lambda post: (post.title, post.id))
        stored.sort(key=lambda post: post.date or "", reverse=True)
        return stored

    def post(self, post_id: str) -> Post:
        if post_id not in self._posts:
            raise NotFound(f"There is no post with the id {post_id!r}. List the posts to see their ids.")
        return self._posts[post_id]

    def labels(self, post_ids: Iterable[str]) -> dict[str, Label]:
        known = {id_: self._posts[id_] for id_ in post_ids if id_ in self._posts}
        return {id_: Label(post.title, post.url, post.date, post.pages) for id_, post in known.items()}

    def passages(self, ids: Sequence[int] | None = None) -> list[Passage]:
        with self._lock:
            return [
                self._passages[id_] for id_ in (sorted(self._passages) if ids is None else ids) if id_ in self._passages
            ]

    def passage_ids(self) -> set[int]:
        return set(self._passages)

    def vectors(self, hashes: Iterable[str], fingerprint: str) -> dict[str, Vectors]:
        return {hash_: self._vectors[hash_, fingerprint] for hash_ in hashes if (hash_, fingerprint) in self._vectors}

    def keep_vectors(self, hashes: Sequence[str], vectors: Vectors, fingerprint: str) -> None:
        self._vectors.update(zip(((hash_, fingerprint) for hash_ in hashes), vectors, strict=True))

    def forget_vectors(self, fingerprints: Sequence[str]) -> None:
        used = {passage.hash for passage in self._passages.values()}
        self._vectors = {key: v for key, v in self._vectors.items() if key[0] in used and key[1] in fingerprints}

    def lexical(self, words: Sequence[str], limit: int, filters: Filters = NO_FILTERS) -> list[tuple[int, float]]:
        kept = set(map(int, self.within(filters)))
        texts = {id_: re.findall(r"\w+", p.embedded_text.lower()) for id_, p in self._passages.items() if id_ in kept}
        scores: dict[int, float] = {}
        for word in {word.lower() for word in words}:
            found = {id_: text.count(word) / len(text) for id_, text in texts.items() if word in text}
            for id_, share in found.items():
                scores[id_] = scores.get(id_, 0.0) + (1 + share) / len(found)
        return sorted(scores.items(), key=lambda pair: -pair[1])[:limit]

    def weights(self, words: Sequence[str]) -> dict[str, float]:
        texts = [set(re.findall(r"\w+", passage.embedded_text.lower())) for passage in self._passages.values()]
        held = {word: sum(word in text for text in texts) for word in words}
        odds = {word: (len(texts) - n + 0.5) / (n + 0.5) for word, n in held.items()}
        return {word: log(1 + odd) for word, odd in odds.items()}

    def kin(self, post_ids: Iterable[str]) -> dict[str, Ids]:
        kin = {id_: [p.id for p in self._passages.values() if p.post_id == id_] for id_ in post_ids}
        return {post_id: np.array(sorted(ids), dtype=np.int64) for post_id, ids in kin.items() if ids}

    def within(self, filters: Filters) -> Ids:
        with self._lock:
            through = [
                id_
                for id_, passage in sorted(self._passages.items())
                if self._through(passage.post_id, filters)
                and all(_says(passage, phrase) for phrase in filters.phrases)
                and not any(_has(passage, word) for word in filters.without)
            ]
        return np.array(through, dtype=np.int64)

    def mentioning(self, phrases: Sequence[str], filters: Filters = NO_FILTERS) -> list[StoredPost]:
        return [
            post
            for post in self.posts()
            if self._through(post.id, filters)
            and all(any(_has(passage, phrase) for passage in self._of(post.id)) for phrase in phrases)
            and all(any(_says(passage, phrase) for passage in self._of(post.id)) for phrase in filters.phrases)
            and not any(_has(passage, word) for passage in self._of(post.id) for word in filters.without)
        ]

    def _through(self, post_id: str, filters: Filters) -> bool:
        post = self._posts[post_id]
        return (
            {folded(tag) for tag in filters.tags} <= {folded(tag) for tag in post.tags}
            and (not filters.after or (post.date or "") >= filters.after)
            and (not filters.before or "" < (post.date or "") <= filters.before)
            and all(post_id == name.lower() or folded(name) in folded(post.title) for name in filters.posts)
        )

    def count(self) -> tuple[int, int]:
        return len(self._posts), len(self._passages)

    def splitter(self) -> str:
        return self._splitter

    def checks(self) -> list[Check]:
        return [Check("library", True, "{} posts, {} passages".format(*self.count()))]

    def close(self) -> None:
        return None

    def _of(self, post_id: str) -> list[Passage]:
        return [passage for passage in self._passages.values() if passage.post_id == post_id]

    def _insert(self, passage: Passage, post_id: str) -> Passage:
        self._last += 1
        self._passages[self._last] = Passage(
            post_id, passage.start, passage.end, passage.text, passage.heading, self._last
        )
        return self._passages[self._last]

    def _drop(self, post_id: str) -> list[int]:
        gone = self._of(post_id)
        for passage in gone:
            del self._passages[passage.id]
        used = {passage.hash for passage in self._passages.values()}
        unused = {passage.hash for passage in gone} - used
        self._vectors = {key: vector for key, vector in self._vectors.items() if key[0] not in unused}
        return [passage.id for passage in gone]


class FakeVault:
    """Backups in memory; the file only says which."""

    _saved: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, library: FakeLibrary) -> None:
        self._library = library

    def save(self, file: Path, *, public: bool = False) -> Snapshot:
        if file.exists() and file.read_text("utf-8", "replace") not in self._saved:
            raise BadFile(f"{file} is there already and is no backup of Footnote. Choose another name.")
        kept = {name: copy(value) for name, value in vars(self._library).items() if name != "_lock"}
        name = hashlib.sha256(repr(kept["_posts"]).encode()).hexdigest()
        self._saved[name] = kept
        file.write_text(name, encoding="utf-8")
        return Snapshot(str(file), len(kept["_posts"]), len(name), hashlib.sha256(name.encode()).hexdigest())

    def restore(self, file: Path, *, force: bool = False, first: Callable[[], None]) -> int:
        name = file.read_text("utf-8", "replace") if file.is_file() else ""
        if name not in self._saved:
            raise BadFile(f"{file} is no backup of Footnote. Name a file that `backup` has written.")
        if self._library.posts() and not force:
            raise StoreError("There are posts already, and a backup replaces them all. Add --force to do that.")
        first()
        vars(self._library).update({name: copy(value) for name, value in self._saved[name].items()})
        return self._library.count()[0]


class FakeCatalogue:
    """The sources in dictionaries; counts posts by what the library says of their places."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library
        self._sources: dict[str, Source] = {}
        self._items: dict[str, dict[str, Item]] = {}
        self._facts: dict[str, str] = {}

    def sources(self) -> list[Source]:
        return [self._counted(source) for source in self._sources.values()]

    def remember(self, kind: SourceKind, location: str) -> Source:
        known = next((source for source in self._sources.values() if source.location == location), None)
        if known is None:
            known = Source(f"{zlib.crc32(location.encode('utf-8', 'replace')):08x}", kind, location)
            self._sources[known.id] = known
            self._items[known.id] = {}
        self._sources[known.id] = replace(self._sources[known.id], kind=known.kind if kind == "page" else kind)
        return self._counted(self._sources[known.id])

    def forget(self, source_id: str) -> None:
        if source_id not in self._sources:
            raise NotFound(f"There is no source with the id {source_id!r}. List the sources to see their ids.")
        del self._sources[source_id]
        del self._items[source_id]

    def checked(self, source_id: str, moment: str) -> None:
        self._sources[source_id] = replace(self._sources[source_id], checked=moment)

    def items(self, source_id: str) -> dict[str, Item]:
        return dict(sorted(self._items.get(source_id, {}).items()))

    def keep(self, source_id: str, items: Sequence[Item]) -> None:
        if source_id in self._items:
            self._items[source_id].update((item.place, item) for item in items)

    def drop(self, source_id: str, places: Sequence[str]) -> None:
        for place in places:
            self._items.get(source_id, {}).pop(place, None)

    def holders(self, place: str) -> list[str]:
        return [id_ for id_, items in self._items.items() if place in items]

    def owner(self, place: str) -> str | None:
        mine = (id_ for id_, items in self._items.items() if place in items and items[place].state == "done")
        return next(mine, None)

    def fact(self, name: str) -> str:
        return self._facts.get(name, "")

    def note(self, name: str, value: str) -> None:
        self._facts[name] = value

    def _counted(self, source: Source) -> Source:
        reached = self.library.reached(self._items[source.id])
        return replace(source, posts=len({way.post_id for ways in reached.values() for way in ways}))


class FakeGold:
    """The gold set in a dictionary; what has become of posts it asks the library."""

    def __init__(self, library: FakeLibrary) -> None:
        self._library = library
        self._marks: dict[str, dict[tuple[str, int], Mark] | None] = {}  # None: no passage answers

    def judged(self) -> list[Judged]:
        there = {post.id for post in self._library.posts()}
        for question, marks in list(self._marks.items()):
            if marks is not None:
                self._marks[question] = {place: mark for place, mark in marks.items() if mark.post_id in there}
        self._marks = {question: marks for question, marks in self._marks.items() if marks != {}}
        return [Judged(question, tuple((marks or {}).values())) for question, marks in self._marks.items()]

    def mark(self, question: str, mark: Mark) -> None:
        self._library.post(mark.post_id)
        marks = self._marks.get(question) or {}
        self._marks[question] = dict(sorted({**marks, (mark.post_id, mark.start): mark}.items()))

    def unmark(self, question: str, mark: Mark) -> None:
        (self._marks.get(question) or {}).pop((mark.post_id, mark.start), None)

    def deny(self, question: str) -> None:
        self._marks[question] = None

    def forget(self, question: str) -> None:
        self._marks.pop(question, None)


class FakeConversations:
    """Conversations in dictionaries; what has become of posts it asks the library."""

    def __init__(self, library: FakeLibrary) -> None:
        self._library = library
        self._talks: dict[int, Talk] = {}
        self._turns: dict[int, tuple[int, KeptTurn]] = {}
        self._last = 0

    def listed(self, words: Sequence[str] = (), limit: int = 1000) -> list[Talk]:
        found = [
            self.talk(id_)
            for id_, talk in self._talks.items()
            if all(word.casefold() in f"{talk.title} {self._words(id_)}".casefold() for word in words)
        ]
        return sorted(found, key=lambda talk: (talk.changed, talk.id), reverse=True)[:limit]

    def talk(self, talk_id: int) -> Talk:
        if talk_id not in self._talks:
            raise NotFound("This conversation was deleted. Choose another, or ask anew.")
        return replace(self._talks[talk_id], turns=sum(of == talk_id for of, _ in self._turns.values()))

    def turns(self, talk_id: int) -> list[KeptTurn]:
        self.talk(talk_id)
        there = {post.id for post in self._library.posts()}
        for id_, (of, turn) in self._turns.items():
            for gone in turn.post_ids - there:
                turn = turn.without(gone)
            self._turns[id_] = of, turn
        return [turn for of, turn in self._turns.values() if of == talk_id]

    def keep(self, talk_id: int, title: str, turn: KeptTurn, replaces: int = 0) -> tuple[int, int]:
        if talk_id not in self._talks:
            self._last += 1
            talk_id = self._last
            self._talks[talk_id] = Talk(talk_id, title, turn.asked_at, turn.asked_at, 0)
        talk = self._talks[talk_id]
        if replaces in self._turns and self._turns[replaces][0] == talk_id:
            replaced = self._turns.pop(replaces)[1]
            talk = replace(talk, title=title if replaced.question == talk.title else talk.title)
        self._talks[talk_id] = replace(talk, changed=max(talk.changed, turn.asked_at))
        self._last += 1
        self._turns[self._last] = talk_id, replace(turn, id=self._last)
        return talk_id, self._last

    def judge(self, turn_id: int, thumb: Thumb) -> None:
        if turn_id not in self._turns:
            raise NotFound("This answer is not kept any more. Ask again to keep it.")
        of, turn = self._turns[turn_id]
        self._turns[turn_id] = of, replace(turn, thumb=thumb)

    def rename(self, talk_id: int, title: str) -> None:
        self._talks[talk_id] = replace(self.talk(talk_id), title=title)

    def delete(self, talk_id: int) -> None:
        self._talks.pop(talk_id, None)
        self._turns = {id_: kept for id_, kept in self._turns.items() if kept[0] != talk_id}

    def _words(self, talk_id: int) -> str:
        return " ".join(turn.question + " " + "".join(said.text for said in turn.said) for turn in self.turns(talk_id))


class DirectReaders:
    """Reads in this very process; `read` and `outlined` list the sources it was asked for."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.read_sources: list[str] = []

    def read(self, document: Document) -> Iterator[Post | Refused]:
        self.read_sources.append(document.source)
        yield from read(document, self.limits)

    def outline(self, document: Document) -> Outline:
        return outline(document)

    def close(self) -> None:
        pass


class FakeIndex:
    """Every vector is compared with every other. What `rebuild` stored survives `close`, as it would on disk."""

    def __init__(self) -> None:
        self._stored: dict[int, Vectors] = {}
        self._deleted = 0
        self._manifest: Manifest | None = None
        self._opened = False
        self._noted: dict[str, float] = {}
        self._lock = threading.RLock()

    def open(self, manifest: Manifest, expected: Mapping[int, Vectors]) -> str:
        with self._lock:
            self._opened = False
            if self._manifest is None:
                return "there is no index yet"
            if self._manifest.fingerprint != manifest.fingerprint:
                return "the index was built with another embedder"
            self._opened = True
            asked = [vector for id_, vector in expected.items() if id_ in self._stored]
            lost = expected and not asked
            if lost or any(self.nearest(vector, 1)[0][1] < 0.999 for vector in asked):
                self._opened = False
                return "the index failed its self-test"
            return "" if self._manifest == manifest else "the index was built with other settings"

    def stored(self) -> Manifest | None:
        return self._manifest

    def rebuild(self, manifest: Manifest, ids: Sequence[int], vectors: Vectors, progress: Progress) -> None:
        with self._lock:
            self._manifest, self._opened, self._noted = manifest, True, {}
            self._stored, self._deleted = dict(zip(ids, vectors, strict=True)), 0
        progress(len(ids), len(ids))

    def ids(self) -> set[int]:
        return set(self._stored) if self._opened else set()

    @property
    def worn(self) -> bool:
        return self._opened and self._deleted > len(self._stored) / 2

    def upsert(self, ids: Sequence[int], vectors: Vectors) -> None:
        with self._lock:
            if self._opened:
                self._stored.update(zip(ids, vectors, strict=True))

    def delete(self, ids: Sequence[int]) -> None:
        with self._lock:
            if self._opened:
                for id_ in ids:
                    self._deleted += self._stored.pop(id_, None) is not None

    def nearest(self, vector: Vectors, limit: int, among: Ids | None = None) -> list[tuple[int, float]]:
        with self._lock:
            cosines = [
                (id_, float(stored @ vector))
                for id_, stored in self._stored.items()
                if self._opened and (among is None or id_ in among)
            ]
        return sorted(cosines, key=lambda pair: -pair[1])[:limit]

    def vectors(self, ids: Ids) -> Vectors:
        with self._lock:
            width = len(next(iter(self._stored.values()), [])) if self._opened else 0
            none = np.zeros(width, dtype=np.float32)
            rows = [self._stored.get(int(id_), none) if self._opened else none for id_ in ids]
        return np.array(rows, dtype=np.float32).reshape(len(ids), width)

    def note(self, facts: Mapping[str, float]) -> None:
        self._noted = dict(facts)

    def noted(self) -> dict[str, float]:
        return self._noted

    def checks(self) -> list[Check]:
        return [Check("index", self._opened, f"{len(self._stored)} vectors in memory")]

    def close(self) -> None:
        self._opened = False


def _has(passage: Passage, phrase: str) -> bool:
    """Say whether a passage or its headings have these words in a row, endings aside."""
    return any(_in_a_row(_stems(text), _stems(phrase)) for text in (passage.text, passage.heading))


def _says(passage: Passage, phrase: str) -> bool:
    """Say whether a passage or its headings have these words in a row, as they are."""
    return any(_in_a_row(_words(text), _words(phrase)) for text in (passage.text, passage.heading))


def _in_a_row(words: list[str], wanted: list[str]) -> bool:
    starts = range(len(words) - len(wanted) + 1)
    return bool(wanted) and any(words[start : start + len(wanted)] == wanted for start in starts)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _stems(text: str) -> list[str]:
    return PorterStemmer().stemWords(_words(text))


def _place(passage: Passage) -> tuple[str, int, int, str]:
    return passage.post_id, passage.start, passage.end, passage.hash
