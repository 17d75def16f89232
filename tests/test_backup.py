"""Backups: one file that holds a library, and nothing in the place of it that was not checked whole."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag import commands
from rag.conversations import kept
from rag.errors import BadFile, Busy, FootnoteError, StoreError
from rag.records import Mark
from store.backup import FORMAT, SqliteVault
from store.library import SqliteLibrary
from store.schema import MIGRATIONS
from tests.fakes import FakeLibrary, FakeVault
from tests.house import ROOT, House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, post
from tests.test_contracts import put

pytestmark = pytest.mark.slow

QUESTION = "How is the starter fed every morning?"


@pytest.fixture
def full(house: House) -> House:
    """A house with two posts, a conversation, a mark and a source."""
    house.writer.pieces = ("Feed it every morning at eight with 50 grams of rye flour.",)
    house.write("sourdough.md", "---\ndate: 2024-03-02\ntags: [bread]\n---\n" + SOURDOUGH)
    house.write("flatbread.md", FLATBREAD)
    list(house.engine.add([str(house.home / "blog")]))
    *_, answer = house.engine.ask(QUESTION)
    house.engine.talks.keep(0, QUESTION, kept(answer))
    post_id = answer.hits[0].passage.post_id
    house.gold.mark(QUESTION, Mark(post_id, 0, 5, house.engine.post(post_id).text[:5]))
    house.catalogue.note("a secret of this machine", "hunter2")
    return house


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[House]:
    """Another house, with another post in it."""
    made = House(tmp_path / "elsewhere", real_stores=True)
    yield made
    made.close()


def titles(house: House) -> set[str]:
    return {post.title for post in house.engine.posts()}


def whole(house: House) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of the library."""
    with house.library.reading() as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        names = [name for name in names if not name.startswith(("passage_words", "sqlite_"))]
        return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in names}


@pytest.fixture(params=["fake", "real"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """A library and its vault."""
    library: Any = FakeLibrary() if request.param == "fake" else SqliteLibrary(tmp_path / "library.sqlite3")
    yield library, (FakeVault if request.param == "fake" else SqliteVault)(library)
    library.close()


class TestContract:
    def test_what_was_saved_comes_back(self, pair: tuple[Any, Any], tmp_path: Path) -> None:
        library, vault = pair
        put(library, post(SOURDOUGH))
        saved = vault.save(tmp_path / "saved")
        assert (saved.file, saved.posts) == (str(tmp_path / "saved"), 1)
        assert saved.bytes == (tmp_path / "saved").stat().st_size
        assert saved.sha256 == hashlib.sha256((tmp_path / "saved").read_bytes()).hexdigest()
        before = library.posts()
        library.remove(before[0].id)
        put(library, post(FLATBREAD))
        emptied: list[int] = []
        with pytest.raises(StoreError, match="--force"):
            vault.restore(tmp_path / "saved", first=lambda: emptied.append(1))
        assert not emptied
        assert vault.restore(tmp_path / "saved", force=True, first=lambda: emptied.append(1)) == 1
        assert library.posts() == before
        assert emptied == [1]

    def test_what_is_no_backup_is_refused_and_never_overwritten(self, pair: tuple[Any, Any], tmp_path: Path) -> None:
        library, vault = pair
        put(library, post(SOURDOUGH))
        essay = tmp_path / "essay.md"
        essay.write_text(FLATBREAD, encoding="utf-8")
        for file in (essay, tmp_path / "missing", tmp_path):
            with pytest.raises(BadFile, match=r"\.$"):
                vault.restore(file, force=True, first=lambda: pytest.fail("nothing may be touched"))
        with pytest.raises(BadFile, match="Choose another name"):
            vault.save(essay)
        assert essay.read_text(encoding="utf-8") == FLATBREAD
        vault.save(tmp_path / "saved")
        assert vault.save(tmp_path / "saved").posts == 1  # an older backup is replaced


class TestThereAndBack:
    def test_an_empty_library_gets_everything_and_embeds_nothing(self, full: House, elsewhere: House) -> None:
        file = full.home / "footnote.backup"
        saved = full.engine.backups.save(file)
        assert saved.posts == 2
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert elsewhere.engine.backups.restore(file) == 2
        machines_own = [fact for fact in whole(full)["facts"] if fact[0] != "splitter"]
        assert machines_own
        brought = whole(elsewhere)
        assert not set(machines_own) & set(brought["facts"])
        assert {**brought, "facts": sorted([*brought["facts"], *machines_own], key=repr)} == whole(full)
        elsewhere.restart()
        elsewhere.engine.prepare()
        assert elsewhere.embedder.passages == []
        assert all(check.ok for check in elsewhere.engine.checks())
        assert elsewhere.engine.search(QUESTION).hits[0].title == "Keeping a sourdough starter"
        [talk] = elsewhere.engine.talks.listed()
        assert elsewhere.engine.talks.open(talk.id)[0].answer.hits

    def test_what_an_open_page_goes_on_with_is_none_of_the_conversations_that_came_back(self, full: House) -> None:
        file = full.home / "footnote.backup"
        full.engine.backups.save(file)
        [open_talk] = full.engine.talks.listed()
        *_, answer = full.engine.ask(QUESTION)
        full.engine.backups.restore(file, force=True)
        [restored] = full.engine.talks.listed()
        assert full.engine.talks.keep(open_talk.id, "Another question", kept(answer))[0] not in (
            open_talk.id,
            restored.id,
        )
        assert [len(full.engine.talks.open(talk.id)) for talk in full.engine.talks.listed()] == [1, 1]
        full.engine.remove([full.engine.posts()[0].id])  # which looks up the turns that cite it

    def test_into_an_open_house_it_replaces_all_and_is_found_at_once(self, full: House, elsewhere: House) -> None:
        elsewhere.write_and_add("bicycle.md", BICYCLE)
        elsewhere.engine.prepare()
        file = full.home / "footnote.backup"
        full.engine.backups.save(file)
        with pytest.raises(StoreError, match="--force"):
            elsewhere.engine.backups.restore(file)
        assert titles(elsewhere) == {"A winter with my bicycle"}
        forgotten = elsewhere.writer.forgotten
        elsewhere.engine.backups.restore(file, force=True)
        assert elsewhere.writer.forgotten > forgotten  # what the writer has read of them goes with the posts
        assert titles(elsewhere) == titles(full)
        assert {hit.title for hit in elsewhere.engine.search("bicycle chain salt winter").hits} <= titles(full)
        assert elsewhere.engine.search(QUESTION).hits[0].title == "Keeping a sourdough starter"
        assert elsewhere.index.ids() == elsewhere.library.passage_ids()
        elsewhere.library.scrub()
        everything = b"".join(path.read_bytes() for path in elsewhere.home.glob("library.sqlite3*"))
        assert b"Salt eats the chain" not in everything

    def test_it_is_saved_while_others_write(self, full: House) -> None:
        stop, trouble = threading.Event(), []

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    full.write_and_add(f"more{number}.md", f"# Day {number}\n\nThe loaf rose by {number} millimetres.")
                except FootnoteError as error:
                    trouble.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for number in range(5):
                saved = full.engine.backups.save(full.home / f"saved{number}")
                assert saved.posts >= 2
        finally:
            stop.set()
            thread.join()
        assert not trouble
        last = House(full.home / "last", real_stores=True)
        assert last.engine.backups.restore(full.home / "saved4") == saved.posts
        last.close()

    def test_a_library_of_an_older_footnote_is_brought_up_to_date(self, full: House, elsewhere: House) -> None:
        data = full.home / "old.sqlite3"
        with closing(sqlite3.connect(data)) as db:
            for number, script in enumerate(MIGRATIONS[:2], start=1):
                db.executescript(f"{script} PRAGMA user_version = {number};")
            db.execute(
                "INSERT INTO posts (id, source, title, text, tags, content_hash) VALUES ('a', 'b', 'T', 'x', '[]', 'h')"
            )
            db.commit()
        file = pack(full.home / "old.backup", data, posts=1, schema=2)
        assert elsewhere.engine.backups.restore(file) == 1
        assert titles(elsewhere) == {"T"}


class TestPublic:
    def test_it_holds_the_posts_and_nothing_of_their_owner(self, full: House, elsewhere: House) -> None:
        file = full.home / "public.backup"
        assert full.engine.backups.save(file, public=True).posts == 2
        with zipfile.ZipFile(file) as archive:
            inside = archive.read("library.sqlite3")
        for secret in (QUESTION, "hunter2", str(full.home), "a secret of this machine"):
            assert secret.encode() not in inside
        elsewhere.engine.backups.restore(file)
        rows = whole(elsewhere)
        kept_tables = {"posts", "passages", "vectors", "origins", "sketches", "facts"}
        assert {name for name, found in rows.items() if found} <= kept_tables
        assert [row[0] for row in rows["facts"]] == ["splitter"]
        before, after = full.engine.posts(), elsewhere.engine.posts()
        assert [replace(post, source="") for post in after] == [replace(post, source="") for post in before]
        assert {post.source for post in after} == {"upload:sourdough.md", "upload:flatbread.md"}
        assert elsewhere.engine.search(QUESTION).hits[0].title == "Keeping a sourdough starter"

    def test_two_files_of_one_name_stay_two_posts(self, full: House, elsewhere: House) -> None:
        full.write_and_add("other/sourdough.md", "# Another starter\n\nThis one lives on spelt alone.")
        full.engine.backups.save(full.home / "public.backup", public=True)
        elsewhere.engine.backups.restore(full.home / "public.backup")
        sources = [post.source for post in elsewhere.engine.posts()]
        assert len(set(sources)) == 3
        assert all(source.startswith("upload:") and "/" not in source for source in sources)

    def test_a_file_and_an_upload_of_one_name_stay_two_posts(self, full: House, elsewhere: House) -> None:
        for number in range(8):  # ids are hashes: in some of these pairs the file comes first
            told = f"Rye number {number} is fed at {number} o'clock, and loaf {number} is baked the day after."
            full.write_and_add(f"rye-{number}.md", f"# Rye {number}\n\n{told}")
            list(full.engine.add_posts([post(f"# Other rye {number}\n\nOr not.", source=f"upload:rye-{number}.md")]))
        full.engine.backups.save(full.home / "public.backup", public=True)
        elsewhere.engine.backups.restore(full.home / "public.backup")
        assert len({post.source for post in elsewhere.engine.posts()}) == len(full.engine.posts())


def pack(file: Path, data: Path, **facts: Any) -> Path:
    """Write a backup by hand, whole unless `facts` say otherwise."""
    content = data.read_bytes()
    made = {"format": FORMAT, "schema": len(MIGRATIONS), "bytes": len(content), "posts": 2}
    made |= {"sha256": hashlib.sha256(content).hexdigest(), **facts}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("footnote.json", json.dumps(made))
        archive.writestr("library.sqlite3", content)
    return file


def named(file: Path, *names: str | zipfile.ZipInfo) -> Path:
    """Write a zip with members of these names."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


class TestHostileBackups:
    """Each ends as one sentence, and the library is as it was."""

    @pytest.fixture
    def refused(self, full: House) -> Callable[..., str]:
        full.engine.prepare()
        before = whole(full)

        def refuse(file: Path) -> str:
            with pytest.raises((BadFile, StoreError)) as raised:
                full.engine.backups.restore(file, force=True)
            assert whole(full) == before
            assert full.index.ids() == full.library.passage_ids()
            assert not (full.home / "backup.new").exists()
            assert not list(full.home.parent.glob("**/evil*"))
            said = str(raised.value)
            assert said.endswith(".")
            assert "\n" not in said
            return said

        return refuse

    @pytest.mark.parametrize("keep", [0.999, 0.5, 0.01])
    def test_one_that_was_cut_short(self, full: House, refused: Callable[..., str], keep: float) -> None:
        file = full.home / "saved"
        full.engine.backups.save(file)
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * keep)])
        assert "damaged or was cut short" in refused(file)

    @pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.7, 0.9])
    def test_one_with_another_byte_in_it(self, full: House, refused: Callable[..., str], at: float) -> None:
        file = full.home / "saved"
        full.engine.backups.save(file)
        content = bytearray(file.read_bytes())
        content[int(len(content) * at)] ^= 0x55
        file.write_bytes(bytes(content))
        assert "damaged" in refused(file)

    def test_one_from_a_newer_version(self, full: House, refused: Callable[..., str], tmp_path: Path) -> None:
        full.engine.backups.save(full.home / "saved")
        with zipfile.ZipFile(full.home / "saved") as archive:
            archive.extract("library.sqlite3", tmp_path / "out")
        data = tmp_path / "out" / "library.sqlite3"
        assert "newer Footnote" in refused(pack(full.home / "newer", data, format=FORMAT + 1))
        assert "newer Footnote" in refused(pack(full.home / "newer", data, schema=len(MIGRATIONS) + 1))
        with closing(sqlite3.connect(data)) as db:
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        assert "newer Footnote" in refused(pack(full.home / "newer", data))

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    @pytest.mark.parametrize(
        "names",
        [
            ("footnote.json", "../evil.sqlite3"),
            ("footnote.json", "/tmp/evil.sqlite3"),
            ("footnote.json", "library.sqlite3", "../../evil"),
            ("footnote.json", "library.sqlite3", "library.sqlite3"),
            ("footnote.json", "..\\evil"),
            ("footnote.json", link("library.sqlite3")),
            (link("footnote.json"), "library.sqlite3"),
            ("footnote.json",),
            (),
        ],
    )
    def test_one_that_holds_anything_else(self, full: House, refused: Callable[..., str], names: Any) -> None:
        assert "is no backup of Footnote" in refused(named(full.home / "strange", *names))

    @pytest.mark.parametrize(
        "facts",
        [
            "{}",
            "[]",
            "7",
            "{",
            '{"format": "x"}',
            '{"format": null}',
            "\ud800",
            "[" * 9000,
            '{"format": 1}',
            '{"format": 1, "schema": 1, "posts": Infinity, "bytes": 1}',
        ],
    )
    def test_one_whose_facts_are_none(self, full: House, refused: Callable[..., str], facts: str) -> None:
        with zipfile.ZipFile(full.home / "odd", "w") as archive:
            archive.writestr("footnote.json", facts.encode("utf-8", "surrogatepass"))
            archive.writestr("library.sqlite3", b"x")
        refused(full.home / "odd")

    def test_one_that_unfolds_to_more_than_it_says(self, full: House, refused: Callable[..., str]) -> None:
        file = full.home / "bomb"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            facts = {"format": 1, "schema": 1, "posts": 1, "bytes": 10, "sha256": ""}
            archive.writestr("footnote.json", json.dumps(facts))
            archive.writestr("library.sqlite3", b"\0" * 30_000_000)
        assert "damaged" in refused(file)
        assert "too little room" in refused(pack(full.home / "huge", full.library.path, bytes=10**18))

    @pytest.mark.parametrize(
        "harm",
        [
            "CREATE TRIGGER evil AFTER INSERT ON posts BEGIN DELETE FROM posts; END",
            "CREATE VIEW evil AS SELECT * FROM posts",
            "CREATE TABLE evil (x)",
            "DROP TABLE gold_marks",
            "DROP TRIGGER post_removed_from_turns",
            "UPDATE posts SET title = x'00ff'",
            "UPDATE posts SET tags = '[1]'",
            "UPDATE posts SET tags = 'bread'",
            "UPDATE posts SET date = 'yesterday'",
            "UPDATE posts SET pages = '[\"x\"]'",
            "UPDATE passages SET start = -1",
            "UPDATE passages SET start = 'x'",
            "UPDATE vectors SET vector = x'00'",
            "UPDATE vectors SET vector = x'0000c07f' || substr(vector, 5)",
            "UPDATE turns SET said = '[{}]'",
            "UPDATE turns SET facts = '{\"evil\": 1}'",
            "UPDATE turns SET said = '[{\"text\": 5}]'",
            'UPDATE turns SET said = \'[{"text": "x", "support": "yes", "citation": "<img src=x>"}]\'',
            "UPDATE turns SET citations = json_set(citations, '$[0].number', '<img src=x>')",
            "UPDATE turns SET citations = json_set(citations, '$[0].page', '<img src=x>')",
            "UPDATE passages SET heading = CAST(x'ff41' AS TEXT)",
            "INSERT INTO put_away VALUES (CAST(x'ff41' AS TEXT))",
            "PRAGMA foreign_keys = OFF; UPDATE passages SET id = 1099511627776 + id",
            "DELETE FROM posts WHERE title LIKE 'Flat%'",
            "PRAGMA foreign_keys = OFF; DELETE FROM posts",
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 5 WHERE name = 'posts'",
        ],
    )
    def test_one_whose_library_was_tampered_with(
        self, full: House, refused: Callable[..., str], tmp_path: Path, harm: str
    ) -> None:
        full.engine.backups.save(full.home / "saved")
        with zipfile.ZipFile(full.home / "saved") as archive:
            archive.extract("library.sqlite3", tmp_path / "out")
        data = tmp_path / "out" / "library.sqlite3"
        with closing(sqlite3.connect(data)) as db:
            db.executescript(harm)
            db.commit()
        refused(pack(full.home / "tampered", data))

    def test_one_that_is_no_library_at_all(self, full: House, refused: Callable[..., str]) -> None:
        data = full.home / "words"
        data.write_bytes(b"not a database, only words " * 200)
        refused(pack(full.home / "words.backup", data))

    def test_while_posts_come_in_nothing_is_replaced(self, full: House, monkeypatch: pytest.MonkeyPatch) -> None:
        full.engine.backups.save(full.home / "saved")
        monkeypatch.setattr(type(full.engine.jobs), "busy", True)
        with pytest.raises(Busy, match="try again"):
            full.engine.backups.restore(full.home / "saved", force=True)

    def test_a_place_that_cannot_be_written_is_a_sentence(self, full: House) -> None:
        for file in (full.home / "no" / "such" / "folder", full.home):
            with pytest.raises((StoreError, BadFile), match=r"\.$"):
                full.engine.backups.save(file)


def test_a_backup_that_cannot_be_finished_leaves_the_one_before(full: House, monkeypatch: pytest.MonkeyPatch) -> None:
    file = full.home / "saved"
    full.engine.backups.save(file)
    before = file.read_bytes()
    full.write_and_add("bicycle.md", BICYCLE)

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("store.backup.os.fsync", full_disk)
    with pytest.raises(StoreError, match=r"No space left on device.*try again\.$"):
        full.engine.backups.save(file)
    assert file.read_bytes() == before
    assert [path.name for path in full.home.glob("saved*")] == ["saved"]


KILLED = """
import os, sys
from pathlib import Path
from store.backup import SqliteVault
from store.library import SqliteLibrary
library = SqliteLibrary(Path(sys.argv[1]))
left = int(sys.argv[3])
def count():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
library._db.set_progress_handler(count, 50)
SqliteVault(library).restore(Path(sys.argv[2]), force=True, first=lambda: None)
"""


def test_a_kill_in_the_middle_leaves_the_old_library_or_the_new_one(full: House, elsewhere: House) -> None:
    elsewhere.write_and_add("bicycle.md", BICYCLE)
    file = full.home / "saved"
    full.engine.backups.save(file)
    old, new, path = titles(elsewhere), titles(full), elsewhere.library.path
    elsewhere.close()
    found = []
    for steps in (0, 3, 10, 20, 40, 60, 80, 100, 10_000):
        subprocess.run([sys.executable, "-c", KILLED, str(path), str(file), str(steps)], cwd=ROOT, check=False)
        library = SqliteLibrary(path)
        SqliteVault(library)
        assert not (path.parent / "backup.new").exists()  # it may hold what is removed now
        found.append({post.title for post in library.posts()})
        assert all(check.ok for check in library.checks())
        library.close()
    assert found[0] == old
    assert found[-1] == new
    assert all(titles in (old, new) for titles in found)
    elsewhere.restart()


class TestCommands:
    @pytest.fixture
    def typed(self, full: House) -> Callable[..., Any]:
        def run(*words: str) -> Any:
            parsed = commands.parser().parse_args(words)
            events = commands.run(full.engine, parsed.command, commands.arguments_of(parsed), list)
            [last] = [event for event in events if "result" in event or "error" in event]
            return last.get("result", last.get("error"))

        return run

    def test_both_say_what_they_did(self, full: House, typed: Callable[..., Any], monkeypatch: Any) -> None:
        monkeypatch.chdir(full.home)
        saved = typed("backup", "my.backup")
        assert saved == {
            "file": str(full.home / "my.backup"),
            "posts": 2,
            "bytes": (full.home / "my.backup").stat().st_size,
            "sha256": hashlib.sha256((full.home / "my.backup").read_bytes()).hexdigest(),
        }
        assert "--force" in typed("restore", "my.backup")
        assert typed("restore", "my.backup", "--force") == {"posts": 2}
