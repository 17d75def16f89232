"""Sentences end where a reader would say they do; nothing of a text falls between two of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def test_a_paragraph_falls_into_its_sentences() -> None:
    text = "Feed the starter. Does it smell? Then feed it twice! After that, wait…  And bake."
    assert sentences(text) == [
        "Feed the starter.",
        "Does it smell?",
        "Then feed it twice!",
        "After that, wait…",
        "And bake.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Meier bakes rye bread.",
        "Use a dry pan, e.g. one of iron.",
        "Use flours (rye, spelt, etc.) as you like.",
        "I moved to the U.S. with my starter.",
        "J. R. Baker wrote this on pp. 12 of the book.",
        "It rises at 7.30 in the morning, by 3.5 centimetres.",
        "The mill opens at 8 a.m. on Sundays.",
        "Version 2.0.1 of the recipe uses less salt.",
        "See example.com/bread for more.",
        "Why? because it is hungry.",
        "The case was Baker v. Miller, about a sack of rye.",
        "The oldest oven (c. 1455) is still hot.",
    ],
)
def test_a_full_stop_within_a_sentence_does_not_end_it(text: str) -> None:
    assert sentences(text) == [text]


def test_closing_quotes_and_marks_belong_to_their_sentence() -> None:
    text = "She said “wait.” *Then she baked.* (It was good.) **Very good!** So we ate."
    assert sentences(text) == [
        "She said “wait.”",
        "*Then she baked.*",
        "(It was good.)",
        "**Very good!**",
        "So we ate.",
    ]


def test_each_item_of_a_list_stands_alone() -> None:
    text = "You need\n- flour\n- water and\n  patience\n1. Mix it.\n2. Wait.\n"
    assert sentences(text) == ["You need", "- flour", "- water and\n  patience", "1. Mix it.", "2. Wait."]


def test_headings_paragraphs_and_table_rows_stand_alone() -> None:
    text = "# The oven\n\nIt is hot\n\nand old\n| flour | 50 g |\n| water | 60 g |\n## The end"
    assert sentences(text) == [
        "# The oven",
        "It is hot",
        "and old",
        "| flour | 50 g |",
        "| water | 60 g |",
        "## The end",
    ]


def test_a_line_break_within_a_sentence_does_not_end_it() -> None:
    assert sentences("Feed the starter\nevery morning. Then wait.") == [
        "Feed the starter\nevery morning.",
        "Then wait.",
    ]


def test_chinese_and_japanese_sentences_need_no_blank_between_them() -> None:
    assert sentences("面包需要时间。你有时间吗？有！") == ["面包需要时间。", "你有时间吗？", "有！"]
    assert sentences("「待って。」彼は言った。") == ["「待って。」", "彼は言った。"]


def test_blank_texts_have_no_sentences() -> None:
    assert sentences("") == sentences(" \n\t ") == []


@pytest.mark.slow
@given(st.one_of(st.text(), st.text(alphabet='aB1 .!?…。\n\t-*#|)”"_', max_size=120)))
def test_spans_are_trimmed_in_order_and_cover_every_word(text: str) -> None:
    spans = sentence_spans(text)
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    between = [
        text[a:b] for a, b in zip([0, *(end for _, end in spans)], [*(s for s, _ in spans), len(text)], strict=True)
    ]
    assert "".join(between).strip() == ""


@pytest.mark.timeout(10)  # far more than it needs; without it a text of dots keeps the suite for minutes
@pytest.mark.parametrize("hostile", [".", "\n", "a. ", "?!", "…", "。", "a.\n", "- \n", "1.", '."', "\n "])
def test_a_long_line_of_stops_is_read_once(hostile: str) -> None:
    text = hostile * 100_000
    assert "".join(text[start:end] for start, end in sentence_spans(text)).replace(" ", "") or not text.strip()
