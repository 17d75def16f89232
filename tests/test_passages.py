"""Posts are split where their author would split them, nothing is lost, and every passage fits the embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rag import passages as splitting
from rag.passages import TARGET_TOKENS, WHOLE_TOKENS
from rag.readers import find_files
from rag.records import Passage, Post
from tests.reading import read_file
from tests.stories import SOURDOUGH, count_words, passages_of, post


def split(post: Post, count_tokens: Callable[[Sequence[str]], list[int]], max_tokens: int) -> list[Passage]:
    return list(splitting.split(post, count_tokens, max_tokens))


def count_characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def count_bytes(texts: Sequence[str]) -> list[int]:
    return [len(text.encode("utf-8", "surrogatepass")) for text in texts]


def count_greedily(texts: Sequence[str]) -> list[int]:
    """Count like a tokenizer whose whole is more than its parts: each line break costs four."""
    return [len(text.split()) + 4 * text.count("\n") for text in texts]


COUNTERS = (count_words, count_characters, count_bytes, count_greedily)

LINES = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab .!?\n\t", max_size=60),
    st.sampled_from(
        [
            "# Bread",
            "### The oven",
            "Bread\n=====",
            "A title that is far longer than any heading of a decent blog post should ever become " * 2,
            "- flour",
            "  - rye",
            "    1. from the mill",
            "> a quote\n> > in a quote",
            "```python\nprint('bread')\n\n# not a heading\n```",
            "```\nnever closed",
            "    indented code",
            "| flour | water |\n|---|---|\n| 50 g | 50 g |",
            "<div>\n<p>raw</p>\n\n</div>",
            "[loaf]: https://example.com/loaf 'a reference'",
            "---",
            "a" * 400,
            "面包" * 90,
            "e\u0301\u200d🥖\u202e" * 20,
            "Feed it at eight. It smells of vinegar! Why? Because it is hungry.",
            " ".join(["flour"] * 120),
            "",
        ]
    ),
    st.integers(1, 40).map(lambda depth: "\n".join("  " * level + "- deeper" for level in range(depth))),
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(LINES, max_size=14).map("\n".join), st.lists(LINES).map("\n\n".join))


def check(text: str, passages: Sequence[Passage], counter: Callable[[Sequence[str]], list[int]], most: int) -> None:
    """Hold passages against the text they came from."""
    covered = [False] * len(text)
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert passage.text.strip()
        covered[passage.start : passage.end] = [True] * (passage.end - passage.start)
        assert counter([passage.embedded_text])[0] <= most
    for before, after in pairwise(passages):
        assert before.end <= after.start
    lost = "".join(char for char, kept in zip(text, covered, strict=True) if not kept)
    assert not lost.strip()


@pytest.mark.slow
@given(text=TEXTS, title=st.text(max_size=80), counter=st.sampled_from(COUNTERS), most=st.integers(24, 260))
@settings(max_examples=200)
@example(text="# Only\n\n## Headings\n\n### Here", title="", counter=count_words, most=24)
@example(text="one\rtwo\r\nthree", title="Old line ends", counter=count_words, most=24)
@example(text="one\x0ctwo\x1cthree\x85four\u2028five\n\nsix", title="Odd line ends", counter=count_words, most=24)
@example(text="\x00\n\x00", title="", counter=count_words, most=24)
@example(text="\ud800 lone", title="\udfff", counter=count_bytes, most=24)
@example(text=">" * 300 + " deep", title="Quotes", counter=count_words, most=24)
@example(text="- " * 300 + "deep", title="Lists", counter=count_words, most=24)
@example(text="a" * 17 + "      \n" + "b", title="", counter=count_characters, most=24)  # blanks cost tokens too
@example(text="[" * 500, title="Brackets", counter=count_characters, most=24)
def test_whatever_the_text_nothing_is_lost_and_every_passage_fits(
    text: str, title: str, counter: Callable[[Sequence[str]], list[int]], most: int
) -> None:
    check(text, split(Post("/blog/odd.md", title, text), counter, most), counter, most)


def test_a_post_without_words_has_no_passages() -> None:
    for text in ("", " ", "\n\n\t\n"):
        assert split(Post("/blog/blank.md", "Blank", text), count_words, 256) == []


def test_each_passage_carries_its_title_and_the_headings_above_it() -> None:
    text = "\n\n".join(
        [
            "# Baking",
            "## Dough",
            "Dough " * 60,
            "### Salt",
            "Salt " * 60,
            "## Oven",
            "Oven " * 60,
        ]
    )
    found = {passage.text.split()[-1]: passage.heading for passage in passages_of(post(text, title="My year of bread"))}
    assert found == {
        "Dough": "My year of bread",  # this one holds "# Baking" and "## Dough" themselves
        "Salt": "My year of bread › Baking › Dough",
        "Oven": "My year of bread › Baking",
    }


def test_a_first_heading_that_repeats_the_title_is_not_said_twice() -> None:
    for passage in passages_of(post(SOURDOUGH, title="keeping a sourdough Starter")):
        assert passage.heading.lower().count("keeping a sourdough starter") == 1


def test_marks_in_a_heading_are_not_part_of_its_path() -> None:
    text = "## Why `autolyse` *works* ![](x.png)\n\n" + "Flour drinks water. " * 40 + "\n\nMore. " + "Water. " * 100
    last = passages_of(post(text, title="Dough"))[-1]
    assert last.heading == "Dough › Why autolyse works"


def test_a_short_post_is_one_passage() -> None:
    [passage] = passages_of(post("Feed it at eight.\n\nThen wait.", title="Levain"))
    assert passage.text == "Feed it at eight.\n\nThen wait."
    assert passage.heading == "Levain"


def test_a_long_section_begins_a_passage_of_its_own() -> None:
    text = "Intro. " * 80 + "\n\n## Baking\n\n" + "Bake. " * 80
    passages = passages_of(post(text, title="Bread"))
    assert len(passages) == 2
    assert passages[1].text.startswith("## Baking\n\nBake.")


def test_a_heading_never_ends_a_passage() -> None:
    text = "Flour. " * 180 + "\n\n## The oven\n\n" + "Heat. " * 180
    for passage in passages_of(post(text, title="Bread")):
        assert not passage.text.rstrip().endswith("The oven")


def test_a_code_block_is_kept_whole_where_it_fits() -> None:
    code = "```python\n" + "\n\n".join(f"knead(dough, minutes={n})" for n in range(60)) + "\n```"
    text = "Here is how. " * 30 + "\n\n" + code + "\n\n" + "That was it. " * 30
    assert sum(code in passage.text for passage in passages_of(post(text, title="Code"))) == 1


def test_a_list_is_kept_whole_where_it_fits() -> None:
    items = "\n".join(f"- {n} grams of flour from mill {n}\n" for n in range(20))
    text = "You need much. " * 30 + "\n\n" + items + "\nThat was it. " * 40
    assert sum(items.strip() in passage.text for passage in passages_of(post(text, title="List"))) == 1


def test_a_list_that_is_too_long_breaks_between_its_items() -> None:
    text = "\n".join(f"- {n} grams of flour\n  from mill {n}" for n in range(100))
    passages = passages_of(post(text, title="List"))
    assert len(passages) > 1
    assert all(passage.text.startswith("- ") for passage in passages)
    assert all("from mill" in passage.text.splitlines()[-1] for passage in passages)


def test_a_long_paragraph_breaks_between_sentences() -> None:
    text = " ".join(f"On day {n} the starter rose by {n} millimetres." for n in range(100))
    passages = passages_of(post(text, title="Diary"))
    assert len(passages) > 3
    assert all(passage.text.startswith("On day") and passage.text.endswith("millimetres.") for passage in passages)


def test_a_long_code_block_breaks_between_lines() -> None:
    text = "```\n" + "\n".join(f"knead(dough, {n}) ; rest(dough, {n})" for n in range(200)) + "\n```"
    passages = passages_of(post(text, title="Code"))
    assert len(passages) > 1
    assert all(passage.text.startswith(("knead", "```")) for passage in passages)


def test_passages_grow_towards_their_target_and_not_past_it() -> None:
    text = "\n\n".join(f"Loaf {n} rose. " * 10 for n in range(60))
    sizes = count_words([passage.text for passage in passages_of(post(text, title="Diary"))])
    assert max(sizes[:-1]) <= TARGET_TOKENS
    assert sizes[-1] <= WHOLE_TOKENS
    assert min(sizes[:-1]) > TARGET_TOKENS // 2


def test_a_paragraph_that_is_a_little_longer_than_the_target_stays_whole() -> None:
    text = "\n\n".join("Flour drinks water and rests. " * 36 for _ in range(3))  # 180 words each
    assert [len(passage.text.split()) for passage in passages_of(post(text, title="Dough"))] == [180, 180, 180]


def test_a_section_that_is_a_little_longer_than_the_target_stays_whole() -> None:
    text = "## Dough\n\n" + "\n\n".join("Flour drinks water and rests. " * 12 for _ in range(3))  # 60 words each
    assert len(passages_of(post(text, title="Bread"))) == 1


def test_the_parts_of_a_long_paragraph_are_of_about_one_size() -> None:
    text = " ".join(f"On day {n} the starter rose." for n in range(36))  # 216 words
    sizes = [len(passage.text.split()) for passage in passages_of(post(text, title="Diary"))]
    assert len(sizes) == 2
    assert max(sizes) - min(sizes) <= 12


def test_the_tokenizer_is_called_a_few_times_a_post_and_not_once_a_passage() -> None:
    calls = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal calls
        calls += 1
        return count_words(texts)

    text = "\n\n".join(f"## Day {n}\n\n" + "The loaf rose slowly. " * 40 for n in range(50))
    assert len(split(post(text, title="Diary"), count, 256)) == 50
    assert calls == 3


def test_a_title_as_long_as_a_post_leaves_room_for_the_text() -> None:
    for passage in passages_of(post("Feed it at eight. " * 50, title="Bread " * 500), max_tokens=64):
        assert 1 <= len(passage.heading.split()) <= 16
        assert count_words([passage.embedded_text])[0] <= 64


def test_a_book_is_split_as_far_as_it_is_asked_for() -> None:
    counted = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal counted
        counted += sum(map(len, texts))
        return count_words(texts)

    chapter = ("The loaf rose slowly. " * 40 + "\n\n") * 1000
    passages = splitting.split(post(chapter * 4, title="Book"), count, 256)
    assert next(passages).start == 0
    assert counted < 2 * len(chapter)


def test_the_same_post_is_split_alike_each_time() -> None:
    assert passages_of(post(SOURDOUGH * 20)) == passages_of(post(SOURDOUGH * 20))


@pytest.mark.slow
def test_a_book_in_one_line_is_split_without_counting_it_again_and_again() -> None:
    counted = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal counted
        counted += sum(map(len, texts))
        return count_words(list(texts))

    text = "a" * 1_000_000
    passages = split(post(text, title="Book"), lambda texts: [n // 4 for n in map(len, texts)], 256)
    assert "".join(passage.text for passage in passages) == text
    split(post("flour and water " * 60_000, title="Book"), count, 256)
    assert counted < 20 * len(text)


@pytest.mark.slow
@pytest.mark.parametrize("text", [SOURDOUGH * 40, "面包需要时间。" * 300, "🥖" * 900, "x_y.z(" * 400, "a" * 3000])
def test_every_passage_fits_the_real_embedder(real_embedder: Any, text: str) -> None:
    most = real_embedder.max_tokens
    passages = split(post(text, title="Long"), real_embedder.count_tokens, most)
    check(text, passages, real_embedder.count_tokens, most)


@pytest.mark.slow
def test_real_posts_lose_nothing(datasets: Path, real_embedder: Any) -> None:
    most = real_embedder.max_tokens
    for path in find_files(datasets / "blogs")[::12]:
        read = read_file(path, 25_000_000)
        check(read.text, split(read, real_embedder.count_tokens, most), real_embedder.count_tokens, most)
