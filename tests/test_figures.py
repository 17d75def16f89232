"""What the tab Quality shows: numbers in plain words, and other people's text only ever as text."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from rag.measuring.gold import Placed
from rag.measuring.quality import MODES, Measured, Score
from rag.records import Found, Hit, Mark, Passage
from rag.ui import figures

NOTHING = Placed("What?")


def measured(questions: int, first: int, shown: int) -> Measured:
    return Measured(
        "2026-11-25T08:00:00+00:00", "a <model>", 300, questions, dict.fromkeys(MODES, Score(first, shown, 0.9))
    )


def found(*texts: str, words: tuple[str, ...] = ("starter",), title: str = "Bread") -> Found:
    hits = [
        Hit(Passage("a" * 12, 0, len(text), text, title, id=at), title, None, None, 0.5, 0.4, 1.0, (), 1, None)
        for at, text in enumerate(texts, start=1)
    ]
    return Found("Who feeds the starter?", tuple(hits), "covered", 0.93, words)


def shown(*texts: str, words: tuple[str, ...] = ("starter",), title: str = "Bread") -> str:
    search = found(*texts, words=words, title=title)
    return figures.inspected(search, search, search, NOTHING)


def test_a_measurement_is_read_in_plain_words() -> None:
    assert figures.reading(measured(100, 83, 96)) == (
        "Of 100 questions made from your posts, the right passage is first for 83 and among the 8 shown for 96. "
        "(sample of 100, 25 November 2026; between 74 and 89 of 100 first with 95 % certainty)"
    )
    assert "That is 75 and 100 of 100." in figures.reading(measured(8, 6, 8))
    assert "a &lt;model&gt;" in figures.number(measured(100, 83, 96))
    assert "Nothing was measured yet" in figures.number(None)


def test_the_words_that_were_found_are_marked_by_their_stems() -> None:
    page = shown("Two starters rest. The starter’s glass stands beside the startled cat.")
    assert "<mark>starters</mark>" in page
    assert "<mark>starter</mark>’s" in page
    assert "<mark>startled" not in page
    assert "words #1 (1.00 of the best) · meaning not found (cosine 0.40)" in page
    assert "Covered 0.93" in page


@pytest.mark.parametrize("word", ["amp", "lt", "quot", "x27", "script", "b", "mark", "onerror", "img"])
def test_text_of_a_post_is_never_markup(word: str) -> None:
    hostile = "<img src=x onerror='alert(1)'> & <script>b</script> \"mark\" &lt;b&gt; amp lt quot x27 & <mark> img"
    page = shown(hostile, words=(word,), title=hostile)
    tags = re.findall(r"<(/?)(\w+)([^>]*)>", page)
    assert {name for _, name, _ in tags} <= {
        "p",
        "mark",
        "h3",
        "ol",
        "li",
        "strong",
        "div",
        "button",
        "span",
        "section",
    }
    assert all(not more.strip() for _, name, more in tags if name == "mark")
    assert not re.search(r"&(?!(?:amp|lt|gt|quot|#x27);)", page)


def test_of_a_long_passage_the_part_with_the_words_is_shown() -> None:
    page = shown("The weather was fine. " * 200 + "The starter is fed by Bertha. " + "The sun went down. " * 200)
    assert page.count("<mark>starter</mark> is fed by Bertha") == 3
    assert len(page) < 4000


def test_what_was_judged_is_listed_and_what_was_lost_is_said() -> None:
    lost = Mark("a" * 12, 0, 5, "The <starter> smells of vinegar.")
    page = figures.gold([Placed("<Who>?", {7: lost}), Placed("When?", {}, (lost,)), Placed("Why?", denied=True)])
    assert "&lt;Who&gt;?" in page
    assert "No longer found in its post: “The &lt;starter&gt; smells of vinegar.”" in page
    assert page.count("no passage answers it") == 1
    assert "<Who>" not in page


def test_a_marked_passage_can_be_unmarked() -> None:
    search = found("The starter is fed.", "The starter sleeps.")
    page = figures.inspected(search, search, search, Placed("Who?", {2: Mark("a" * 12, 0, 5, "The")}))
    assert page.count("data-act='unmark' data-passage='2'") == 3
    assert page.count("data-act='mark' data-passage='1'") == 3
    assert "data-act='deny'" in page
    assert "data-act='forget'" in figures.inspected(search, search, search, Placed("Who?", denied=True))


def test_a_search_without_hits_says_so() -> None:
    assert shown().count("Nothing was found.") == 3


def test_earlier_measurements_stand_in_rows_with_the_judged_questions_beside() -> None:
    judged = replace(measured(50, 40, 45), judged=4, gold={mode: {"accuracy@1": 0.75} for mode in MODES})
    page = figures.history([judged, measured(50, 30, 45)])
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in page.split("<tr>")[2:]]
    assert rows == [
        ["2026-11-25 08:00", "50", "80%", "90%", "75% of 4", "300", "a &lt;model&gt;"],
        ["2026-11-25 08:00", "50", "60%", "90%", "–", "300", "a &lt;model&gt;"],
    ]
