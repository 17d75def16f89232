"""A whole blog comes in from one place, and stays in step with it."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rag.errors import NotFound
from rag.jobs import Stop
from rag.records import FileProgress
from tests.house import House, outcomes
from tests.loopback import LoopbackSite, Reply
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

pytestmark = pytest.mark.slow

STORIES = {
    "/bread/sourdough": (
        "Keeping a sourdough starter",
        "<p>A starter is only flour and water that went sour. Feed it every morning at eight with 50 grams of rye"
        " flour, and keep it beside the oven.</p><p>A sharp smell of vinegar means that the starter is hungry.</p>",
    ),
    "/bread/flatbread": (
        "Flatbread in twenty minutes",
        "<p>Flatbread needs no yeast at all. Mix yoghurt with wheat flour and roll the dough as thin as a coin.</p>"
        "<p>A dry iron pan must be smoking hot. Each flatbread stays in it for 90 seconds.</p>",
    ),
    "/bicycle/winter": (
        "A winter with my bicycle",
        "<p>Salt eats the chain of a bicycle in one winter. Wipe the chain after each ride and oil it every Sunday.</p>"
        "<p>In spring the whole drive train goes into a bath of paraffin for an afternoon.</p>",
    ),
}


FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>Bread</title><link>http://example.org/</link>
<item><title>Rye</title><link>http://example.org/rye</link><description>Rye bread keeps fresh for a week if it is
wrapped in linen and lies in a cool, dry place, away from the sun.</description></item></channel></rss>"""


def told(progress: Iterable[FileProgress]) -> dict[str, str]:
    """Return the last state of each file or page, by the last part of its name."""
    return {step.source.rpartition("/")[2]: step.state for step in outcomes(progress)}


@pytest.fixture
def site() -> Iterator[LoopbackSite]:
    with LoopbackSite() as made:
        made.blog(STORIES)
        yield made


class TestFolders:
    def test_a_folder_is_remembered_with_its_posts(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.write("flat.md", FLATBREAD)
        house.add(blog)
        [source] = house.engine.sources()
        assert (source.kind, source.location, source.posts) == ("folder", os.path.realpath(blog), 2)
        assert source.checked is not None

    def test_new_changed_unchanged_and_vanished_files_are_told_apart(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.write("flat.md", FLATBREAD)
        house.write("bike.md", BICYCLE)
        house.add(blog)
        house.write("bread.md", SOURDOUGH + "\nThen wait.")
        house.write("new.md", "# Rye\n\nRye rises slowly in a cold kitchen.")
        (blog / "bike.md").unlink()
        before = len(house.embedder.encoded)
        assert told(house.engine.sync()) == {
            "bread.md": "updated",
            "flat.md": "unchanged",
            "new.md": "added",
            "bike.md": "vanished",
        }
        assert house.engine.count()[0] == 4  # what has vanished stays until the person says so
        assert not any("yoghurt" in text for text in house.embedder.encoded[before:])

    def test_an_unchanged_file_is_not_even_read(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.add(blog)
        house.embedder.ready = False
        house.restart()
        house.readers.read_sources.clear()
        assert told(house.engine.sync()) == {"bread.md": "unchanged"}
        assert house.readers.read_sources == []
        assert not house.embedder.ready

    def test_what_has_vanished_goes_when_the_person_says_so(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.write("bike.md", BICYCLE)
        house.add(blog)
        (blog / "bike.md").unlink()
        assert told(house.engine.sync(prune=True))["bike.md"] == "removed"
        assert [post.title for post in house.engine.posts()] == ["Keeping a sourdough starter"]
        assert told(house.engine.sync()) == {"bread.md": "unchanged"}

    def test_a_dry_run_changes_nothing(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.write("bike.md", BICYCLE)
        house.add(blog)
        (blog / "bike.md").unlink()
        house.write("bread.md", SOURDOUGH + "\nThen wait.")
        house.write("new.md", "# Rye\n\nRye rises.")
        plan = {"bread.md": "updated", "new.md": "added", "bike.md": "vanished"}
        assert told(house.engine.sync(dry_run=True, prune=True)) == plan
        assert "Then wait" not in house.engine.post(house.engine.posts()[-1].id).text
        assert house.engine.count()[0] == 2
        assert told(house.engine.sync()) == plan

    def test_a_post_that_the_person_removed_stays_away(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.write("bike.md", BICYCLE)
        house.add(blog)
        [bike] = [post.id for post in house.engine.posts() if "bicycle" in post.title]
        house.engine.remove([bike])
        assert told(house.engine.sync()) == {"bread.md": "unchanged"}
        assert told(house.engine.sync(dry_run=True)) == {"bread.md": "unchanged"}
        assert told(house.engine.add([str(blog)])) == {"bread.md": "unchanged", "bike.md": "added"}

    def test_a_single_file_or_page_is_not_named_once_its_post_is_removed(
        self, house: House, site: LoopbackSite
    ) -> None:
        alone = house.home / "alone"
        alone.mkdir()
        (alone / "kumquat.md").write_text(BICYCLE, "utf-8")
        house.add(alone / "kumquat.md")
        list(house.engine.add([site.address("/bread/flatbread")]))
        house.add(house.write("bread.md", SOURDOUGH).parent)
        assert len(house.engine.sources()) == 3
        house.engine.remove([post.id for post in house.engine.posts()])
        assert [source.kind for source in house.engine.sources()] == ["folder"]

    def test_a_folder_that_is_not_there_today_loses_nothing(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.add(blog)
        blog.rename(blog.with_name("unplugged"))
        [row] = outcomes(house.engine.sync(prune=True))
        assert row.state == "failed"
        assert "no such file or folder" in row.error
        assert house.engine.count()[0] == 1

    def test_a_file_of_a_remembered_folder_is_no_source_of_its_own(self, house: House) -> None:
        bread = house.write("bread.md", SOURDOUGH)
        house.add(bread.parent)
        house.add(house.write("flat.md", FLATBREAD))
        [folder] = house.engine.sources()
        assert (folder.kind, folder.posts) == ("folder", 2)

    def test_a_single_file_is_kept_in_step_too(self, house: House) -> None:
        bread = house.write("bread.md", SOURDOUGH)
        house.add(bread)
        bread.write_text(FLATBREAD, encoding="utf-8")
        assert told(house.engine.sync()) == {"bread.md": "updated"}
        bread.unlink()
        assert told(house.engine.sync()) == {"bread.md": "failed"}  # its folder is empty: a disk that is not there?
        house.write("another.md", BICYCLE)
        assert told(house.engine.sync()) == {"bread.md": "vanished"}

    def test_an_export_that_cannot_be_read_just_now_has_not_vanished(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house.write("flat.md", FLATBREAD)
        feed = house.write("feed.xml", FEED)
        house.add(feed.parent)
        assert house.engine.count()[0] == 2
        opened = Path.open

        def refuse(path: Path, *given: Any, **more: Any) -> Any:
            if path.name == "feed.xml":
                raise PermissionError(13, "Permission denied")
            return opened(path, *given, **more)

        monkeypatch.setattr(Path, "open", refuse)
        assert "vanished" not in told(house.engine.sync()).values()
        told(house.engine.sync(prune=True))
        assert house.engine.count()[0] == 2

    def test_posts_of_an_archive_come_and_vanish_one_by_one(self, house: House) -> None:
        def export(**posts: str) -> None:
            with zipfile.ZipFile(house.home / "export.zip", "w") as archive:
                for name, text in posts.items():
                    archive.writestr(f"{name}.md", text)

        export(bread=SOURDOUGH, flat=FLATBREAD)
        assert told(house.engine.add([str(house.home / "export.zip")])) == {
            "export.zip#bread.md": "added",
            "export.zip#flat.md": "added",
        }
        assert set(told(house.engine.sync()).values()) == {"unchanged"}
        export(bread=SOURDOUGH, bike=BICYCLE)
        now = {"export.zip#bread.md": "unchanged", "export.zip#bike.md": "added", "export.zip#flat.md": "vanished"}
        assert told(house.engine.sync()) == now
        assert house.engine.count()[0] == 3
        assert told(house.engine.sync(prune=True))["export.zip#flat.md"] == "removed"
        assert sorted(post.title for post in house.engine.posts()) == [
            "A winter with my bicycle",
            "Keeping a sourdough starter",
        ]


class TestCopies:
    def test_the_same_post_as_file_and_as_page_is_one_post(self, house: House) -> None:
        text = SOURDOUGH + "\n" + " ".join(f"On day {day} it had grown by {day * 3} millimetres." for day in range(40))
        house.write_and_add("sourdough.md", text)
        page = house.write("saved.html", _page("Keeping a sourdough starter | The bread blog", text))
        [row] = house.add(page)
        assert (row.state, row.same_as) == ("unchanged", "Keeping a sourdough starter")
        assert house.engine.count()[0] == 1
        page.write_text(_page("Keeping a sourdough starter", text, menu="Another menu"), encoding="utf-8")
        [row] = house.add(page)
        assert (row.state, row.same_as) == ("unchanged", "Keeping a sourdough starter")

    def test_a_copy_that_becomes_a_post_of_its_own_is_one(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        copy = house.write("copy.md", SOURDOUGH + "\nOne more line.")
        assert house.add(copy)[0].same_as == "Keeping a sourdough starter"
        copy.write_text(FLATBREAD, encoding="utf-8")
        assert told(house.engine.sync()) == {"sourdough.md": "unchanged", "copy.md": "added"}
        assert house.engine.count()[0] == 2

    def test_a_post_stays_while_its_copy_is_there(self, house: House) -> None:
        first = house.write("sourdough.md", SOURDOUGH)
        second = house.write("copy.md", SOURDOUGH + "\nOne more line.")
        house.add(first, second)
        first.unlink()
        house.write("another.txt", "")
        list(house.engine.sync(prune=True))
        list(house.engine.sync())
        assert house.engine.count()[0] == 1
        second.unlink()
        list(house.engine.sync(prune=True))
        assert house.engine.count()[0] == 0

    def test_posts_made_after_one_pattern_are_not_taken_for_copies(self, house: House) -> None:
        pattern = (
            "---\ntitle: Bakers' evening in {month}\ndate: 2024-{n:02}-07\n---\nThe bakers of the town meet in {month}."
        )
        pattern += " Bring a loaf, a knife and a friend. The door is open from seven, the oven is hot until ten."
        for n, month in enumerate(("May", "June", "July"), start=5):
            assert house.write_and_add(f"{month}.md", pattern.format(n=n, month=month)).state == "added"


class TestSites:
    def test_a_site_comes_in_whole_and_costs_conditional_requests_afterwards(
        self, house: House, site: LoopbackSite
    ) -> None:
        findings = house.engine.look(site.address())
        assert findings[0].count == 3
        first = told(house.engine.add([(findings[0].kind, findings[0].location)]))
        assert first == {"sourdough": "added", "flatbread": "added", "winter": "added"}
        assert house.engine.sources()[0].posts == 3
        assert house.engine.posts()[0].source.startswith(site.url)
        before = len(house.embedder.encoded)
        site.forget()
        assert set(told(house.engine.sync()).values()) == {"unchanged"}
        assert len(house.embedder.encoded) == before
        asked = [headers for headers, path in zip(site.headers, site.requests, strict=True) if path in STORIES]
        assert len(asked) == 3
        assert all("if-none-match" in {name.lower() for name in headers} for headers in asked)

    def test_new_changed_and_vanished_pages(self, house: House, site: LoopbackSite) -> None:
        list(house.engine.add([("site", site.address())]))
        stories = {path: story for path, story in STORIES.items() if path != "/bicycle/winter"}
        title, text = stories["/bread/flatbread"]
        stories["/bread/flatbread"] = (title, text + "<p>Serve it with salted butter and a bowl of soup.</p>")
        stories["/bread/rye"] = (
            "Rye",
            "<p>Rye rises slowly in a cold kitchen, and tastes of the field it grew on.</p>",
        )
        site.blog(stories)
        now = {"sourdough": "unchanged", "flatbread": "updated", "rye": "added", "winter": "vanished"}
        assert told(house.engine.sync()) == now
        assert told(house.engine.sync(prune=True))["winter"] == "removed"
        assert "A winter with my bicycle" not in {post.title for post in house.engine.posts()}

    def test_a_page_that_is_gone_though_it_is_listed_has_vanished(self, house: House, site: LoopbackSite) -> None:
        list(house.engine.add([("site", site.address())]))
        site.pages["/bicycle/winter"] = Reply("gone", status=410)
        assert told(house.engine.sync())["winter"] == "vanished"
        assert house.engine.count()[0] == 3

    def test_a_site_that_was_interrupted_goes_on_where_it_stopped(self, house: House, site: LoopbackSite) -> None:
        job = None

        def interrupt() -> None:
            raise KeyboardInterrupt

        real, calls = house.readers.read, []

        def dies_at_the_second(document):  # type: ignore[no-untyped-def]
            calls.append(document.source)
            if len(calls) == 2:
                interrupt()
            return real(document)

        house.readers.read = dies_at_the_second
        with pytest.raises(KeyboardInterrupt):
            list(house.engine._sources.add([("site", site.address())], Stop()))
        assert job is None
        house.readers.read = real
        house.restart()
        site.forget()
        assert [source.kind for source in house.engine._sources.unfinished()] == ["site"]
        resumed = house.engine.resume()
        assert resumed is not None
        states = told(resumed)
        assert sorted(states.values()) == ["added", "added", "unchanged"]
        assert sum(site.count(path) for path in STORIES) == 2
        assert house.engine.resume() is None

    def test_a_feed_that_has_not_changed_costs_one_request(self, house: House, site: LoopbackSite) -> None:
        site.blog(STORIES, whole=True)
        feed = site.address("/feed.xml")
        assert set(told(house.engine.add([("feed", feed)])).values()) == {"added"}
        site.forget()
        assert told(house.engine.sync()) == {}
        assert [path for path in site.requests if path != "/robots.txt"] == ["/feed.xml"]

    def test_what_falls_off_the_end_of_a_feed_has_not_vanished(self, house: House, site: LoopbackSite) -> None:
        site.blog(STORIES, whole=True)
        list(house.engine.add([("feed", site.address("/feed.xml"))]))
        site.blog(dict(list(STORIES.items())[:1]), whole=True)
        assert "vanished" not in told(house.engine.sync()).values()
        assert house.engine.count()[0] == 3

    def test_a_page_that_feed_and_site_both_list_is_one_post_of_the_first(
        self, house: House, site: LoopbackSite
    ) -> None:
        site.blog(STORIES, whole=True)
        list(house.engine.add([("feed", site.address("/feed.xml"))]))
        assert set(told(house.engine.add([("site", site.address())])).values()) == {"unchanged"}
        assert [source.kind for source in house.engine.sources()] == ["feed"]
        assert house.engine.count()[0] == 3

    def test_one_page_that_cannot_be_had_stops_none_of_the_others(self, house: House, site: LoopbackSite) -> None:
        site.pages["/bread/flatbread"] = Reply("no", status=500)
        rows = outcomes(house.engine.add([("site", site.address())]))
        assert sorted(row.state for row in rows) == ["added", "added", "failed"]
        [failed] = [row for row in rows if row.state == "failed"]
        assert failed.error.endswith(".")
        site.blog(STORIES)
        retried = house.engine.retry()
        assert told(retried) == {"flatbread": "added"}


class TestForgetting:
    def test_a_source_is_forgotten_with_or_without_its_posts(self, house: House) -> None:
        blog = house.write("bread.md", SOURDOUGH).parent
        house.add(blog)
        [source] = house.engine.sources()
        assert house.engine.forget(source.id) == []
        assert house.engine.sources() == []
        assert house.engine.count()[0] == 1
        house.add(blog)
        [source] = house.engine.sources()
        assert len(house.engine.forget(source.id, with_posts=True)) == 1
        assert house.engine.count() == (0, 0)
        with pytest.raises(NotFound, match="List the sources"):
            house.engine.forget(source.id)

    def test_posts_that_another_source_has_too_stay(self, house: House) -> None:
        bread = house.write("bread.md", SOURDOUGH)
        house.add(bread)
        house.add(bread.parent)
        file, folder = house.engine.sources()
        assert (file.kind, folder.kind) == ("file", "folder")
        assert house.engine.forget(folder.id, with_posts=True) == []
        assert house.engine.count()[0] == 1


class TestJobs:
    def test_cancel_keeps_what_is_done_and_leaves_the_rest_for_the_next_sync(self, house: House) -> None:
        for n in range(12):
            house.write(f"{n:02}.md", f"# Day {n}\n\nOn day {n} the loaf rose by {n * 7} millimetres in the cellar.")
        real = house.readers.read
        job = None

        def slow(document):  # type: ignore[no-untyped-def]
            if document.source.endswith("05.md"):
                while not house.engine.count()[0]:
                    threading.Event().wait(0.02)
                job.stop.set()
            return real(document)

        house.readers.read = slow
        gate = threading.Event()

        def wait(stop: threading.Event) -> Iterator[FileProgress]:
            gate.wait(5)
            yield from ()

        house.engine.jobs.start("first", wait)
        job = house.engine.add([str(house.home / "blog")])
        gate.set()
        states = list(told(job).values())
        assert states.count("stopped") >= 6
        assert house.engine.count()[0] == states.count("added")
        house.readers.read = real
        assert house.engine.resume() is None
        assert set(told(house.engine.sync()).values()) == {"unchanged", "added"}
        assert house.engine.count()[0] == 12

    def test_an_upload_that_was_interrupted_is_there_after_a_restart(self, house: House, tmp_path: Path) -> None:
        waiting = house.home / "inbox" / "5f"
        waiting.mkdir(parents=True)
        (waiting / "bread.md").write_text(SOURDOUGH, encoding="utf-8")
        resumed = house.engine.resume()
        assert resumed is not None
        assert told(resumed) == {"upload:bread.md": "added"}
        assert list((house.home / "inbox").iterdir()) == []
        assert house.engine.resume() is None

    def test_what_is_due_is_read_again_by_itself_unless_that_is_turned_off(self, house: House) -> None:
        house.write_and_add("bread.md", SOURDOUGH)
        assert house.engine.scheduled
        assert house.engine.sync_if_due() is None
        [source] = house.engine.sources()
        house.catalogue.checked(source.id, "2020-01-01T00:00:00+00:00")
        house.engine.scheduled = False
        assert house.engine.sync_if_due() is None
        house.engine.scheduled = True
        job = house.engine.sync_if_due()
        assert job is not None
        assert told(job) == {"bread.md": "unchanged"}
        assert house.engine.sync_if_due() is None


def _page(title: str, text: str, menu: str = "Home of the blog") -> str:
    paragraphs = "".join(f"<p>{line.strip('# ')}</p>" for line in text.splitlines() if line.strip())
    return (
        f"<html><head><title>{title}</title></head><body><nav><a href='/'>{menu}</a></nav><main><article>"
        f"<h1>Keeping a sourdough starter</h1>{paragraphs}</article></main>"
        "<footer>Subscribe to our newsletter</footer></body></html>"
    )
