"""The library: posts, passages, full-text search and vectors in one SQLite file: the truth.

All else is rebuilt from it. A post comes and goes in one transaction. What is removed is overwritten, full-text
index included."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import NotFound, StoreError
from rag.ports import Ids, Vectors
from rag.records import NO_FILTERS, Check, Filters, Label, Passage, Post, StoredPost, Way, id_of
from store.columns import Columns
from store.fulltext import FullText
from store.schema import migrate

_COMMON = 50  # posts that may share a run of words before it says nothing: it is in every footer of a site
_POST_COLUMNS = "source, title, text, date, url, tags, author, pages"
_PASSAGE_COLUMNS = 'post_id, start, "end", text, heading, id'
_PATIENCE_S = 10  # that another connection is waited for
_POSTINGS = 200_000
"""Passages with a word, summed over a question's words, up to which all its words are looked for, the rarest first: an
ordinary question stays far below among 100,000 passages; a whole pasted page takes no minute."""


class SqliteLibrary:
    """The posts in one SQLite file. Safe to call from several threads; one process at a time writes."""

    _columns: Columns | None
    _narrowed: tuple[Filters, Ids] | None  # the last answer of `within`: one search asks twice
    _full_text: FullText | None

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`. Raise StoreError if it is damaged or made by a newer Footnote."""
        self._path = path
        self._lock = threading.RLock()
        self._in_transaction = False
        self._log_is_due = False
        self._forget()
        self._kept = b""  # 1 at each id that `_saying` may return
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=_PATIENCE_S)
            for pragma in ("journal_mode = WAL", "foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.create_function("kept", 1, lambda id_: self._kept[id_])
            migrate(self._db, path)

    @property
    def path(self) -> Path:
        """The file it lies in."""
        return self._path

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

        `place` is the file or address it was read from; `sketch` is what its copies are known by.
        """
        with self.transaction(posts=True) as db:
            row = db.execute("SELECT id FROM posts WHERE source = ?", (post.source,)).fetchone()
            post_id = row[0] if row else _free_id(db, post)
            if row:
                _let_copies_go(db, post_id, post)
            gone = _delete_passages(db, post_id)
            columns = ("id", *_POST_COLUMNS.split(", "), "content_hash")
            values = (post_id, *_post_values(post), post.content_hash)
            changes = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
            db.execute(
                f"INSERT INTO posts ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
                f"ON CONFLICT (id) DO UPDATE SET {changes}",
                values,
            )
            db.execute("INSERT OR REPLACE INTO origins VALUES (?, ?, ?)", (post.source, place or post.source, post_id))
            db.execute("DELETE FROM put_away WHERE source_id = ?", (id_of(post.source),))
            db.execute("DELETE FROM sketches WHERE post_id = ?", (post_id,))
            db.executemany("INSERT OR IGNORE INTO sketches VALUES (?, ?)", [(hash_, post_id) for hash_ in sketch])
            stored = [_insert_passage(db, passage, post_id) for passage in passages]
            _insert_vectors(db, [passage.hash for passage in passages], vectors, fingerprint)
        return stored, gone

    def find(self, post: Post) -> tuple[str, bool] | None:
        """Return (id, unchanged) of the post that `post` would replace or repeat, or None if it is new."""
        with self.reading() as db:
            row = db.execute(
                f"SELECT {_POST_COLUMNS}, id FROM posts WHERE id = (SELECT post_id FROM origins WHERE source = ?)",
                (post.source,),
            ).fetchone()
            if row:
                return row[-1], _post(row) == post
            row = db.execute("SELECT id FROM posts WHERE content_hash = ?", (post.content_hash,)).fetchone()
            return (row[0], True) if row else None

    def similar(self, sketch: Sequence[int], limit: int) -> list[tuple[str, list[int]]]:
        """Return (id, sketch) of the posts that share most with a sketch, most first; what all share does not count."""
        shared = (
            "SELECT post_id FROM sketches WHERE hash IN (SELECT value FROM json_each(?) WHERE (SELECT count(*) FROM "
            f"(SELECT 1 FROM sketches AS same WHERE same.hash = value LIMIT {_COMMON + 1})) <= {_COMMON}) "
            "GROUP BY post_id ORDER BY count(*) DESC, post_id LIMIT ?"
        )
        with self.reading() as db:
            ids = [row[0] for row in db.execute(shared, (json.dumps(list(sketch)), limit))]
            own = "SELECT hash FROM sketches WHERE post_id = ?"
            return [(id_, [row[0] for row in db.execute(own, (id_,))]) for id_ in ids]

    def link(self, source: str, place: str, post_id: str) -> None:
        """Note that a post can be reached by another source, too."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO origins VALUES (?, ?, ?)", (source, place, post_id))
            db.execute("DELETE FROM put_away WHERE source_id = ?", (id_of(source),))

    def unlink(self, source: str) -> None:
        """Forget that a post can be reached by this source."""
        with self.transaction() as db:
            db.execute("DELETE FROM origins WHERE source = ?", (source,))

    def reached(self, places: Iterable[str]) -> dict[str, list[Way]]:
        """Return the ways to posts that go through these files and addresses; those without one are left out."""
        query = (
            "SELECT place, origins.source, post_id, title FROM origins JOIN posts ON posts.id = post_id "
            "WHERE place IN (SELECT value FROM json_each(?)) ORDER BY origins.source"
        )
        found: dict[str, list[Way]] = {}
        with self.reading() as db:
            for place, *way in db.execute(query, (json.dumps(list(places)),)):
                found.setdefault(place, []).append(Way(*way))
        return found

    def leave(self, source: str) -> tuple[str | None, list[int]]:
        """Let go of a source that is gone; return (id of the post if nothing else led to it and it is now removed, ids
        of its passages)."""
        with self.transaction(posts=True) as db:
            row = db.execute("SELECT post_id FROM origins WHERE source = ?", (source,)).fetchone()
            db.execute("DELETE FROM origins WHERE source = ?", (source,))
            if not row:
                return None, []
            other = db.execute("SELECT source FROM origins WHERE post_id = ? ORDER BY source", row).fetchone()
            if other:  # its copy takes its place; the text stays until that is read again
                db.execute("UPDATE posts SET source = ? WHERE id = ? AND source = ?", (*other, *row, source))
                return None, []
            gone = _delete_passages(db, row[0])
            db.execute("DELETE FROM posts WHERE id = ?", row)
        return row[0], gone

    def put_away(self) -> set[str]:
        """Return the ids (see id_of) of the sources whose posts the person removed and has not added again since."""
        with self.reading() as db:
            return {row[0] for row in db.execute("SELECT source_id FROM put_away")}

    def remove(self, post_id: str) -> list[int]:
        """Remove a post; return the ids of the passages that went. Raise NotFound."""
        with self.transaction(posts=True) as db:
            self._require(db, post_id)
            ways = db.execute("SELECT source, place FROM origins WHERE post_id = ?", (post_id,)).fetchall()
            # by their ids: what is removed is not to be named on the disk any more
            db.executemany("INSERT OR IGNORE INTO put_away VALUES (?)", [(id_of(source),) for source, _ in ways])
            gone = _delete_passages(db, post_id)
            db.execute("DELETE FROM posts WHERE id = ?", (post_id,))
            places = [(place,) for _, place in ways]
            db.executemany("DELETE FROM items WHERE place = ? AND place NOT IN (SELECT place FROM origins)", places)
            empty = "kind IN ('file', 'page') AND NOT EXISTS (SELECT 1 FROM items WHERE source_id = sources.id)"
            db.executemany(f"DELETE FROM sources WHERE location = ? AND {empty}", places)
        return gone

    def replace_passages(self, passages: Sequence[Passage], splitter: str) -> None:
        """Replace every passage in one transaction; those that did not change keep their ids."""
        with self.transaction(posts=True) as db:
            rows = db.execute(f"SELECT {_PASSAGE_COLUMNS} FROM passages").fetchall()
            old = {_key(passage): passage.id for passage in map(_passage, rows)}
            kept = {old[_key(passage)] for passage in passages if _key(passage) in old}
            for passage_id in set(old.values()) - kept:
                db.execute("DELETE FROM passages WHERE id = ?", (passage_id,))
            for passage in passages:
                if _key(passage) not in old:
                    _insert_passage(db, passage, passage.post_id)
            db.execute("INSERT OR REPLACE INTO facts VALUES ('splitter', ?)", (splitter,))

    def posts(self) -> list[StoredPost]:
        """List all posts, newest date first, those without a date last."""
        with self.reading() as db:
            return _listed(db)

    def post(self, post_id: str) -> Post:
        """Return one post whole. Raise NotFound."""
        with self.reading() as db:
            self._require(db, post_id)
            return _post(db.execute(f"SELECT {_POST_COLUMNS} FROM posts WHERE id = ?", (post_id,)).fetchone())

    def labels(self, post_ids: Iterable[str]) -> dict[str, Label]:
        """Return what a hit shows of each of these posts; missing ones are left out."""
        query = "SELECT id, title, url, date, pages FROM posts WHERE id IN (SELECT value FROM json_each(?))"
        with self.reading() as db:
            rows = db.execute(query, (json.dumps(list(post_ids)),)).fetchall()
        return {id_: Label(title, url, date, tuple(json.loads(pages))) for id_, title, url, date, pages in rows}

    def passages(self, ids: Sequence[int] | None = None) -> list[Passage]:
        """Return the passages with these ids (in this order, missing ones left out), or all by id."""
        with self.reading() as db:
            if ids is None:
                rows = db.execute(f"SELECT {_PASSAGE_COLUMNS} FROM passages ORDER BY id").fetchall()
                return [_passage(row) for row in rows]
            query = f"SELECT {_PASSAGE_COLUMNS} FROM passages WHERE id IN (SELECT value FROM json_each(?))"
            found = {row[5]: _passage(row) for row in db.execute(query, (json.dumps(list(map(int, ids))),))}
        return [found[passage_id] for passage_id in ids if passage_id in found]

    def passage_ids(self) -> set[int]:
        """Return the ids of all passages."""
        with self.reading() as db:
            return {row[0] for row in db.execute("SELECT id FROM passages")}

    def vectors(self, hashes: Iterable[str], fingerprint: str) -> dict[str, Vectors]:
        """Return the stored vectors of these passage hashes; missing ones are left out."""
        query = "SELECT hash, vector FROM vectors WHERE fingerprint = ? AND hash IN (SELECT value FROM json_each(?))"
        with self.reading() as db:
            rows = db.execute(query, (fingerprint, json.dumps(list(hashes)))).fetchall()
        return {hash_: np.frombuffer(blob, dtype=np.float32) for hash_, blob in rows}

    def keep_vectors(self, hashes: Sequence[str], vectors: Vectors, fingerprint: str) -> None:
        """Store vectors ahead of their passages, so that an interrupted rebuild resumes."""
        with self.transaction() as db:
            _insert_vectors(db, hashes, vectors, fingerprint)

    def forget_vectors(self, fingerprints: Sequence[str]) -> None:
        """Drop the vectors of every embedder but these, and those of no passage."""
        kept = json.dumps(list(fingerprints))
        with self.transaction() as db:
            db.execute("DELETE FROM vectors WHERE fingerprint NOT IN (SELECT value FROM json_each(?))", (kept,))
            db.execute("DELETE FROM vectors WHERE hash NOT IN (SELECT hash FROM passages)")

    def lexical(self, words: Sequence[str], limit: int, filters: Filters = NO_FILTERS) -> list[tuple[int, float]]:
        """Return (passage id, BM25 score, larger is better) of passages with any of the words, best first.

        Of words that very many passages have, the rarest are looked for: see `_POSTINGS`.
        """
        with self.reading() as db:
            full_text = self._words(db)
            found = [full_text.scores(word) for word in _rarest(full_text, words)]
            if not found:
                return []
            scores = np.bincount(np.concatenate([ids for ids, _ in found]), np.concatenate([each for _, each in found]))
            ids = np.flatnonzero(scores)
            if filters != NO_FILTERS:
                ids = np.intersect1d(ids, self.within(filters), assume_unique=True)
        if len(ids) > limit:
            ids = ids[scores[ids] >= np.partition(scores[ids], -limit)[-limit]]
        best = ids[np.argsort(-scores[ids], kind="stable")][:limit]
        return list(zip(best.tolist(), scores[best].tolist(), strict=True))

    def weights(self, words: Sequence[str]) -> dict[str, float]:
        """Return how telling each word is here: its inverse document frequency, smoothed."""
        with self.reading() as db:
            full_text = self._words(db)
            return {word: full_text.telling(word) for word in words}

    def kin(self, post_ids: Iterable[str]) -> dict[str, Ids]:
        """Return the ids of all passages of these posts."""
        with self.reading() as db:
            return self._in_columns(db).kin(post_ids)

    def within(self, filters: Filters) -> Ids:
        """Return the ids of the passages that the filters let through."""
        with self.reading() as db:
            columns = self._in_columns(db)
            if self._narrowed is None or self._narrowed[0] != filters:
                ids = columns.passages(columns.posts(filters))
                for word in filters.without:
                    ids = np.setdiff1d(ids, _having(db, word), assume_unique=True)
                for phrase in filters.phrases:
                    ids = self._saying(db, phrase, ids)
                self._narrowed = filters, ids
            return self._narrowed[1]

    def mentioning(self, phrases: Sequence[str], filters: Filters = NO_FILTERS) -> list[StoredPost]:
        """List the posts that the filters let through and that have each of the phrases somewhere, newest date first.

        A phrase is one word or several in a row, endings aside. A filter's own phrases and words count for the post
        as a whole here.
        """
        with self.reading() as db:
            columns = self._in_columns(db)
            posts = columns.posts(filters)
            for phrase in phrases:
                posts &= columns.holders(_having(db, phrase))
            for word in filters.without:
                posts &= ~columns.holders(_having(db, word))
            for phrase in filters.phrases:
                posts &= columns.holders(self._saying(db, phrase, columns.passages(posts)))
            return _listed(db, columns.names(posts))

    def count(self) -> tuple[int, int]:
        """Return how many posts and passages there are."""
        with self.reading() as db:
            posts, passages = db.execute(
                "SELECT (SELECT count(*) FROM posts), (SELECT count(*) FROM passages)"
            ).fetchone()
        return posts, passages

    def splitter(self) -> str:
        """Return the splitter that made the stored passages, or "" if none has."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'splitter'").fetchone()
        return row[0] if row else ""

    def scrub(self) -> None:
        """Overwrite what was removed wherever SQLite still has it: in FTS5's older segments, then in the WAL file."""
        with self.transaction() as db:
            db.execute("INSERT INTO passage_words (passage_words) VALUES ('optimize')")
        self.empty_log()

    def empty_log(self) -> None:
        """Overwrite what was removed in the WAL file: now, or after the next change if a backup reads just now."""
        with self._lock, _explained(self._path):
            self._db.execute("PRAGMA busy_timeout = 0")
            try:
                busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {1000 * _PATIENCE_S}")
            self._log_is_due = bool(busy)

    def checks(self) -> list[Check]:
        """Run SQLite's integrity_check, foreign_key_check and FTS5's integrity-check."""
        posts, passages = self.count()
        return [
            Check("library", True, f"{posts} posts, {passages} passages in {self._path}"),
            self._check("library integrity", self._integrity),
            self._check("full-text integrity", self._full_text_integrity),
        ]

    def close(self) -> None:
        """Close the file. Using the library after this is an error."""
        with self._lock:
            self._db.close()

    def _words(self, db: sqlite3.Connection) -> FullText:
        if self._full_text is None:
            self._full_text = FullText(db)
        return self._full_text

    def _in_columns(self, db: sqlite3.Connection) -> Columns:
        if self._columns is None:
            self._columns = Columns(db)
        return self._columns

    def _forget(self) -> None:
        """Forget what is remembered until posts change."""
        self._columns, self._narrowed, self._full_text, self._changed = None, None, None, False

    def _saying(self, db: sqlite3.Connection, phrase: str, among: Ids) -> Ids:
        """Return which of the passages say a phrase word for word, in any case: full-text search knows only stems."""
        words = re.findall(r"[^\W_]+", phrase)
        if not words:
            return among[:0]
        exact = re.compile(r"(?<![^\W_])" + r"[\W_]+".join(words) + r"(?![^\W_])", re.IGNORECASE)
        self._kept = self._in_columns(db).mask(among)
        query = "SELECT rowid, heading, text FROM passage_words WHERE passage_words MATCH ? AND kept(rowid)"
        rows = db.execute(query, (_phrase(phrase),))
        return _ids(id_ for id_, heading, text in rows if exact.search(text) or exact.search(heading))

    def _check(self, name: str, run: Callable[[], str]) -> Check:
        try:
            trouble = run()
        except StoreError as error:
            trouble = str(error)
        return Check(name, not trouble, trouble or "sound")

    def _integrity(self) -> str:
        with self.reading() as db:
            rows = [row[0] for row in db.execute("PRAGMA integrity_check(5)")]
            dangling = db.execute("PRAGMA foreign_key_check").fetchall()
        if rows != ["ok"]:
            return "; ".join(rows) + ". Restore a backup, or add the posts again to a new FOOTNOTE_HOME."
        return f"{len(dangling)} passages without a post. Run reindex." if dangling else ""

    def _full_text_integrity(self) -> str:
        with self.transaction() as db:
            db.execute("INSERT INTO passage_words (passage_words, rank) VALUES ('integrity-check', 1)")
        return ""

    def _require(self, db: sqlite3.Connection, post_id: str) -> None:
        if not db.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone():
            raise NotFound(f"There is no post with the id {post_id[:80]!r}. List the posts to see their ids.")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection, errors made sentences."""
        with self._lock, _explained(self._path):
            yield self._db

    @contextmanager
    def transaction(self, *, posts: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the connection for changes that are done all or none; one inside another is part of it.

        `posts`: posts or passages change, and what is remembered of them is forgotten.
        """
        with self._lock, _explained(self._path):
            self._changed |= posts
            if self._in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._in_transaction = True
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                self._in_transaction = False
                if self._changed:
                    self._forget()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            if self._log_is_due:
                self.empty_log()


def _rarest(full_text: FullText, words: Sequence[str]) -> list[str]:
    """Return the words that passages have, the rarest first, until so many passages have them together."""
    held = sorted((held, word) for word in dict.fromkeys(words) if (held := full_text.holders(word)))
    together = accumulate(held for held, _ in held)
    return [word for (held, word), sum_ in zip(held, together, strict=True) if sum_ <= _POSTINGS or sum_ == held]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences."""
    try:
        yield
    except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as error:
        reason = str(error)
        if "disk is full" in reason or getattr(error, "errno", 0) == 28:
            raise StoreError(
                f"The disk that holds {path.parent} is full. Free some space and try again; nothing was lost."
            ) from error
        if "disk I/O error" in reason:  # SQLite's word for a disk that is gone, failing, or has no room for its log
            raise StoreError(
                f"The disk that holds {path.parent} did not read or write as it should. See that it is there and has "
                "room, then run doctor."
            ) from error
        if "locked" in reason:
            raise StoreError(f"Another program holds {path}. Close it and try again.") from error
        if "malformed" in reason or "not a database" in reason:
            raise StoreError(
                f"{path} is damaged ({reason}). Move it away and add your posts again, or restore a backup."
            ) from error
        if isinstance(error, OSError) or "unable to open" in reason or "readonly" in reason:
            raise StoreError(
                f"{path} cannot be opened ({reason}). Check the folder's permissions, or set another FOOTNOTE_HOME."
            ) from error
        raise


def _free_id(db: sqlite3.Connection, post: Post) -> str:
    """Return the id for a new post: its own, unless a copy has kept that one after its first source was gone."""
    id_ = post.id
    while db.execute("SELECT 1 FROM posts WHERE id = ?", (id_,)).fetchone():
        id_ = hashlib.sha256(id_.encode()).hexdigest()[:12]
    return id_


def _let_copies_go(db: sqlite3.Connection, post_id: str, post: Post) -> None:
    """Let the copies of a post whose text changes be read again: they may have become posts of their own."""
    if db.execute("SELECT content_hash FROM posts WHERE id = ?", (post_id,)).fetchone()[0] == post.content_hash:
        return
    copies = "post_id = ? AND source != ?"
    db.execute(
        f"UPDATE items SET state = 'failed' WHERE place IN (SELECT place FROM origins WHERE {copies})",
        (post_id, post.source),
    )
    db.execute(f"DELETE FROM origins WHERE {copies}", (post_id, post.source))


def _insert_passage(db: sqlite3.Connection, passage: Passage, post_id: str) -> Passage:
    cursor = db.execute(
        'INSERT INTO passages (post_id, start, "end", text, heading, hash) VALUES (?, ?, ?, ?, ?, ?)',
        (post_id, passage.start, passage.end, passage.text, passage.heading, passage.hash),
    )
    return Passage(post_id, passage.start, passage.end, passage.text, passage.heading, cursor.lastrowid or 0)


def _insert_vectors(db: sqlite3.Connection, hashes: Sequence[str], vectors: Vectors, fingerprint: str) -> None:
    rows = (
        (hash_, fingerprint, np.ascontiguousarray(vector, dtype=np.float32).tobytes())
        for hash_, vector in zip(hashes, vectors, strict=True)
    )
    db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)


def _delete_passages(db: sqlite3.Connection, post_id: str) -> list[int]:
    gone = db.execute("SELECT id, hash FROM passages WHERE post_id = ?", (post_id,)).fetchall()
    db.execute("DELETE FROM passages WHERE post_id = ?", (post_id,))
    unused = (
        "DELETE FROM vectors WHERE hash = ? AND NOT EXISTS (SELECT 1 FROM passages WHERE passages.hash = vectors.hash)"
    )
    db.executemany(unused, [(hash_,) for _, hash_ in gone])
    return [passage_id for passage_id, _ in gone]


def _post(row: Sequence[Any]) -> Post:
    source, title, text, date, url, tags, author, pages = row[:8]
    return Post(source, title, text, date, url, tuple(json.loads(tags)), author, tuple(json.loads(pages)))


def _post_values(post: Post) -> tuple[Any, ...]:
    """Return a post's values in the order of _POST_COLUMNS."""
    tags, pages = json.dumps(post.tags), json.dumps(post.pages)
    return post.source, post.title, post.text, post.date, post.url, tags, post.author, pages


def _listed(db: sqlite3.Connection, ids: Sequence[str] | None = None) -> list[StoredPost]:
    """List the posts with these ids, or all, newest date first, those without a date last."""
    chosen = "" if ids is None else "WHERE id IN (SELECT value FROM json_each(?)) "
    rows = db.execute(
        "SELECT id, source, title, url, date, tags, (SELECT count(*) FROM passages WHERE post_id = posts.id) "
        f"FROM posts {chosen}ORDER BY date IS NULL, date DESC, title, id",
        () if ids is None else (json.dumps(ids),),
    )
    return [_stored(row) for row in rows]


def _stored(row: Sequence[Any]) -> StoredPost:
    post_id, source, title, url, date, tags, passages = row
    return StoredPost(post_id, source, title, url, date, tuple(json.loads(tags)), passages)


def _phrase(words: str) -> str:
    """Return words as FTS5 looks for them in a row, whatever they hold."""
    return '"' + words.replace('"', " ").replace("\0", " ") + '"'


def _having(db: sqlite3.Connection, phrase: str) -> Ids:
    """Return the ids of the passages that have these words in a row, endings aside."""
    return _ids(
        row[0] for row in db.execute("SELECT rowid FROM passage_words WHERE passage_words MATCH ?", (_phrase(phrase),))
    )


def _ids(numbers: Iterable[int]) -> Ids:
    return np.fromiter(numbers, dtype=np.int64)


def _passage(row: Sequence[Any]) -> Passage:
    return Passage(*row)


def _key(passage: Passage) -> tuple[str, int, int, str]:
    return passage.post_id, passage.start, passage.end, passage.hash


def free_bytes(folder: Path) -> int:
    """Return how many bytes are free on the disk that holds `folder`."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
