"""An answer grows, is verified sentence by sentence, and ends where the posts end."""

from __future__ import annotations

from threading import Event

import pytest

from rag.answering.growing import QUOTED, Clock, write
from rag.citations import Verifier
from rag.errors import ModelError
from rag.records import Answer
from tests.fakes import FakeEmbedder, FakeWriter
from tests.stories import FLATBREAD, SOURDOUGH, hits_of, post

FED = "Feed it every morning at eight with 50 grams of rye flour."
HUNGRY = "A sharp smell of vinegar means that the starter is hungry."
MOON = "The moon is made of green cheese."
SEA = "The sea is full of lemonade."
TEXTS = {post(text).id: text for text in (SOURDOUGH, FLATBREAD)}
HITS = (*hits_of(post(SOURDOUGH), 48), *hits_of(post(FLATBREAD), 48))


QUESTION = "With how much rye flour is the starter fed every morning?"


def answers(*pieces: str, writer: FakeWriter | None = None, question: str = QUESTION) -> list[Answer]:
    asked = Answer(question, asked=question, hits=HITS)
    verifier = Verifier(asked.asked, asked.hits, FakeEmbedder())
    return list(write(asked, verifier, writer or FakeWriter(*pieces), Event(), Clock()))


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
    assert last.text == FED
    assert [sentence.citation for sentence in last.sentences] == [1]
    assert "strayed from your posts" in last.note
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


def test_a_last_item_of_a_list_that_is_proven_is_kept() -> None:
    text = f"- {HUNGRY[:-1]}\n- {FED[:-1]}"
    assert answers(*letters(text))[-1].text == text


def test_a_fragment_that_is_all_there_is_is_kept() -> None:
    assert answers("Feed it every morning at")[-1].text == "Feed it every morning at"


@pytest.mark.parametrize("end", ["“hungry.”", "(hungry)", "`hungry`", "hungry!", "饿。", "hungry:"])
def test_a_last_sentence_with_an_end_is_kept(end: str) -> None:
    text = f"{FED} The starter is {end}"
    assert answers(text)[-1].text == text


def test_blanks_around_the_answer_are_dropped() -> None:
    assert answers("\n ", " ", FED, " \n\n")[-1].text == FED


def test_places_of_sentences_hold_in_every_growing_answer() -> None:
    for answer in answers(*letters(f"  {FED}\n\n{HUNGRY} {MOON}")):
        assert all(answer.text[s.start : s.end] == s.text for s in answer.sentences)
        assert {s.citation for s in answer.sentences} - {None} == {c.number for c in answer.citations}


def test_a_writer_that_fails_in_the_middle_leaves_what_it_wrote_and_says_why() -> None:
    writer = FakeWriter(f"{FED} ", "A sharp")
    writer.error = ModelError("The writer is damaged. Download it again.")
    last = answers(writer=writer)[-1]
    assert (last.done, last.failed) == (True, True)
    assert last.hits == HITS
    assert last.note == "The writer is damaged. Download it again."
    assert [citation.quote for citation in last.citations] == [FED]


def test_where_a_writer_fails_at_once_the_posts_are_quoted_and_it_says_why() -> None:
    writer = FakeWriter()
    writer.error = ModelError("The writer is damaged. Download it again.")
    last = answers(writer=writer)[-1]
    assert (last.done, last.failed) == (True, True)
    assert last.note == "The writer is damaged. Download it again."
    assert_a_quote(last)


@pytest.mark.parametrize("pieces", [(), ("", " ", "\n"), (MOON,), (f"{MOON} {SEA} ", MOON), ("Question: What?",)])
def test_where_a_writer_proves_nothing_the_posts_are_quoted(pieces: tuple[str, ...]) -> None:
    last = answers(*pieces)[-1]
    assert (last.done, last.failed) == (True, False)
    assert last.note == QUOTED
    assert_a_quote(last)


def assert_a_quote(answer: Answer) -> None:
    """The answer is one sentence of the posts, word for word."""
    [citation] = answer.citations
    assert answer.text == citation.quote
    assert [sentence.citation for sentence in answer.sentences] == [1]
    assert TEXTS[citation.post_id][citation.start : citation.end] == citation.quote
    assert citation.quote == FED


def test_a_heading_is_not_quoted_for_it_says_nothing() -> None:
    last = answers(MOON, question="How am I keeping a sourdough starter?")[-1]
    assert last.citations
    assert "Keeping a sourdough starter" not in last.text


def test_a_stopped_answer_is_not_replaced_by_a_quote() -> None:
    stop = Event()
    for answer in write(
        Answer(QUESTION, asked=QUESTION, hits=HITS),
        Verifier(QUESTION, HITS, FakeEmbedder()),
        FakeWriter("The moon ", "is made ", "of cheese."),
        stop,
        Clock(),
    ):
        stop.set() if answer.text else None
    assert answer.text.rstrip() == "The moon"
    assert answer.citations == ()
    assert answer.note.startswith("Stopped.")


def test_people_are_told_when_the_writer_must_be_loaded_first() -> None:
    writer = FakeWriter(FED)
    assert "Loading" in answers(writer=writer)[0].status
    assert "Loading" not in answers(writer=writer)[0].status
