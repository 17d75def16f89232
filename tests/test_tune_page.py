"""Tuning as the page needs it: in the background, told how far it is, and only ever what a person chose."""

from __future__ import annotations

import json
import re
from pathlib import Path
from threading import Event
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from rag.errors import BadQuestion, Busy
from rag.jobs import Stopped
from rag.records import Pair
from rag.tuning.known import Known
from rag.tuning.run import AFTER, LEARNING, Stage, Wanted
from rag.tuning.shelf import Tuned
from rag.ui import plots, tune, tuned
from tests.fakes import FakeEmbedder
from tests.house import House
from tests.test_tuning import in_use, kitchen, story

pytestmark = pytest.mark.slow

__all__ = ["kitchen"]
WAITING = Wanted(install=False)


def ended(house: House) -> str:
    """Wait for what goes on in the background; return why it failed, "" if it did not."""
    thread = house.engine.tuning._thread
    assert thread is not None
    thread.join(60)
    return house.engine.tuning.failure


def tune_it(house: House, wanted: Wanted = WAITING) -> Tuned:
    house.engine.tuning.start(wanted)
    assert ended(house) == ""
    return house.engine.tuning.history()[0]


def click(house: House, view: tune._View | None = None, **said: str) -> str:
    tune._act(house.engine, view or tune._View(), said)
    return ended(house)


def state(house: House, model: str) -> str:
    return next(run.state for run in house.engine.tuning.history() if run.model == model)


class TestChoosing:
    def test_what_passed_waits_until_it_is_installed_and_can_be_taken_back(self, kitchen: House) -> None:
        before = in_use(kitchen)
        run = tune_it(kitchen)
        assert (run.state, run.reason, in_use(kitchen)) == ("ready", "", before)
        assert click(kitchen, act="install", model=run.model) == ""
        assert (state(kitchen, run.model), in_use(kitchen)[1]) == ("installed", run.model)
        assert click(kitchen, act="rollback") == ""
        assert (state(kitchen, run.model), in_use(kitchen)) == ("former", before)

    def test_what_did_not_pass_can_be_insisted_on_or_thrown_away(self, kitchen: House) -> None:
        kitchen.workshop.after = 0.5
        first, second = tune_it(kitchen), tune_it(kitchen)
        assert {first.state, second.state} == {"refused"}
        assert click(kitchen, act="install", model=first.model) == ""
        assert state(kitchen, first.model) == "installed"
        assert click(kitchen, act="discard", model=second.model) == ""
        assert state(kitchen, second.model) == "gone"
        assert not (kitchen.home / "models" / second.model).exists()
        assert "in use" in click(kitchen, act="discard", model=first.model)
        assert (kitchen.home / "models" / first.model).is_dir()

    def test_what_search_uses_is_told_and_its_width_chosen(self, kitchen: House) -> None:
        use = kitchen.engine.tuning.use()
        assert use
        assert (use.model, use.width, use.widths, use.former, use.unused) == ("", 256, (256, 128), "", ())
        assert click(kitchen, act="width", width="128") == ""
        run = tune_it(kitchen)
        kitchen.engine.tuning.install(run.model)
        left = tune_it(kitchen)
        use = kitchen.engine.tuning.use()
        assert use
        assert (use.model, use.width, use.former, use.unused) == (
            run.model, 256, kitchen.embedder.name, (left.model,),
        )  # fmt: skip
        assert use.unused_bytes > 0
        assert click(kitchen, act="clear") == ""
        assert state(kitchen, left.model) == "gone"

    def test_a_model_that_was_thrown_away_leaves_no_vectors(self, kitchen: House) -> None:
        run = tune_it(kitchen)
        hashes = {passage.hash for passage in kitchen.library.passages()}
        assert kitchen.library.vectors(hashes, kitchen.workshop.tuned.fingerprint)
        kitchen.engine.tuning.discard(run.model)
        assert kitchen.library.vectors(hashes, kitchen.workshop.tuned.fingerprint) == {}
        assert kitchen.library.vectors(hashes, kitchen.embedder.fingerprint)

    @pytest.mark.parametrize(
        "said",
        [
            {"act": "discard", "model": "../.."},
            {"act": "discard", "model": ""},
            {"act": "install", "model": "/etc"},
            {"act": "width", "width": "-1"},
            {"act": "width", "width": "9" * 5000},
        ],
    )
    def test_what_the_page_makes_up_gets_a_sentence_and_changes_nothing(
        self, kitchen: House, said: dict[str, str]
    ) -> None:
        before = in_use(kitchen)
        assert click(kitchen, **said).endswith((".", "that."))
        assert in_use(kitchen) == before

    @pytest.mark.parametrize("said", [{}, {"act": "close"}, {"act": "strike", "question": "x"}, {"act": "show"}])
    def test_what_means_nothing_does_nothing(self, kitchen: House, said: dict[str, str]) -> None:
        view = tune._View()
        tune._act(kitchen.engine, view, said)
        assert (view.struck, view.model, kitchen.engine.tuning.running) == (set(), "", False)

    def test_a_tuning_of_before_is_still_known(self, kitchen: House) -> None:
        run = tune_it(kitchen)
        [row] = json.loads(kitchen.catalogue.fact("tunings"))
        for name in ("current", "lost"):
            del row[name]
        kitchen.catalogue.note("tunings", json.dumps([{**row, "state": "installed"}]))
        [known] = kitchen.engine.tuning.history()
        assert (known.model, known.state, known.after) == (run.model, "ready", run.after)


class TestLooking:
    def test_pairs_are_looked_at_and_struck_out(self, kitchen: House) -> None:
        tuning = kitchen.engine.tuning
        tuning.do(lambda stop: tuning.look(WAITING, stop))
        assert ended(kitchen) == ""
        assert tuning.plan
        first, *_ = tuning.plan.pairs
        view = tune._View()
        tune._act(kitchen.engine, view, {"act": "strike", "question": first.question})
        assert view.struck == {first.question}
        assert "(1 struck out)" in tuned.planned(tuning.plan, view.struck, 5, idle=True)
        tune_it(kitchen, Wanted(struck=frozenset(view.struck), install=False))
        assert first.question not in {pair.question for pair in kitchen.workshop.trained}
        assert tuning.plan is None

    def test_what_was_looked_at_goes_with_the_posts(self, kitchen: House) -> None:
        tuning = kitchen.engine.tuning
        tuning.look(WAITING, Event())
        assert tuning.plan
        kitchen.engine.remove([kitchen.engine.posts()[0].id])
        assert tuning.plan is None

    def test_a_look_that_is_stopped_ends_without_a_word(self, kitchen: House) -> None:
        stop = Event()
        stop.set()
        with pytest.raises(Stopped):
            kitchen.engine.tuning.look(WAITING, stop)
        assert kitchen.engine.tuning.plan is None
        assert kitchen.engine.tuning.failure == ""


class TestGoing:
    def test_one_begun_in_a_terminal_is_seen_and_can_be_cancelled(self, kitchen: House) -> None:
        tuning, seen = kitchen.engine.tuning, []
        for _ in tuning.tune(Wanted(), Event()):
            if tuning.stage.what == LEARNING:
                seen.append((tuning.running, tuning.stage.done, tuning.losses[:]))
                tuning.cancel()
        assert seen == [(True, 1, [1.0])]
        assert (tuning.running, tuning.stage.what, tuning.history()) == (False, "", [])

    def test_two_at_once_are_one_too_many(self, kitchen: House) -> None:
        tuning, go_on = kitchen.engine.tuning, Event()
        tuning.do(lambda _: go_on.wait(60))
        assert tuning.running
        for other in (lambda: tuning.start(WAITING), lambda: click(kitchen, act="rollback")):
            with pytest.raises(Busy, match="Wait until it has ended, or cancel it"):
                other()
        go_on.set()
        ended(kitchen)
        assert not tuning.running

    def test_a_surprise_becomes_a_sentence(self, kitchen: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kitchen.workshop, "pace", lambda *_: 1 / 0)
        kitchen.engine.tuning.start(WAITING)
        assert "the terminal it runs in says what" in ended(kitchen)

    def test_a_file_that_is_none_gets_a_sentence(self, kitchen: House, tmp_path: Path) -> None:
        file = tmp_path / "pairs.jsonl"
        file.write_text('{"question": "How long', encoding="utf-8")
        before = in_use(kitchen)
        kitchen.engine.tuning.start(Wanted(pairs=str(file), install=False))
        assert "pairs.jsonl" in ended(kitchen)
        assert (in_use(kitchen), kitchen.engine.tuning.history()) == (before, [])

    def test_an_exchange_that_is_stopped_leaves_the_old_pair(self, kitchen: House) -> None:
        run, stop, before = tune_it(kitchen), Event(), in_use(kitchen)
        kitchen.library.forget_vectors([kitchen.embedder.fingerprint])
        stop.set()
        with pytest.raises(Stopped):
            kitchen.engine.tuning.install(run.model, stop)
        assert (in_use(kitchen), state(kitchen, run.model)) == (before, "ready")

    def test_passages_removed_while_it_trains_are_not_measured_with(self, kitchen: House) -> None:
        tuning = kitchen.engine.tuning
        posts = [post.id for post in kitchen.engine.posts()]
        for event in tuning.tune(WAITING, Event()):
            if isinstance(event, Stage) and event.step and event.done == 1:
                kitchen.engine.remove(posts[:3])
        [run] = tuning.history()
        assert run.lost > 0
        assert "removed or changed while it trained" in tuned.result(run, 100, "", idle=True)

    def test_all_posts_removed_while_it_trains_end_it_with_a_sentence(self, kitchen: House) -> None:
        tuning, before = kitchen.engine.tuning, in_use(kitchen)
        training = kitchen.workshop.train

        def train(*given: Any) -> Any:
            yield from training(*given)
            kitchen.engine.remove([post.id for post in kitchen.engine.posts()])

        kitchen.workshop.train = train
        tuning.start(WAITING)
        assert "Nothing was changed" in ended(kitchen)
        assert (in_use(kitchen), tuning.history()) == (before, [])
        assert not (kitchen.home / "models" / "training").exists()

    def test_one_passage_is_too_little(self, house: House) -> None:
        house.write_and_add("one.md", story("rye", 0)[:200])
        house.engine.tuning.start(WAITING)
        assert "Add more posts" in ended(house)

    def test_a_model_in_use_cannot_be_discarded(self, kitchen: House) -> None:
        run = tune_it(kitchen, Wanted())
        with pytest.raises(BadQuestion, match="Go back to another"):
            kitchen.engine.tuning.discard(run.model)


class TestShowing:
    def test_others_words_stay_text(self, kitchen: House) -> None:
        tuning = kitchen.engine.tuning
        plan = tuning.look(WAITING, Event())
        bad = "<img src=x onerror=alert(1)>'\" What is rye?"
        pairs = (Pair(bad, bad, "file"), *plan.pairs)
        refused = {"empty": (Pair(bad, bad, "file"),)}
        sifted = type(plan.sifted)(plan.sifted.kept, refused)
        html = tuned.planned(type(plan)(sifted, plan.split, plan.recipe, pairs, 9.0, plan.library), (), 3, idle=True)
        assert "<img" not in html
        assert html.count("data-act='strike'") == 3

    def test_the_table_has_every_width_and_the_reason_stands_above_it(self, kitchen: House) -> None:
        kitchen.workshop.after = 0.5
        run = tune_it(kitchen)
        html = tuned.result(run, 1000, "", idle=True)
        assert html.index(run.reason) < html.index("Install anyway") < html.index("<table")
        assert set(re.findall(r"<tr><th>(\d+)</th><td>([^<]+)</td>", html)) == {("256", "1.0 MB"), ("128", "512 kB")}
        assert " disabled" not in html
        assert html.count(" disabled") < tuned.result(run, 1000, "", idle=False).count(" disabled")

    def test_how_far_it_is_has_a_step_a_time_and_a_curve(self, kitchen: House) -> None:
        stages = [e for e in kitchen.engine.tuning.tune(Wanted(), Event()) if isinstance(e, Stage) and e.step]
        html = tuned.going(stages[-1], [1.0, 0.5], stopping=False)
        assert "step 2 of 2" in html
        assert "0 s left" in html
        assert "<svg" in html
        assert "<svg" in tuned.going(Stage(AFTER), [1.0, 0.5], stopping=False)
        assert "<svg" not in tuned.going(Stage("Going back", 3, 9), [1.0], stopping=False)
        assert "Stopping" in tuned.going(stages[0], [], stopping=True)

    @pytest.mark.parametrize("values", [[2.0], [0.0, 0.0], [9.5, 1e-9], [3.0 / n for n in range(1, 3000)]])
    def test_a_curve_stays_within_its_plot(self, values: list[float]) -> None:
        inside(plots.losses(values, 1, len(values)))
        inside(plots.losses(values, 40, 40 + 2 * len(values)))

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({64: 0.5}, {64: 0.5}),
            ({384: 0.744, 256: 0.741, 128: 0.7, 64: 0.642}, {384: 0.791, 256: 0.79, 128: 0.77, 64: 0.748}),
            ({384: 0.0, 64: 0.0}, {1024: 1.0, 384: 1.0}),
        ],
    )
    def test_every_width_has_its_points_and_its_bar(self, before: dict[int, float], after: dict[int, float]) -> None:
        drawn = inside(plots.by_width(before, after, 4_000))
        assert len(drawn.findall("circle[@class='base']")) == len(before)
        assert len(drawn.findall("circle[@class='tuned']")) == len(after)
        assert len(drawn.findall("rect")) == len({*before, *after}) + 1  # the legend's
        for width, value in after.items():
            assert f"{width} numbers" in drawn.attrib["aria-label"]
            assert f"{value:.3f} tuned" in drawn.attrib["aria-label"]


def inside(svg: str) -> Any:
    """Read a plot; every place in it must be within its view."""
    drawn = ElementTree.fromstring(svg)
    _, _, wide, high = map(float, drawn.attrib["viewBox"].split())
    for path in drawn.findall("path"):
        for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.attrib["d"]):
            assert 0 <= float(x) <= wide
            assert 0 <= float(y) <= high
    for text in drawn.findall("text"):
        assert 0 <= float(text.attrib["x"]) <= wide
    return drawn


def test_what_is_read_already_is_not_read_again_and_the_rest_is_told_in_parts() -> None:
    embedder, told = FakeEmbedder(), []
    texts = [f"Loaf number {number} is of rye." for number in range(200)]
    whole = embedder.encode_documents(texts)
    before = len(embedder.encoded)
    known = Known(embedder, dict(zip(texts[:50], whole[:50], strict=True)), lambda *step: told.append(step))
    assert np.allclose(known.encode_documents(texts), whole)
    assert len(embedder.encoded) == before + 150
    assert told == [(0, 150), (64, 150), (128, 150)]
