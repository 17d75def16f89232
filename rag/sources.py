"""Sources: files, folders, pages, feeds and sites that posts come from, remembered and kept in step.

Each is listed anew, its items held against what is known of them, and only what is new or changed is read: an unchanged
file costs a hash, an unchanged page a conditional request, neither an embedding."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Literal

from rag.addresses import canonical
from rag.errors import BadFile, FootnoteError, Gone, NotFound
from rag.fetch import Fetcher, Stopped, document
from rag.intake import Intake, Opened, Task
from rag.ports import Catalogue, Library, Readers
from rag.readers import find_files, printable
from rag.records import Document, Entry, FileProgress, Item, Post, Source, SourceKind, id_of
from rag.sites import Finding, discover, listing

EDITION = "1"
"""Part of every item's mark: raise it when reading has become so much better that all should be read anew."""
_CHUNK = 1 << 20

Opener = Callable[[Item | None], Opened]
"""How to open an item, given how it was when it was last read."""
Chosen = tuple[SourceKind, str]
"""(kind, location) of a source that the person chose."""


@dataclass
class _Plan:
    """What is to be done for some sources: tasks, and what is known without any."""

    tasks: list[Task] = field(default_factory=list)
    told: list[FileProgress] = field(default_factory=list)
    prune: bool = False
    """Whether what has vanished is to be removed."""
    listed: list[str] = field(default_factory=list)
    """Ids of the sources whose list was read."""


def described(finding: Finding) -> str:
    """Say what was found, for a person who is to choose."""
    what = {"page": "This page alone", "feed": "The feed", "site": "The whole site"}[finding.kind]
    title = f" “{finding.title}”" if finding.title else ""
    if finding.kind == "page" or not finding.count:
        return f"{what}{title}: {finding.location}"
    names = "; ".join(sample.removeprefix(finding.location) for sample in finding.samples[:3])
    return f"{what}{title}, {finding.count:,} posts: {finding.location} ({names}, …)"


def is_address(text: str) -> bool:
    """Say whether what a person typed is an address on the web, not a path."""
    return text.strip().lower().startswith(("http://", "https://"))


class Sources:
    """The remembered sources. One import at a time: whoever calls sees to that."""

    def __init__(
        self, catalogue: Catalogue, library: Library, readers: Readers, fetcher: Fetcher, intake: Intake
    ) -> None:
        """Join the parts; nothing is read or fetched yet."""
        self._catalogue = catalogue
        self._library = library
        self._readers = readers
        self._fetcher = fetcher
        self._intake = intake

    def all(self) -> list[Source]:
        """List the sources."""
        return self._catalogue.sources()

    def look(self, address: str) -> tuple[Finding, ...]:
        """Say what lies at an address, the likeliest first. Raise BadAddress or BadFile."""
        return discover(canonical(address), self._fetcher, self._readers)

    def add(self, chosen: Sequence[Chosen | str], stop: Event) -> Iterator[FileProgress]:
        """Remember sources and bring in what they have; a plain string is a path, or an address that is one page.

        Asked for by a person, so that posts removed before come back.
        """
        plan, known = _Plan(), {source.id for source in self._catalogue.sources()}
        for wanted in chosen:
            shown = printable(wanted if isinstance(wanted, str) else wanted[1])
            try:
                self._plan_added(plan, wanted, stop)
            except Stopped:
                break
            except (FootnoteError, RuntimeError) as error:  # RuntimeError: "~nobody" has no home
                yield FileProgress(shown, "failed", error=printable(str(error)))
        plan.told = [told for told in plan.told if told.state != "vanished"]
        yield from self._carry_out(plan, stop, away=frozenset())
        for source in self._catalogue.sources():
            if source.id not in known and not source.posts and not stop.is_set():
                self._catalogue.forget(source.id)  # nothing came of it: there is nothing to keep in step

    def sync(self, source_id: str | None, stop: Event, *, dry_run: bool, prune: bool) -> Iterator[FileProgress]:
        """Bring one source, or all, in step: new and changed items are read, vanished ones told of, and with `prune`
        removed. `dry_run` only tells what would be done. Raise NotFound."""
        plan = _Plan(prune=prune and not dry_run)
        for source in self._chosen(source_id):
            try:
                self._plan_source(plan, source, stop, again=False, dry_run=dry_run)
            except Stopped:
                break
            except FootnoteError as error:
                yield FileProgress(source.location, "failed", error=str(error))
        if dry_run:
            yield from self._foretell(plan, stop)
            return
        yield from self._carry_out(plan, stop, away=frozenset(self._library.put_away()))

    def retry(self, places: Iterable[str], stop: Event) -> Iterator[FileProgress]:
        """Read again the items at these places that failed."""
        wanted, plan = set(places), _Plan()
        for source in self._catalogue.sources():
            items = self._catalogue.items(source.id)
            if mine := wanted & set(items):
                wanted -= mine
                self._catalogue.keep(source.id, [Item(place) for place in sorted(mine)])
                with suppress(FootnoteError, Stopped):  # its list cannot be read: the items stay as they are
                    self._plan_source(plan, source, stop, again=False, only=mine)
        yield from self._carry_out(plan, stop, away=frozenset(self._library.put_away()), checked=False)

    def unfinished(self) -> list[Source]:
        """List the sources with items that were listed and never read: a kill or a full disk came between."""
        return [
            source
            for source in self._catalogue.sources()
            if any(item.state == "waiting" for item in self._catalogue.items(source.id).values())
        ]

    def forget(self, source_id: str, *, with_posts: bool) -> list[str]:
        """Forget a source, `with_posts` also the posts that no other has; return their ids. Raise NotFound."""
        places = list(self._catalogue.items(source_id))
        self._catalogue.forget(source_id)
        if not with_posts:
            return []
        ways = self._library.reached(place for place in places if self._catalogue.owner(place) is None)
        return self._intake.leave(way.source for found in ways.values() for way in found)

    def _chosen(self, source_id: str | None) -> list[Source]:
        sources = self._catalogue.sources()
        chosen = [source for source in sources if source_id in (None, source.id)]
        if source_id is not None and not chosen:
            raise NotFound(f"There is no source with the id {source_id[:80]!r}. List the sources to see their ids.")
        return chosen

    def _plan_added(self, plan: _Plan, wanted: Chosen | str, stop: Event) -> None:
        if isinstance(wanted, str) and not is_address(wanted):
            self._plan_path(plan, wanted, stop)
            return
        page: Chosen = ("page", wanted) if isinstance(wanted, str) else wanted
        source = self._catalogue.remember(page[0], canonical(page[1]))
        self._plan_source(plan, source, stop, again=True)

    def _plan_path(self, plan: _Plan, given: str, stop: Event) -> None:
        """Plan for a file or a folder; a file in a remembered folder is that one's."""
        if not given:
            raise BadFile("An empty path was given. Name a file or a folder.")
        path = Path(given).expanduser()
        files = find_files(path)  # before it is remembered: a path that is none is no source
        real = os.path.realpath(path)
        if path.is_dir():
            self._plan_source(plan, self._catalogue.remember("folder", printable(real)), stop, again=True)
            return
        place = printable(real)
        source = self._folder_of(place) or self._catalogue.remember("file", place)
        if source.kind == "file":
            plan.listed.append(source.id)
        item = self._catalogue.items(source.id).get(place)
        self._plan_items(plan, source, [(place, self._file_opener(files[0], place))], {place: item} if item else {})

    def _folder_of(self, place: str) -> Source | None:
        folders = (source for source in self._catalogue.sources() if source.kind == "folder")
        return next((folder for folder in folders if place.startswith(folder.location + os.sep)), None)

    def _plan_source(
        self,
        plan: _Plan,
        source: Source,
        stop: Event,
        *,
        again: bool,
        dry_run: bool = False,
        only: set[str] | None = None,
    ) -> None:
        """Add to the plan what a source needs. `again`: the person asked for it, removed posts included."""
        items = self._catalogue.items(source.id)
        openers, complete = self._listed(plan, source, stop)
        waiting = {place for place, item in items.items() if item.state == "waiting"}
        away = set() if again else self._library.put_away()
        wanted = [(place, open_) for place, open_ in openers.items() if id_of(place) not in away]
        if only is not None:
            wanted = [(place, open_) for place, open_ in wanted if place in only]
        elif waiting and source.kind in (
            "feed",
            "site",
        ):  # it was interrupted: what it had done by then is not asked for
            done = {place for place, item in items.items() if item.state == "done"}
            plan.told += [row for place, _ in wanted if place in done for row in self._intake.rows(place, "unchanged")]
            wanted = [(place, open_) for place, open_ in wanted if place not in done]
        self._plan_items(plan, source, wanted, items, keep=not dry_run)
        if only is None:
            plan.listed.append(source.id)
            if complete:
                gone = set(items) - set(openers)
                if source.kind == "site":
                    gone.discard(source.location)  # the note of the list itself
                self._plan_vanished(plan, source, gone, dry_run)

    def _plan_items(
        self,
        plan: _Plan,
        source: Source,
        wanted: Sequence[tuple[str, Opener]],
        items: Mapping[str, Item],
        keep: bool = True,
    ) -> None:
        planned = {task.place for task in plan.tasks}
        wanted = [(place, open_) for place, open_ in wanted if place not in planned]
        if keep:
            known = [replace(items.get(place) or Item(place), state="waiting") for place, _ in wanted]
            self._catalogue.keep(source.id, known)
        for place, open_ in wanted:
            plan.tasks.append(self._task(source, place, open_, items.get(place)))

    def _task(self, source: Source, place: str, open_: Opener, known: Item | None) -> Task:
        def ended(item: Item) -> None:
            kept = replace(known, state=item.state) if known and item.state == "failed" and known.mark else item
            self._catalogue.keep(source.id, [kept])

        known = known if known and known.state != "failed" else None
        return Task(place, lambda: open_(known), ended)

    def _plan_vanished(self, plan: _Plan, source: Source, places: set[str], dry_run: bool) -> None:
        reached = self._library.reached(places)
        for place in sorted(reached):
            plan.told += self._intake.rows(place, "vanished")
        if not dry_run:
            self._catalogue.drop(source.id, sorted(places - set(reached)))

    def _carry_out(
        self, plan: _Plan, stop: Event, *, away: frozenset[str], checked: bool = True
    ) -> Iterator[FileProgress]:
        vanished: list[str] = []
        for row in chain(plan.told, self._intake.take(plan.tasks, stop, away=away)):
            vanished += [row.source] * (row.state == "vanished")
            yield row
        if stop.is_set():
            self._let_wait_no_longer(plan)
            return
        if plan.prune:
            self._intake.leave(vanished)
            for source in self._catalogue.sources():
                self._catalogue.drop(source.id, vanished)
        moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for source_id in plan.listed if checked else ():
            self._catalogue.checked(source_id, moment)

    def _let_wait_no_longer(self, plan: _Plan) -> None:
        """Cancelled: what was not read is not read at the next start either, but at the next sync."""
        places = {task.place for task in plan.tasks}
        for source in self._catalogue.sources():
            items = self._catalogue.items(source.id)
            left = [item for place, item in items.items() if place in places and item.state == "waiting"]
            self._catalogue.keep(source.id, [replace(item, state="failed") for item in left])

    def _foretell(self, plan: _Plan, stop: Event) -> Iterator[FileProgress]:
        """Yield what a plan would do, without doing it; pages are asked whether they have changed."""
        yield from plan.told
        for task in plan.tasks:
            if stop.is_set():
                return
            try:
                instead = task.open().instead if self._library.reached([task.place]) else ""
            except Stopped:
                return
            except FootnoteError as error:
                yield FileProgress(task.place, "failed", error=str(error))
                continue
            if self._library.reached([task.place]):
                yield from self._intake.rows(task.place, instead or "updated")
            else:
                yield FileProgress(task.place, "added")

    def _listed(self, plan: _Plan, source: Source, stop: Event) -> tuple[dict[str, Opener], bool]:
        """Return (how to open each item by its place, whether the list is complete)."""
        if source.kind in ("folder", "file"):
            return self._listed_files(source, anew=plan.prune), True
        if source.kind != "feed" and source.kind != "site":
            return {source.location: self._entry_opener(Entry(source.location), stop)}, False
        entries, complete = self._listed_entries(plan, source, source.kind, stop)
        return {
            entry.address: self._entry_opener(entry, stop)
            for entry in entries
            if self._catalogue.owner(entry.address) in (None, source.id)
        }, complete

    def _listed_entries(
        self, plan: _Plan, source: Source, kind: Literal["feed", "site"], stop: Event
    ) -> tuple[tuple[Entry, ...], bool]:
        """Return (the posts that a feed or a site lists now, whether all are among them)."""
        items = self._catalogue.items(source.id)
        known = items.get(source.location, Item(source.location))
        if kind == "site" or any(item.state != "done" for item in items.values()):
            known = Item(source.location)  # what is missing can be opened only from the list itself
        found = listing(
            kind, source.location, self._fetcher, self._readers, etag=known.etag, modified=known.modified, stop=stop
        )
        plan.told += [FileProgress(source.location, "failed", error=trouble) for trouble in found.troubles]
        if found.unchanged:  # nothing to ask of any of its posts either
            return (), False
        self._catalogue.keep(source.id, [Item(source.location, "done", "", found.etag, found.modified)])
        return found.entries, found.complete

    def _listed_files(self, source: Source, *, anew: bool) -> dict[str, Opener]:
        path = Path(source.location)
        if source.kind == "file" and not path.exists() and path.parent.is_dir():
            return {}  # the file is gone; without its folder it is perhaps a disk that is not there today
        files = find_files(path)
        places = {printable(os.path.realpath(file)): file for file in files}
        return {place: self._file_opener(file, place, anew=anew) for place, file in places.items()}

    def _file_opener(self, path: Path, place: str, *, anew: bool = False) -> Opener:
        """Return how to open a file; `anew`: one with several posts is read in any case, to see which it has lost."""

        def open_(known: Item | None) -> Opened:
            item = Item(place, "done", f"{EDITION} {_hash(path)}")
            ways = self._library.reached([place]).get(place, [])
            if known and known.mark == item.mark and ways and not (anew and len(ways) > 1):
                return Opened(item, instead="unchanged")
            return Opened(item, self._readers.read(Document(place, printable(path.name), path=str(path))))

        return open_

    def _entry_opener(self, entry: Entry, stop: Event) -> Opener:
        def open_(known: Item | None) -> Opened:
            if known and not self._library.reached([entry.address]):
                known = None  # it gave no post, or that was removed: an unchanged page must be read all the same
            if entry.post is not None:
                return self._open_post(entry.post, entry.address, known)
            try:
                return self._open_page(entry.address, known, stop)
            except Gone:
                if not known:
                    raise
                return Opened(known, instead="vanished")

        return open_

    def _open_post(self, post: Post, place: str, known: Item | None) -> Opened:
        post = replace(post, source=place)
        item = Item(place, "done", f"{EDITION} {hashlib.sha256(repr(post).encode('utf-8', 'replace')).hexdigest()}")
        return Opened(item, [post], "unchanged" if known and known.mark == item.mark else "")

    def _open_page(self, place: str, known: Item | None, stop: Event) -> Opened:
        ask = known if known and known.mark.startswith(f"{EDITION} ") else Item(place)
        page = self._fetcher.get(place, etag=ask.etag, modified=ask.modified, stop=stop)
        if page.status == 304 and known:
            return Opened(replace(known, state="done"), instead="unchanged")
        item = Item(place, "done", f"{EDITION} {hashlib.sha256(page.data).hexdigest()}", page.etag, page.modified)
        if known and known.mark == item.mark:
            return Opened(item, instead="unchanged")
        return Opened(item, self._readers.read(document(page, place)))


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, read piece by piece. Raise BadFile."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            raise BadFile(f"{printable(path.name)}: this is not a regular file. Give a file or a folder of posts.")
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
        raise BadFile(
            f"{printable(path.name)}: this file cannot be read ({reason}). Check its permissions and try again."
        ) from error
    return digest.hexdigest()
