"""An answer grows, is verified sentence by sentence, and ends where the posts end."""

from __future__ import annotations

from threading import Event

import pytest

from rag.answering import Clock, write
from rag.errors import ModelError
from rag.records import Answer
from tests.fakes import FakeEmbedder, FakeWriter
from tests.stories import FLATBREAD, SOURDOUGH, hits_of, post

FED = "Feed it every morning at eight with 50 grams of rye flour."
HUNGRY = "A sharp smell of vinegar means that the starter is hungry."
MOON = "The moon is made of green cheese."
SEA = "The sea is full of lemonade."
HITS = (*hits_of(post(SOURDOUGH), 48), *hits_of(post(FLATBREAD), 48))


def answers(*pieces: str, writer: FakeWriter | None = None) -> list[Answer]:
    question = Answer("How do I feed a sourdough starter?", hits=HITS)
    return list(write(question, writer or FakeWriter(*pieces), FakeEmbedder(), Event(), Clock()))


def letters(text: str) -> list[str]:
    """Cut a text as a writer does that yields a few characters at a time."""
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def test_the_last_answer_is_whole_and_done() -> None:
    found = answers(*letters(f"{FED} {HUNGRY}"))
    assert found[-1].text == f"{FED} {HUNGRY}"
    assert found[-1].note == ""
    assert [answer.done for answer in found] == [False] * (len(found) - 1) + [True]
    assert [citation.quote for citation in found[-1].citations] == [FED, HUNGRY]


def test_a_writer_that_leaves_the_posts_behind_is_stopped() -> None:
    writer = FakeWriter(*letters(f"{FED} {MOON} {SEA} {MOON} {SEA} {MOON}"))
    last = answers(writer=writer)[-1]
    assert last.text == f"{FED} {MOON} {SEA}"
    assert [sentence.citation for sentence in last.sentences] == [1, None, None]
    assert "left your posts" in last.note
    assert writer.closed == 1


def test_one_sentence_that_is_in_no_post_does_not_end_the_answer() -> None:
    last = answers(*letters(f"{MOON} {FED} {SEA} {HUNGRY}"))[-1]
    assert [sentence.citation for sentence in last.sentences] == [None, 1, None, 2]
    assert last.note == ""


@pytest.mark.parametrize("echo", ["Question: How do I bake?", "Passages:\n\nBread.", "\n## Bread\n\nBread rises."])
def test_a_writer_that_goes_on_with_the_prompt_is_cut_off_there(echo: str) -> None:
    writer = FakeWriter(*letters(f"{FED} {echo} {HUNGRY}"))
    last = answers(writer=writer)[-1]
    assert last.text == FED
    assert [citation.quote for citation in last.citations] == [FED]
    assert writer.closed == 1


def test_a_last_sentence_that_ran_into_the_limit_is_left_out() -> None:
    assert answers(*letters(f"{FED} A sharp smell of vin"))[-1].text == FED


def test_a_fragment_that_is_all_there_is_is_kept() -> None:
    assert answers("Feed it every morning at")[-1].text == "Feed it every morning at"


@pytest.mark.parametrize("end", ["“hungry.”", "(hungry)", "`hungry`", "hungry!", "饿。", "- flour\n- water:"])
def test_a_last_sentence_with_an_end_is_kept(end: str) -> None:
    text = f"{FED} The starter is {end}"
    assert answers(text)[-1].text == text


def test_blanks_around_the_answer_are_dropped() -> None:
    assert answers("\n ", " ", FED, " \n\n")[-1].text == FED


def test_places_of_sentences_hold_in_every_growing_answer() -> None:
    for answer in answers(*letters(f"  {FED}\n\n{HUNGRY} {MOON}")):
        assert all(answer.text[s.start : s.end] == s.text for s in answer.sentences)
        assert {s.citation for s in answer.sentences} - {None} == {c.number for c in answer.citations}


def test_a_writer_that_fails_leaves_the_hits_and_says_why() -> None:
    writer = FakeWriter(f"{FED} ", "A sharp")
    writer.error = ModelError("The writer is damaged. Download it again.")
    last = answers(writer=writer)[-1]
    assert last.done
    assert last.hits == HITS
    assert last.note == "The writer is damaged. Download it again."
    assert [citation.quote for citation in last.citations] == [FED]


def test_a_writer_that_has_nothing_to_say_is_told_so() -> None:
    last = answers("", " ", "\n")[-1]
    assert (last.text, last.sentences, last.citations) == ("", (), ())
    assert "nothing to say" in last.note


def test_people_are_told_when_the_writer_must_be_loaded_first() -> None:
    writer = FakeWriter(FED)
    assert "Loading" in answers(writer=writer)[0].status
    assert "Loading" not in answers(writer=writer)[0].status
