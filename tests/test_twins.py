"""Copies of one post are told from other posts of the same blog."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rag.incoming.twins import KEPT, SAME, is_copy, likeness, sketch
from rag.records import Post
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH


def like(first: str, second: str) -> float:
    return likeness(sketch(first), sketch(second))


def test_the_same_words_in_other_markup_are_alike() -> None:
    linked = SOURDOUGH.replace("rye flour", "[rye flour](https://example.com/rye 'Rye')").replace("eight", "**eight**")
    assert like(SOURDOUGH, linked) == 1
    assert like(SOURDOUGH, SOURDOUGH.upper()) == 1


def test_page_furniture_around_a_post_leaves_it_alike() -> None:
    text = " ".join(f"On day {day} the loaf had grown by {day * 3} millimetres." for day in range(30))
    furniture = "Home About Archive. " + text + " Recent articles: rye, oats, wheat. Subscribe to the newsletter."
    assert like(text, furniture) >= 0.8


def test_other_posts_are_not() -> None:
    assert max(like(SOURDOUGH, FLATBREAD), like(SOURDOUGH, BICYCLE), like(FLATBREAD, BICYCLE)) < 0.1
    assert like("", SOURDOUGH) < 0.1
    assert like("Bread.", "Butter.") == 0


def test_the_share_is_estimated_well() -> None:
    half = [f"word{n}" for n in range(4000)]
    other = half[:2000] + [f"else{n}" for n in range(2000)]
    assert abs(like(" ".join(half), " ".join(other)) - 1 / 3) < 0.12
    assert len(sketch(" ".join(half))) == KEPT


def test_short_texts_are_counted_not_estimated() -> None:
    assert like("one two three four five", "one two three four six") == 1 / 3


def test_an_announcement_made_anew_each_month_is_no_copy() -> None:
    may = Post("/may.md", "Bakers' evening in May", "The bakers meet.", "2024-05-07")
    assert not is_copy(replace(may, title="Bakers' evening in June", date="2024-06-07"), may)
    assert is_copy(replace(may, title="Bakers' evening in May | The bread blog"), may)
    assert is_copy(replace(may, date="2024-05-08"), may)
    assert is_copy(replace(may, title="Another", date=None), may)


@given(st.text(max_size=2000))
def test_any_text_has_a_sketch_and_is_like_itself(text: str) -> None:
    known_by = sketch(text)
    assert known_by == sorted(set(known_by))
    assert 1 <= len(known_by) <= KEPT
    assert all(0 <= hash_ < 2**63 for hash_ in known_by)
    assert likeness(known_by, known_by) == 1 > SAME
