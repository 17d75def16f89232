"""How well search does on a person's own posts: questions made of bread, broken sets of questions, marked passages."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from rag.errors import FootnoteError, NotFound
from rag.evaluate import evaluate, read_collection
from rag.measuring.quality import MODES, Measured, certainty
from rag.measuring.questions import COPIED, MadeQuestion, check_questions, make_questions
from rag.words import stems_of
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

pytestmark = pytest.mark.slow

STORIES = {"sourdough.md": SOURDOUGH, "flatbread.md": FLATBREAD, "bicycle.md": BICYCLE}
RYE = """\
# Rye in the oven

A loaf of rye needs a very hot oven and a bowl of water below it. The crust cracks where the knife has scored it.

## Keeping rye fresh

Wrapped in linen a loaf of rye stays moist for a whole week. Never keep it in the fridge with the butter.
"""


@pytest.fixture
def bakery(light_house: House) -> House:
    for name, story in {**STORIES, "rye.md": RYE}.items():
        light_house.write_and_add(name, story)
    light_house.engine.prepare()
    return light_house


def made(house: House, count: int = 100) -> list[MadeQuestion]:
    return list(make_questions(house.library, house.embedder, count))


class TestQuestions:
    def test_each_asks_for_one_passage_and_forgets_its_rarest_word(self, bakery: House) -> None:
        questions = made(bakery)
        assert len(questions) >= 5
        assert len({question.passage.id for question in questions}) == len(questions)
        for question in questions:
            assert question.text.endswith("?")
            assert {"what", "much"} & set(question.text.rstrip("?").split())
            assert len(question.text.split()) <= 26

    def test_none_is_a_copy_of_its_sentence(self, bakery: House) -> None:
        for question in made(bakery):
            sentence = max(
                question.passage.text.split(". "), key=lambda part: len(stems_of(part) & stems_of(question.text))
            )
            assert question.text.rstrip("?") not in question.passage.text
            assert len(stems_of(sentence) & stems_of(question.text)) <= COPIED * len(stems_of(sentence)) + 1

    def test_the_same_posts_give_the_same_questions_and_a_new_post_leaves_them(self, bakery: House) -> None:
        before = made(bakery)
        assert made(bakery) == before
        bakery.write_and_add("milk.md", "# Milk\n\nWarm milk makes a dough of wheat soft, sweet and slow to dry out.\n")
        assert {question.passage.id for question in before} <= {question.passage.id for question in made(bakery)}

    def test_a_sentence_that_two_posts_have_asks_for_neither(self, bakery: House) -> None:
        mill = "The little mill beside the river grinds spelt on every second Tuesday morning."
        others = (
            "Kneading took two hours, and my arms hurt for days. I bought a machine for it in the town.",
            "My grandmother built her oven of clay in 1931. It still stands behind the barn and draws well.",
        )
        for number, other in enumerate(others):
            bakery.write_and_add(f"mill-{number}.md", f"# Diary {number}\n\n{mill}\n\n{other}\n")
        assert len([known for known in bakery.library.passages() if mill in known.text]) == 2
        assert not any("spelt" in question.passage.text for question in made(bakery))

    def test_code_tables_and_addresses_are_no_questions(self, light_house: House) -> None:
        light_house.write_and_add("code.md", "# Code\n\n```\nfor loaf in range of all the loaves: bake it well\n```\n")
        light_house.write_and_add("table.md", "# Table\n\n| rye flour | cold water | old dough | salt |\n|-|-|-|-|\n")
        light_house.write_and_add("link.md", "# Link\n\nhttps://bread.example/all/the/loaves/that/were/ever/baked\n")
        assert made(light_house) == []

    def test_as_many_are_made_as_are_wanted(self, bakery: House) -> None:
        assert len(made(bakery, 3)) == 3


class TestChecks:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("QUESTION #1\\n", "template"),
            ("QUESTION #1\n", "template"),
            ("Question 3: Which rye flour is the starter fed?", "template"),
            ("How is {question} answered from {context}?", "template"),
            ("Context:\nThe starter is fed with rye.", "template"),
            ("Rye?\\n\\nThe starter is fed with rye.", "template"),
            ("How?", "too short"),
            ("", "too short"),
            ("... ? !", "too short"),
            ("Why is it so?", "too short"),
            ("Bertha’s sourdough starter", "no question word"),
            ("The starter is fed with rye flour.", "no question word"),
            ("When the starter was fed it was rye flour that I took. " * 4, "48 words and no question mark"),
        ],
    )
    def test_what_is_no_question_is_refused_with_a_reason(self, text: str, reason: str) -> None:
        [said] = check_questions([(text, "p1")])
        assert reason in said

    @pytest.mark.parametrize(
        "text",
        [
            "How often is the starter fed?",
            "What is rye",
            "does the starter smell",
            "Warum riecht der Sauerteig?",
            "what question did Bertha ask in the context of rye?",
            "Who said “Answer: forty-two” and why?",
        ],
    )
    def test_what_a_person_types_is_taken(self, text: str) -> None:
        assert check_questions([(text, "p1")]) == [""]

    def test_the_same_text_for_different_passages_is_refused_everywhere(self) -> None:
        said = check_questions([("How is rye fed?", "p1"), ("how is  rye fed?", "p2"), ("Who ate rye bread?", "p3")])
        assert said == ["The same question stands for 2 passages."] * 2 + [""]

    def test_a_question_that_comes_twice_counts_once(self) -> None:
        assert check_questions([("How is rye fed?", "p1"), ("How is rye fed?", "p1")]) == ["", "It is asked twice."]

    def test_of_the_pairs_this_project_began_with_none_is_a_question(self, datasets: Path) -> None:
        for name in ("training_dataset.jsonl", "val_dataset.jsonl"):
            pairs = json.loads((datasets / "seed" / "junk_pairs" / name).read_text(encoding="utf-8"))
            questions = [(text, str(pairs["relevant_contexts"][id_])) for id_, text in pairs["questions"].items()]
            assert len(questions) in (152, 37)
            assert all(check_questions(questions))
            assert all(reason for text, answer in questions for reason in check_questions([(text, answer)]))

    @pytest.mark.parametrize("name", ["seed_posts", "xquad_en", "zoomcamp_faq"])
    def test_of_questions_that_people_judged_hardly_one_is_refused(self, datasets: Path, name: str) -> None:
        questions = read_collection(datasets / "retrieval" / name).asked(None).values()
        refused = [reason for reason in check_questions([(asked.text, asked.text) for asked in questions]) if reason]
        assert len(refused) <= 0.025 * len(questions)


class TestMeasuring:
    def test_passages_that_are_found_are_counted(self, bakery: House) -> None:
        measured = bakery.engine.quality.measure(Event())
        assert measured is not None
        assert measured.questions == len(made(bakery))
        assert measured.passages == bakery.engine.count()[1]
        assert measured.embedder == "fake-embedder"
        assert set(measured.scores) == set(MODES)
        for score in measured.scores.values():
            assert 0 < score.first <= score.shown <= measured.questions
            assert 0 < score.mrr <= 1
        assert measured.scores["hybrid"].shown == measured.questions

    def test_a_search_that_finds_nothing_gets_nothing(self, bakery: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bakery.library, "lexical", lambda words, limit, *_: [])
        measured = bakery.engine.quality.measure(Event())
        assert measured is not None
        assert (measured.scores["lexical"].shown, measured.scores["lexical"].mrr) == (0, 0)
        assert measured.scores["dense"].shown > 0

    def test_it_runs_in_the_background_and_what_came_out_is_remembered(self, bakery: House) -> None:
        quality = bakery.engine.quality
        assert quality.history() == []
        first, second = (run(bakery) for _ in range(2))
        assert quality.history() == [second, first]
        assert first.scores == second.scores
        bakery.restart()
        assert bakery.engine.quality.history() == [second, first]

    def test_no_word_of_a_post_is_kept_with_the_numbers(self, bakery: House) -> None:
        run(bakery)
        noted = bakery.catalogue.fact("quality").lower()
        assert noted
        assert not {"rye", "starter", "flatbread", "bicycle"} & stems_of(noted)

    def test_a_cancelled_measurement_leaves_nothing(self, bakery: House) -> None:
        stop = Event()
        stop.set()
        assert bakery.engine.quality.measure(stop) is None
        bakery.engine.quality.start()
        bakery.engine.quality.close()
        assert not bakery.engine.quality.running

    def test_posts_without_a_sentence_get_a_sentence(self, light_house: House) -> None:
        light_house.write_and_add("short.md", "# Short\n\nBread.\n")
        with pytest.raises(FootnoteError, match=r"Add more posts, and measure again\.$"):
            light_house.engine.quality.measure(Event())
        light_house.engine.quality.start()
        light_house.engine.quality._thread.join()  # type: ignore[union-attr]
        assert "Add more posts" in light_house.engine.quality.failure

    def test_a_surprise_becomes_a_sentence(self, bakery: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bakery.library, "passage_ids", lambda: 1 / 0)
        bakery.engine.quality.start()
        bakery.engine.quality._thread.join()  # type: ignore[union-attr]
        assert "the terminal it runs in says what" in bakery.engine.quality.failure

    @pytest.mark.parametrize(
        ("successes", "count", "between"),
        [(83, 100, (74, 89)), (0, 10, (0, 28)), (10, 10, (72, 100)), (0, 0, (0, 100)), (1, 1, (21, 100))],
    )
    def test_how_sure_a_share_is(self, successes: int, count: int, between: tuple[int, int]) -> None:
        assert certainty(successes, count) == between  # worked out with another program


class TestGoldSet:
    def test_a_marked_passage_is_measured(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("Which rye flour is the starter fed?", passage(bakery, "50 grams of rye"))
        gold.mark("Which iron pan must be smoking hot?", passage(bakery, "smoking hot"))
        gold.deny("Who won the chess championship in Reykjavik?")
        measured = run(bakery)
        assert (measured.judged, measured.denied, measured.refused) == (2, 1, 1)
        assert measured.gold["hybrid"]["accuracy@1"] == 1.0
        assert measured.gold["hybrid"]["ndcg@10"] == 1.0

    def test_a_mark_can_be_taken_back(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        right, wrong = passage(bakery, "50 grams of rye"), passage(bakery, "smoking hot")
        gold.mark("Which rye flour is the starter fed?", right)
        gold.mark("Which rye flour is the starter fed?", wrong)
        gold.unmark("Which rye flour is the starter fed?", wrong)
        assert set(gold.of("Which rye flour is the starter fed?").marks) == {right}
        gold.unmark("Which rye flour is the starter fed?", right)
        assert gold.all() == []
        assert not gold.of("Which rye flour is the starter fed?").denied

    def test_a_passage_that_is_gone_cannot_be_marked(self, bakery: House) -> None:
        with pytest.raises(NotFound, match=r"Search again\.$"):
            bakery.engine.quality.gold.mark("Which rye flour is the starter fed?", 987654)

    def test_after_an_edit_the_passage_is_found_by_its_text(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("What smells?", passage(bakery, "smell of vinegar"))
        bakery.write_and_add("sourdough.md", "# A foreword\n\nThis was once written for my sister.\n\n" + SOURDOUGH)
        [placed] = gold.all()
        assert set(placed.marks) == {passage(bakery, "smell of vinegar")}
        assert placed.lost == ()

    def test_after_a_small_change_of_its_words_too(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("What smells?", passage(bakery, "smell of vinegar"))
        bakery.write_and_add("sourdough.md", "Notes.\n\n" + SOURDOUGH.replace("until the smell is gone", "for a week"))
        [placed] = gold.all()
        assert set(placed.marks) == {passage(bakery, "smell of vinegar")}
        gold.unmark("What smells?", passage(bakery, "smell of vinegar"))
        assert gold.all() == []

    def test_a_passage_that_was_written_anew_is_lost_and_said_to_be(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("What smells?", passage(bakery, "smell of vinegar"))
        bakery.write_and_add(
            "sourdough.md", "# Keeping a sourdough starter\n\nI buy my bread in town since last May.\n"
        )
        [placed] = gold.all()
        assert placed.marks == {}
        assert "smell of vinegar" in placed.lost[0].quote
        assert not placed.denied
        assert run(bakery).judged == 0
        gold.forget("What smells?")
        assert gold.all() == []

    def test_other_passages_of_the_same_text_keep_the_mark(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("What smells?", passage(bakery, "smell of vinegar"))
        bakery.embedder.max_tokens, bakery.embedder.fingerprint = 400, "fa1e000000000002"
        bakery.restart()
        bakery.engine.prepare()
        [placed] = bakery.engine.quality.gold.all()
        [id_] = placed.marks
        assert "smell of vinegar" in bakery.library.passages([id_])[0].text

    def test_a_removed_post_takes_its_marks_with_it(self, bakery: House) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("What smells?", passage(bakery, "smell of vinegar"))
        gold.deny("Who is the king?")
        bakery.engine.remove([bakery.library.passages([passage(bakery, "smell of vinegar")])[0].post_id])
        assert [placed.question for placed in gold.all()] == ["Who is the king?"]

    def test_it_is_exported_as_a_collection_that_eval_reads(self, bakery: House, tmp_path: Path) -> None:
        gold = bakery.engine.quality.gold
        gold.mark("Which rye flour is the starter fed?", passage(bakery, "50 grams of rye"))
        gold.mark("Which iron pan must be smoking hot?", passage(bakery, "smoking hot"))
        gold.deny("Who won the chess championship in Reykjavik?")
        with zipfile.ZipFile(io.BytesIO(gold.export())) as packed:
            packed.extractall(tmp_path / "gold")
        collection = read_collection(tmp_path / "gold")
        assert [(question.text, question.answerable) for question in collection.questions.values()] == [
            ("Which rye flour is the starter fed?", True),
            ("Which iron pan must be smoking hot?", True),
            ("Who won the chess championship in Reykjavik?", False),
        ]
        assert len(collection.posts) == bakery.engine.count()[1]
        found = evaluate(House(tmp_path / "eval", real_stores=False).engine, tmp_path / "gold")
        assert found["accuracy@1"] == run(bakery).gold["hybrid"]["accuracy@1"]


@pytest.fixture(autouse=True)
def ended(light_house: House) -> Iterator[None]:
    yield
    light_house.engine.quality.close()


def run(house: House) -> Measured:
    """Measure in the background and wait for it."""
    house.engine.quality.start()
    house.engine.quality._thread.join()  # type: ignore[union-attr]
    assert house.engine.quality.failure == ""
    return house.engine.quality.history()[0]


def passage(house: House, words: str) -> int:
    """Return the id of the one passage with these words."""
    [found] = [known.id for known in house.library.passages() if words in known.text]
    return int(found)
