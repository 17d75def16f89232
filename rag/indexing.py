"""Keeps the index in step with the library: opens, tests, mends and rebuilds it, and embeds what has no vector yet.

On its own so that the engine, which answers, and the intake, which brings posts in, share one index and one lock."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import TypeVar

import numpy as np

from rag import passages as splitting
from rag.errors import BadFile, ModelError, StoreError
from rag.finding.coverage import UNMEASURED, Scale, measured
from rag.finding.cut import Cut, cut
from rag.jobs import Stopped
from rag.passages import SPLITTER
from rag.ports import Embedder, Library, Progress, VectorIndex, Vectors
from rag.records import Check, InUse, Manifest, Passage, Post

GROUP = 256  # passages that are embedded together: enough to sort them by length, few enough to stop between
_SWAPPING_S = 0.01
_COUNTED = ("A sourdough starter is fed daily.", "naïve façade, 3.14 %", "面包 🥖 ärgern", "def f(x): return x[0] ** 2")
_SAMPLE = 32  # vectors that must find themselves when the index is opened


Result = TypeVar("Result")


def silent(done: int, total: int) -> None:
    """Report progress to nobody."""


class Indexing:
    """Library, index and embedder, kept in step. Safe to call from several threads.

    `embedder` makes whole vectors, `asking` those that the index has: a person may have chosen fewer numbers. Who holds
    both locks takes `exchanging` before `changing`.
    """

    def __init__(self, library: Library, index: VectorIndex, embedder: Embedder, forget: Callable[[], None]) -> None:
        """Join the parts; nothing is loaded yet. `forget` makes others let go of what they made of removed text."""
        self.library = library
        self._forget = forget
        self.index = index
        self.embedder = embedder
        self.changing = threading.RLock()
        """Held by whoever changes posts or index."""
        self.exchanging = threading.Lock()
        """Held by whoever tunes or chooses another embedder, from the first look to the exchange: one at a time."""
        self.activity = ""
        """What goes on in the background, for people; empty when nothing does."""
        self.trouble = ""
        """What is wrong with models or index, for people; empty when nothing is."""
        self.scale = UNMEASURED
        """What is near and what is far in this index, see coverage.py."""
        self._prepared = False
        self._use: InUse | None = None
        self._swaps = 0  # odd while embedder and index are exchanged: whoever asks waits, see steady()

    @property
    def asking(self) -> Embedder:
        """The embedder as the index has it: the first numbers of its vectors, where a person chose fewer."""
        use = self._use
        return Cut(self.embedder, use.dimension) if use and use.dimension < self.embedder.dimension else self.embedder

    @property
    def in_use(self) -> Manifest:
        """What the index is built with. Prepared before."""
        return self._manifest()

    def steady(self, ask: Callable[[], Result]) -> Result:
        """Return what `ask` returns, asked again if embedder and index were exchanged meanwhile."""
        while True:
            before = self._swaps
            if before % 2:
                time.sleep(_SWAPPING_S)
                continue
            try:
                found = ask()
            except Exception:
                if before == self._swaps:
                    raise
                continue
            if before == self._swaps:
                return found

    def swap(self, embedder: Embedder, use: InUse, *, former: InUse | None, report: Progress = silent) -> None:
        """Answer with another embedder, or other widths of this one, from now on; until then the old pair answers.

        Everything is embedded and built beside; then one step puts index and embedder in the place of the others.
        `former` is what can be gone back to. Raise ModelError or StoreError, and nothing has changed.
        """
        embedder.load()
        if embedder.fingerprint != use.fingerprint:
            raise ModelError(f"{embedder.name} is not the model that was meant. Choose one on the tab Models.")
        try:
            resplit = self._splitter_of(embedder) != self.library.splitter()
            passages = self._split_all(embedder) if resplit else self.library.passages()
            self.vectors(passages, self.tell("Reading your posts with the new model", report), embedder)
        finally:
            self.activity = ""
        with self.changing:  # what came meanwhile is embedded by the exchange
            splitter = self._splitter_of(embedder)
            resplit = splitter != self.library.splitter()
            if resplit:
                self.library.replace_passages(self._split_all(embedder), splitter)
            try:
                self._exchange(embedder, Manifest(use, embedder.prompts, splitter, former))
            except BaseException:
                if resplit:  # the old index has the passages of the old rules
                    self._resplit()
                    self._mend()
                raise
            self.library.forget_vectors([use.fingerprint, *([former.fingerprint] if former else [])])
            self.measure()

    def _exchange(self, embedder: Embedder, manifest: Manifest) -> None:
        """Build an index with another embedder and put both in the place of the old ones."""
        passages = self.library.passages()
        vectors = cut(self.vectors(passages, embedder=embedder), manifest.dimension)
        self._swaps += 1
        try:
            self.index.rebuild(manifest, [passage.id for passage in passages], vectors, silent)
            self.embedder, self._use = embedder, manifest.embedder
        finally:
            self._swaps += 1

    @property
    def prepared(self) -> bool:
        """Whether the embedder is loaded and the index open."""
        return self._prepared

    def prepare(self, report: Progress = silent) -> None:
        """Load the embedder and open the index, once; rebuild the index if it is missing, damaged or another's."""
        if self._prepared:
            return
        with self.changing:
            if not self._prepared:
                self._open(report)

    def reindex(self, report: Progress = silent) -> int:
        """Rebuild the index and swap it in, posts split anew if the rules changed; return how many passages it has."""
        with self.changing:
            self.embedder.load()
            self._use = self._manifest().embedder
            if not self._resplit():
                self.index.open(self._manifest(), self._sample())
            count = self._rebuild(report)
            self._prepared, self.trouble = True, ""
            self.measure()
        return count

    def check(self) -> Check:
        """Test the index against the library."""
        self.prepare()
        with self.changing:
            trouble = self.index.open(self._manifest(), self._sample()) or self._difference()
        well = "sampled vectors find themselves; ids agree with the library"
        return Check("index self-test", not trouble, f"{trouble}. Run reindex." if trouble else well)

    def split(self, post: Post, embedder: Embedder, stop: Event | None = None) -> list[Passage]:
        """Split a post into passages for an embedder. Raise BadFile if it has none, Stopped soon after `stop`."""
        passages = []
        for passage in splitting.split(post, embedder.count_tokens, embedder.max_tokens):
            if stop and stop.is_set():
                raise Stopped
            passages.append(passage)
        if not passages:
            raise BadFile(f"{post.title}: no text was found in this post. Check that it holds one and add it again.")
        return passages

    def vectors(
        self, passages: Sequence[Passage], report: Progress = silent, embedder: Embedder | None = None
    ) -> Vectors:
        """Return a whole vector a passage: those the library has, the rest embedded and kept as they come."""
        embedder = embedder or self.embedder
        fingerprint = embedder.fingerprint
        known = self._known(passages, embedder)
        missing = {passage.hash: passage.embedded_text for passage in passages if passage.hash not in known}
        hashes = sorted(missing, key=lambda hash_: len(missing[hash_]))
        for start in range(0, len(hashes), GROUP):
            batch = hashes[start : start + GROUP]
            vectors = embedder.encode_documents([missing[hash_] for hash_ in batch])
            # a long run is kept as it goes, so that a kill loses little; another embedder's, to be gone back to
            if len(hashes) > GROUP or embedder is not self.embedder:
                self.library.keep_vectors(batch, vectors, fingerprint)
            known.update(zip(batch, vectors, strict=True))
            report(start + len(batch), len(hashes))
        if not passages:
            return np.zeros((0, embedder.dimension), dtype=np.float32)
        return np.stack([known[passage.hash] for passage in passages])

    def bring(self, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Put new passages into the index; trouble is noted, and the next start mends it."""
        try:
            self.index.upsert([passage.id for passage in passages], self._cut(vectors))
        except StoreError as error:  # the posts are kept, and full text finds them
            self.trouble = str(error)

    def drop(self, gone: Sequence[int]) -> None:
        """Take passages out of the index; trouble is noted, and the next start mends it."""
        try:
            self.index.delete(gone)
        except StoreError as error:
            self.trouble = str(error)

    def empty(self) -> None:
        """Take everything out of the index: what it was made of is about to be replaced. Raise StoreError."""
        if stored := self.index.stored():
            self.index.rebuild(stored, [], np.zeros((0, stored.dimension), dtype=np.float32), silent)

    def begin_like(self, other: Indexing) -> None:
        """Begin an empty index by the rules and with the width of another. Raise StoreError."""
        use = other.in_use
        vectors = np.zeros((0, use.dimension), dtype=np.float32)
        self.index.rebuild(replace(use, former=None), [], vectors, silent)

    def scrub(self) -> None:
        """Overwrite what was removed from the library, and let others forget it."""
        self._forget()
        try:
            self.library.scrub()
        except StoreError as error:  # say, a full disk: what was done before stays done
            self.trouble = str(error)

    def measure(self) -> None:
        """Measure what is near and what is far in the index, if that was not done or the posts have changed much."""
        if not self._prepared:
            return
        with self.changing:
            noted = self.index.noted()
            self.scale = Scale(**noted) if set(noted) == set(vars(UNMEASURED)) else UNMEASURED
            if not self.scale.fits(self.library.count()[1]):
                self.scale = measured(self.library, self.index, self.asking)
                try:
                    self.index.note(vars(self.scale))
                except StoreError as error:  # say, a full disk: it is measured again at the next start
                    self.trouble = str(error)

    def tell(self, what: str, report: Progress = silent) -> Progress:
        """Return a report that says on the page, too, how far something is."""

        def told(done: int, total: int) -> None:
            self.activity = f"{what}: {done:,} of {total:,} passages"
            report(done, total)

        return told

    def _open(self, report: Progress) -> None:
        self.activity = "Loading the search model…"
        try:
            self.embedder.load()
            self._use = self._manifest().embedder
            try:
                if self._resplit() or self.index.open(self._manifest(), self._sample()) or self.index.worn:
                    self._rebuild(report)
                else:
                    self._mend()
            except StoreError as error:  # say, a full disk: what is there can still be searched
                self.trouble = str(error)
            self._prepared = True
            self.measure()
        finally:
            self.activity = ""

    def _rebuild(self, report: Progress) -> int:
        told = self.tell("Rebuilding the index", report)
        try:
            passages = self.library.passages()
            vectors = self.vectors(passages, told)
            manifest = self._manifest()
            self.index.rebuild(manifest, [passage.id for passage in passages], self._cut(vectors), told)
            former = [manifest.former.fingerprint] if manifest.former else []
            self.library.forget_vectors([manifest.fingerprint, *former])
            self.library.scrub()
        finally:
            self.activity = ""
        return len(passages)

    def _resplit(self) -> bool:
        """Split all posts anew if other rules or another embedder split them; say whether that was so."""
        splitter = self._manifest().splitter
        if self.library.splitter() == splitter:
            return False
        self.library.replace_passages(self._split_all(self.embedder), splitter)
        return True

    def _split_all(self, embedder: Embedder) -> list[Passage]:
        posts = [(stored.id, self.library.post(stored.id)) for stored in self.library.posts()]
        return [
            replace(passage, post_id=id_)
            for id_, post in posts
            for passage in splitting.split(post, embedder.count_tokens, embedder.max_tokens)
        ]

    def _mend(self) -> None:
        """Bring the index in step with the library: a kill may have come between the two."""
        held, wanted = self.index.ids(), self.library.passage_ids()
        self.index.delete(sorted(held - wanted))
        passages = self.library.passages(sorted(wanted - held))
        self.index.upsert([passage.id for passage in passages], self._cut(self.vectors(passages)))

    def _difference(self) -> str:
        held, wanted = self.index.ids(), self.library.passage_ids()
        return "" if held == wanted else f"{len(held ^ wanted)} passages are in the index or the library alone"

    def _manifest(self) -> Manifest:
        """Return what the index is, or is to be, built with: what was chosen for this embedder stays chosen."""
        embedder, stored = self.embedder, self.index.stored()
        known = stored if stored and stored.fingerprint == embedder.fingerprint else None
        use = known.embedder if known else InUse(embedder.fingerprint, embedder.dimension)
        return Manifest(use, embedder.prompts, self._splitter(), known.former if known else None)

    def _splitter(self) -> str:
        """Return the rules by which passages are made: a model that was tuned sizes them as its base did."""
        stored = self.index.stored()
        tuned = (
            stored and stored.fingerprint == self.embedder.fingerprint and stored.splitter.startswith(f"{SPLITTER} ")
        )
        return stored.splitter if stored and tuned else _splitter(self.embedder)

    def _splitter_of(self, embedder: Embedder) -> str:
        """Return the rules by which passages are to be made for another embedder."""
        return self._splitter() if _sizes(embedder) == _sizes(self.embedder) else _splitter(embedder)

    def _cut(self, vectors: Vectors) -> Vectors:
        return cut(vectors, self._use.dimension) if self._use else vectors

    def _known(self, passages: Sequence[Passage], embedder: Embedder) -> dict[str, Vectors]:
        """Return the vectors that the library has of these passages, those of another width left out."""
        stored = self.library.vectors({passage.hash for passage in passages}, embedder.fingerprint)
        return {hash_: vector for hash_, vector in stored.items() if vector.size == embedder.dimension}

    def _sample(self) -> dict[int, Vectors]:
        ids = sorted(self.library.passage_ids())
        sample = self.library.passages(random.sample(ids, min(_SAMPLE, len(ids))))
        stored = self._known(sample, self.embedder)
        return {passage.id: self._cut(stored[passage.hash]) for passage in sample if passage.hash in stored}


def _splitter(embedder: Embedder) -> str:
    # passages are sized by the embedder's tokenizer: another embedder, other passages
    return f"{SPLITTER} for={embedder.fingerprint}"


def _sizes(embedder: Embedder) -> tuple[int, ...]:
    """Return what tells whether two embedders size passages alike."""
    return embedder.max_tokens, *embedder.count_tokens(_COUNTED)
