"""The library on a real disk: what is acknowledged stays, what is removed leaves no byte."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag.errors import StoreError
from rag.records import Mark, Passage
from store.catalogue import SqliteCatalogue
from store.gold import SqliteGold
from store.library import SqliteLibrary, free_bytes
from store.schema import MIGRATIONS
from tests.fakes import FakeEmbedder
from tests.house import ROOT
from tests.stories import FLATBREAD, SOURDOUGH, passages_of, post

FINGERPRINT = FakeEmbedder().fingerprint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "library.sqlite3"


@pytest.fixture
def library(path: Path) -> Iterator[SqliteLibrary]:
    made = SqliteLibrary(path)
    yield made
    made.close()


def put(library: SqliteLibrary, text: str, source: str = "/blog/bread.md") -> list[Passage]:
    a_post = post(text, source=source)
    passages = passages_of(a_post)
    vectors = FakeEmbedder().encode_documents([passage.embedded_text for passage in passages])
    return library.put(a_post, passages, vectors, FINGERPRINT)[0]


def on_disk(word: str, folder: Path) -> bool:
    """Say whether any file in the folder holds the word, in capitals or not."""
    return any(word.encode() in file.read_bytes().lower() for file in folder.rglob("*") if file.is_file())


class TestOpening:
    def test_a_new_file_has_the_newest_version(self, library: SqliteLibrary, path: Path) -> None:
        library.close()
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_posts_are_there_when_it_is_opened_again(self, library: SqliteLibrary, path: Path) -> None:
        stored = put(library, SOURDOUGH)
        library.close()
        again = SqliteLibrary(path)
        assert again.passages() == stored
        assert again.post(stored[0].post_id).text == SOURDOUGH
        again.close()

    def test_a_file_of_a_newer_footnote_is_refused_and_not_touched(self, library: SqliteLibrary, path: Path) -> None:
        put(library, SOURDOUGH)
        library.close()
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        with pytest.raises(StoreError, match=r"newer Footnote\. Update this one, or set another FOOTNOTE_HOME\.$"):
            SqliteLibrary(path)
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT count(*) FROM posts").fetchone() == (1,)

    def test_each_older_version_is_brought_up_to_date(self, path: Path) -> None:
        path.parent.mkdir()
        for version in range(len(MIGRATIONS)):
            path.unlink(missing_ok=True)
            with sqlite3.connect(path) as db:
                for script in MIGRATIONS[:version]:
                    db.executescript(script)
                db.execute(f"PRAGMA user_version = {version}")
            library = SqliteLibrary(path)
            put(library, SOURDOUGH)
            assert all(check.ok for check in library.checks())
            library.close()

    def test_what_is_no_database_is_refused(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("This is a shopping list: flour, salt, water. " * 100, encoding="utf-8")
        with pytest.raises(StoreError, match=r"is damaged .*restore a backup\.$"):
            SqliteLibrary(path)

    def test_a_folder_in_place_of_the_file_is_refused(self, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(StoreError, match=r"cannot be opened .*FOOTNOTE_HOME\.$"):
            SqliteLibrary(path)

    def test_a_file_in_place_of_the_folder_is_refused(self, path: Path) -> None:
        path.parent.write_text("not a folder", encoding="utf-8")
        with pytest.raises(StoreError, match=r"cannot be opened .*FOOTNOTE_HOME\.$"):
            SqliteLibrary(path)

    def test_a_path_in_any_script_works(self, tmp_path: Path) -> None:
        library = SqliteLibrary(tmp_path / "хлеб 'und' brot? #1" / "library.sqlite3")
        assert put(library, SOURDOUGH)
        library.close()


class TestSafety:
    def test_foreign_keys_and_secure_delete_are_on(self, library: SqliteLibrary) -> None:
        pragmas = {
            name: library._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("foreign_keys", "secure_delete")
        }
        assert pragmas == {"foreign_keys": 1, "secure_delete": 1}

    def test_a_passage_cannot_be_without_its_post(self, library: SqliteLibrary) -> None:
        put(library, SOURDOUGH)
        orphan = Passage("000000000000", 0, 5, "Bread", "Bread")
        with pytest.raises((StoreError, sqlite3.IntegrityError)):
            library.replace_passages([orphan], "by chapters")
        assert library.splitter() == ""
        assert len(library.passages()) == len(passages_of(post(SOURDOUGH)))

    def test_a_disk_that_fails_is_a_sentence_that_promises_nothing(self, library: SqliteLibrary) -> None:
        sentence = r"did not read or write as it should\. .* run doctor\.$"
        with pytest.raises(StoreError, match=sentence), library.reading():
            raise sqlite3.OperationalError("disk I/O error")

    def test_a_full_disk_is_a_sentence_and_the_posts_are_still_there(self, library: SqliteLibrary) -> None:
        stored = put(library, SOURDOUGH)
        pages = library._db.execute("PRAGMA page_count").fetchone()[0]
        library._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match=r"is full\. Free some space and try again; nothing was lost\.$"):
            put(library, FLATBREAD * 200, source="/blog/flatbread.md")
        with pytest.raises(StoreError, match="is full"):
            put(library, FLATBREAD * 200)  # the same source: the old text must survive
        assert library.passages() == stored
        assert library.post(stored[0].post_id).text == SOURDOUGH
        assert [check.ok for check in library.checks()] == [True, True, True]
        library._db.execute("PRAGMA max_page_count = 1000000")
        put(library, FLATBREAD * 200)
        assert library.count()[0] == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("moment", [0, 3, 8, 16, 24, 32, 1000])
    def test_a_kill_in_the_middle_leaves_the_old_post_or_the_new_one(self, tmp_path: Path, moment: int) -> None:
        path = tmp_path / "library.sqlite3"
        library = SqliteLibrary(path)
        before = put(library, SOURDOUGH)
        library.close()
        killed = subprocess.run([sys.executable, "-c", KILLED, str(path), str(moment)], cwd=ROOT, check=False)
        library = SqliteLibrary(path)
        text = library.post(before[0].post_id).text
        expected = {SOURDOUGH: passages_of(post(SOURDOUGH, source="/blog/bread.md")), CHANGED: changed_passages()}[text]
        assert [replace(passage, id=0) for passage in library.passages()] == expected
        assert killed.returncode == (-signal.SIGKILL if moment < 1000 else 0)
        assert text == CHANGED or moment < 1000
        assert [check.ok for check in library.checks()] == [True, True, True]
        assert len(library.vectors({passage.hash for passage in expected}, FINGERPRINT)) == len(expected)
        library.close()

    def test_integrity_checks_find_a_damaged_page(self, library: SqliteLibrary, path: Path) -> None:
        for number in range(30):
            put(library, f"Loaf {number} rose by {number} millimetres. " * 50, source=f"/blog/{number}.md")
        library.scrub()
        library.close()
        size = path.stat().st_size
        with path.open("r+b") as file:
            for offset in range(size // 3 // 4096 * 4096, size, 4096):
                file.seek(offset)
                file.write(os.urandom(64))
        library = SqliteLibrary(path)
        try:
            checks = library.checks()
        except StoreError as error:
            assert str(error).endswith(("restore a backup.", "FOOTNOTE_HOME."))  # noqa: PT017 - SQLite may refuse the file at once
        else:
            assert not all(check.ok for check in checks)
        library.close()

    def test_integrity_checks_find_words_that_are_not_in_the_passages(self, library: SqliteLibrary) -> None:
        put(library, SOURDOUGH)
        library._db.execute("INSERT INTO passage_words (rowid, heading, text) VALUES (999, 'x', 'zeppelin')")
        assert [check.name for check in library.checks() if not check.ok] == ["full-text integrity"]


CHANGED = FLATBREAD * 3


def changed_passages() -> list[Passage]:
    return passages_of(post(CHANGED, source="/blog/bread.md", title="Flatbread in twenty minutes"))


KILLED = """
import os, signal, sys
from pathlib import Path
from store.library import SqliteLibrary
from tests.test_library import CHANGED, put
library = SqliteLibrary(Path(sys.argv[1]))
left = int(sys.argv[2])
def count(statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
library._db.set_trace_callback(count)
put(library, CHANGED)
"""
"""Puts a changed post and kills its own process before the n-th statement."""


def test_what_is_no_post_leaves_what_is_remembered_of_them(library: SqliteLibrary) -> None:
    put(library, SOURDOUGH)
    library.lexical(["starter"], 5)
    remembered = library._full_text
    assert remembered is not None
    SqliteCatalogue(library).note("writer", "another")
    assert library._full_text is remembered
    with library.transaction():  # one inside another is part of it
        put(library, FLATBREAD)
    assert library._full_text is None
    assert library.lexical(["flatbread"], 5)


class TestForgetting:
    SECRET = "zinnoberwurz"

    def test_nothing_of_a_removed_post_is_left_on_the_disk(self, library: SqliteLibrary, path: Path) -> None:
        put(library, FLATBREAD, source="/blog/flat.md")
        [stored, *_] = put(library, self.story(), source=f"/blog/{self.SECRET}.md")
        put(library, SOURDOUGH, source="/blog/sour.md")
        assert on_disk(self.SECRET, path.parent)
        library.remove(stored.post_id)
        library.scrub()
        assert not on_disk(self.SECRET, path.parent)
        assert library.count()[0] == 2
        library.close()
        assert not on_disk(self.SECRET, path.parent)

    def test_what_was_marked_in_a_removed_post_goes_with_it_and_so_does_the_question(
        self, library: SqliteLibrary, path: Path
    ) -> None:
        [stored, *_] = put(library, self.story())
        gold = SqliteGold(library)
        gold.mark(f"Who knows the {self.SECRET}?", Mark(stored.post_id, stored.start, stored.end, stored.text))
        library.remove(stored.post_id)
        library.scrub()
        assert gold.judged() == []
        assert not on_disk(self.SECRET, path.parent)

    def test_nothing_of_a_replaced_text_is_left_on_the_disk(self, library: SqliteLibrary, path: Path) -> None:
        put(library, self.story())
        put(library, SOURDOUGH)
        library.scrub()
        assert not on_disk(self.SECRET, path.parent)

    def test_nothing_of_passages_split_anew_is_left_on_the_disk(self, library: SqliteLibrary, path: Path) -> None:
        [first, *_] = put(library, SOURDOUGH)
        library.replace_passages([Passage(first.post_id, 0, 3, "Fee", f"{self.SECRET} heading")], "by secrets")
        library.replace_passages([Passage(first.post_id, 0, 3, "Fee", "heading")], "by words")
        library.scrub()
        assert not on_disk(self.SECRET, path.parent)

    def story(self) -> str:
        return f"# My {self.SECRET}\n\n" + f"The {self.SECRET} is a fruit that nobody else may know of. " * 200


def test_free_bytes_are_told_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0
