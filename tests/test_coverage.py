"""Whether the posts answer a question is told by how near they come to it, on a scale of their own."""

from __future__ import annotations

from typing import Any

import pytest

from rag.finding.coverage import COVERED, REFUSED, UNMEASURED, UNRELATED, Scale, coverage_of, measured, probability
from tests.fakes import FakeEmbedder
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

QUESTION = "Why does the starter smell of vinegar?"


@pytest.fixture
def house(light_house: House) -> House:
    for name, text in (("sour.md", SOURDOUGH), ("flat.md", FLATBREAD), ("bicycle.md", BICYCLE)):
        light_house.write_and_add(name, text)
    return light_house


def test_the_nearer_the_passages_and_the_more_words_they_have_the_likelier_it_is() -> None:
    likely = [
        probability(UNMEASURED, *told) for told in ((0.2, 0.1, 0.1), (0.5, 0.1, 0.1), (0.5, 0.9, 0.1), (0.5, 0.9, 0.9))
    ]
    assert 0 < likely[0] < likely[1] < likely[2] < likely[3] < 1


def test_what_is_near_depends_on_the_scale() -> None:
    assert probability(Scale(0.1, 0.5), 0.5, 0.5, 0.5) > probability(Scale(0.5, 0.9), 0.5, 0.5, 0.5)


def test_there_are_three_outcomes() -> None:
    assert [coverage_of(p) for p in (0.0, REFUSED - 0.01, REFUSED, COVERED - 0.01, COVERED, 1.0)] == [
        *["not covered"] * 2,
        *["maybe"] * 2,
        *["covered"] * 2,
    ]


def test_the_questions_about_something_else_differ() -> None:
    assert len(set(UNRELATED)) == len(UNRELATED) == 40
    assert all(question.endswith("?") for question in UNRELATED)


def test_a_search_says_whether_the_posts_cover_the_question(house: House) -> None:
    asked = house.engine.search(QUESTION)
    assert asked.coverage == "covered"
    assert asked.probability is not None
    assert asked.probability > COVERED
    other = house.engine.search("Which enzyme breaks down lactose in toddlers?")
    assert other.coverage == "not covered"
    assert other.probability is not None
    assert other.probability < REFUSED


def test_words_alone_are_no_proof(house: House) -> None:
    assert house.engine.search("vinegar", "lexical").coverage == "maybe"
    assert house.engine.search("vinegar", "lexical").probability is None
    assert house.engine.search("zeppelin", "lexical").coverage == "not covered"


class TestScale:
    def test_it_is_measured_when_posts_come_in_and_kept_with_the_index(self, house: House) -> None:
        scale = Scale(**house.index.noted())
        assert scale.fits(house.engine.count()[1])
        assert scale.low < scale.high <= 1.0001
        house.embedder.encoded.clear()
        house.restart()
        house.engine.prepare()
        assert Scale(**house.index.noted()) == scale
        assert UNRELATED[0] not in house.embedder.encoded

    def test_it_is_measured_anew_when_the_posts_have_become_many_more(self, house: House) -> None:
        before = house.index.noted()
        for number in range(12):
            house.write_and_add(f"{number}.md", f"# Day {number}\n\nOn day {number} the loaf rose by {number} inches.")
        assert house.index.noted()["passages"] > 1.5 * before["passages"]

    def test_another_embedder_has_another(self, house: House) -> None:
        before = house.index.noted()
        house.embedder = FakeEmbedder(fingerprint="fa1e000000000002")
        house.restart()
        house.engine.prepare()
        assert house.index.noted() != before

    def test_a_damaged_one_is_measured_anew(self, house: House) -> None:
        house.index.note({"low": 0.1})
        house.restart()
        house.engine.prepare()
        assert set(house.index.noted()) == {"low", "high", "passages"}

    def test_no_posts_have_none(self, house: House) -> None:
        for stored in house.engine.posts():
            house.engine.remove([stored.id])
        assert measured(house.library, house.index, house.embedder) == UNMEASURED


@pytest.mark.slow
def test_real_models_tell_a_question_about_something_else(house: House, real_embedder: Any) -> None:
    house.embedder = real_embedder
    house.restart()
    house.engine.prepare()
    for question in ("Who composed the opera about the barber of Seville?", "How do I file a tax return in Peru?"):
        assert house.engine.search(question).coverage == "not covered"
    assert house.engine.search("How do I feed a sourdough starter?").coverage == "covered"
