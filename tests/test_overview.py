"""Questions about posts are answered from the library, with every post that matches; other questions are left alone."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import overview as benchmark
from rag.errors import BadQuestion
from rag.finding.overview import overview, understood
from rag.finding.query import parse
from rag.records import Answer, Post
from tests.fakes import FakeLibrary
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, post
from tests.test_contracts import put

TODAY = date(2025, 8, 14)
CHAIN = "The chain of the bicycle again. Rye flour does not help."


@pytest.fixture
def library() -> Any:
    made = FakeLibrary()
    for a_post in (
        Post("/blog/sourdough.md", "Keeping a sourdough starter", SOURDOUGH, "2023-03-15", None, ("Bread", "rye")),
        Post("/blog/flatbread.md", "Flatbread in twenty minutes", FLATBREAD, "2024-02-01", None, ("bread",)),
        Post("/blog/bicycle.md", "A winter with my bicycle", BICYCLE, "2024-12-30", None, ("Cycling",)),
        Post("/blog/chain.md", "Untitled", CHAIN),
    ):
        put(made, a_post)
    return made


def test_posts_that_mention_something_are_counted_and_all_listed(library: Any) -> None:
    for question in ("Which posts mention flour?", "how many posts about flours", "posts about the flour"):
        found = overview(parse(question), library, TODAY)
        assert found is not None
        assert found.text.startswith("You have 3 posts that mention “")
        assert [a_post.title for a_post in found.posts] == [
            "Flatbread in twenty minutes",
            "Keeping a sourdough starter",
            "Untitled",
        ]


STARTER, BREAD, WINTER, REST = (
    "Keeping a sourdough starter",
    "Flatbread in twenty minutes",
    "A winter with my bicycle",
    "Untitled",
)


@pytest.mark.parametrize(
    ("question", "text", "titles"),
    [
        ("posts about rye flour", "You have 2 posts that mention “rye flour”.", [STARTER, REST]),
        (
            "posts about flour rye",
            "You have 2 posts with all the words of “flour rye”, though not in a row.",
            [STARTER, REST],
        ),
        ("posts on yoghurt or vinegar", "You have 2 posts that mention “yoghurt or vinegar”.", [BREAD, STARTER]),
        ("posts about cycling", "You have 1 post that mentions “cycling” or has it as a tag.", [WINTER]),
        ("what did I write in March 2023?", "You have 1 post from 2023-03-01 to 2023-03-31.", [STARTER]),
        (
            "posts from last year about flour",
            "You have 1 post that mentions “flour”, from 2024-01-01 to 2024-12-31.",
            [BREAD],
        ),
        ("list everything tagged BREAD", "You have 2 posts tagged “BREAD”.", [BREAD, STARTER]),
        ("tag:bread after:2024", "You have 1 post tagged “bread”, from 2024-01-01 on.", [BREAD]),
        ("which posts mention flour tag:rye", "You have 1 post that mentions “flour”, tagged “rye”.", [STARTER]),
        ('which posts mention "salt eats"', "You have 1 post that mentions “salt eats”.", [WINTER]),
        (
            "latest post about flour",
            "The latest of 3 posts that mention “flour” is “Flatbread in twenty minutes”, of 2024-02-01. "
            "1 of them has no date.",
            [BREAD, STARTER, REST],
        ),
        (
            "my first post",
            "The first of 4 posts is “Keeping a sourdough starter”, of 2023-03-15. 1 of them has no date.",
            [STARTER, BREAD, WINTER, REST],
        ),
        (
            "when did i last write about salt",
            "The only post that mentions “salt” is “A winter with my bicycle”, of 2024-12-30.",
            [WINTER],
        ),
        ("What tags do I use?", "You use 3 tags: bread (2), Cycling (1), rye (1).", []),
    ],
)
def test_the_sentence_says_what_was_looked_for(library: Any, question: str, text: str, titles: list[str]) -> None:
    found = overview(parse(question), library, TODAY)
    assert found is not None
    assert (found.text, found.empty) == (text, False)
    assert [a_post.title for a_post in found.posts] == titles


@pytest.mark.parametrize(
    "question", ["which posts mention zeppelins?", "posts from 1999", "latest post tagged opera", "tag:opera"]
)
def test_where_nothing_matches_a_sentence_says_so(library: Any, question: str) -> None:
    found = overview(parse(question), library, TODAY)
    assert found is not None
    assert found.empty
    assert found.posts == ()
    assert found.text.startswith("You have no posts ")
    assert found.text.endswith("Try other words, dates or tags.")


def test_without_any_post_the_usual_way_says_what_to_do(library: Any) -> None:
    assert overview(parse("which posts mention flour?"), FakeLibrary(), TODAY) is None


def test_posts_without_tags_or_dates_are_told_so() -> None:
    library = FakeLibrary()
    put(library, post(CHAIN))
    tags = overview(parse("what tags do i use"), library, TODAY)
    assert tags is not None
    assert tags.empty
    assert tags.text.startswith("None of your posts has a tag.")
    latest = overview(parse("my latest post"), library, TODAY)
    assert latest is not None
    assert latest.text == "You have 1 post, without a date."


@pytest.mark.parametrize("question", benchmark.FIRST_ORDINARY + benchmark.SECOND_ORDINARY + benchmark.THIRD_ORDINARY)
def test_a_question_that_only_looks_like_one_goes_the_usual_way(question: str) -> None:
    assert understood(parse(question), TODAY) is None


@pytest.mark.parametrize("row", benchmark.FIRST_POSTS + benchmark.SECOND_POSTS, ids=lambda row: row[0])
def test_a_question_about_posts_is_read_right(row: benchmark.Row) -> None:
    assert benchmark.understanding(row[0]) == row


WORDS = (
    "which posts about my the latest first tagged in 2023 last year when did i write all how many or mention -x".split()
)


@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_nothing_that_is_asked_breaks_it(question: str) -> None:
    query = parse(question)
    asked = understood(query, TODAY)
    assert asked is None or asked.wanted in ("list", "latest", "first", "tags")


@pytest.mark.parametrize("real_stores", [False, pytest.param(True, marks=pytest.mark.slow)])
class TestThroughTheEngine:
    def answers(self, house: House, question: str) -> list[Answer]:
        return list(house.engine.ask(question))

    def test_the_library_answers_and_no_model_is_asked(self, tmp_path: Path, real_stores: bool) -> None:
        house = House(tmp_path, real_stores=real_stores)
        house.write_and_add("a.md", "---\ndate: 2024-05-01\ntags: [bread]\n---\n\n" + SOURDOUGH)
        house.write_and_add("b.md", BICYCLE)
        house.embedder.encoded.clear()
        [answer] = self.answers(house, "Which posts mention vinegar?")
        assert answer.done
        assert not answer.refused
        assert [(a_post.title, a_post.date) for a_post in answer.posts] == [
            ("Keeping a sourdough starter", "2024-05-01")
        ]
        [nothing] = self.answers(house, "which posts mention zeppelins")
        assert nothing.refused
        assert nothing.done
        assert (house.embedder.encoded, house.writer.prompts) == ([], [])
        house.close()

    def test_a_search_stays_within_what_was_typed(self, tmp_path: Path, real_stores: bool) -> None:
        house = House(tmp_path, real_stores=real_stores)
        house.write_and_add("a.md", "---\ndate: 2024-05-01\ntags: [bread, Rye]\n---\n\n" + SOURDOUGH)
        house.write_and_add("b.md", "---\ndate: 2023-05-01\ntags: [bread]\n---\n\n" + FLATBREAD)
        house.write_and_add("c.md", BICYCLE)
        house.engine.prepare()
        for typed, titles in (
            ("chain, dough, pan and starter", {"A winter with my bicycle", *self.BREADS}),
            ("chain, dough, pan and starter tag:bread", self.BREADS),
            ("chain, dough, pan and starter before:2023", self.BREADS - {"Keeping a sourdough starter"}),
            (
                "chain, dough, pan and starter -yeast -chain",
                {"Keeping a sourdough starter", "Flatbread in twenty minutes"},
            ),
            ('chain and "smoking hot" starter', {"Flatbread in twenty minutes"}),
            ("chain, dough, pan and starter tag:bread after:2025", set()),
        ):
            for mode in ("hybrid", "dense", "lexical"):
                assert {hit.title for hit in house.engine.search(typed, mode).hits} == titles, (typed, mode)
        with pytest.raises(BadQuestion, match="Add a word to look for"):
            house.engine.search("tag:bread")
        house.close()

    BREADS = frozenset({"Keeping a sourdough starter", "Flatbread in twenty minutes"})
