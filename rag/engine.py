"""The engine: adds posts, asks them, removes them, rebuilds their index.

The parts never call each other; it does, and answering.py for the writer."""

from __future__ import annotations

import os
import random
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np

from rag import passages as splitting
from rag.answering import REFUSAL, Clock, write
from rag.errors import BadFile, FootnoteError, StoreError
from rag.passages import SPLITTER
from rag.ports import Embedder, Library, Progress, VectorIndex, Vectors, Writer
from rag.readers import find_files, printable, read_bytes, read_file
from rag.records import (
    Answer,
    Check,
    FileProgress,
    Hit,
    Manifest,
    Passage,
    Post,
    SearchMode,
    StoredPost,
)
from rag.search import clean_question, covers, search

SURPRISE = "something in this file surprised Footnote; its terminal says what. Save it as plain text and try again."
SHOWN_HITS = 8  # passages listed under an answer
_GROUP = 64  # passages that are embedded together while posts are added
_SAMPLE = 32  # vectors that must find themselves when the index is opened

Read = tuple[str, Callable[[], Post]]
"""(source to show, how to read it)."""


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""


class Engine:
    """Answers questions about the posts in a library. Safe to call from several threads."""

    def __init__(
        self,
        library: Library,
        index: VectorIndex,
        embedder: Embedder,
        writer: Writer,
        *,
        max_file_bytes: int = 25_000_000,
    ) -> None:
        """Join the parts; nothing is loaded yet."""
        self._library = library
        self._index = index
        self._embedder = embedder
        self._writer = writer
        self._max_file_bytes = max_file_bytes
        self._changing = threading.RLock()  # held by whoever changes posts or index
        self._prepared = False
        self.activity = ""
        """What goes on in the background, for people; empty when nothing does."""
        self.trouble = ""
        """What is wrong with models or index, for people; empty when nothing is."""

    def prepare(self, report: Progress = _silent) -> None:
        """Load the embedder and open the index, once; rebuild the index if it is missing, damaged or another's."""
        if self._prepared:
            return
        with self._changing:
            if not self._prepared:
                self._open(report)

    def warm_up(self) -> None:
        """Load both models, so that the first question does not wait for them."""
        self.prepare()
        self._writer.load()

    def add(self, paths: Iterable[str]) -> Iterator[FileProgress]:
        """Add files and folders, yielding what becomes of each; one that fails stops none of the others."""
        reads: dict[str, Read] = {}
        for given in paths:
            try:
                if not given:
                    raise BadFile("An empty path was given. Name a file or a folder.")
                for path in find_files(Path(given).expanduser()):
                    reads.setdefault(os.path.realpath(path), (printable(str(path)), self._file_reader(path)))
            except (BadFile, RuntimeError) as error:  # RuntimeError: "~nobody" has no home
                yield FileProgress(printable(given), "failed", error=printable(str(error)))
        yield from self._add(list(reads.values()), dedupe=True)

    def add_uploads(self, files: Iterable[tuple[Path, str]]) -> Iterator[FileProgress]:
        """Add files that lie at a temporary path, as (path, name): the name is their source."""
        claimed: set[str] = set()
        reads: dict[str, Callable[[], Post]] = {}
        for path, name in files:
            shown = name if name not in reads else f"{name} ({len(reads) + 1})"
            reads[shown] = self._upload_reader(path, name, claimed)
        yield from self._add(list(reads.items()), dedupe=True)

    def add_posts(self, posts: Iterable[Post], *, dedupe: bool = True) -> Iterator[FileProgress]:
        """Add posts that are read already; without `dedupe` the same text may come twice."""
        yield from self._add([(post.source, lambda post=post: post) for post in posts], dedupe=dedupe)  # type: ignore[misc]

    def remove(self, post_ids: Sequence[str]) -> list[str]:
        """Remove posts, text overwritten; return their ids. Raise NotFound, and remove none, if one is not there."""
        with self._changing:
            for post_id in post_ids:
                self._library.post(post_id)
            removed = list(dict.fromkeys(post_ids))
            for post_id in removed:
                gone = self._library.remove(post_id)
                try:
                    self._index.delete(gone)
                except StoreError as error:  # the post is gone; the next start mends the index
                    self.trouble = str(error)
            self._scrub()
        return removed

    def reindex(self, report: Progress = _silent) -> int:
        """Rebuild the index and swap it in, posts split anew if the rules changed; return how many passages it has."""
        with self._changing:
            self._embedder.load()
            if not self._resplit():
                self._index.open(self._manifest(), self._sample())
            count = self._rebuild(report)
            self._prepared, self.trouble = True, ""
        return count

    def search(self, question: str, mode: SearchMode = "hybrid", limit: int = SHOWN_HITS) -> list[Hit]:
        """Return the passages that fit a question best. Raise BadQuestion."""
        return search(clean_question(question), self._library, self._index, self._embedder, mode, limit)

    def ask(self, question: str, stop: Event | None = None) -> Iterator[Answer]:
        """Yield a growing answer; the last one is `done`. Setting `stop` ends it at once. Raise BadQuestion."""
        stop = stop or Event()
        clock = Clock()
        answer = Answer(clean_question(question), status="Searching your posts…")
        yield answer
        hits = tuple(self.search(question))
        answer = replace(answer, hits=hits, timings=clock.searched())
        if not covers(answer.question, hits):
            note = "" if self._library.count()[0] else "There are no posts yet. Add some first."
            yield replace(answer, status="", text=REFUSAL, refused=True, note=note, done=True, timings=clock.ended())
            return
        yield from write(answer, self._writer, self._embedder, stop, clock)

    def posts(self) -> list[StoredPost]:
        """List all posts, newest first."""
        return self._library.posts()

    def post(self, post_id: str) -> Post:
        """Return one post whole. Raise NotFound."""
        return self._library.post(post_id)

    def count(self) -> tuple[int, int]:
        """Return how many posts and passages there are."""
        return self._library.count()

    @property
    def embedder_name(self) -> str:
        """The search model's name."""
        return self._embedder.name

    def checks(self) -> list[Check]:
        """Check every part: models and checksums, library integrity, index self-test; mends the index first."""
        checks = self._embedder.checks() + self._writer.checks() + self._library.checks()
        if not checks[0].ok:
            return [*checks, Check("index self-test", False, "not run: it needs the embedder")]
        self.prepare()
        with self._changing:
            trouble = self._index.open(self._manifest(), self._sample()) or self._difference()
        detail = (
            f"{trouble}. Run reindex." if trouble else "sampled vectors find themselves; ids agree with the library"
        )
        return [*checks, *self._index.checks(), Check("index self-test", not trouble, detail)]

    def close(self) -> None:
        """Let go of the files. Using the engine after this is an error."""
        self._index.close()
        self._library.close()

    def _open(self, report: Progress) -> None:
        self.activity = "Loading the search model…"
        try:
            self._embedder.load()
            try:
                if self._resplit() or self._index.open(self._manifest(), self._sample()):
                    self._rebuild(report)
                else:
                    self._mend()
            except StoreError as error:  # say, a full disk: what is there can still be searched
                self.trouble = str(error)
            self._prepared = True
        finally:
            self.activity = ""

    def _add(self, reads: Sequence[Read], *, dedupe: bool) -> Iterator[FileProgress]:
        for shown, _ in reads:
            yield FileProgress(shown, "waiting")
        group: list[tuple[str, Post, list[Passage]]] = []
        replaced = False
        try:
            if reads:
                self.prepare()
            for number, (shown, read) in enumerate(reads, start=1):
                yield FileProgress(shown, "reading")
                try:
                    post = read()
                    known = self._library.find(post) if dedupe else None
                    if known and known[1]:
                        yield FileProgress(shown, "unchanged", known[0], post.title)
                    else:
                        group.append((shown, post, self._split(post)))
                        yield FileProgress(shown, "indexing", title=post.title)
                except FootnoteError as error:
                    yield FileProgress(shown, "failed", error=str(error))
                except Exception as error:  # one file nobody thought of must not take the others with it
                    traceback.print_exception(error)
                    yield FileProgress(shown, "failed", error=f"{shown}: {SURPRISE}")
                if sum(len(passages) for _, _, passages in group) >= _GROUP or number == len(reads):
                    for outcome in self._store(group, dedupe=dedupe):
                        replaced = replaced or outcome.state == "updated"
                        yield outcome
                    group = []
        finally:
            if replaced:
                self._scrub()

    def _store(self, group: Sequence[tuple[str, Post, list[Passage]]], *, dedupe: bool) -> list[FileProgress]:
        """Embed a group of posts together, then put each into library and index; return what became of each.

        Not a generator: the lock must be let go by the thread that took it, and a web server changes threads.
        """
        with self._changing:
            try:
                vectors = self._vectors([p for _, _, passages in group for p in passages], self._tell("Indexing"))
            except FootnoteError as error:
                return [FileProgress(shown, "failed", error=str(error)) for shown, _, _ in group]
            finally:
                self.activity = ""
            outcomes = []
            for shown, post, passages in group:
                mine, vectors = vectors[: len(passages)], vectors[len(passages) :]
                outcomes.append(self._put(shown, post, passages, mine, dedupe=dedupe))
        return outcomes

    def _scrub(self) -> None:
        try:
            self._library.scrub()
        except StoreError as error:  # say, a full disk: what was done before stays done
            self.trouble = str(error)

    def _put(
        self, shown: str, post: Post, passages: Sequence[Passage], vectors: Vectors, *, dedupe: bool
    ) -> FileProgress:
        known = self._library.find(post) if dedupe else None  # again: its twin may be in the same group
        if known and known[1]:
            return FileProgress(shown, "unchanged", known[0], post.title)
        try:
            stored, gone = self._library.put(post, passages, vectors, self._embedder.fingerprint)
        except FootnoteError as error:
            return FileProgress(shown, "failed", title=post.title, error=str(error))
        try:
            self._index.delete(gone)
            self._index.upsert([passage.id for passage in stored], vectors)
        except StoreError as error:  # the post is kept, full text finds it, and the next start mends the index
            self.trouble = str(error)
        return FileProgress(shown, "updated" if known else "added", stored[0].post_id, post.title, len(stored))

    def _split(self, post: Post) -> list[Passage]:
        passages = splitting.split(post, self._embedder.count_tokens, self._embedder.max_tokens)
        if not passages:
            raise BadFile(f"{post.title}: no text was found in this post. Check that it holds one and add it again.")
        return passages

    def _vectors(self, passages: Sequence[Passage], report: Progress = _silent) -> Vectors:
        """Return a vector a passage: those the library has, the rest embedded and kept as they come."""
        fingerprint = self._embedder.fingerprint
        known = self._library.vectors({passage.hash for passage in passages}, fingerprint)
        missing = {passage.hash: passage.embedded_text for passage in passages if passage.hash not in known}
        hashes = sorted(missing, key=lambda hash_: len(missing[hash_]))
        for start in range(0, len(hashes), _GROUP):
            batch = hashes[start : start + _GROUP]
            vectors = self._embedder.encode_documents([missing[hash_] for hash_ in batch])
            if len(hashes) > _GROUP:  # a long run is kept as it goes, so that a kill loses little
                self._library.keep_vectors(batch, vectors, fingerprint)
            known.update(zip(batch, vectors, strict=True))
            report(start + len(batch), len(hashes))
        if not passages:
            return np.zeros((0, self._embedder.dimension), dtype=np.float32)
        return np.stack([known[passage.hash] for passage in passages])

    def _tell(self, what: str, report: Progress = _silent) -> Progress:
        """Return a report that says on the page, too, how far something is."""

        def told(done: int, total: int) -> None:
            self.activity = f"{what}: {done:,} of {total:,} passages"
            report(done, total)

        return told

    def _rebuild(self, report: Progress) -> int:
        told = self._tell("Rebuilding the index", report)
        try:
            passages = self._library.passages()
            vectors = self._vectors(passages, told)
            self._index.rebuild(self._manifest(), [passage.id for passage in passages], vectors, told)
            self._library.forget_vectors(self._embedder.fingerprint)
            self._library.scrub()
        finally:
            self.activity = ""
        return len(passages)

    def _resplit(self) -> bool:
        """Split all posts anew if other rules or another embedder split them; say whether that was so."""
        splitter = self._manifest().splitter
        if self._library.splitter() == splitter:
            return False
        posts = [(stored.id, self._library.post(stored.id)) for stored in self._library.posts()]
        passages = [replace(passage, post_id=id_) for id_, post in posts for passage in self._split(post)]
        self._library.replace_passages(passages, splitter)
        return True

    def _mend(self) -> None:
        """Bring the index in step with the library: a kill may have come between the two."""
        held, wanted = self._index.ids(), self._library.passage_ids()
        self._index.delete(sorted(held - wanted))
        passages = self._library.passages(sorted(wanted - held))
        self._index.upsert([passage.id for passage in passages], self._vectors(passages))

    def _difference(self) -> str:
        held, wanted = self._index.ids(), self._library.passage_ids()
        return "" if held == wanted else f"{len(held ^ wanted)} passages are in the index or the library alone"

    def _manifest(self) -> Manifest:
        embedder = self._embedder
        # passages are sized by the embedder's tokenizer: another embedder, other passages
        splitter = f"{SPLITTER} for={embedder.fingerprint}"
        return Manifest(embedder.fingerprint, embedder.dimension, embedder.prompts, splitter)

    def _sample(self) -> dict[int, Vectors]:
        ids = sorted(self._library.passage_ids())
        sample = self._library.passages(random.sample(ids, min(_SAMPLE, len(ids))))
        stored = self._library.vectors([passage.hash for passage in sample], self._embedder.fingerprint)
        return {passage.id: stored[passage.hash] for passage in sample if passage.hash in stored}

    def _file_reader(self, path: Path) -> Callable[[], Post]:
        return lambda: read_file(path, self._max_file_bytes)

    def _upload_reader(self, path: Path, name: str, claimed: set[str]) -> Callable[[], Post]:
        return lambda: self._read_upload(path, name, claimed)

    def _read_upload(self, path: Path, name: str, claimed: set[str]) -> Post:
        """Read an upload. Two posts in files of one name ("index.md") are told apart by their titles, then their text.

        `claimed` holds the sources of the files dropped together with it.
        """
        try:
            data = path.read_bytes() if path.stat().st_size <= self._max_file_bytes else None
        except OSError as error:
            raise BadFile(f"{name}: this upload is gone. Drop it again if it is not in the list.") from error
        if data is None:
            return read_file(path, self._max_file_bytes)
        post = read_bytes(data, source=f"upload:{name}", name=name, max_bytes=self._max_file_bytes)
        known = self._library.find(post)
        other = known is not None and not known[1] and self._library.post(known[0]).title != post.title
        if other or post.source in claimed:
            post = replace(post, source=f"upload:{name}#{post.title}")
        if post.source in claimed:
            post = replace(post, source=f"{post.source}#{post.content_hash[:8]}")
        claimed.add(post.source)
        return post
