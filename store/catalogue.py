"""The catalogue: where posts come from, and how each file and page was when it was last read.

It lies in the library's file, so that a post and the note of where it came from are kept by one database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rag.errors import NotFound
from rag.records import Item, Source, SourceKind
from store.library import SqliteLibrary

_COUNTED = """
SELECT id, kind, location, checked, (
    SELECT count(DISTINCT post_id) FROM items JOIN origins ON origins.place = items.place WHERE source_id = sources.id
) FROM sources"""


class SqliteCatalogue:
    """Sources and their items in the library's SQLite file. Safe to call from several threads."""

    def __init__(self, library: SqliteLibrary) -> None:
        """Use the file of a library that is open."""
        self._library = library

    def sources(self) -> list[Source]:
        """List the sources, in the order in which they came."""
        with self._library.reading() as db:
            return [_source(row) for row in db.execute(f"{_COUNTED} ORDER BY number")]

    def remember(self, kind: SourceKind, location: str) -> Source:
        """Remember a source, or find it again by its location; what was a page can become a site, not the reverse."""
        id_ = hashlib.sha256(location.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        with self._library.transaction() as db:
            db.execute(
                "INSERT INTO sources (id, kind, location) VALUES (?, ?, ?) "
                "ON CONFLICT (location) DO UPDATE SET kind = excluded.kind WHERE excluded.kind != 'page'",
                (id_, kind, location),
            )
            return _source(db.execute(f"{_COUNTED} WHERE location = ?", (location,)).fetchone())

    def forget(self, source_id: str) -> None:
        """Forget a source and its items; its posts stay. Raise NotFound."""
        with self._library.transaction() as db:
            if not db.execute("SELECT 1 FROM sources WHERE id = ?", (source_id,)).fetchone():
                raise NotFound(f"There is no source with the id {source_id[:80]!r}. List the sources to see their ids.")
            db.execute("DELETE FROM sources WHERE id = ?", (source_id,))

    def checked(self, source_id: str, moment: str) -> None:
        """Note when a source was read."""
        with self._library.transaction() as db:
            db.execute("UPDATE sources SET checked = ? WHERE id = ?", (moment, source_id))

    def items(self, source_id: str) -> dict[str, Item]:
        """Return the items of a source by their places."""
        query = "SELECT place, state, mark, etag, modified FROM items WHERE source_id = ? ORDER BY place"
        with self._library.reading() as db:
            return {row[0]: Item(*row) for row in db.execute(query, (source_id,))}

    def keep(self, source_id: str, items: Sequence[Item]) -> None:
        """Add items to a source, or replace those of the same places; a source forgotten meanwhile gets none."""
        rows = [(item.place, item.state, item.mark, item.etag, item.modified, source_id) for item in items]
        with self._library.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO items (source_id, place, state, mark, etag, modified) "
                "SELECT id, ?, ?, ?, ?, ? FROM sources WHERE id = ?",
                rows,
            )

    def drop(self, source_id: str, places: Sequence[str]) -> None:
        """Take items out of a source."""
        with self._library.transaction() as db:
            query = "DELETE FROM items WHERE source_id = ? AND place = ?"
            db.executemany(query, [(source_id, place) for place in places])

    def holders(self, place: str) -> list[str]:
        """Return the ids of the sources that have a place as an item."""
        query = "SELECT source_id FROM items JOIN sources ON sources.id = source_id WHERE place = ? ORDER BY number"
        with self._library.reading() as db:
            return [row[0] for row in db.execute(query, (place,))]

    def owner(self, place: str) -> str | None:
        """Return the id of the first source that has a place as an item that was read, or None."""
        query = (
            "SELECT sources.id FROM items JOIN sources ON sources.id = source_id "
            "WHERE place = ? AND state = 'done' ORDER BY number LIMIT 1"
        )
        with self._library.reading() as db:
            row = db.execute(query, (place,)).fetchone()
        return row[0] if row else None

    def fact(self, name: str) -> str:
        """Return what was noted under a name, "" if nothing was."""
        with self._library.reading() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def note(self, name: str, value: str) -> None:
        """Note something under a name: a choice that outlives the process."""
        with self._library.transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def _source(row: Sequence[str]) -> Source:
    id_, kind, location, checked, posts = row
    return Source(id_, kind, location, int(posts), checked)  # type: ignore[arg-type]
