"""The engine: adds posts, keeps them in step with where they come from, asks them, removes them.

The parts never call each other; it does, and growing.py for the writer, sources.py and uploads.py for what comes in."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import cast

from rag.answering.growing import REFUSAL, Clock, write
from rag.answering.idle import Idle
from rag.answering.memory import Memory
from rag.answering.trial import Trial
from rag.backups import Backups
from rag.choosing import Choosing
from rag.citations import Verifier
from rag.conversations import Talks
from rag.errors import BadQuestion, Busy, FootnoteError, ModelError
from rag.finding.joined import JoinedLibrary, JoinedNeighbours
from rag.finding.overview import overview
from rag.finding.query import parse
from rag.incoming.fetch import Fetcher
from rag.incoming.intake import Intake, Opened, Task
from rag.incoming.sites import Finding
from rag.incoming.sources import Chosen, Sources
from rag.incoming.uploads import Uploads
from rag.indexing import Indexing, silent
from rag.jobs import Job, Jobs, Stop
from rag.measuring.quality import Quality
from rag.ports import (
    Catalogue,
    Conversations,
    Embedder,
    Gold,
    Library,
    Nli,
    Progress,
    Readers,
    Reranker,
    Stock,
    Vault,
    VectorIndex,
    Workshop,
    Writer,
)
from rag.prompt import compose
from rag.records import (
    Answer,
    Check,
    Coverage,
    FileProgress,
    Found,
    Item,
    ModelKind,
    Post,
    SearchMode,
    Source,
    StoredPost,
    Turn,
)
from rag.search import SHOWN, clean_question, search
from rag.tuning.roundtrip import first_of
from rag.tuning.run import Tuning

CHECKED_EVERY = timedelta(days=1)
_TRIES, _TRY_AGAIN_S = 20, 3.0  # how often, and how long after, a trial goes on that a question has interrupted
BUILDING = "The search index is still being built, and nothing with these words was found yet. Ask again in a moment."
_SCHEDULE = "schedule"  # the note that says whether sources are read again by themselves


class Engine:
    """Answers questions about the posts in a library. Safe to call from several threads."""

    def __init__(
        self,
        library: Library,
        catalogue: Catalogue,
        gold: Gold,
        conversations: Conversations,
        index: VectorIndex,
        embedder: Embedder,
        writer: Writer,
        readers: Readers,
        fetcher: Fetcher,
        workshop: Workshop,
        *,
        models: Path,
        stock: Stock,
        fixed: Mapping[ModelKind, str] = MappingProxyType({}),
        inbox: Path | None = None,
        reranker: Reranker | None = None,
        nli: Nli | None = None,
        question_writer: Writer | None = None,
        vault: Vault | None = None,
        beside: Engine | None = None,
    ) -> None:
        """Join the parts; nothing is loaded yet. Tuned models lie in the folder `models`; uploads wait in the folder
        `inbox`, also while the app is closed. `question_writer` writes the questions to tune on. `fixed` is what the
        environment names of the models that can be chosen from `stock`. `beside` is an engine whose posts are searched
        and read together with these, by its models, and outlives this one."""
        self._library = library
        self._catalogue = catalogue
        self._index = index
        self._beside = beside  # whose models answer, and write: see _host
        self._shown = cast(Library, JoinedLibrary(library, beside._library)) if beside else library
        self._near = JoinedNeighbours(index, beside._index) if beside else index
        self._reranker = reranker
        self._nli = nli
        self._readers = readers
        self._fetcher = fetcher
        self._looked: defaultdict[str, str] = defaultdict(str)  # when each source was last looked at by itself
        self._memory = Memory()
        self._removals = 0  # how often posts that may have been read went
        self._indexing = Indexing(library, index, embedder, self.forget_read)
        self._intake = Intake(self._indexing)
        self._sources = Sources(catalogue, library, readers, fetcher, self._intake)
        self._uploads = Uploads(library, readers, self._intake, inbox)
        self.jobs = Jobs()
        """What is being brought in, and what was last."""
        self.backups = Backups(vault, self._indexing, self.jobs)
        """The library as one file."""
        self.quality = Quality(library, catalogue, gold, lambda: self._indexing.asking, self)
        """How well search does on these posts."""
        self.tuning = Tuning(
            library,
            catalogue,
            conversations,
            self._indexing,
            workshop,
            models,
            fixed.get("embedder", ""),
            question_writer,
            lambda question: [hit.passage for hit in self.search(question, limit=first_of(library)).hits],
        )
        """Tuning the embedder on these posts."""
        self.choosing = Choosing(stock, catalogue, self._indexing, workshop, models, fixed, self._write_with)
        """Which models are in use."""
        self._workshop, self._stock = workshop, stock
        self._idle = Idle()
        if not beside:  # nobody else holds a writer: one that is exchanged has to go
            self._write_with(writer)
        self.talks = Talks(conversations, library)
        """The conversations that are kept."""

    @property
    def activity(self) -> str:
        """What goes on in the background, for people; empty when nothing does."""
        return self._indexing.activity

    @property
    def trouble(self) -> str:
        """What is wrong with models or index, for people; empty when nothing is."""
        return self._indexing.trouble or ("" if self._host._writer.ready else self._host._writer_trouble)

    def prepare(self, report: Progress = silent) -> None:
        """Load the embedder and open the index, once; rebuild the index if it is missing, damaged or another's."""
        if self._beside and not self._index.stored():
            self._beside.prepare(report)
            self._indexing.begin_like(self._beside._indexing)
        self._indexing.prepare(report)

    @property
    def outdated(self) -> bool:
        """Whether the engine beside has another search model by now, so that the two indexes do not fit any more."""
        return self._host is not self and self._indexing.in_use.embedder != self._host._indexing.in_use.embedder

    @property
    def _host(self) -> Engine:
        """The engine whose models, and whose scale of what is near, answer here."""
        return self._beside or self

    def warm_up(self) -> None:
        """Load both models, so that the first question does not wait for them. What fails is shown as trouble."""
        try:
            self.prepare()
        except FootnoteError as error:
            self._indexing.trouble = str(error)
        try:
            self._host._writer.load()
        except FootnoteError as error:
            self._host._writer_trouble = str(error)

    def try_writer(self) -> None:
        """Find out how much a new writer can read, while nobody asks anything; give up for now if that takes long."""
        for _ in range(_TRIES):
            if not self._host._writer.ready or self._host._trial.settled or self._idle.closed:
                return
            with self._idle.turn() as stop:
                try:
                    self._host._trial.run(stop)
                except ModelError:
                    return  # whoever asks the writer will be told
            time.sleep(_TRY_AGAIN_S)

    def expect(self, questions: Sequence[str], turns: Sequence[Turn] = (), wait_s: float = 0.0) -> None:
        """Read ahead, once it has been quiet for so long, for questions that may come. One that does come ends it."""
        if self._indexing.prepared:
            self._idle.later(lambda stop: self._read_ahead(questions, turns, stop), wait_s)

    def add(self, chosen: Iterable[Chosen | str]) -> Job:
        """Add files, folders, pages, feeds and sites, and remember them; one that fails stops none of the others.

        A string is a path, or the address of one page; sites and feeds are named as (kind, location), see `look`.
        """
        wanted = list(chosen)
        names = [name if isinstance(name, str) else name[1] for name in wanted]
        what = names[0] if len(names) == 1 else f"{len(names)} files and sources"
        return self.jobs.start(f"Adding {what}", lambda stop: self._sources.add(wanted, stop), wanted)

    def add_uploads(self, files: Iterable[tuple[Path, str]]) -> Job:
        """Add files that lie at a temporary path, as (path, name): the name is their source. They are moved away."""
        waiting = self._uploads.keep(files)
        return self.jobs.start("Adding what was dropped", lambda stop: self._uploads.take(waiting, stop))

    def add_posts(self, posts: Iterable[Post], *, dedupe: bool = True) -> Iterator[FileProgress]:
        """Add posts that are read already; without `dedupe` the same text may come twice."""
        tasks = [Task(post.source, lambda post=post: Opened(Item(post.source), [post])) for post in posts]  # type: ignore[misc]
        yield from self._intake.take(tasks, Event(), dedupe=dedupe)

    def look(self, address: str) -> tuple[Finding, ...]:
        """Say what lies at an address, the likeliest first. Raise BadAddress or BadFile."""
        return self._sources.look(address)

    def sources(self) -> list[Source]:
        """List the remembered sources."""
        return self._sources.all()

    def sync(self, source_id: str | None = None, *, dry_run: bool = False, prune: bool = False) -> Job:
        """Bring one source, or all, in step with what it has now; see Sources.sync."""
        title = "Looking for changes" if dry_run else "Looking for new and changed posts"
        ids = None if source_id is None else [source_id]
        return self.jobs.start(title, lambda stop: self._sources.sync(ids, stop, dry=dry_run, prune=prune))

    def retry(self) -> Job:
        """Try again what failed in the last jobs."""
        failed = [row for job in self.jobs.known for row in job.failed]
        wanted = [chosen for job in self.jobs.known if job.failed for chosen in job.wanted]
        return self.jobs.start("Trying again", lambda stop: self._retry(failed, wanted, stop), wanted)

    def prune(self) -> Job:
        """Remove the posts that the last jobs found vanished."""
        vanished = [row for job in self.jobs.known for row in job.vanished]
        return self.jobs.start("Removing what has vanished", lambda stop: self._sources.prune(vanished))  # noqa: ARG005

    def resume(self) -> Job | None:
        """Go on with what a kill interrupted, if anything was. Call it before anything new begins."""
        sources = [source.id for source in self._sources.unfinished()]
        uploads = self._uploads.left()
        if not sources and not uploads:
            return None

        def work(stop: Stop) -> Iterator[FileProgress]:
            yield from self._sources.sync(sources, stop, dry=False, prune=False)
            yield from self._uploads.take(uploads, stop)

        return self.jobs.start("Going on where it stopped", work)

    def forget(self, source_id: str, *, with_posts: bool = False) -> list[str]:
        """Forget a source, `with_posts` also the posts that no other has; return their ids.

        Raise NotFound, or Busy while posts are being brought in: they might be this source's.
        """
        if self.jobs.busy:
            raise Busy("Posts are being brought in. Wait until that has ended, or cancel it, and try again.")
        return self._sources.forget(source_id, with_posts=with_posts)

    @property
    def scheduled(self) -> bool:
        """Whether sources are read again by themselves, once a day while the page is served."""
        return self._catalogue.fact(_SCHEDULE) != "off"

    @scheduled.setter
    def scheduled(self, wanted: bool) -> None:
        self._catalogue.note(_SCHEDULE, "on" if wanted else "off")

    def sync_if_due(self) -> Job | None:
        """Read again the sources that were not read for a day, unless that is turned off or something is going on."""
        if not self.scheduled or self.jobs.busy:
            return None
        now = datetime.now(timezone.utc)
        before = (now - CHECKED_EVERY).isoformat(timespec="seconds")
        due = [source.id for source in self.sources() if max(source.checked or "", self._looked[source.id]) < before]
        if not due:
            return None
        self._looked.update(dict.fromkeys(due, now.isoformat(timespec="seconds")))  # also where it fails
        title = "The daily look for new and changed posts"
        return self.jobs.start(title, lambda stop: self._sources.sync(due, stop, dry=False, prune=False))

    def remove(self, post_ids: Sequence[str]) -> list[str]:
        """Remove posts, text overwritten; return their ids. Raise NotFound, and remove none, if one is not there."""
        with self._indexing.changing:
            sources = [self._library.post(post_id).source for post_id in post_ids]
            removed = list(dict.fromkeys(post_ids))
            for post_id in removed:
                self._indexing.drop(self._library.remove(post_id))
            self._indexing.scrub()
        self._uploads.forget(sources)
        return removed

    def reindex(self, report: Progress = silent) -> int:
        """Rebuild the index and swap it in, posts split anew if the rules changed; return how many passages it has."""
        return self._indexing.reindex(report)

    def search(
        self, question: str, mode: SearchMode = "hybrid", limit: int = SHOWN, turns: Sequence[Turn] = ()
    ) -> Found:
        """Return the passages that fit a question best, and whether the posts cover it; `turns` are the earlier ones of
        the conversation, oldest first. Raise BadQuestion."""
        return self._found(question, mode, limit, turns, self._reranker)

    def ask(self, question: str, stop: Event | None = None, turns: Sequence[Turn] = ()) -> Iterator[Answer]:
        """Yield a growing answer; the last one is `done`. Setting `stop` ends it at once. Raise BadQuestion.

        `turns` are the earlier ones of the conversation, oldest first: the question may lean on them.
        """
        self._host._idle.interrupt()
        self._host._trial.apply()
        stop = stop or Event()
        clock = Clock()
        answer = Answer(clean_question(question), status="Searching your posts…")
        listed = overview(parse(answer.question), self._shown, date.today())
        if listed:
            coverage: Coverage = "not covered" if listed.empty else "covered"
            answer = replace(answer, text=listed.text, posts=listed.posts, refused=listed.empty, coverage=coverage)
            yield replace(answer, status="", done=True, timings=clock.ended())
            return
        yield answer
        with self._reading():
            found = self.search(question, turns=turns)
            answer = replace(
                answer,
                asked=found.question,
                hits=found.hits,
                coverage=found.coverage,
                probability=found.probability,
                timings=clock.searched(),
            )
            verifier = self._verifier(found)
            if found.coverage == "not covered":
                answer = replace(self._refusal(answer), quotes=verifier.quotes(), refused=True)
                clock.quoted()
                yield replace(answer, status="", done=True, timings=clock.ended())
                return
            self._host._idle.interrupt()  # a trial of the writer may have begun while it searched
            yield from write(answer, verifier, self._host._writer, stop, clock, turns)

    def posts(self) -> list[StoredPost]:
        """List all posts, newest first."""
        return self._shown.posts()

    def post(self, post_id: str) -> Post:
        """Return one post whole. Raise NotFound."""
        return self._shown.post(post_id)

    def count(self) -> tuple[int, int]:
        """Return how many posts and passages there are."""
        return self._shown.count()

    @property
    def embedder_name(self) -> str:
        """The search model's name."""
        return self._indexing.embedder.name

    def checks(self) -> list[Check]:
        """Check every part: models and checksums, library integrity, index self-test; mends the index first."""
        checks = self._indexing.embedder.checks() + self._host._writer.checks() + self._library.checks()
        checks += [check for part in (self._reranker, self._nli) if part for check in part.checks()]
        if not checks[0].ok:
            return [*checks, Check("index self-test", False, "not run: it needs the embedder")]
        tested = self._indexing.check()
        return [*checks, *self._index.checks(), tested]

    def aside(
        self,
        library: Library,
        catalogue: Catalogue,
        gold: Gold,
        conversations: Conversations,
        index: VectorIndex,
        readers: Readers,
        folder: Path,
    ) -> Engine:
        """Return an engine for somebody else's posts: it answers from them and from these, by the models of this one.

        What else it keeps lies in `folder`. It is closed before this one is.
        """
        return Engine(
            library,
            catalogue,
            gold,
            conversations,
            index,
            self._indexing.embedder,
            self._host._writer,
            readers,
            Fetcher(),
            self._workshop,
            models=folder / "models",
            stock=self._stock,
            inbox=folder / "inbox",
            reranker=self._reranker,
            nli=self._nli,
            beside=self,
        )

    def forget_read(self) -> None:
        """Let both models forget what they have read: some of it has gone."""
        self._host._removals += 1
        self._host._forget()

    def close(self) -> None:
        """Stop what is being brought in and let go of the files. Using the engine after this is an error."""
        self._idle.close()
        self.choosing.close()
        self.tuning.close()
        self.quality.close()
        self.jobs.close()
        self._readers.close()
        self._fetcher.close()
        self._index.close()
        self._library.close()

    def _write_with(self, writer: Writer) -> None:
        """Let another writer write from the next question on; the former one goes when its last answer has ended."""
        self._writer, self._trial, self._writer_trouble = writer, Trial(self._catalogue, writer), ""

    def _found(
        self, question: str, mode: SearchMode, limit: int, turns: Sequence[Turn], reranker: Reranker | None
    ) -> Found:
        asked = parse(clean_question(question))
        if not asked.text:
            raise BadQuestion("Filters alone find posts, not passages. Add a word to look for, or ask instead.")
        indexing = self._host._indexing
        return indexing.steady(
            lambda: search(
                asked.text,
                self._shown,
                self._near,
                indexing.asking,
                mode,
                limit,
                asked.filters,
                turns,
                indexing.scale,
                reranker,
            )
        )

    def _read_ahead(self, questions: Sequence[str], turns: Sequence[Turn], stop: Event) -> None:
        self._host._trial.apply()
        for question in reversed(questions):  # what the likeliest needs is left standing in the writer's memory
            with self._reading(), suppress(BadQuestion):  # half a filter, while it is being typed
                self._read_for(question, turns, stop)

    def _read_for(self, question: str, turns: Sequence[Turn], stop: Event) -> None:
        if stop.is_set():
            return
        found = self._found(question, "hybrid", SHOWN, turns, None)  # a reranker would take its time
        if stop.is_set():
            return
        quotes, writer = self._verifier(found).quotes(), self._host._writer
        if writer.ready and found.coverage != "not covered":
            writer.warm(compose(found.question, found.hits, writer, quotes), stop)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Let the models read posts; if some were removed meanwhile, what was read is forgotten once more."""
        begun = self._host._removals
        try:
            yield
        finally:
            if self._host._removals != begun:
                self._host._forget()

    def _forget(self) -> None:
        self._memory.forget()
        self._writer.forget()

    def _verifier(self, found: Found) -> Verifier:
        host = self._host
        return Verifier(found.question, found.hits, host._indexing.embedder, self._nli, host._memory)

    def _refusal(self, answer: Answer) -> Answer:
        if not self._shown.count()[0]:
            return replace(answer, text=REFUSAL, note="There are no posts yet. Add some first.")
        if not self._host._indexing.prepared:
            return replace(answer, text=BUILDING)
        return replace(answer, text=REFUSAL)

    def _retry(self, failed: Sequence[str], wanted: Sequence[Chosen | str], stop: Stop) -> Iterator[FileProgress]:
        uploads = self._uploads.again(failed)
        yield from self._uploads.take(list(uploads.values()), stop)
        yield from self._sources.retry([row for row in failed if row not in uploads], wanted, stop)
