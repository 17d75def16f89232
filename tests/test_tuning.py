"""A tuning from the posts to the exchange: what passes the gate is installed, what does not changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from rag import commands
from rag.errors import BadFile, BadQuestion, BadSetting, Busy, ModelError, NotFound, StoreError
from rag.finding.cut import cut
from rag.ports import Vectors
from rag.records import Pair, Recipe
from rag.tuning import command, exam
from rag.tuning.run import TAKEN, Plan, Stage, Wanted, taken_from
from rag.tuning.shelf import Tuned
from tests.fakes import FakeEmbedder
from tests.house import House

pytestmark = pytest.mark.slow

DISHES = "rye wheat barley spelt oat millet rice corn buckwheat lentil bean pea potato carrot onion garlic".split()
FOODS = [f"{how}{dish}" for how in ("", "wild ", "smoked ") for dish in DISHES]
TOOLS = "kettle griddle skillet cauldron mortar whisk ladle sieve".split()


def story(dish: str, number: int) -> str:
    """Return a post of a few sentences that no other post has."""
    tool = TOOLS[number % len(TOOLS)]
    return (
        f"# A {dish} supper for {number + 2} people\n\n"
        f"Soak the {dish} overnight in cold water from the {tool} that stands beside the window of our kitchen. "
        f"Grandmother stirred her {dish} with a wooden spoon and never once looked at any clock while she did so. "
        f"After {number + 20} minutes the smell of roasted {dish} tells the neighbours that supper is served soon.\n\n"
        f"## What {dish} needs besides salt\n\n"
        f"A squeeze of lemon wakes up {dish} better than pepper, and a spoon of butter makes the {tool} shine again. "
        f"Leftover {dish} keeps for {number + 1} days in a covered bowl, longer than any of us could resist it.\n"
    )


@pytest.fixture
def kitchen(house: House) -> House:
    """Forty-eight posts, enough for some to be put aside."""
    house.add(*(house.write(f"{food}.md", story(food, number)) for number, food in enumerate(FOODS)))
    house.engine.prepare()
    return house


def tuned(house: House, wanted: Wanted | None = None, *, force: bool = False) -> Tuned:
    *_, last = house.engine.tuning.tune(wanted or Wanted(), Event(), force=force)
    assert isinstance(last, Tuned)
    return last


def in_use(house: House) -> tuple[str, str]:
    use = house.engine._indexing.in_use.embedder
    return use.fingerprint, use.model


class TestTheGate:
    def test_what_finds_more_is_installed_and_answers(self, kitchen: House) -> None:
        before = in_use(kitchen)
        run = tuned(kitchen)
        assert (run.state, run.reason) == ("installed", "")
        assert in_use(kitchen) == (kitchen.workshop.tuned.fingerprint, run.model)
        assert in_use(kitchen) != before
        hits = kitchen.engine.search("How long does rye keep?").hits
        assert hits
        assert hits[0].cosine is not None
        assert "installed" in {known.state for known in kitchen.engine.tuning.history()}

    def test_what_finds_no_more_is_refused_and_nothing_changes(self, kitchen: House) -> None:
        kitchen.workshop.after = 0.5
        before = in_use(kitchen)
        run = tuned(kitchen)
        assert (run.state, run.confidence) == ("refused", 0.0)
        assert "stays" in run.reason
        assert in_use(kitchen) == before

    def test_a_person_may_insist(self, kitchen: House) -> None:
        kitchen.workshop.after = 0.5
        assert tuned(kitchen, force=True).state == "installed"
        kitchen.engine.tuning.rollback()
        run = tuned(kitchen)
        assert run.state == "refused"
        kitchen.engine.tuning.install(run.model)
        assert in_use(kitchen)[1] == run.model

    def test_nothing_that_is_put_aside_is_trained_on(self, kitchen: House) -> None:
        tuned(kitchen)
        parts = exam.split(kitchen.library, Recipe().seed)
        aside = {passage.post_id for passage in parts.held_out}
        assert aside
        assert aside.isdisjoint(passage.post_id for passage in parts.training)
        assert kitchen.workshop.trained
        assert aside.isdisjoint(pair.post_id for pair in kitchen.workshop.trained)

    def test_better_by_chance_alone_is_not_better(self) -> None:
        before = {str(n): 0.5 for n in range(40)}
        after = {str(n): 0.5 + (0.3 if n % 2 else -0.28) for n in range(40)}
        found = exam.verdict(before, after, {}, {}, 7)
        assert not found.better
        assert 0.5 < found.confidence < 0.975
        assert "chance" in found.reason

    def test_a_search_that_loses_as_a_whole_is_not_better(self) -> None:
        before, after = ({str(n): mark for n in range(40)} for mark in (0.5, 0.7))
        assert exam.verdict(before, after, {"a": 0.9}, {"a": 0.9}, 7).better
        found = exam.verdict(before, after, {"a": 0.9}, {"a": 0.88}, 7)
        assert (found.better, found.confidence) == (False, 1.0)
        assert "0.020" in found.reason

    def test_a_sentence_that_is_asked_about_is_not_in_its_passage(self, kitchen: House) -> None:
        for seed in range(30):
            parts = exam.split(kitchen.library, seed)
            asked = exam.questions(parts, kitchen.library, kitchen.embedder, [], seed)
            taken = [id_ for id_ in asked.queries if id_.startswith("s")]
            assert taken
            for id_ in taken:
                [answer] = asked.relevant[id_]
                assert asked.queries[id_] not in asked.corpus[answer]
            assert not set(taken) & set(asked.whole)


class TestTheExchange:
    def test_a_rollback_brings_the_former_pair_back_and_can_be_taken_back(self, kitchen: House) -> None:
        base = in_use(kitchen)
        run = tuned(kitchen)
        assert kitchen.engine.tuning.rollback() == kitchen.embedder.name
        assert in_use(kitchen) == base
        encoded = len(kitchen.workshop.tuned.passages)
        kitchen.engine.tuning.rollback()
        assert in_use(kitchen)[1] == run.model
        assert len(kitchen.workshop.tuned.passages) == encoded  # its vectors were kept

    def test_a_restart_knows_what_was_in_use(self, kitchen: House) -> None:
        run = tuned(kitchen)
        kitchen.embedder = kitchen.workshop.tuned
        kitchen.restart()
        kitchen.engine.prepare()
        assert in_use(kitchen)[1] == run.model
        assert kitchen.engine._indexing.check().ok

    def test_passages_stay_what_they_were(self, kitchen: House) -> None:
        before = kitchen.library.passages()
        tuned(kitchen)
        assert kitchen.library.passages() == before

    def test_an_exchange_that_fails_leaves_the_old_pair(self, kitchen: House, monkeypatch: pytest.MonkeyPatch) -> None:
        before = in_use(kitchen)

        def fail(*_: object) -> None:
            raise ModelError("The disk is full. Free some.")

        monkeypatch.setattr(kitchen.index, "rebuild", fail)
        with pytest.raises(ModelError):
            tuned(kitchen)
        monkeypatch.undo()
        assert in_use(kitchen) == before
        assert kitchen.engine.search("How long does rye keep?").hits[0].cosine is not None

    def test_one_that_fails_after_splitting_anew_brings_the_old_passages_back(
        self, kitchen: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = [(passage.post_id, passage.start, passage.end) for passage in kitchen.library.passages()]
        kitchen.workshop.tuned.max_tokens = 24

        def fail(*_: object) -> None:
            raise StoreError("The disk is full. Free some.")

        monkeypatch.setattr(kitchen.index, "rebuild", fail)
        with pytest.raises(StoreError):
            tuned(kitchen)
        monkeypatch.undo()
        after = [(passage.post_id, passage.start, passage.end) for passage in kitchen.library.passages()]
        assert sorted(after) == sorted(before)
        assert kitchen.engine._indexing.check().ok
        assert tuned(kitchen, force=True).state == "installed"
        assert kitchen.engine._indexing.check().ok

    def test_a_question_that_meets_the_exchange_is_asked_again(self, kitchen: House) -> None:
        indexing, calls = kitchen.engine._indexing, []

        def ask() -> int:
            calls.append(1)
            if len(calls) == 1:
                indexing._swaps += 2  # as if the pair had been exchanged meanwhile
                raise ValueError("vectors of another width")
            return len(calls)

        assert indexing.steady(ask) == 2
        with pytest.raises(ValueError, match="a bug"):
            indexing.steady(lambda: (_ for _ in ()).throw(ValueError("a bug")))

    def test_fewer_numbers_are_a_choice_that_stays_and_embeds_nothing(self, kitchen: House) -> None:
        encoded = len(kitchen.embedder.passages)
        kitchen.engine.tuning.choose(64)
        assert kitchen.index.stored().dimension == 64
        assert len(kitchen.embedder.passages) == encoded
        assert kitchen.engine.search("How long does rye keep?").hits[0].cosine is not None
        kitchen.restart()
        kitchen.engine.prepare()
        assert kitchen.index.stored().dimension == 64
        kitchen.write_and_add("late.md", story("quinoa", 30))
        assert kitchen.engine._indexing.check().ok
        kitchen.engine.tuning.choose(kitchen.embedder.dimension)
        assert kitchen.index.stored().dimension == kitchen.embedder.dimension
        for wrong in (0, kitchen.embedder.dimension + 1):
            with pytest.raises(BadQuestion):
                kitchen.engine.tuning.choose(wrong)

    def test_what_is_not_in_use_can_be_deleted(self, kitchen: House) -> None:
        first = tuned(kitchen, force=True)
        kitchen.workshop.after = 0.5
        refused = tuned(kitchen)
        folder = kitchen.home / "models"
        assert (folder / refused.model).is_dir()
        assert kitchen.engine.tuning.clear() == [refused.model]
        assert not (folder / refused.model).exists()
        assert (folder / first.model).is_dir()
        assert {run.model: run.state for run in kitchen.engine.tuning.history()}[refused.model] == "gone"
        with pytest.raises(NotFound):
            kitchen.engine.tuning.install(refused.model)


class TestTrouble:
    def test_too_few_posts(self, house: House) -> None:
        with pytest.raises(NotFound, match="Add more posts"):
            tuned(house)
        house.write_and_add("one.md", story("rye", 0))
        with pytest.raises(NotFound, match="Add more posts"):
            tuned(house)

    def test_junk_never_trains_and_says_why(self, kitchen: House, tmp_path: Path) -> None:
        file = tmp_path / "junk.jsonl"
        lines = [{"question": f"QUESTION #{n}\n", "passage": "Soak the rye overnight."} for n in range(60)]
        file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        with pytest.raises(NotFound, match="60 pairs were refused"):
            tuned(kitchen, Wanted(pairs=str(file)))
        assert kitchen.workshop.trained == []
        with pytest.raises(BadFile):
            tuned(kitchen, Wanted(pairs=str(tmp_path / "none.csv")))

    def test_a_stop_ends_it_without_a_result(self, kitchen: House) -> None:
        before, stop = in_use(kitchen), Event()
        events: list[object] = []
        for event in kitchen.engine.tuning.tune(Wanted(), stop):
            events.append(event)
            if isinstance(event, Stage) and event.step:
                stop.set()
        assert any(isinstance(event, Plan) for event in events)
        assert not any(isinstance(event, Tuned) for event in events)
        assert in_use(kitchen) == before

    def test_two_at_once_are_one_too_many(self, kitchen: House) -> None:
        steps = kitchen.engine.tuning.tune(Wanted(), Event())
        next(steps)
        for other in (lambda: tuned(kitchen), kitchen.engine.tuning.rollback, lambda: kitchen.engine.tuning.choose(8)):
            with pytest.raises(Busy):
                other()
        steps.close()  # type: ignore[attr-defined]
        assert tuned(kitchen).state == "installed"

    def test_a_width_that_is_none(self, kitchen: House) -> None:
        with pytest.raises(ModelError, match="--dims"):
            tuned(kitchen, Wanted(recipe=Recipe(dims=(100_000,))))

    def test_nothing_to_go_back_to_and_nothing_to_publish(self, kitchen: House) -> None:
        with pytest.raises(NotFound):
            kitchen.engine.tuning.rollback()
        with pytest.raises(NotFound):
            kitchen.engine.tuning.publish("me/mine")


def test_nothing_is_published_unasked(kitchen: House) -> None:
    tuned(kitchen)
    typed = {"rollback": False, "clear": False, "push": "me/mine"}
    with pytest.raises(BadSetting, match="--yes"):
        list(command.tune(kitchen.engine, **typed, yes=False))
    assert kitchen.workshop.published == []
    *_, last = command.tune(kitchen.engine, **typed, yes=True)
    assert last["result"]["url"] == "https://hub.test/me/mine"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("epochs", "0", "--epochs 0"),
        ("batch", "1", "--batch 1"),
        ("lr", "nan", "--lr nan"),
        ("minutes", "0", "--minutes 0"),
        ("minutes", "nan", "--minutes nan"),
        ("dims", "wide", "--dims wide"),
    ],
)
def test_an_option_that_makes_no_sense_changes_nothing(kitchen: House, option: str, value: str, said: str) -> None:
    typed = vars(commands.parser().parse_args(["tune", f"--{option}", value]))
    with pytest.raises(BadSetting, match=said):
        list(command.tune(kitchen.engine, **typed))
    assert kitchen.workshop.trained == []


def test_in_the_background_it_goes_on_whoever_watches(kitchen: House) -> None:
    tuning = kitchen.engine.tuning
    tuning.start(Wanted())
    assert tuning._thread is not None
    tuning._thread.join(60)
    assert not tuning.running
    assert (tuning.failure, tuning.history()[0].state, len(tuning.losses)) == ("", "installed", 2)


def test_cut_vectors_are_unit_vectors_again() -> None:
    vectors: Vectors = FakeEmbedder().encode_documents(["rye and salt", "bicycle chains in winter"])
    short = cut(vectors, 64)
    assert short.shape == (2, 64)
    assert np.allclose(np.linalg.norm(short, axis=1)[np.linalg.norm(vectors[:, :64], axis=1) > 0], 1)
    assert cut(vectors, vectors.shape[1]) is vectors
    assert not np.isnan(cut(np.zeros((1, 8), dtype=np.float32), 4)).any()


def test_less_is_kept_of_what_text_alone_teaches() -> None:
    made, asked = Pair("It is fed at eight.", "Rye.", "text"), Pair("When is it fed?", "Rye.", "file")
    assert taken_from([made, made, asked]) == TAKEN
    assert taken_from([made, asked]) == taken_from([asked]) == 1.0
