"""One file that holds a library: written whole or not at all, and believed only once all of it was checked.

It is a zip of two members, what it is and the library's own SQLite file. A restored one is not put in the place of the
file that is open: its rows come over in one transaction, so that a kill leaves the old library or the new one."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import sqlite3
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import date, datetime, timezone
from pathlib import Path
from typing import IO

import numpy as np
from pydantic import TypeAdapter

from rag.errors import BadFile, FootnoteError, StoreError
from rag.records import KeptTurn, Snapshot
from store.catalogue import SqliteCatalogue
from store.conversations import SqliteConversations
from store.gold import SqliteGold
from store.library import SqliteLibrary, free_bytes
from store.schema import MIGRATIONS

FORMAT = 1
_FACTS, _DATA = "footnote.json", "library.sqlite3"
_PUBLIC = ("posts", "passages", "vectors", "origins", "sketches", "facts")
"""The tables whose rows a public snapshot keeps; any other's, also those that come one day, stay at home."""
_BLOCK = 1 << 20  # bytes read at once
_FACTS_BYTES = 10_000
_LARGEST_ID = 1 << 26  # of a passage: search keeps a number for each below the largest
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)
_TURN = TypeAdapter(KeptTurn)
_DAMAGED = "{} is damaged or was cut short. Take another backup."
_STRANGE = "{} is no backup of Footnote. Name a file that `backup` has written."
_NEWER = "{} was made by a newer Footnote. Update this one, then restore it."


class SqliteVault:
    """Writes the library into one file, and takes it back from there. Safe to call from several threads."""

    def __init__(self, library: SqliteLibrary) -> None:
        """Use the file of a library that is open."""
        self._library = library
        self._lock = threading.Lock()
        self._clear()

    def save(self, file: Path, *, public: bool = False) -> Snapshot:
        """Write the library to `file`, in one step, beside whoever reads and writes it. Raise BadFile or StoreError.

        `public`: only what visitors may read, without conversations, marks, sources, and places on this machine.
        """
        with self._lock, _explained(file), self._workplace() as folder:
            if file.exists() and not _is_ours(file):
                raise BadFile(f"{file} is there already and is no backup of Footnote. Choose another name.")
            copy = folder / _DATA
            with closing(sqlite3.connect(self._library.path)) as db:
                db.execute("VACUUM INTO ?", (str(copy),))
            if public:
                _strip(copy)
            with closing(sqlite3.connect(copy)) as db:
                posts = db.execute("SELECT count(*) FROM posts").fetchone()[0]
            facts = {
                "format": FORMAT,
                "schema": len(MIGRATIONS),
                "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "public": public,
                "posts": posts,
                "bytes": copy.stat().st_size,
                "sha256": _sha256(copy),
            }
            _write(file, json.dumps(facts), copy)
            return Snapshot(str(file), posts, file.stat().st_size, _sha256(file))

    def restore(self, file: Path, *, force: bool = False, first: Callable[[], None]) -> int:
        """Take the library from `file` in one transaction; return how many posts it has now.

        `force`: even if there is something that this replaces. `first` is called once the file was found sound and
        before anything is replaced. Raise BadFile or StoreError; then nothing has changed.
        """
        with self._lock, _explained(file), self._workplace() as folder:
            copy = folder / _DATA
            facts = _unpacked(file, copy)
            if not force and not self._is_empty():
                raise StoreError(
                    "There are posts or conversations already, and a backup replaces them all. Add --force if that is "
                    "what you want."
                )
            _check(file, copy, facts["posts"])
            if last := self._last_number():
                _renumber(copy, last)
            first()
            self._take_over(copy)
        return self._library.count()[0]

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        """Lend an empty folder beside the library; what a killed process left in it goes."""
        folder = self._clear()
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            self._clear()

    def _clear(self) -> Path:
        """Remove that folder, which a kill may have left there with words that were removed since; return its path."""
        folder = self._library.path.parent / "backup.new"
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def _is_empty(self) -> bool:
        with self._library.reading() as db:
            kept = ("posts", "sources", "conversations", "gold_questions")
            return not any(db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in kept)

    def _last_number(self) -> int:
        """Return the highest number that a conversation or a turn has had here."""
        with self._library.reading() as db:
            numbers = "SELECT max(seq) FROM sqlite_sequence WHERE name IN ('conversations', 'turns')"
            return int(db.execute(numbers).fetchone()[0] or 0)

    def _take_over(self, copy: Path) -> None:
        """Put a checked library's rows in the place of the open one's."""
        with self._library.reading() as db:
            db.execute("ATTACH ? AS snapshot", (str(copy),))
            try:
                with self._library.transaction(posts=True):
                    db.execute("PRAGMA defer_foreign_keys = ON")
                    for table in ("conversations", *_tables(db)):  # first: a post's removal would rewrite each turn
                        db.execute(f"DELETE FROM main.{table} {_of_the_posts(table)}")
                    for table in _tables(db):
                        columns = ", ".join(f'"{column}"' for column, *_ in _columns(db, table))
                        rows = f"SELECT {columns} FROM snapshot.{table} {_of_the_posts(table)}"
                        db.execute(f"INSERT INTO main.{table} ({columns}) {rows}")
            finally:
                db.execute("DETACH snapshot")


def _of_the_posts(table: str) -> str:
    """Return which rows a backup brings of a table: of the facts those of its posts, for models are a machine's own."""
    return "WHERE name = 'splitter'" if table == "facts" else ""


_NUMBERED = {"conversations": ("id",), "turns": ("id", "conversation_id"), "turn_posts": ("turn_id",)}
"""The columns with the numbers by which an open page knows conversations and turns."""


def _renumber(copy: Path, last: int) -> None:
    """Give conversations and turns numbers above `last`: what an open page still goes on with must be none of these."""
    with closing(sqlite3.connect(copy)) as db, db:
        there = [db.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0 for table in ("conversations", "turns")]
        by = max(last, *there)  # above its own as well, or two rows would have one number for a moment
        for table, columns in _NUMBERED.items():
            db.execute(f"UPDATE {table} SET {', '.join(f'{column} = {column} + {by}' for column in columns)}")


def _strip(copy: Path) -> None:
    """Take out of a copy what is its owner's alone, and write it anew so that nothing of it stays."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("BEGIN")
        for table in _tables(db):
            if table not in _PUBLIC:
                db.execute(f"DELETE FROM {table}")
        db.execute("DELETE FROM facts WHERE name != 'splitter'")
        taken: set[str] = set()
        places = db.execute("SELECT id, source FROM posts ORDER BY id").fetchall()
        db.execute("UPDATE posts SET source = id")  # or a new one could be that of a post whose turn is still to come
        for id_, source in places:
            db.execute("UPDATE posts SET source = ? WHERE id = ?", (_without_place(id_, source, taken), id_))
        db.execute("DELETE FROM origins")
        db.execute("INSERT INTO origins SELECT source, source, id FROM posts")
        db.execute("COMMIT")
        db.execute("VACUUM")


def _without_place(id_: str, source: str, taken: set[str]) -> str:
    """Return a source that tells no folder of the owner's: an address, or a file's bare name."""
    if not source.startswith(("https://", "http://")):
        source = "upload:" + source.removeprefix("upload:").replace("\\", "/").rpartition("/")[2]
    if source in taken:
        source = f"{source}#{id_}"
    taken.add(source)
    return source


def _write(file: Path, facts: str, copy: Path) -> None:
    """Write the zip beside `file` and put it there in one step; only its owner may read it."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                archive.writestr(_FACTS, facts)
                archive.write(copy, _DATA)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def is_public(file: Path) -> bool:
    """Say whether a backup holds only what visitors may read. Raise BadFile or StoreError if it is no backup."""
    with _explained(file), zipfile.ZipFile(file) as archive, archive.open(_FACTS) as stream:
        return json.loads(stream.read(_FACTS_BYTES))["public"] is True


def _is_ours(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return sorted(archive.namelist()) == [_FACTS, _DATA]
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _unpacked(file: Path, copy: Path) -> dict[str, int]:
    """Unpack a backup's library to `copy` and return its numbers. Raise BadFile if it is none, or not whole."""
    if not file.is_file():
        raise BadFile(f"There is no file {file}. Name one that `backup` has written.")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        plain = all(m.external_attr >> 28 in (0, 8) and not m.flag_bits & 1 for m in members)  # no links, no secrets
        if sorted(member.filename for member in members) != [_FACTS, _DATA] or not plain:
            raise BadFile(_STRANGE.format(file))
        with archive.open(_FACTS) as stream:
            facts = json.loads(stream.read(_FACTS_BYTES))
        if facts["format"] > FORMAT or facts["schema"] > len(MIGRATIONS):
            raise BadFile(_NEWER.format(file))
        numbers = {name: int(facts[name]) for name in ("schema", "posts", "bytes")}
        if 3 * numbers["bytes"] > free_bytes(copy.parent):
            raise StoreError(f"The disk that holds {copy.parent.parent} has too little room. Free some and try again.")
        with archive.open(_DATA) as stream, copy.open("wb") as out:
            hash_ = _copied(stream, out, numbers["bytes"])
    if copy.stat().st_size != numbers["bytes"] or hash_ != facts["sha256"]:
        raise BadFile(_DAMAGED.format(file))
    return numbers


def _copied(stream: IO[bytes], out: IO[bytes], most: int) -> str:
    """Copy at most one block more than `most` bytes; return their SHA-256."""
    digest = hashlib.sha256()
    while out.tell() <= most and (block := stream.read(_BLOCK)):
        digest.update(block)
        out.write(block)
    return digest.hexdigest()


def _check(file: Path, copy: Path, posts: int) -> None:
    """Bring a library that came from elsewhere up to date and read all of it. Raise BadFile if anything is odd."""
    try:
        with closing(sqlite3.connect(copy)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise BadFile(_NEWER.format(file))
            if _schema(db) != _made(version):
                raise BadFile(_STRANGE.format(file))
        library = SqliteLibrary(copy)
        try:
            if not all(check.ok for check in library.checks()) or len(library.posts()) != posts:
                raise BadFile(_DAMAGED.format(file))
            with library.reading() as db:
                _check_values(db)
            _read_all(library)
        finally:
            library.close()
    except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError, StoreError) as error:
        raise BadFile(_DAMAGED.format(file)) from error


def _check_values(db: sqlite3.Connection) -> None:
    """Raise ValueError unless each value has the type that its column says, and numbers and vectors make sense."""
    for table in _tables(db):
        for column, kind, required in _columns(db, table):
            types = f"'{kind.lower()}'" + ("" if required else ", 'null'")
            _none(db, f'{table} WHERE typeof("{column}") NOT IN ({types})')
        for _ in db.execute(f"SELECT * FROM {table}"):  # text that is none raises here
            pass
    _none(db, f"passages WHERE id NOT BETWEEN 1 AND {_LARGEST_ID}")
    _none(db, 'passages WHERE start < 0 OR "end" < start')
    _none(db, "(SELECT count(DISTINCT length(vector)) AS n FROM vectors GROUP BY fingerprint) WHERE n != 1")
    for (vector,) in db.execute("SELECT vector FROM vectors"):
        if not np.isfinite(np.frombuffer(vector, dtype=np.float32)).all():
            raise ValueError("a vector that is none")


def _none(db: sqlite3.Connection, rows: str) -> None:
    if db.execute(f"SELECT 1 FROM {rows} LIMIT 1").fetchone():
        raise ValueError(rows)


def _read_all(library: SqliteLibrary) -> None:
    """Read every post, conversation, mark and source, as the app will. Raise whatever that raises."""
    for listed in library.posts():
        post = library.post(listed.id)
        date.fromisoformat(post.date or "2000-01-01")
        if not all(isinstance(tag, str) for tag in post.tags) or not all(type(page) is int for page in post.pages):
            raise ValueError("a post that is none")
    conversations, catalogue = SqliteConversations(library), SqliteCatalogue(library)
    for talk in conversations.listed(limit=1_000_000_000):
        for turn in conversations.turns(talk.id):
            _TURN.validate_json(json.dumps(asdict(turn)), strict=True)  # a number that is text would be HTML
    SqliteGold(library).judged()
    for source in catalogue.sources():
        catalogue.items(source.id)


def _tables(db: sqlite3.Connection) -> list[str]:
    """Return the tables of the library but those that SQLite keeps by itself."""
    own = "type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'passage_words%'"
    return [row[0] for row in db.execute(f"SELECT name FROM main.sqlite_master WHERE {own} ORDER BY name")]


def _columns(db: sqlite3.Connection, table: str) -> list[tuple[str, str, bool]]:
    """Return (name, type, whether it must have a value) of each column."""
    return [(row[1], row[2], bool(row[3] or row[5])) for row in db.execute(f"PRAGMA main.table_info({table})")]


def _schema(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return (type, name, SQL) of all that is defined; what full-text search keeps beneath, without its SQL."""
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name").fetchall()
    own = "passage_words_"
    return [(kind, name, "" if name.startswith(own) else " ".join(sql.split())) for kind, name, sql in rows]


def _made(version: int) -> list[tuple[str, str, str]]:
    """Return what a library of that version defines."""
    with closing(sqlite3.connect(":memory:")) as db:
        for script in MIGRATIONS[:version]:
            db.executescript(script)
        return _schema(db)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn what a file, a zip or SQLite can raise into sentences."""
    try:
        yield
    except FootnoteError:
        raise
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(
            f"{file} cannot be written or read ({reason}). Choose another place, or free some room, and try again."
        ) from error
    except (*_BROKEN_ZIP, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BadFile((_DAMAGED if _begins_a_zip(file) else _STRANGE).format(file)) from error


def _begins_a_zip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"PK"
