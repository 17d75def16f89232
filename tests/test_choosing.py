"""Choosing models: fetched, put into use and removed beside questions that are answered, over fakes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from rag.choosing import Choosing, chosen, searching
from rag.errors import BadSetting, Busy, FootnoteError, ModelError, NotFound
from rag.records import InUse, Manifest, Model
from tests.fakes import FakeEmbedder, FakeWriter
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

RYE = Model("writer", "baker/rye:rye.gguf", "Rye 1B", "mit", 1_000_000, 2_000_000, 4096, about="writes plainly")
SPELT = Model("embedder", "miller/spelt", "Spelt", "mit", 3_000_000, 4_000_000, 64, about="finds more")


@pytest.fixture
def stocked(light_house: House) -> House:
    """A house whose Hub has a writer and an embedder more."""
    for model in (RYE, SPELT):
        light_house.stock.hub[model.setting] = model
    light_house.stock.writers[RYE.setting] = FakeWriter("Rye says so.")
    light_house.stock.embedders[SPELT.setting] = FakeEmbedder("fa1e0000000000aa", dimension=64)
    return light_house


def waited(choosing: Choosing) -> Choosing:
    """Wait until nothing goes on."""
    for work in (choosing.asking, choosing.fetching, choosing.changing):
        if work._thread is not None:
            work._thread.join(20)
    return choosing


def fetched(house: House, model: Model) -> None:
    house.engine.choosing.fetch(model.kind, model.setting)
    assert waited(house.engine.choosing).fetching.failure == ""


def used(house: House, model: Model, *, anyway: bool = False) -> Choosing:
    house.engine.choosing.use(model.kind, model.setting, anyway=anyway)
    return waited(house.engine.choosing)


def shipped(house: House, kind: str) -> Model:
    found = next(model for model in house.engine.choosing.in_use() if model.kind == kind)
    assert found.setting == ""
    return found


def answer(house: House, question: str = "When is the starter fed?") -> str:
    return list(house.engine.ask(question))[-1].text


def add_posts(house: House) -> None:
    for name, text in (("a.md", SOURDOUGH), ("b.md", FLATBREAD), ("c.md", BICYCLE)):
        house.write_and_add(name, text)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestWriter:
    def test_another_one_writes_from_the_next_question_on_and_after_a_restart(self, stocked: House) -> None:
        add_posts(stocked)
        fetched(stocked, RYE)
        assert stocked.engine.choosing.said == "Rye 1B is here. It is not in use yet."
        assert used(stocked, RYE).said == "Rye 1B writes from now on."
        assert stocked.engine.choosing.in_use()[0].name == "Rye 1B"
        asked = stocked.stock.writers[RYE.setting]
        answer(stocked)
        assert asked.prompts
        stocked.restart()
        assert stocked.engine.choosing.in_use()[0].setting == RYE.setting
        assert chosen("writer", stocked.catalogue, stocked.stock) == RYE.setting

    def test_one_that_is_gone_at_the_next_start_is_told_and_the_one_that_ships_writes(self, stocked: House) -> None:
        fetched(stocked, RYE)
        used(stocked, RYE)
        stocked.stock.placed.clear()
        stocked.restart()
        assert stocked.engine.choosing.in_use()[0].setting == ""
        assert stocked.engine.choosing.missing() == RYE.setting

    def test_the_environment_wins(self, stocked: House) -> None:
        fetched(stocked, RYE)
        used(stocked, RYE)
        stocked.fixed["writer"] = "/models/mine.gguf"
        stocked.restart()
        assert stocked.engine.choosing.fixed("writer") == "FOOTNOTE_WRITER"
        assert stocked.engine.choosing.fixed("embedder") == ""
        assert stocked.engine.choosing.missing() == ""
        with pytest.raises(BadSetting, match="FOOTNOTE_WRITER is set, and wins"):
            stocked.engine.choosing.use("writer", RYE.setting)

    def test_a_switch_during_an_answer_lets_it_end_as_it_began(self, stocked: House) -> None:
        add_posts(stocked)
        fetched(stocked, RYE)
        stocked.writer.pieces = ("Feed it ", "every morning ", "at eight.")
        growing = stocked.engine.ask("When is the starter fed?")
        until(lambda: next(growing).text != "")
        used(stocked, RYE)
        last = list(growing)[-1]
        assert "every morning" in last.text
        assert not last.failed
        assert not stocked.stock.writers[RYE.setting].prompts

    def test_one_that_does_not_load_leaves_the_former_in_use(self, stocked: House) -> None:
        class Broken(FakeWriter):
            def load(self) -> None:
                raise ModelError("rye.gguf cannot be loaded; it may be damaged. Download it again.")

        fetched(stocked, RYE)
        stocked.stock.writers[RYE.setting] = Broken()
        assert "cannot be loaded" in used(stocked, RYE).changing.failure
        shipped(stocked, "writer")
        assert stocked.catalogue.fact("writer") == ""

    def test_one_that_is_too_large_is_not_even_loaded(self, stocked: House) -> None:
        fetched(stocked, RYE)
        stocked.stock.free = (3_000_000, 1_500_000)
        assert "needs about 2.0 MB of memory, and 1.5 MB are free" in used(stocked, RYE).changing.failure
        shipped(stocked, "writer")
        choosing = stocked.engine.choosing
        assert [choosing.fit(replace(RYE, memory=memory)) for memory in (1_000_000, 2_500_000, 4_000_000, 0)] == [
            "fits",
            "tight",
            "too large",
            "",
        ]

    def test_one_that_is_not_here_is_not_fetched_in_secret(self, stocked: House) -> None:
        with pytest.raises(NotFound, match="Download it first"):
            stocked.engine.choosing.use("writer", RYE.setting)
        with pytest.raises(NotFound, match="not on the list any more"):
            stocked.engine.choosing.use("writer", "nobody/knows:it.gguf")

    def test_one_at_a_time(self, stocked: House) -> None:
        class Slow(FakeWriter):
            go = Event()

            def load(self) -> None:
                self.go.wait(20)

        fetched(stocked, RYE)
        stocked.stock.writers[RYE.setting] = Slow()
        stocked.engine.choosing.use("writer", RYE.setting)
        with pytest.raises(Busy, match="Another model is being put into use"):
            stocked.engine.choosing.use("writer", "")
        with pytest.raises(Busy, match="A model is being put into use"):
            stocked.engine.choosing.remove("writer", RYE.setting)
        Slow.go.set()
        waited(stocked.engine.choosing)


class TestEmbedder:
    def test_another_one_searches_with_an_index_of_its_own_also_after_a_restart(self, stocked: House) -> None:
        add_posts(stocked)
        fetched(stocked, SPELT)
        assert used(stocked, SPELT).changing.failure == ""
        manifest = stocked.index.stored()
        assert manifest.embedder == InUse("fa1e0000000000aa", 64, setting=SPELT.setting)
        assert manifest.former is None
        assert stocked.engine.search("starter").hits
        assert stocked.engine.choosing.in_use()[1].name == "Spelt"
        assert stocked.workshop.chosen == SPELT.setting
        for index in (manifest, None):  # an index that is lost
            assert searching(index, "", stocked.catalogue, stocked.stock, Path("models")) == SPELT.setting
        assert Manifest.from_dict(manifest.as_dict()) == manifest

    def test_back_to_the_one_that_ships(self, stocked: House) -> None:
        add_posts(stocked)
        fetched(stocked, SPELT)
        used(stocked, SPELT)
        used(stocked, stocked.stock.here("embedder", ""), anyway=True)  # type: ignore[arg-type]
        assert stocked.index.stored().embedder.setting == ""
        assert stocked.engine.choosing.in_use()[1].setting == ""
        assert stocked.engine.search("starter").hits

    def test_without_posts_there_is_nothing_to_measure(self, stocked: House) -> None:
        fetched(stocked, SPELT)
        assert used(stocked, SPELT).said == "Spelt searches from now on."

    def test_one_that_finds_less_is_put_into_use_only_if_a_person_insists(
        self, stocked: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_posts(stocked)
        fetched(stocked, SPELT)
        marks = iter([1.0, 0.2])
        monkeypatch.setattr("rag.choosing.LEAST", 1)
        monkeypatch.setattr("rag.choosing.hybrid", lambda asked, *_: dict.fromkeys(asked.whole, next(marks)))
        choosing = used(stocked, SPELT)
        assert choosing.refused is not None
        assert "puts the right passage first for 0, the model before it for" in choosing.said
        assert choosing.said.endswith("stays in use.")
        assert stocked.index.stored().fingerprint == stocked.embedder.fingerprint
        marks = iter([1.0, 0.2])
        assert "Spelt searches from now on." in used(stocked, SPELT, anyway=True).said
        assert choosing.refused is None

    def test_a_cancelled_switch_changes_nothing(self, stocked: House, monkeypatch: pytest.MonkeyPatch) -> None:
        add_posts(stocked)
        fetched(stocked, SPELT)
        choosing = stocked.engine.choosing
        monkeypatch.setattr("rag.choosing.LEAST", 1)
        slow = stocked.stock.embedders[SPELT.setting]
        encode, reading, go = slow.encode_documents, Event(), Event()

        def slowly(texts: list[str]) -> object:
            reading.set()
            go.wait(20)
            return encode(texts)

        monkeypatch.setattr(slow, "encode_documents", slowly)
        choosing.use("embedder", SPELT.setting)
        assert reading.wait(20)
        choosing.changing.cancel()
        go.set()
        waited(choosing)
        assert choosing.changing.failure == ""
        assert stocked.index.stored().fingerprint == stocked.embedder.fingerprint
        assert stocked.engine.search("starter").hits

    def test_one_that_sizes_passages_otherwise_reads_them_before_anything_is_exchanged(
        self, stocked: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_posts(stocked)
        fetched(stocked, SPELT)
        spelt, indexing = stocked.stock.embedders[SPELT.setting], stocked.engine._indexing
        spelt.max_tokens = 24
        swaps = indexing.index.rebuild
        before = stocked.engine.count()[1]

        def rebuild(*given: object) -> None:
            reading.append(len(spelt.encoded))
            swaps(*given)

        reading: list[int] = []
        replace_passages = stocked.library.replace_passages
        monkeypatch.setattr(
            stocked.library,
            "replace_passages",
            lambda *given: (reading.append(len(spelt.encoded)), replace_passages(*given)),
        )
        monkeypatch.setattr(indexing.index, "rebuild", rebuild)
        assert used(stocked, SPELT, anyway=True).changing.failure == ""
        assert stocked.engine.count()[1] > before
        assert len(reading) == 2
        assert reading[0] == reading[1] > 0  # nothing is left to be read while the old index has lost its passages

    def test_while_one_is_tuned_none_is_chosen_and_the_reverse(self, stocked: House) -> None:
        add_posts(stocked)
        fetched(stocked, SPELT)
        engine = stocked.engine
        with engine._indexing.exchanging:
            with pytest.raises(Busy, match="is being tuned"):
                engine.choosing.use("embedder", SPELT.setting)
            with pytest.raises(Busy, match="Another search model is being put into use"):
                engine.tuning.rollback()
            assert not engine.tuning.running
        assert "searches from now on" in used(stocked, SPELT).said

    def test_an_embedder_that_is_not_what_was_meant_is_not_swapped_in(self, stocked: House) -> None:
        add_posts(stocked)
        with pytest.raises(ModelError, match="is not the model that was meant"):
            stocked.engine._indexing.swap(FakeEmbedder("fa1e0000000000aa"), InUse("another", 256), former=None)
        assert stocked.engine.search("starter").hits

    def test_what_is_searched_with(self, stocked: House, tmp_path: Path) -> None:
        def used_with(use: InUse | None, fixed: str = "", noted: str = "") -> str:
            stocked.catalogue.note("embedder", noted)
            index = Manifest(use, {}, "rules") if use else None
            return searching(index, fixed, stocked.catalogue, stocked.stock, tmp_path)

        (tmp_path / "tuned").mkdir()
        assert used_with(InUse("f", 8, setting="miller/spelt")) == ""  # it is not here
        assert used_with(None, noted="miller/spelt") == ""
        fetched(stocked, SPELT)
        assert used_with(None, "baker/mine", "miller/spelt") == "baker/mine"
        assert used_with(None, noted="miller/spelt") == "miller/spelt"
        assert used_with(InUse("f", 8), noted="miller/spelt") == "miller/spelt"
        assert used_with(InUse("f", 8, "gone", "miller/spelt"), noted="miller/spelt") == "miller/spelt"
        assert used_with(InUse("f", 8)) == ""
        assert used_with(InUse("f", 8, setting="miller/spelt")) == "miller/spelt"
        assert used_with(InUse("f", 8, setting="miller/spelt"), "baker/mine") == "baker/mine"
        assert used_with(InUse("f", 8, "tuned")) == str(tmp_path / "tuned")
        assert used_with(InUse("f", 8, "tuned"), "baker/mine") == "baker/mine"
        assert used_with(InUse("f", 8, "tuned", "baker/mine"), "baker/mine") == str(tmp_path / "tuned")
        assert used_with(InUse("f", 8, "gone", "baker/mine"), "baker/mine") == "baker/mine"


class TestFetching:
    def test_how_far_it_is_and_a_cancel_that_keeps_what_came(self, stocked: House) -> None:
        choosing = stocked.engine.choosing
        stocked.stock.pause.clear()
        choosing.fetch("writer", RYE.setting)
        until(lambda: choosing.download is not None and choosing.download.total == RYE.size)
        with pytest.raises(Busy, match="Another model is being downloaded"):
            choosing.fetch("embedder", SPELT.setting)
        with pytest.raises(Busy, match="is being downloaded"):
            choosing.remove("writer", RYE.setting)
        choosing.fetching.cancel()
        waited(choosing)
        assert choosing.download is None
        assert choosing.said == ""
        stocked.stock.pause.set()
        fetched(stocked, RYE)
        assert RYE.setting in stocked.stock.placed

    def test_what_was_looked_for_is_shown_as_it_is_by_now(self, stocked: House) -> None:
        other = replace(RYE, setting="baker/oat:oat.gguf", name="Oat", about="")
        stocked.stock.hub[other.setting] = other
        choosing = stocked.engine.choosing
        [looked] = choosing.look(other.setting)

        def now() -> tuple[bool, int]:
            [model] = choosing.again([looked])
            return bool(model.place), model.part

        assert now() == (False, 0)
        stocked.stock.pause.clear()
        choosing.fetch("writer", other.setting)
        until(lambda: choosing.download is not None and choosing.download.total == other.size)
        stocked.stock.pause.set()
        waited(choosing)
        assert now() == (True, 0)
        choosing.remove("writer", other.setting)
        assert now() == (False, 0)

    def test_the_hub_is_asked_for_sizes_only_when_a_person_wants_it(self, stocked: House) -> None:
        choosing = stocked.engine.choosing

        def rye() -> Model:
            return next(model for model in choosing.offers("writer") if model.name == "Rye 1B")

        assert rye().size == 0
        choosing.ask()
        waited(choosing)
        assert (rye().size, rye().about) == (RYE.size, RYE.about)

    def test_a_hub_that_cannot_be_asked_is_a_sentence(self, stocked: House) -> None:
        stocked.stock.trouble = "baker/rye could not be reached. Check the network."
        choosing = stocked.engine.choosing
        choosing.ask()
        waited(choosing)
        assert choosing.troubles[RYE.setting] == "baker/rye could not be reached. Check the network."
        choosing.fetch("writer", RYE.setting)
        assert "could not be reached" in waited(choosing).fetching.failure

    def test_what_a_person_named_stays_on_the_list_until_it_is_removed(self, stocked: House) -> None:
        other = replace(RYE, setting="baker/oat:oat.gguf", name="Oat", about="")
        stocked.stock.hub[other.setting] = other
        choosing = stocked.engine.choosing
        with pytest.raises(ModelError, match="is not on the Hub"):
            choosing.look("baker/nothing")
        assert choosing.look(other.setting) == [other]
        fetched(stocked, other)
        stocked.restart()
        choosing = stocked.engine.choosing
        assert [model.place for model in choosing.offers("writer") if model.name == "Oat"] == [
            "/cache/baker/oat:oat.gguf"
        ]
        choosing.remove("writer", other.setting)
        assert choosing.said == "Oat is gone; 1.0 MB are free."
        assert "Oat" not in {model.name for model in choosing.offers("writer")}

    def test_what_a_tuned_model_was_made_of_is_not_removed(self, stocked: House) -> None:
        fetched(stocked, SPELT)
        used(stocked, SPELT)
        indexing = stocked.engine._indexing
        tuned = FakeEmbedder("fa1e0000000000bb", dimension=64)
        (stocked.home / "models" / "spelt-tuned").mkdir(parents=True)
        indexing.swap(tuned, InUse(tuned.fingerprint, 64, "spelt-tuned"), former=indexing.in_use.embedder)
        with pytest.raises(Busy, match="is what the tuned model in use was made of"):
            stocked.engine.choosing.remove("embedder", SPELT.setting)
        assert SPELT.setting in stocked.stock.placed

    def test_what_is_in_use_or_ships_is_not_removed(self, stocked: House) -> None:
        fetched(stocked, RYE)
        used(stocked, RYE)
        choosing = stocked.engine.choosing
        with pytest.raises(Busy, match="is in use"):
            choosing.remove("writer", RYE.setting)
        with pytest.raises(FootnoteError, match="leaves it where it is"):
            choosing.remove("writer", "")
        used(stocked, stocked.stock.here("writer", ""))  # type: ignore[arg-type]
        choosing.remove("writer", RYE.setting)
        assert RYE.setting not in stocked.stock.placed


def test_a_file_of_a_persons_own_is_taken_off_the_list_and_stays(stocked: House) -> None:
    mine = Model("writer", "/blog/mine.gguf", "mine", "", 1000, 1000, 2048, place="/blog/mine.gguf")
    stocked.stock.placed[mine.setting] = mine
    stocked.stock.writers[mine.setting] = FakeWriter("Mine.")
    choosing = stocked.engine.choosing
    choosing.look(mine.setting)
    used(stocked, mine)
    used(stocked, stocked.stock.here("writer", ""))  # type: ignore[arg-type]
    assert mine in choosing.offers("writer")
    choosing.remove("writer", mine.setting)
    assert choosing.said == "mine is off the list; its file stays."
    assert mine not in choosing.offers("writer")
    assert mine.setting in stocked.stock.placed
