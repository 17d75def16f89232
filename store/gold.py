"""The gold set: which passages a person has marked as answers to which questions.

It lies in the library's file, so that what is marked goes, overwritten, with its post."""

from __future__ import annotations

import sqlite3

from rag.errors import NotFound
from rag.records import Judged, Mark
from store.library import SqliteLibrary

_OF = "(SELECT id FROM gold_questions WHERE text = ?)"


class SqliteGold:
    """Judged questions in the library's SQLite file. Safe to call from several threads."""

    def __init__(self, library: SqliteLibrary) -> None:
        """Use the file of a library that is open."""
        self._library = library

    def judged(self) -> list[Judged]:
        """List the questions that were judged, in the order in which they came."""
        query = (
            'SELECT text, post_id, start, "end", quote FROM gold_questions LEFT JOIN gold_marks ON question_id = id '
            "ORDER BY id, post_id, start"
        )
        found: dict[str, list[Mark]] = {}
        with self._library.reading() as db:
            for text, *mark in db.execute(query):
                found.setdefault(text, []).extend([Mark(*mark)] if mark[0] is not None else [])
        return [Judged(text, tuple(marks)) for text, marks in found.items()]

    def mark(self, question: str, mark: Mark) -> None:
        """Note that a place in a post answers a question. Raise NotFound if the post is gone."""
        with self._library.transaction() as db:
            if not db.execute("SELECT 1 FROM posts WHERE id = ?", (mark.post_id,)).fetchone():
                raise NotFound("The post of this passage is gone. Search again.")
            _ask(db, question, denied=False)
            values = (question, mark.post_id, mark.start, mark.end, mark.quote)
            db.execute(f"INSERT OR REPLACE INTO gold_marks VALUES ({_OF}, ?, ?, ?, ?)", values)

    def unmark(self, question: str, mark: Mark) -> None:
        """Take a mark back; a question without any other is forgotten."""
        with self._library.transaction() as db:
            query = f"DELETE FROM gold_marks WHERE question_id = {_OF} AND post_id = ? AND start = ?"
            db.execute(query, (question, mark.post_id, mark.start))

    def deny(self, question: str) -> None:
        """Note that no passage answers a question; its marks go."""
        with self._library.transaction() as db:
            _ask(db, question, denied=True)
            db.execute(f"DELETE FROM gold_marks WHERE question_id = {_OF}", (question,))

    def forget(self, question: str) -> None:
        """Forget a question and its marks."""
        with self._library.transaction() as db:
            db.execute("DELETE FROM gold_questions WHERE text = ?", (question,))


def _ask(db: sqlite3.Connection, question: str, *, denied: bool) -> None:
    query = "INSERT INTO gold_questions (text, denied) VALUES (?, ?) ON CONFLICT (text) DO UPDATE SET denied = ?"
    db.execute(query, (question, denied, denied))
