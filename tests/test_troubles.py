"""Imports that are killed, closed, cancelled or half read lose nothing and end every row."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag.errors import Busy, ModelError, StoreError
from rag.jobs import Job, Stop
from rag.readers.limits import Limits
from rag.records import ENDED, Document, Post, Refused
from tests.fakes import DirectReaders
from tests.house import House, outcomes
from tests.loopback import LoopbackSite, Reply, redirect, sitemap, sitemap_index
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH
from tests.test_sources import STORIES, told

pytestmark = pytest.mark.slow

TITLES = ["Flatbread in twenty minutes", "Keeping a sourdough starter"]
OUT_OF_ORDER = Reply("out of order", status=500)


@pytest.fixture
def site() -> Iterator[LoopbackSite]:
    with LoopbackSite() as made:
        made.blog(STORIES)
        yield made


def titles(house: House) -> list[str]:
    return sorted(post.title for post in house.engine.posts())


def days(house: House, count: int = 12) -> Path:
    """Write a folder of short posts."""
    for n in range(count):
        text = f"# Day {n}\n\nOn day {n} the loaf rose by {n * 7} millimetres in cellar number {n * n}."
        house.write(f"{n:02}.md", text)
    return house.home / "blog"


class Gate:
    """Holds reading back until it is opened; `reached` is set when the first document comes."""

    def __init__(self, house: House, then: Callable[[Document], None] = lambda document: None) -> None:
        self._house, self._real, self._open = house, house.readers.read, threading.Event()
        self.reached = threading.Event()

        def read(document: Document) -> Iterator[Post | Refused]:
            self.reached.set()
            self._open.wait(10)
            then(document)
            yield from self._real(document)

        house.readers.read = read  # type: ignore[method-assign]

    def open(self) -> None:
        self._open.set()

    def remove(self) -> None:
        self._house.readers.read = self._real  # type: ignore[method-assign]


def close_in_the_middle(house: House, gate: Gate) -> None:
    """Close the app while the first document is being read, and start it again."""
    assert gate.reached.wait(10)
    threading.Timer(0.2, gate.open).start()
    house.engine.jobs.close()
    gate.remove()
    house.restart()


class TestClosing:
    def test_uploads_that_wait_are_there_after_the_next_start(self, house: House, tmp_path: Path) -> None:
        gate, files = Gate(house), []
        for n, text in enumerate((SOURDOUGH, FLATBREAD, BICYCLE)):
            (tmp_path / f"{n}.md").write_text(text, encoding="utf-8")
            files.append((tmp_path / f"{n}.md", f"{n}.md"))
        house.engine.add_uploads(files)
        close_in_the_middle(house, gate)
        list(house.engine.resume() or [])
        assert house.engine.count()[0] == 3
        assert list((house.home / "inbox").iterdir()) == []

    def test_what_was_refused_goes_with_the_post_that_came_of_it(self, house: House, tmp_path: Path) -> None:
        house.readers = DirectReaders(Limits(archive_files=2))
        house.restart()
        with zipfile.ZipFile(tmp_path / "inner.zip", "w") as archive:
            archive.writestr("flat.md", FLATBREAD)
            archive.writestr("bike.md", BICYCLE)
        with zipfile.ZipFile(tmp_path / "blog.zip", "w") as archive:
            archive.writestr("bread.md", SOURDOUGH)
            archive.write(tmp_path / "inner.zip", "inner.zip")
        list(house.engine.add_uploads([(tmp_path / "blog.zip", "blog.zip")]))
        assert list((house.home / "inbox").rglob("*.zip"))
        [bread] = house.engine.posts()
        house.engine.remove([bread.id])
        assert not list((house.home / "inbox").rglob("*.zip"))

    def test_an_upload_that_is_called_like_no_file_leaves_none_in_the_inbox(self, house: House, tmp_path: Path) -> None:
        (tmp_path / "bread.md").write_text(SOURDOUGH, encoding="utf-8")
        [outcome] = outcomes(house.engine.add_uploads([(tmp_path / "bread.md", "..")]))
        assert outcome.state == "failed"
        house.restart()
        assert house.engine.resume() is None
        assert not [path for path in (house.home / "inbox").rglob("*") if path.is_file()]

    def test_a_folder_goes_on_after_the_next_start(self, house: House) -> None:
        gate = Gate(house)
        house.engine.add([str(days(house))])
        close_in_the_middle(house, gate)
        list(house.engine.resume() or [])
        assert house.engine.count()[0] == 12

    def test_a_job_that_waits_its_turn_ends_too(self, house: House) -> None:
        gate = Gate(house)
        house.engine.add([str(days(house))])
        waiting = house.engine.add([str(house.write("other/a.md", SOURDOUGH).parent)])
        close_in_the_middle(house, gate)
        assert list(waiting) == []
        assert waiting.ended

    def test_a_site_killed_while_it_is_listed_is_resumed(
        self, house: House, site: LoopbackSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("rag.incoming.sources.listing", kill)
            with pytest.raises(KeyboardInterrupt):
                list(house.engine._sources.add([("site", site.address())], Stop()))
        house.restart()
        list(house.engine.resume() or [])
        assert house.engine.count()[0] == 3

    def test_a_feed_killed_after_it_is_listed_loses_nothing(
        self, house: House, site: LoopbackSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.blog(STORIES, whole=True)
        with monkeypatch.context() as patch:
            patch.setattr(house.engine._sources, "_plan_items", kill)
            with pytest.raises(KeyboardInterrupt):
                list(house.engine._sources.add([("feed", site.address("/feed.xml"))], Stop()))
        house.restart()
        list(house.engine.sync())
        assert house.engine.count()[0] == 3


class TestRows:
    def test_every_row_comes_to_an_end(self, house: House) -> None:
        job = house.engine.add([str(days(house, 60))])
        list(job)
        assert {row.state for row in job.rows.values()} == {"added"}

    def test_without_the_model_every_row_fails_and_can_be_tried_again(self, house: House) -> None:
        house.embedder.trouble = "The model cannot be loaded. Run doctor."
        job = house.engine.add([str(days(house, 3))])
        with pytest.raises(ModelError):
            list(job)
        assert {row.state for row in job.rows.values()} == {"failed"}
        house.embedder.trouble = ""
        assert set(told(house.engine.retry()).values()) == {"added"}

    def test_an_embedder_that_breaks_ends_all_threads(self, house: House) -> None:
        before = threading.active_count()

        def broken(texts: Any) -> Any:
            raise RuntimeError("the library broke")

        house.embedder.encode_documents = broken  # type: ignore[method-assign]
        job = house.engine.add([str(days(house))])
        with pytest.raises(Exception, match="did not expect"):
            list(job)
        assert all(row.state in ENDED for row in job.rows.values())
        house.engine.jobs.close()
        assert threading.active_count() <= before

    def test_one_post_that_surprises_the_database_takes_no_other_along(self, house: House) -> None:
        real = house.library.put

        def put(a_post: Post, *rest: Any, **more: Any) -> Any:
            if a_post.source.endswith("03.md"):
                raise UnicodeEncodeError("utf-8", "x", 0, 1, "odd")
            return real(a_post, *rest, **more)

        house.library.put = put
        assert list(told(house.engine.add([str(days(house))])).values()).count("added") == 11
        assert house.library.passage_ids() == house.index.ids()

    def test_a_full_disk_leaves_library_and_index_alike(self, house: House) -> None:
        real, kept = house.catalogue.keep, []

        def keep(source_id: str, items: Any) -> None:
            kept.append(source_id)
            if len(kept) > 3:
                raise StoreError("The disk is full. Free some space and try again.")
            real(source_id, items)

        house.catalogue.keep = keep
        with pytest.raises(StoreError):
            list(house.engine.add([str(days(house))]))
        assert house.library.passage_ids() == house.index.ids()


class TestCancel:
    def test_a_book_is_not_embedded_to_its_end(self, house: House) -> None:
        chapters = (f"Chapter {n} tells of loaf number {n} in the village of bakers {n * n}." for n in range(3000))
        house.write("book.md", "# Book\n\n" + "\n\n".join(chapters))
        jobs: list[Job] = []
        gate, real, calls = Gate(house), house.embedder.encode_documents, []

        def encode(texts: Any) -> Any:
            calls.append(len(texts))
            if len(calls) == 2:
                jobs[0].stop.set()
            return real(texts)

        house.embedder.encode_documents = encode  # type: ignore[method-assign]
        jobs.append(house.engine.add([str(house.home / "blog")]))
        gate.open()
        assert list(told(jobs[0]).values()) == ["stopped"]
        assert len(calls) <= 3

    def test_it_is_not_begun_again_by_itself(self, house: House) -> None:
        jobs: list[Job] = []

        def cancel(document: Document) -> None:
            if document.source.endswith("03.md"):
                jobs[0].stop.set()

        gate = Gate(house, cancel)
        jobs.append(house.engine.add([str(days(house))]))
        gate.open()
        list(jobs[0])
        assert house.engine.sync_if_due() is None
        assert house.engine.resume() is None

    def test_a_source_is_not_forgotten_under_a_running_import(self, house: House) -> None:
        gate = Gate(house)
        job = house.engine.add([str(days(house))])
        assert gate.reached.wait(10)
        with pytest.raises(Busy, match="Wait until"):
            house.engine.forget(house.engine.sources()[0].id, with_posts=True)
        gate.open()
        list(job)
        house.engine.forget(house.engine.sources()[0].id, with_posts=True)
        assert house.engine.count()[0] == 0


class TestRetry:
    def test_a_single_page_that_failed(self, house: House, site: LoopbackSite) -> None:
        site.pages["/bread/flatbread"] = OUT_OF_ORDER
        assert list(told(house.engine.add([site.address("/bread/flatbread")])).values()) == ["failed"]
        assert house.engine.sources() == []
        site.blog(STORIES)
        assert told(house.engine.retry()) == {"flatbread": "added"}

    def test_a_site_that_was_down(self, house: House, site: LoopbackSite) -> None:
        site.pages["/sitemap.xml"] = OUT_OF_ORDER
        job = house.engine.add([("site", site.address())])
        list(job)
        assert job.failed == [site.address()]
        again = house.engine.retry()
        list(again)
        assert again.failed == [site.address()]
        site.blog(STORIES)
        assert set(told(house.engine.retry()).values()) == {"added"}

    def test_what_was_removed_meanwhile_stays_away(self, house: House) -> None:
        for name, text in (("bread.md", SOURDOUGH), ("flat.md", FLATBREAD)):
            house.write(name, text)
        list(house.engine.add([str(house.home / "blog"), str(house.home / "missing.md")]))
        house.engine.remove([next(post.id for post in house.engine.posts() if post.title.startswith("Keeping"))])
        list(house.engine.retry())
        assert [post.title.startswith("Keeping") for post in house.engine.posts()] == [False]

    def test_a_source_that_surprises_stops_no_other(
        self, house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError

        path = house.write("bread.md", SOURDOUGH)
        monkeypatch.setattr("rag.incoming.sources.canonical", fail)
        job = house.engine.add([("page", "https://a.example/"), str(path)])
        assert [progress.state for progress in job if progress.state in ("added", "failed")] == ["failed", "added"]
        assert "ZeroDivisionError" in capsys.readouterr().err

    def test_a_part_of_an_archive(self, house: House) -> None:
        export = house.home / "export.zip"
        with zipfile.ZipFile(export, "w") as archive:
            archive.writestr("bread.md", SOURDOUGH)
            archive.writestr("empty.md", "")
            archive.writestr("flat.md", FLATBREAD)
        list(house.engine.add([str(export)]))
        with zipfile.ZipFile(export, "w") as archive:
            archive.writestr("bread.md", SOURDOUGH)
            archive.writestr("empty.md", BICYCLE)
            archive.writestr("flat.md", FLATBREAD)
        assert told(house.engine.retry())["export.zip#empty.md"] == "added"


class TestVanishing:
    def test_a_renamed_file_survives_the_button_for_the_vanished(self, house: House) -> None:
        bread = house.write("a.md", SOURDOUGH)
        house.write("z.md", FLATBREAD)
        house.add(bread.parent)
        bread.rename(bread.with_name("b.md"))
        assert told(house.engine.sync()) == {"a.md": "vanished", "b.md": "unchanged", "z.md": "unchanged"}
        assert told(house.engine.prune()) == {"a.md": "removed"}
        assert told(house.engine.sync()) == {"b.md": "unchanged", "z.md": "unchanged"}
        assert titles(house) == TITLES

    def test_what_another_source_holds_too_has_not_vanished(self, house: House) -> None:
        bread = house.write("a.md", SOURDOUGH)
        house.write("b.md", FLATBREAD)
        house.add(bread)
        house.add(bread.parent)
        house.write(".gitignore", "a.md\n")
        assert "vanished" not in told(house.engine.sync(prune=True)).values()
        assert titles(house) == TITLES

    def test_a_file_added_by_hand_stays_though_its_folder_ignores_it(self, house: House) -> None:
        house.write(".gitignore", "drafts/\n")
        house.write("b.md", FLATBREAD)
        draft = house.write("drafts/a.md", SOURDOUGH)
        house.add(house.home / "blog")
        house.add(draft)
        list(house.engine.sync(prune=True))
        assert titles(house) == TITLES

    def test_a_page_that_a_feed_took_over_stays_the_sites_too(self, house: House, site: LoopbackSite) -> None:
        list(house.engine.add([("site", site.address())]))
        more = {
            **STORIES,
            "/bread/rye": ("Rye", "<p>Rye rises in a cold kitchen and tastes of its field.</p>" * 3),
        }
        site.blog(more)
        list(house.engine.add([("feed", site.address("/feed.xml"))]))
        whole_site, feed = house.engine.sources()
        site.pages["/bread/flatbread"] = OUT_OF_ORDER
        list(house.engine.sync(whole_site.id))
        site.blog({**more, "/bread/oats": ("Oats", "<p>Oats never rise, whatever the baker does to them.</p>" * 3)})
        list(house.engine.sync(feed.id))
        assert "vanished" not in told(house.engine.sync(prune=True)).values()
        assert "Flatbread in twenty minutes" in titles(house)

    def test_a_folder_that_cannot_be_looked_into_loses_nothing(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        house.write("b.md", FLATBREAD)
        house.write("sub/a.md", SOURDOUGH)
        house.add(house.home / "blog")
        real = os.scandir

        def scandir(path: Any = ".") -> Any:
            if str(path).endswith("/sub"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", scandir)
            [row] = outcomes(house.engine.sync(prune=True))
        assert "Permission denied" in row.error
        assert titles(house) == TITLES

    def test_a_list_that_is_not_whole_says_nothing_of_what_is_missing(self, house: House, site: LoopbackSite) -> None:
        paths = list(STORIES)
        site.pages["/sitemap.xml"] = sitemap_index([site.address("/1.xml"), site.address("/2.xml")])
        site.pages["/1.xml"] = sitemap({site.address(path): "" for path in paths[:2]})
        site.pages["/2.xml"] = sitemap({site.address(path): "" for path in paths[2:]})
        list(house.engine.add([("site", site.address())]))
        assert house.engine.count()[0] == 3
        del site.pages["/2.xml"]
        list(house.engine.sync(prune=True))
        site.blog(STORIES)
        whole = site.pages["/sitemap.xml"].data.decode()  # type: ignore[union-attr]
        site.pages["/sitemap.xml"] = Reply(whole[: whole.index("/bicycle/winter") - 30], type="application/xml")
        list(house.engine.sync(prune=True))
        assert house.engine.count()[0] == 3

    def test_a_page_that_now_leads_to_the_front_page_has_vanished(self, house: House, site: LoopbackSite) -> None:
        list(house.engine.add([("site", site.address())]))
        for path in ("/bread/flatbread", "/bread/sourdough"):
            site.pages[path] = redirect(site.address("/"))
        rows = told(house.engine.sync())
        assert (rows["flatbread"], rows["sourdough"]) == ("vanished", "vanished")
        assert set(TITLES) <= set(titles(house))


class TestSteps:
    def test_a_dry_run_keeps_nothing_from_the_next_sync(self, house: House, site: LoopbackSite) -> None:
        site.blog(dict(list(STORIES.items())[:2]), whole=True)
        list(house.engine.add([("feed", site.address("/feed.xml"))]))
        site.blog(STORIES, whole=True)
        assert "added" in told(house.engine.sync(dry_run=True)).values()
        list(house.engine.sync())
        assert house.engine.count()[0] == 3

    def test_adding_a_feed_again_brings_removed_posts_back(self, house: House, site: LoopbackSite) -> None:
        site.blog(STORIES, whole=True)
        feed = ("feed", site.address("/feed.xml"))
        list(house.engine.add([feed]))  # type: ignore[list-item]
        house.engine.remove([house.engine.posts()[0].id])
        assert sorted(told(house.engine.add([feed])).values()) == ["added", "unchanged", "unchanged"]  # type: ignore[list-item]

    def test_a_first_copy_that_is_rewritten_leaves_the_other_its_text(self, house: House) -> None:
        draft = house.write("a-draft.md", SOURDOUGH)
        house.write("post.md", SOURDOUGH)
        house.add(draft.parent)
        draft.write_text(FLATBREAD, encoding="utf-8")
        list(house.engine.sync())
        list(house.engine.sync())
        assert titles(house) == TITLES

    def test_an_address_is_what_it_was_last_said_to_be(self, house: House, site: LoopbackSite) -> None:
        site.pages["/"] = site.pages["/bread/sourdough"]
        list(house.engine.add([("page", site.address())]))
        list(house.engine.add([("site", site.address())]))
        assert [source.kind for source in house.engine.sources()] == ["site"]
        assert house.engine.count()[0] == 3

    def test_a_source_that_fails_is_looked_at_once_a_day_all_the_same(self, house: House, site: LoopbackSite) -> None:
        list(house.engine.add([("site", site.address())]))
        house.catalogue.checked(house.engine.sources()[0].id, "2020-01-01T00:00:00+00:00")
        site.pages = dict.fromkeys(site.pages, OUT_OF_ORDER)
        list(house.engine.sync_if_due() or [])
        assert house.engine.sync_if_due() is None

    def test_a_half_read_archive_is_read_again(self, house: House) -> None:
        export = house.home / "export.zip"
        with zipfile.ZipFile(export, "w") as archive:
            for name, text in (("a.md", SOURDOUGH), ("b.md", FLATBREAD), ("c.md", BICYCLE)):
                archive.writestr(name, text)
        real = house.readers.read

        def cut(document: Document) -> Iterator[Post | Refused]:
            yield from list(real(document))[:2]
            yield Refused(document.source, "export.zip: reading this file took too long. Split it.")

        house.readers.read = cut  # type: ignore[method-assign]
        list(house.engine.add([str(export)]))
        house.readers.read = real  # type: ignore[method-assign]
        list(house.engine.sync())
        assert house.engine.count()[0] == 3

    def test_a_changed_file_that_is_refused_keeps_its_post(self, house: House) -> None:
        bread = house.write("a.md", SOURDOUGH)
        house.write("b.md", FLATBREAD)
        house.add(bread.parent)
        bread.write_text("", encoding="utf-8")
        assert told(house.engine.sync(prune=True))["a.md"] == "failed"
        assert titles(house) == TITLES

    def test_a_folder_inside_another_is_forgotten_without_the_others_posts(self, house: House) -> None:
        house.write("sub/a.md", SOURDOUGH)
        house.add(house.home / "blog" / "sub")
        house.add(house.home / "blog")
        house.write("sub/b.md", FLATBREAD)
        list(house.engine.sync())
        house.engine.forget(house.engine.sources()[0].id, with_posts=True)
        assert titles(house) == TITLES

    def test_a_text_with_half_a_character_harms_no_other(self, house: House) -> None:
        real = house.readers.read

        def odd(document: Document) -> Iterator[Post | Refused]:
            for post in real(document):
                cut = isinstance(post, Post) and post.source.endswith("03.md")
                yield replace(post, text=post.text + " \ud83d") if cut else post  # type: ignore[type-var]

        house.readers.read = odd  # type: ignore[method-assign]
        assert list(told(house.engine.add([str(days(house))])).values()).count("added") >= 11


def kill(*arguments: Any, **more: Any) -> Any:
    """Stand for a process that is killed here."""
    raise KeyboardInterrupt
