"""Sources: files, folders, pages, feeds and sites that posts come from, remembered and kept in step.

Each is listed anew, its items held against what is known of them, and only what is new or changed is read: an unchanged
file costs a hash, an unchanged page a conditional request, neither an embedding."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Literal

from rag.addresses import canonical
from rag.errors import BadAddress, BadFile, FootnoteError, Gone, NotFound
from rag.incoming.fetch import Fetcher
from rag.incoming.intake import Intake, Task
from rag.incoming.opening import Opener, Opening
from rag.incoming.sites import Finding, discover, listing
from rag.jobs import SURPRISE, Stop, Stopped
from rag.ports import Catalogue, Library, Readers
from rag.readers import find_files, printable
from rag.records import Entry, FileProgress, Item, Source, SourceKind, id_of

Chosen = tuple[SourceKind, str]
"""(kind, location) of a source that the person chose."""


@dataclass
class _Plan:
    """What is to be done for some sources.

    `tasks` by their places, `holders` the sources that hold each, `told` the rows that need no task, `lists` the note
    of each source's own list, `listed` the sources whose lists were read, `folders` what each folder holds.
    `dry`: only to be told. `prune`: what has vanished is removed. `again`: asked for by a person, so that removed posts
    come back.
    """

    dry: bool = False
    prune: bool = False
    again: bool = False
    tasks: dict[str, Task] = field(default_factory=dict)
    holders: dict[str, list[str]] = field(default_factory=dict)
    told: list[FileProgress] = field(default_factory=list)
    lists: list[tuple[str, Item]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    folders: dict[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class _Listed:
    """The items of a source: how to open each by its place, and all `places` it names, None if others may be there."""

    openers: dict[str, Opener]
    places: frozenset[str] | None


def described(finding: Finding) -> str:
    """Say what was found, for a person who is to choose."""
    what = {"page": "This page alone", "feed": "The feed", "site": "The whole site"}[finding.kind]
    title = f" “{finding.title}”" if finding.title else ""
    if finding.kind == "page" or not finding.count:
        return f"{what}{title}: {finding.location}"
    names = "; ".join(sample.removeprefix(finding.location) for sample in finding.samples[:3])
    return f"{what}{title}, {finding.count:,} posts: {finding.location} ({names}, …)"


def _reason(error: Exception) -> str:
    """Say why a source could not be read. A surprise is told to the terminal and stops no other source."""
    if isinstance(error, FootnoteError):
        return printable(str(error))
    traceback.print_exception(error)
    return SURPRISE


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
        self._opening = Opening(library, readers, fetcher)

    def all(self) -> list[Source]:
        """List the sources."""
        return self._catalogue.sources()

    def look(self, address: str) -> tuple[Finding, ...]:
        """Say what lies at an address, the likeliest first; one without "https://" may also be an http one.

        Raise BadAddress or BadFile.
        """
        try:
            return discover(canonical(address), self._fetcher, self._readers)
        except Gone:
            raise
        except BadAddress:
            if "://" in address:
                raise
            return discover(canonical(f"http://{address.strip()}"), self._fetcher, self._readers)

    def add(self, chosen: Sequence[Chosen | str], stop: Stop, *, again: bool = True) -> Iterator[FileProgress]:
        """Remember sources and bring in what they have; a plain string is a path, or an address that is one page.

        `again`: posts that a person removed before come back.
        """
        plan, known = _Plan(again=again), {source.id for source in self._catalogue.sources()}
        for wanted in chosen:
            shown = printable(wanted if isinstance(wanted, str) else wanted[1])
            try:
                self._plan_added(plan, wanted, stop)
            except Stopped:
                break
            except Exception as error:
                yield FileProgress(shown, "failed", error=_reason(error))
        plan.told = [told for told in plan.told if told.state != "vanished"]
        yield from self._carry_out(plan, stop)
        for source in self._catalogue.sources():
            if source.id not in known and not source.posts and not stop.closing:
                self._catalogue.forget(source.id)  # nothing came of it: there is nothing to keep in step

    def sync(self, ids: Iterable[str] | None, stop: Stop, *, dry: bool, prune: bool) -> Iterator[FileProgress]:
        """Bring some sources, or all, in step: new and changed items are read, vanished ones told of, and with `prune`
        removed. `dry` only tells what would be done. Raise NotFound."""
        plan = _Plan(dry=dry, prune=prune and not dry)
        for source in self._chosen(ids):
            try:
                self._plan_source(plan, source, stop)
            except Stopped:
                break
            except Exception as error:
                yield FileProgress(source.location, "failed", error=_reason(error))
        yield from self._foretell(plan, stop) if dry else self._carry_out(plan, stop)

    def retry(self, rows: Iterable[str], wanted: Sequence[Chosen | str], stop: Stop) -> Iterator[FileProgress]:
        """Read again what failed, named by its rows; for those in no source's list, `wanted` is added once more."""
        left, plan = set(rows), _Plan()
        for source in self._catalogue.sources():
            held = self._catalogue.items(source.id)
            mine = {row: place for row in left if (place := _place_of(row, held)) is not None}
            if not mine and source.location not in left:
                continue
            left -= {*mine, source.location}
            try:
                self._plan_source(plan, source, stop, only=set(mine.values()) if mine else None)
            except Stopped:
                break
            except Exception as error:
                yield FileProgress(source.location, "failed", error=_reason(error))
        yield from self._carry_out(plan, stop)
        if left and wanted:
            yield from self.add(wanted, stop, again=False)

    def prune(self, sources: Sequence[str]) -> Iterator[FileProgress]:
        """Let go of what has vanished, named by its rows; a post to which another way leads stays."""
        self._intake.leave(sources)
        for source in self._catalogue.sources():
            self._catalogue.drop(source.id, sources)
        for row in sources:
            yield FileProgress(row, "removed")

    def unfinished(self) -> list[Source]:
        """List the sources that were not read to their end: a kill or a full disk came between."""
        found = []
        for source in self._catalogue.sources():
            items = self._catalogue.items(source.id).values()
            if any(item.state == "waiting" for item in items) or (not items and source.checked is None):
                found.append(source)
        return found

    def forget(self, source_id: str, *, with_posts: bool) -> list[str]:
        """Forget a source, `with_posts` also the posts that no other has; return their ids. Raise NotFound."""
        places = list(self._catalogue.items(source_id))
        self._catalogue.forget(source_id)
        if not with_posts:
            return []
        ways = self._library.reached(place for place in places if not self._catalogue.holders(place))
        return self._intake.leave(way.source for found in ways.values() for way in found)

    def _chosen(self, ids: Iterable[str] | None) -> list[Source]:
        sources = {source.id: source for source in self._catalogue.sources()}
        chosen = list(sources if ids is None else ids)
        for id_ in chosen:
            if id_ not in sources:
                raise NotFound(f"There is no source with the id {id_[:80]!r}. List the sources to see their ids.")
        return [sources[id_] for id_ in chosen]

    def _plan_added(self, plan: _Plan, wanted: Chosen | str, stop: Stop) -> None:
        if isinstance(wanted, str) and not is_address(wanted):
            self._plan_path(plan, wanted, stop)
            return
        page: Chosen = ("page", wanted) if isinstance(wanted, str) else wanted
        self._plan_source(plan, self._catalogue.remember(page[0], canonical(page[1])), stop)

    def _plan_path(self, plan: _Plan, given: str, stop: Stop) -> None:
        """Plan for a file or a folder; a file that a remembered folder holds is that one's."""
        if not given:
            raise BadFile("An empty path was given. Name a file or a folder.")
        try:
            path = Path(given).expanduser()
        except RuntimeError as error:  # "~nobody"
            raise BadFile(f"{printable(given)}: there is no such home folder. Name the whole path.") from error
        files = find_files(path)  # before it is remembered: a path that is none is no source
        place = printable(os.path.realpath(path))
        if path.is_dir():
            self._plan_source(plan, self._catalogue.remember("folder", place), stop)
            return
        folder = self._folder_of(plan, place)
        source_id = folder or self._catalogue.remember("file", place).id
        plan.listed += [] if folder else [source_id]
        item = self._catalogue.items(source_id).get(place)
        self._plan_items(
            plan, source_id, {place: self._opening.file(files[0], place, stop)}, {place: item} if item else {}
        )

    def _folder_of(self, plan: _Plan, place: str) -> str | None:
        """Return the id of a remembered folder that holds a file, not only the path to it: it may be ignored there."""
        if plan.folders is None:
            folders = [source for source in self._catalogue.sources() if source.kind == "folder"]
            plan.folders = {folder.id: frozenset(self._catalogue.items(folder.id)) for folder in folders}
            for folder in folders:
                if place.startswith(folder.location + os.sep):
                    plan.folders[folder.id] |= frozenset(_places_in(Path(folder.location)))
        return next((id_ for id_, places in plan.folders.items() if place in places), None)

    def _plan_source(self, plan: _Plan, source: Source, stop: Stop, *, only: set[str] | None = None) -> None:
        """Add to the plan what a source needs, or `only` some of its places."""
        items = self._catalogue.items(source.id)
        listed = self._listed(plan, source, items, stop)
        away = set() if plan.again else self._library.put_away()
        wanted = {place: open_ for place, open_ in listed.openers.items() if id_of(place) not in away}
        if only is not None:
            wanted = {place: open_ for place, open_ in wanted.items() if place in only}
        elif source.kind in ("feed", "site") and any(item.state == "waiting" for item in items.values()):
            # it was interrupted: what it had done by then is not asked for again
            done = {place for place in wanted if place in items and items[place].state == "done"}
            plan.told += [row for place in done for row in self._intake.rows(place, "unchanged")]
            wanted = {place: open_ for place, open_ in wanted.items() if place not in done}
        self._plan_items(plan, source.id, wanted, items)
        if only is None:
            plan.listed.append(source.id)
            if listed.places is not None:
                self._plan_vanished(plan, source, set(items) - listed.places - {source.location + "\n"})

    def _plan_items(self, plan: _Plan, source_id: str, wanted: Mapping[str, Opener], items: Mapping[str, Item]) -> None:
        if not plan.dry:
            known = [replace(items.get(place) or Item(place), state="waiting") for place in wanted]
            self._catalogue.keep(source_id, known)
        for place, open_ in wanted.items():
            plan.holders.setdefault(place, []).append(source_id)
            if place not in plan.tasks:
                plan.tasks[place] = self._task(plan, place, open_, items.get(place))

    def _task(self, plan: _Plan, place: str, open_: Opener, before: Item | None) -> Task:
        known = before if before and before.state != "failed" else None

        def ended(item: Item) -> None:
            # one that failed keeps its mark: what it gave before is still there
            kept = replace(known, state="failed") if known and known.mark and item.state == "failed" else item
            for source_id in plan.holders[place]:
                self._catalogue.keep(source_id, [kept])

        return Task(place, lambda: open_(known), ended)

    def _plan_vanished(self, plan: _Plan, source: Source, places: set[str]) -> None:
        """Tell of what a source no longer has; what another source holds is that one's to tell of."""
        reached = self._library.reached(places)
        held = {place for place in reached if set(self._catalogue.holders(place)) - {source.id}}
        for place in sorted(set(reached) - held):
            plan.told += self._intake.rows(place, "vanished")
        if not plan.dry:
            self._catalogue.drop(source.id, sorted(places - (set(reached) - held)))

    def _carry_out(self, plan: _Plan, stop: Stop) -> Iterator[FileProgress]:
        away = frozenset() if plan.again else frozenset(self._library.put_away())
        vanished: list[str] = []
        for row in chain(plan.told, self._intake.take(list(plan.tasks.values()), stop, away=away)):
            vanished += [row.source] * (row.state == "vanished")
            yield row
        if stop.closing:
            return  # the next start goes on with it
        if plan.prune and not stop.is_set():
            yield from self.prune(vanished)
        if stop.is_set():
            self._let_wait_no_longer(plan)
        else:
            for source_id, item in plan.lists:
                self._catalogue.keep(source_id, [item])
        moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for source_id in plan.listed:
            self._catalogue.checked(source_id, moment)

    def _let_wait_no_longer(self, plan: _Plan) -> None:
        """Cancelled: what was not read is not read at the next start either, but at the next sync."""
        for source_id in {id_ for holders in plan.holders.values() for id_ in holders}:
            items = self._catalogue.items(source_id).values()
            left = [item for item in items if item.state == "waiting" and item.place in plan.tasks]
            self._catalogue.keep(source_id, [replace(item, state="failed") for item in left])

    def _foretell(self, plan: _Plan, stop: Stop) -> Iterator[FileProgress]:
        """Yield what a plan would do, without doing it; pages are asked whether they have changed."""
        yield from plan.told
        for place, task in plan.tasks.items():
            if stop.is_set():
                return
            known = bool(self._library.reached([place]))
            try:
                instead = task.open().instead if known else ""
            except Stopped:
                return
            except FootnoteError as error:
                yield FileProgress(place, "failed", error=str(error))
                continue
            yield from self._intake.rows(place, instead or "updated") if known else [FileProgress(place, "added")]

    def _listed(self, plan: _Plan, source: Source, items: Mapping[str, Item], stop: Stop) -> _Listed:
        """List what a source has now. Raise BadFile or BadAddress if its list cannot be read whole."""
        if source.kind in ("folder", "file"):
            return self._listed_files(source, stop, anew=plan.prune)
        if source.kind != "feed" and source.kind != "site":
            return _Listed({source.location: self._opening.entry(Entry(source.location), stop)}, None)
        entries, complete = self._listed_entries(plan, source, source.kind, items, stop)
        openers = {
            entry.address: self._opening.entry(entry, stop)
            for entry in entries
            if self._catalogue.owner(entry.address) in (None, source.id)
        }
        for entry in entries if plan.again else ():  # to a person who asks for it, what another source has is there
            plan.told += [] if entry.address in openers else self._intake.rows(entry.address, "unchanged")
        return _Listed(openers, frozenset(entry.address for entry in entries) if complete else None)

    def _listed_entries(
        self, plan: _Plan, source: Source, kind: Literal["feed", "site"], items: Mapping[str, Item], stop: Stop
    ) -> tuple[tuple[Entry, ...], bool]:
        """Return (the posts that a feed or a site lists now, whether all are among them)."""
        note = source.location + "\n"  # no place is called so
        known = items.get(note, Item(note))
        if plan.again or any(item.state != "done" for item in items.values()):
            known = Item(note)  # what is missing can be opened only from the list itself
        found = listing(
            kind, source.location, self._fetcher, self._readers, etag=known.etag, modified=known.modified, stop=stop
        )
        plan.told += [FileProgress(source.location, "failed", error=trouble) for trouble in found.troubles]
        if found.unchanged:  # nothing to ask of any of its posts either
            return (), False
        plan.lists.append((source.id, Item(note, "done", "", found.etag, found.modified)))
        return found.entries, found.complete

    def _listed_files(self, source: Source, stop: Stop, *, anew: bool) -> _Listed:
        path = Path(source.location)
        if source.kind == "file" and not path.exists() and path.parent.is_dir() and any(path.parent.iterdir()):
            return _Listed({}, frozenset())  # gone; in an empty folder it is perhaps a disk that is not there today
        files = _places_in(path)
        openers = {place: self._opening.file(file, place, stop, anew=anew) for place, file in files.items()}
        return _Listed(openers, frozenset(openers))


def _places_in(path: Path) -> dict[str, Path]:
    """Return the files at a path by the names under which they are known. Raise BadFile."""
    return {printable(os.path.realpath(file)): file for file in find_files(path)}


def _place_of(row: str, items: Mapping[str, Item]) -> str | None:
    """Return the item that a row is of: the row's own name, or that of the archive it is a part of."""
    while row not in items:
        row, mark, _ = row.rpartition("#")
        if not mark:
            return None
    return row
