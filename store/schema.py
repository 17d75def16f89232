"""The tables of the library's file, version by version, and how an older file is brought up to date.

Apart from library.py, which only ever sees the last version: a backup is held against the version that it has."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rag.errors import StoreError

_FIRST_SCHEMA = """
CREATE TABLE posts (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    date TEXT,
    url TEXT,
    tags TEXT NOT NULL,
    content_hash TEXT NOT NULL
);
CREATE INDEX posts_by_content ON posts (content_hash);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    post_id TEXT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    text TEXT NOT NULL,
    heading TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX passages_by_post ON passages (post_id);
CREATE INDEX passages_by_hash ON passages (hash);
CREATE VIRTUAL TABLE passage_words USING fts5 (
    heading, text, content='passages', content_rowid='id', tokenize='porter unicode61'
);
CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
    INSERT INTO passage_words (rowid, heading, text) VALUES (new.id, new.heading, new.text);
END;
CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
    INSERT INTO passage_words (passage_words, rowid, heading, text)
    VALUES ('delete', old.id, old.heading, old.text);
END;
CREATE TABLE vectors (
    hash TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (hash, fingerprint)
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_SOURCES_SCHEMA = """
ALTER TABLE posts ADD COLUMN author TEXT;
ALTER TABLE posts ADD COLUMN pages TEXT NOT NULL DEFAULT '[]';
CREATE TABLE origins (
    source TEXT PRIMARY KEY,
    place TEXT NOT NULL,
    post_id TEXT NOT NULL REFERENCES posts (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX origins_by_post ON origins (post_id);
CREATE INDEX origins_by_place ON origins (place);
INSERT INTO origins SELECT source, source, id FROM posts;
CREATE TABLE put_away (source_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE sketches (
    hash INTEGER NOT NULL,
    post_id TEXT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    PRIMARY KEY (hash, post_id)
) WITHOUT ROWID;
CREATE INDEX sketches_by_post ON sketches (post_id);
CREATE TABLE sources (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    location TEXT NOT NULL UNIQUE,
    checked TEXT
);
CREATE TABLE items (
    source_id TEXT NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    place TEXT NOT NULL,
    state TEXT NOT NULL,
    mark TEXT NOT NULL,
    etag TEXT NOT NULL,
    modified TEXT NOT NULL,
    PRIMARY KEY (source_id, place)
) WITHOUT ROWID;
CREATE INDEX items_by_place ON items (place);
"""

_LISTED_SCHEMA = """
CREATE INDEX posts_listed ON posts (id, source, title, url, date, tags);
"""  # what lists and filters need, without reading past the texts: 7,000 posts in 9 instead of 51 ms (2026-11-25)

_GOLD_SCHEMA = """
CREATE TABLE gold_questions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    text TEXT NOT NULL UNIQUE,
    denied INTEGER NOT NULL
);
CREATE TABLE gold_marks (
    question_id INTEGER NOT NULL REFERENCES gold_questions (id) ON DELETE CASCADE,
    post_id TEXT NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    quote TEXT NOT NULL,
    PRIMARY KEY (question_id, post_id, start)
) WITHOUT ROWID;
CREATE INDEX gold_marks_by_post ON gold_marks (post_id);
CREATE TRIGGER gold_mark_removed AFTER DELETE ON gold_marks BEGIN
    DELETE FROM gold_questions WHERE id = old.question_id AND NOT denied
    AND NOT EXISTS (SELECT 1 FROM gold_marks WHERE question_id = old.question_id);
END;
"""

_CONVERSATIONS_SCHEMA = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    begun TEXT NOT NULL,
    changed TEXT NOT NULL
);
CREATE INDEX conversations_by_change ON conversations (changed);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    question TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    thumb TEXT NOT NULL,
    said TEXT NOT NULL,
    citations TEXT NOT NULL,
    quotes TEXT NOT NULL,
    hits TEXT NOT NULL,
    posts TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX turns_by_conversation ON turns (conversation_id);
CREATE TABLE turn_posts (
    turn_id INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    post_id TEXT NOT NULL,
    PRIMARY KEY (turn_id, post_id)
) WITHOUT ROWID;
CREATE INDEX turn_posts_by_post ON turn_posts (post_id);
CREATE TRIGGER post_removed_from_turns AFTER DELETE ON posts BEGIN
    UPDATE turns SET
        said = (SELECT json_group_array(json(CASE
            WHEN EXISTS (SELECT 1 FROM json_each(piece.value, '$.posts') AS had WHERE had.value = old.id)
            THEN json_set(piece.value, '$.text', '[From a post that was removed.]') ELSE piece.value END))
            FROM json_each(said) AS piece),
        citations = (SELECT json_group_array(json(CASE WHEN json_extract(cited.value, '$.post_id') = old.id
            THEN json_set(cited.value, '$.title', 'This post was removed.', '$.url', NULL, '$.date', NULL,
                '$.quote', '', '$.start', 0, '$.end', 0, '$.page', NULL) ELSE cited.value END))
            FROM json_each(citations) AS cited),
        quotes = (SELECT json_group_array(json(CASE WHEN json_extract(cited.value, '$.post_id') = old.id
            THEN json_set(cited.value, '$.title', 'This post was removed.', '$.url', NULL, '$.date', NULL,
                '$.quote', '', '$.start', 0, '$.end', 0, '$.page', NULL) ELSE cited.value END))
            FROM json_each(quotes) AS cited),
        posts = (SELECT json_group_array(json(listed.value)) FROM json_each(posts) AS listed
            WHERE json_extract(listed.value, '$.id') != old.id)
    WHERE id IN (SELECT turn_id FROM turn_posts WHERE post_id = old.id);
    DELETE FROM turn_posts WHERE post_id = old.id;
END;
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST_SCHEMA,
    _SOURCES_SCHEMA,
    _LISTED_SCHEMA,
    _GOLD_SCHEMA,
    _CONVERSATIONS_SCHEMA,
)
"""The schema of each version is made from the one before; PRAGMA user_version counts them. Only ever append."""


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the file at `path`, open as `db`, to the last version. Raise StoreError if a newer Footnote made it."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreError(f"{path} was made by a newer Footnote. Update this one, or set another FOOTNOTE_HOME.")
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        # one script, one transaction: a kill in the middle leaves the version before
        db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
