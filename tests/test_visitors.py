"""Visitors of a Space: each adds what nobody else sees, within limits, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.errors import BadAddress, BadFile, Busy, ModelError, NotFound
from rag.finding.joined import OTHERS
from rag.ports import Readers
from rag.visitors import NOBODY, Allowed, Line, Visitors
from store.catalogue import SqliteCatalogue
from store.conversations import SqliteConversations
from store.gold import SqliteGold
from store.library import SqliteLibrary
from store.vectors import ChromaIndex
from tests.fakes import DirectReaders, FakeWriter
from tests.house import House, outcomes
from tests.stories import SOURDOUGH

pytestmark = pytest.mark.slow

HARBOUR = "---\ntitle: The harbour\n---\n\nMy boat is called Nordlicht and lies at pier seven in the harbour of Kiel.\n"


class Space:
    """A Space with one post of its owner's, real stores and fake models."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.house = House(home, real_stores=True)
        self.house.write_and_add("sourdough.md", SOURDOUGH)
        self.now = 0.0
        self.open(Allowed(files=3, posts=4, characters=2_000, libraries=2, questions=3))

    def open(self, allowed: Allowed) -> None:
        def make(folder: Path, readers: Readers) -> Any:
            library = SqliteLibrary(folder / "library.sqlite3")
            kept = (SqliteCatalogue(library), SqliteGold(library), SqliteConversations(library))
            return self.house.engine.aside(library, *kept, ChromaIndex(folder / "index"), readers, folder)

        folder = self.home / "visitors"
        self.visitors = Visitors(
            self.house.engine, DirectReaders(), make, folder, self.home / "uploads", allowed, lambda: self.now
        )

    def file(self, name: str, text: str) -> tuple[Path, str]:
        path = self.home / "dropped" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        return path, name

    def add(self, visitor: str, name: str = "harbour.md", text: str = HARBOUR) -> list[Any]:
        return outcomes(self.visitors.visit(visitor).add_uploads([self.file(name, text)]))


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    made = Space(tmp_path)
    yield made
    made.visitors.close()
    made.house.close()


def titles(visit: Any) -> set[str]:
    return {post.title for post in visit.posts()}


def found(visit: Any, question: str) -> list[str]:
    return [hit.title for hit in visit.search(question).hits]


def test_a_visitor_reads_the_owners_posts(space: Space) -> None:
    anna = space.visitors.visit("anna")
    assert titles(anna) == {"Keeping a sourdough starter"}
    assert found(anna, "How is the starter fed?") == ["Keeping a sourdough starter"] * len(found(anna, "starter?"))
    assert "every morning" in anna.post(anna.posts()[0].id).text


def test_what_a_visitor_adds_is_searched_together_with_the_owners(space: Space) -> None:
    assert [outcome.state for outcome in space.add("anna")] == ["added"]
    anna = space.visitors.visit("anna")
    assert titles(anna) == {"Keeping a sourdough starter", "The harbour"}
    assert found(anna, "What is the boat in the harbour called?")[0] == "The harbour"
    assert found(anna, "How is the sourdough starter fed?")[0] == "Keeping a sourdough starter"
    for post in anna.posts():
        assert anna.post(post.id).title == post.title


def test_nobody_else_sees_it(space: Space) -> None:
    space.add("anna")
    [mine] = [post.id for post in space.visitors.visit("anna").posts() if post.title == "The harbour"]
    for other in ("ben", NOBODY):
        visit = space.visitors.visit(other)
        assert titles(visit) == {"Keeping a sourdough starter"}
        assert "The harbour" not in found(visit, "What is the boat in the harbour called?")
        with pytest.raises(NotFound):
            visit.post(mine)
    assert [post.title for post in space.house.engine.posts()] == ["Keeping a sourdough starter"]


def test_two_posts_of_one_name_stay_two(space: Space) -> None:
    space.house.engine.add_uploads([space.file("about.md", "# About the owner\n\nI bake bread every day.\n")])
    outcomes(space.house.engine.jobs.known[-1])
    space.add("anna", "about.md", "# About Anna\n\nI sail a boat in the harbour.\n")
    anna = space.visitors.visit("anna")
    assert {post.title: anna.post(post.id).text for post in anna.posts()} | {"Keeping a sourdough starter": ""} == {
        "About the owner": "# About the owner\n\nI bake bread every day.",
        "About Anna": "# About Anna\n\nI sail a boat in the harbour.",
        "Keeping a sourdough starter": "",
    }


def test_only_what_is_ones_own_can_be_removed(space: Space) -> None:
    anna = space.visitors.visit("anna")
    owners = anna.posts()[0].id
    with pytest.raises(NotFound, match="belongs to the owner"):
        anna.remove([owners])
    space.add("anna")
    for id_ in (owners, OTHERS + owners):
        with pytest.raises(NotFound):
            anna.remove([id_])
    [mine] = [post.id for post in anna.posts() if not post.id.startswith(OTHERS)]
    anna.remove([mine])
    assert titles(anna) == {"Keeping a sourdough starter"}


def test_a_visit_has_no_way_to_what_is_the_owners(space: Space) -> None:
    anna = space.visitors.visit("anna")
    for refused in (lambda: anna.look("https://example.org"), lambda: anna.add(["/etc/passwd"])):
        with pytest.raises(BadAddress, match="Visitors cannot add addresses"):
            refused()
    for name in ("choosing", "tuning", "quality", "backups", "add_posts", "sync", "forget", "reindex"):
        assert not hasattr(anna, name), name


def test_an_hour_after_leaving_nothing_is_left(space: Space) -> None:
    space.add("anna")
    space.now = 3000
    space.add("ben")
    space.now = 3700
    space.visitors.sweep()
    assert titles(space.visitors.visit("anna")) == {"Keeping a sourdough starter"}
    assert "The harbour" in titles(space.visitors.visit("ben"))
    assert len(list((space.home / "visitors").iterdir())) == 1


def test_one_that_cannot_be_sent_away_keeps_no_other(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    for name in ("anna", "ben"):
        space.add(name)
    monkeypatch.setattr(space.visitors.visit("anna"), "close", fail)
    space.now = 4000
    space.visitors.sweep()
    assert len(list((space.home / "visitors").iterdir())) == 1


def test_another_search_model_ends_no_answer(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    space.add("anna")
    anna = space.visitors.visit("anna")
    answers = anna.ask("Where does the boat Nordlicht lie?")
    next(answers)
    monkeypatch.setattr(type(space.house.engine), "outdated", property(lambda engine: engine is not space.house.engine))
    assert anna.trouble == ""
    assert titles(anna) == {"Keeping a sourdough starter"}
    assert list(answers)[-1].done
    assert titles(anna) == {"Keeping a sourdough starter"}
    assert "Add it again" in anna.trouble


def test_what_was_sent_and_never_added_goes_too(space: Space) -> None:
    uploads = space.home / "uploads" / "abc"
    uploads.mkdir(parents=True)
    for name, age in (("old.md", 4000), ("new.md", 10)):
        (uploads / name).write_text("A boat.", "utf-8")
        os.utime(uploads / name, (time.time() - age,) * 2)
    space.visitors.sweep()
    assert [path.name for path in uploads.iterdir()] == ["new.md"]


def test_what_a_killed_process_left_is_gone_at_the_next_start(space: Space) -> None:
    space.add("anna")
    space.open(Allowed())
    assert not (space.home / "visitors").exists()


def test_there_is_room_for_so_many_and_a_place_that_is_left_is_free_again(space: Space) -> None:
    space.add("anna")
    space.add("ben")
    with pytest.raises(Busy, match=r"Try again in an hour, or ask the posts that are here\."):
        space.add("cleo")
    space.now = 4000
    space.visitors.sweep()
    assert [outcome.state for outcome in space.add("cleo")] == ["added"]


def test_a_place_that_cannot_be_made_is_let_go_of_whole(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []
    engine = type(space.house.engine)
    close = engine.close
    monkeypatch.setattr(engine, "close", lambda self: (closed.append(self), close(self)))
    with monkeypatch.context() as broken:
        broken.setattr(engine, "prepare", refuse)
        with pytest.raises(ModelError):
            space.visitors.visit("anna").add_uploads([space.file("harbour.md", HARBOUR)])
    assert len(closed) == 1
    assert not list((space.home / "visitors").iterdir())
    assert space.add("anna")[-1].state == "added"


def refuse(*_: object) -> None:
    raise ModelError("There is no model.")


def test_an_exchanged_writer_goes_though_a_visitor_is_there(space: Space) -> None:
    space.add("anna")
    former = weakref.ref(space.house.writer)
    another = FakeWriter("Moored at pier seven.")
    space.house.engine._write_with(another)
    space.house.writer = space.house.stock.writers[""] = another
    gc.collect()
    assert former() is None
    assert "pier seven" in list(space.visitors.visit("anna").ask("Where does the boat lie in the harbour?"))[-1].text


def test_a_visitor_may_add_so_many_files(space: Space) -> None:
    for number in range(3):
        space.add("anna", f"{number}.md", f"# Post {number}\n\nA boat lies in harbour {number}.\n")
    file, name = space.file("4.md", HARBOUR)
    with pytest.raises(BadFile, match=r"may add 3 files, and you have added 3"):
        space.visitors.visit("anna").add_uploads([(file, name)])
    assert not file.exists()
    assert len(titles(space.visitors.visit("anna"))) == 4


def test_a_visitor_may_add_so_much_text(space: Space) -> None:
    [outcome] = space.add("anna", "long.md", "# Long\n\n" + "The boat sails on. " * 200)
    assert outcome.state == "failed"
    assert "a visitor may add 4 posts and 2,000 characters" in outcome.error


def test_a_path_in_a_name_is_a_name(space: Space) -> None:
    path, _ = space.file("x.md", HARBOUR)
    [outcome] = outcomes(space.visitors.visit("anna").add_uploads([(path, "../../../escaped.md")]))
    assert (outcome.state, outcome.source) == ("added", "upload:escaped.md")
    assert not list(space.home.parent.rglob("escaped.md"))


def test_without_a_cookie_nothing_can_be_added(space: Space) -> None:
    with pytest.raises(BadFile, match="keeps no cookie"):
        space.add(NOBODY)
    with pytest.raises(BadFile, match="keeps no cookie"):
        space.visitors.take_upload(NOBODY, 1)


def test_uploads_are_counted(space: Space) -> None:
    space.visitors.take_upload("anna", 20_000_000)
    with pytest.raises(Busy, match="within ten minutes"):
        space.visitors.take_upload("anna", 20_000_000)
    with pytest.raises(BadFile, match="more than 25 MB"):
        space.visitors.take_upload("ben", 26_000_000)
    space.now = 601
    space.visitors.take_upload("anna", 20_000_000)


def test_questions_are_counted(space: Space) -> None:
    for _ in range(3):
        assert list(space.visitors.visit("anna").ask("How is the starter fed?"))[-1].done
    with pytest.raises(Busy, match="Ask again in a few minutes"):
        list(space.visitors.visit("anna").ask("How is the starter fed?"))
    assert list(space.visitors.visit("ben").ask("How is the starter fed?"))[-1].done


def test_whoever_waits_is_told_how_many_are_before(space: Space) -> None:
    line = space.visitors.line
    with line.place("x"), line.place("y"):
        stop = threading.Event()
        steps = space.visitors.visit("anna").ask("How is the starter fed?", stop)
        assert next(steps).status == "1 question before yours…"
        stop.set()
        last = list(steps)[-1]
        assert last.done
        assert last.note == "Stopped while it was waiting."
    assert list(space.visitors.visit("anna").ask("How is the starter fed?"))[-1].hits


def test_a_line_is_kept_in_order_and_ends_somewhere() -> None:
    line = Line(at_once=1, waiting=2, each=1)
    with line.place("a") as a, line.place("b") as b, line.place("c") as c:
        assert [a(), b(), c()] == [0, 1, 2]
        with pytest.raises(Busy, match="3 visitors are waiting"), line.place("d"):
            pass
    with line.place("a"), pytest.raises(Busy, match="still being answered"), line.place("a"):
        pass


def test_another_search_model_sends_away_what_does_not_fit_it(space: Space) -> None:
    space.add("anna")
    space.house.engine.tuning.choose(space.house.embedder.dimension // 2)
    anna = space.visitors.visit("anna")
    assert titles(anna) == {"Keeping a sourdough starter"}
    assert anna.trouble == "The owner changed the search model, and what you had added is gone. Add it again."
    space.add("anna")
    assert found(anna, "What is the boat in the harbour called?")[0] == "The harbour"
    assert anna.trouble == ""


def test_the_owners_troubles_are_not_told(space: Space) -> None:
    space.house.engine._indexing.trouble = "/home/owner/secret is full."
    assert "secret" not in space.visitors.visit("anna").trouble
    assert space.visitors.visit("anna").trouble
