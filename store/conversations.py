"""The conversations that are kept: questions, answers and footnotes as they were, and what a person thought of them.

They lie in the library's file: a trigger there takes a post's words out of them in the transaction that removes it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from rag.errors import NotFound
from rag.records import Citation, KeptHit, KeptTurn, Said, StoredPost, Talk, Thumb
from store.library import SqliteLibrary

_LISTS: dict[str, Any] = {"said": Said, "citations": Citation, "quotes": Citation, "hits": KeptHit, "posts": StoredPost}
_FACTS = ("asked", "coverage", "probability", "refused", "failed", "note", "alone")
_COLUMNS = ("question", "asked_at", "thumb", *_LISTS, "facts")
_TALK = "SELECT id, title, begun, changed, (SELECT count(*) FROM turns WHERE conversation_id = talks.id) "
_WORDS = (
    "title || ' ' || (SELECT coalesce(group_concat(question || ' ' || (SELECT coalesce(group_concat("
    "json_extract(piece.value, '$.text'), ''), '') FROM json_each(said) AS piece), ' '), '') "
    "FROM turns WHERE conversation_id = talks.id)"
)


class SqliteConversations:
    """Conversations in the library's SQLite file. Safe to call from several threads."""

    def __init__(self, library: SqliteLibrary) -> None:
        """Use the file of a library that is open."""
        self._library = library
        with library.reading() as db:
            db.create_function("folded", 1, str.casefold)  # SQLite's own lower() knows ASCII alone

    def listed(self, words: Sequence[str] = (), limit: int = 1000) -> list[Talk]:
        """List conversations, the last changed first: those that have each of the words, in any case, in their title,
        questions or answers."""
        having = "".join(" AND instr(words, ?)" for _ in words)
        query = (
            f"{_TALK}{f', folded({_WORDS}) AS words' if words else ''} FROM conversations AS talks WHERE 1{having} "
            "ORDER BY changed DESC, id DESC LIMIT ?"
        )
        with self._library.reading() as db:
            rows = db.execute(query, (*(word.casefold() for word in words), limit)).fetchall()
        return [Talk(*row[:5]) for row in rows]

    def talk(self, talk_id: int) -> Talk:
        """Return how one is listed. Raise NotFound."""
        with self._library.reading() as db:
            row = db.execute(f"{_TALK} FROM conversations AS talks WHERE id = ?", (talk_id,)).fetchone()
        if not row:
            raise NotFound("This conversation was deleted. Choose another, or ask anew.")
        return Talk(*row)

    def turns(self, talk_id: int) -> list[KeptTurn]:
        """Return the turns of one, oldest first. Raise NotFound."""
        query = f"SELECT id, {', '.join(_COLUMNS)} FROM turns WHERE conversation_id = ? ORDER BY id"
        with self._library.reading() as db:
            self.talk(talk_id)
            return [_turn(row) for row in db.execute(query, (talk_id,))]

    def keep(self, talk_id: int, title: str, turn: KeptTurn, replaces: int = 0) -> tuple[int, int]:
        """Add a turn; return (id of its conversation, its own). `replaces` is the id of a turn that goes for it.

        Where there is no such conversation, or not any more, one of this title begins; one that is called after the
        question that is replaced gets this title.
        """
        with self._library.transaction() as db:
            for post_id in turn.post_ids - _there(db, turn.post_ids):
                turn = turn.without(post_id)  # it was removed while the answer was being written
            replaced = "FROM turns WHERE turns.id = ? AND conversation_id = conversations.id"
            named = f"UPDATE conversations SET title = ? WHERE id = ? AND title = (SELECT question {replaced})"
            db.execute(named, (title, talk_id, replaces))
            db.execute("DELETE FROM turns WHERE id = ? AND conversation_id = ?", (replaces, talk_id))
            changed = "UPDATE conversations SET changed = max(changed, ?) WHERE id = ?"
            if not db.execute(changed, (turn.asked_at, talk_id)).rowcount:
                begin = "INSERT INTO conversations (title, begun, changed) VALUES (?, ?, ?)"
                talk_id = db.execute(begin, (title, turn.asked_at, turn.asked_at)).lastrowid or 0
            turn_id = _insert(db, talk_id, turn)
        return talk_id, turn_id

    def judge(self, turn_id: int, thumb: Thumb) -> None:
        """Note what a person thinks of an answer. Raise NotFound."""
        with self._library.transaction() as db:
            if not db.execute("UPDATE turns SET thumb = ? WHERE id = ?", (thumb, turn_id)).rowcount:
                raise NotFound("This answer is not kept any more. Ask again to keep it.")

    def rename(self, talk_id: int, title: str) -> None:
        """Give a conversation another title. Raise NotFound."""
        with self._library.transaction() as db:
            self.talk(talk_id)
            db.execute("UPDATE conversations SET title = ? WHERE id = ?", (title, talk_id))

    def delete(self, talk_id: int) -> None:
        """Delete a conversation, words overwritten; one that is gone already does no harm."""
        with self._library.transaction() as db:
            db.execute("DELETE FROM conversations WHERE id = ?", (talk_id,))
        self._library.empty_log()  # until then it has its words


def _there(db: sqlite3.Connection, post_ids: Iterable[str]) -> set[str]:
    query = "SELECT id FROM posts WHERE id IN (SELECT value FROM json_each(?))"
    return {row[0] for row in db.execute(query, (json.dumps(list(post_ids)),))}


def _insert(db: sqlite3.Connection, talk_id: int, turn: KeptTurn) -> int:
    lists = [json.dumps([asdict(one) for one in getattr(turn, name)], ensure_ascii=False) for name in _LISTS]
    facts = json.dumps({name: getattr(turn, name) for name in _FACTS}, ensure_ascii=False)
    values = (talk_id, turn.question, turn.asked_at, turn.thumb, *lists, facts)
    columns = f"conversation_id, {', '.join(_COLUMNS)}"
    query = f"INSERT INTO turns ({columns}) VALUES ({', '.join('?' * len(values))})"
    turn_id = db.execute(query, values).lastrowid or 0
    db.executemany("INSERT INTO turn_posts VALUES (?, ?)", [(turn_id, post_id) for post_id in turn.post_ids])
    return turn_id


def _turn(row: Sequence[Any]) -> KeptTurn:
    id_, question, asked_at, thumb, *lists, facts = row
    read: dict[str, Any] = {
        name: tuple(kind(**_tuples(one)) for one in json.loads(text))
        for (name, kind), text in zip(_LISTS.items(), lists, strict=True)
    }
    return replace(KeptTurn(question, asked_at, **read, **json.loads(facts)), thumb=thumb, id=id_)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
