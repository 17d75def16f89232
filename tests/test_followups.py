"""A question that leans on what was said takes it along; one that stands alone does not."""

from __future__ import annotations

import pytest

from rag.finding.followups import GOING_ON, WORDS_CARRIED, asked, leans, turns_of
from rag.records import Turn
from tests.fakes import FakeEmbedder

TURN = Turn("When is the sourdough starter fed?", "The starter is fed every morning with rye flour.")


@pytest.mark.parametrize(
    "question",
    [
        "And in 2024?",
        "What about rye?",
        "Why?",
        "How thin is it?",
        "Who wrote them?",
        "Tell me more",
        "ok and the salt",
        "Is it safe?",
    ],
)
def test_what_makes_no_sense_alone_leans(question: str) -> None:
    assert leans(question)


@pytest.mark.parametrize(
    "question",
    [
        "How often is a sourdough starter fed?",
        "What is SQLite?",
        "What's SQLite?",
        "Is it possible to bake bread without salt?",
        "How does rye flour change the dough when it rises?",
        "Are there any posts that mention an oven?",
    ],
)
def test_what_makes_sense_alone_does_not(question: str) -> None:
    assert not leans(question)


def test_a_leaning_question_takes_words_and_meaning_along() -> None:
    embedder = FakeEmbedder()
    found = asked("And how often?", [TURN], embedder)
    assert found.question == "When is the sourdough starter fed? And how often?"
    assert found.carried["sourdough"] == WORDS_CARRIED
    assert found.carried["flour"] < WORDS_CARRIED
    before = embedder.encode_queries([TURN.question, "And how often?"])
    assert found.vector @ before[0] > before[1] @ before[0]


def test_one_that_goes_on_with_the_subject_takes_a_little_along() -> None:
    found = asked("Which flour does the sourdough starter like?", [TURN], FakeEmbedder())
    assert found.question == "Which flour does the sourdough starter like?"
    assert found.carried["fed"] == pytest.approx(GOING_ON * WORDS_CARRIED)


def test_another_subject_takes_nothing_along() -> None:
    embedder = FakeEmbedder()
    alone, after = (asked("What eats a bicycle chain in winter?", turns, embedder) for turns in ([], [TURN]))
    assert after.carried == {}
    assert after.question == alone.question
    assert after.vector @ alone.vector == pytest.approx(1, abs=1e-5)


def test_without_an_embedder_words_are_carried_all_the_same() -> None:
    found = asked("And how often?", [TURN], None)
    assert "sourdough" in found.carried
    assert not found.vector.size


def test_a_refused_turn_and_a_pasted_one_do_no_harm() -> None:
    assert asked("And how often?", [Turn("When is it fed?")], FakeEmbedder()).carried
    pasted = asked("And how often?", [Turn("bread " * 2000)], FakeEmbedder())
    assert len(pasted.question) < 500


def test_a_chain_of_follow_ups_keeps_its_subject_and_lets_go_of_another() -> None:
    chain = [
        Turn("What eats a bicycle chain in winter?", "Salt."),
        Turn("How do I bake a sourdough loaf?", "Slowly."),
        Turn("How long does it take?", "Ten hours."),
    ]
    found = asked("And how hot?", chain, FakeEmbedder())
    assert found.question == "How do I bake a sourdough loaf? How long does it take? And how hot?"
    assert "sourdough" in found.carried
    assert "bicycle" not in found.carried


@pytest.mark.parametrize(
    "written",
    [
        [{"question": "How?", "answer": "So."}, {"answer": "Like this.", "question": "And why?", "id": 7}],
        [
            {"role": "user", "content": "How?"},
            {"role": "assistant", "content": "So."},
            {"role": "user", "content": "And why?"},
            {"role": "assistant", "content": "Like this."},
        ],
        ["user: How?", "assistant: So.", "user: And why?", "agent: Like this."],
    ],
    ids=["turns", "messages", "lines"],
)
def test_turns_are_read_from_each_form_of_a_conversation(written: list[object]) -> None:
    assert turns_of(written) == (Turn("How?", "So."), Turn("And why?", "Like this."))


def test_what_no_model_takes_is_left_out_of_a_turn() -> None:
    [turn] = turns_of([{"question": "How \ud800 so?", "answer": "x" * 1_000_000}])
    assert turn.question == "How ? so?"
    assert len(turn.answer) < 100_000
