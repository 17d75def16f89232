"""What a follow-up may lean on, and what the tab Ask shows of a conversation."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from rag.errors import BadQuestion
from rag.records import REMOVED, Answer, Citation, Coverage, Hit, Post, Sentence, StoredPost, Turn
from rag.ui import render
from rag.ui.conversation import LISTED, REMEMBERED, Asking, Conversation
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, hits_of, post

HOSTILE = "<img src=x onerror='alert(1)'> \"><script>alert(2)</script>"


def answer_all(talk: Conversation, *questions: str, text: str = "Feed it.") -> Asking:
    """Ask and answer, one question after the other; return how the last was asked."""
    for question in questions:
        asking = talk.begin(question)
        talk.keep(asking, Answer(question, text=text, done=True))
    return asking


def refused(question: str, hits: list[Hit]) -> Answer:
    text = "Your posts do not cover this."
    return Answer(
        question, text=text, hits=tuple(hits), asked=question, coverage="not covered", refused=True, done=True
    )


def test_a_question_may_lean_on_those_before_it() -> None:
    talk = Conversation()
    assert talk.begin("How often is the starter fed?").turns == ()
    asking = answer_all(talk, "How often is the starter fed?", "And in winter?", text="Every morning.")
    assert asking.turns == (Turn("How often is the starter fed?", "Every morning."),)
    assert [turn.question for turn in talk.begin("And then?").turns] == [
        "How often is the starter fed?",
        "And in winter?",
    ]


def test_only_the_last_questions_are_remembered() -> None:
    talk = Conversation()
    answer_all(talk, *(f"How is bread number {n} baked?" for n in range(20)))
    turns = talk.begin("And the last one?").turns
    assert [turn.question for turn in turns] == [f"How is bread number {n} baked?" for n in range(20 - REMEMBERED, 20)]


def test_a_refusal_is_a_turn_without_an_answer_and_filters_are_none_of_its_words() -> None:
    talk = Conversation()
    asked = "Who baked it? tag:bread after:2023"
    talk.keep(talk.begin(asked), refused(asked, []))
    assert talk.begin("And then?").turns == (Turn("Who baked it?", ""),)


def test_the_posts_found_are_a_turn_and_not_all_of_thousands_are_kept() -> None:
    talk = Conversation()
    found = tuple(StoredPost(f"{n:012}", f"/{n}.md", f"Bread {n}", None, None, (), 1) for n in range(500))
    talk.keep(talk.begin("which posts mention bread?"), Answer("which posts mention bread?", text="500.", posts=found))
    assert len(talk.exchanges[0].answer.posts) == LISTED
    assert talk.begin("And rye?").turns == (Turn("which posts mention bread?", ""),)


def test_a_question_asked_on_its_own_leans_on_nothing_and_the_next_one_only_on_it() -> None:
    talk = Conversation()
    answer_all(talk, "How often is the starter fed?", "And the chain?")
    asking = talk.begin("And the chain?", alone=True)
    assert asking.turns == ()
    talk.keep(asking, Answer("And the chain?", text="Oil it every Sunday."))
    assert [exchange.answer.question for exchange in talk.exchanges] == [
        "How often is the starter fed?",
        "And the chain?",
    ]
    assert talk.begin("And in winter?").turns == (Turn("And the chain?", "Oil it every Sunday."),)


def test_the_last_question_asked_again_takes_its_own_place() -> None:
    talk = Conversation()
    answer_all(talk, "How often is the starter fed?", "How long do they rest?")
    asking = talk.begin("how long do they rest? tag:bread")
    assert [turn.question for turn in asking.turns] == ["How often is the starter fed?"]
    assert len(talk.exchanges) == 1


def test_a_question_in_mid_answer_ends_that_answer_and_knows_what_there_is_of_it() -> None:
    talk = Conversation()
    first = talk.begin("How often is the starter fed?")
    assert talk.keep(first, Answer("How often is the starter fed?", status="Writing…", text="Every"))
    second = talk.begin("And in winter?")
    assert first.stop.is_set()
    assert not second.stop.is_set()
    assert second.turns == (Turn("How often is the starter fed?", "Every"),)
    assert talk.exchanges[0].answer.status == ""
    assert not talk.keep(first, Answer("How often is the starter fed?", text="Every morning at eight."))
    assert talk.exchanges[0].answer.text == "Every"


def test_stop_keeps_what_is_written_and_a_new_topic_keeps_nothing() -> None:
    talk = Conversation()
    asking = talk.begin("How often is the starter fed?")
    talk.halt()
    assert asking.stop.is_set()
    assert talk.keep(asking, Answer("How often is the starter fed?", text="Every"))
    again = talk.begin("And in winter?")
    talk.clear()
    assert again.stop.is_set()
    assert not talk.keep(again, Answer("And in winter?", text="Once"))
    assert talk.exchanges == ()
    assert talk.begin("What about it?").turns == ()


def test_a_question_that_fails_is_forgotten_and_one_that_is_none_changes_nothing() -> None:
    talk = Conversation()
    asking = answer_all(talk, "How often is the starter fed?", "And in winter?")
    assert talk.drop(asking)
    assert len(talk.exchanges) == 1
    with pytest.raises(BadQuestion):
        talk.begin("And then? after:2024-02-31")
    assert len(talk.exchanges) == 1


def test_a_question_that_no_post_covers_names_each_of_the_nearest_posts_once() -> None:
    hits = [hit for text in (SOURDOUGH, FLATBREAD, BICYCLE) for hit in hits_of(post(text))]
    shown = render.posts(refused("Who won?", hits), 3)
    titles = re.findall(r"class='title'>([^<]+)<", shown)
    assert titles == ["Keeping a sourdough starter", "Flatbread in twenty minutes", "A winter with my bicycle"]
    first = hits[0].passage
    assert f"data-post='{first.post_id}' data-places='{first.start} {first.end} 0 0'" in shown
    many = [replace(hit, passage=replace(hit.passage, post_id=f"{n:012}")) for n, hit in enumerate(hits * 3)]
    assert render.posts(refused("Who won?", many)).count("<details class='source'") == 5
    assert render.posts(refused("which posts mention zeppelins?", [])) == ""
    bicycle = hits_of(post(BICYCLE))
    nearest = bicycle[0].passage
    salt = "Salt eats the chain of a bicycle in one winter."
    start = nearest.start + nearest.text.index(salt)
    cited = Citation(1, nearest.id, nearest.post_id, "A winter", None, None, salt, start, start + len(salt))
    quoted = replace(refused("Who won?", [*bicycle, *hits_of(post(FLATBREAD))]), quotes=(cited,))
    assert re.findall(r"class='title'>([^<]+)<", render.posts(quoted))[0] == "A winter"
    assert f"<q>{salt}</q>" in render.posts(quoted)
    assert f"data-places='{nearest.start} {nearest.end} {start} {start + len(salt)}'" in render.posts(quoted)
    assert render.footnotes(quoted) == ()
    assert "class='lead'" not in render.answer(quoted)
    assert render.posts(replace(refused("Who won?", hits), refused=False, coverage="maybe")) == ""


@pytest.mark.parametrize(("coverage", "warned"), [("covered", False), ("maybe", True), ("not covered", False)])
def test_only_an_answer_that_may_be_none_comes_with_a_warning(coverage: Coverage, warned: bool) -> None:
    assert (render.UNSURE in render.preface(Answer("Is rye healthy?", coverage=coverage))) is warned


def test_a_question_is_said_to_be_taken_with_the_last_one_only_where_it_was() -> None:
    typed = "And in winter? tag:bread"
    leaning = Answer(typed, asked="How often is the starter fed? And in winter?")
    assert "asked before: “How often is the starter fed?”" in render.preface(leaning)
    assert "Ask it on its own" in render.preface(leaning)
    assert render.preface(Answer(typed, asked="And in winter?")) == ""
    assert render.preface(Answer("which posts mention rye?")) == ""


def test_earlier_answers_keep_their_proof_and_numbers_of_their_own() -> None:
    talk = Conversation()
    [hit, *_] = hits_of(post(SOURDOUGH))
    quote = hit.passage.text[:20]
    cited = Citation(1, hit.passage.id, hit.passage.post_id, hit.title, None, None, quote, 0, 20)
    said = Answer("How?", text="Feed it.", sentences=(Sentence("Feed it.", 0, 8, 1),), citations=(cited,), hits=(hit,))
    for question in ("How?", "And how often?"):
        talk.keep(talk.begin(question), replace(said, question=question))
    shown = render.conversation(talk.exchanges)
    assert "Ask it on its own" not in shown
    for number in (1, 2):
        assert f"href='#footnote-{number}-1'" in shown
        assert f"id='footnote-{number}-1' data-post='{hit.passage.post_id}'" in shown
    talk.keep(talk.begin("Why?"), Answer("Why?"))
    assert "Nothing was written." in render.conversation(talk.exchanges)


def test_the_best_quote_leads_and_those_that_are_not_cited_stand_behind_the_footnotes() -> None:
    [hit, *_] = hits_of(post(SOURDOUGH))
    quotes = tuple(
        Citation(number, hit.passage.id, hit.passage.post_id, hit.title, None, None, f"Quote {number}.", number, 20)
        for number in (1, 2)
    )
    said = Answer(
        "How?",
        text="Feed it. It is fed.",
        sentences=(Sentence("Feed it.", 0, 8, 1, "yes"), Sentence("It is fed.", 9, 19, 1, "partly")),
        citations=(replace(quotes[1], number=1),),
        quotes=quotes,
        hits=(hit,),
        done=True,
    )
    assert [(cited.number, cited.quote) for cited in render.footnotes(said)] == [(1, "Quote 2."), (2, "Quote 1.")]
    shown = render.answer(said, 7)
    assert "<blockquote class='lead'>Quote 1.<sup><a class='footnote' href='#footnote-7-2'" in shown
    assert "title='partly in your posts'>It is fed.</span>" in shown
    assert "class='lead'" not in render.answer(replace(said, text="Quote 1."), 7)


def test_a_text_that_only_straightens_the_quotation_marks_says_the_same() -> None:
    [hit, *_] = hits_of(post(SOURDOUGH))
    quote = Citation(1, hit.passage.id, hit.passage.post_id, hit.title, None, None, "It’s called “Bertha”.", 0, 20)
    said = Answer("How?", text='It\'s called "Bertha".', quotes=(quote,), hits=(hit,), done=True)
    assert "class='lead'" not in render.answer(said, 1)
    assert "class='lead'" in render.answer(replace(said, text='It isn\'t called "Bertha".'), 1)


def test_what_posts_and_people_wrote_is_only_text() -> None:
    talk = Conversation()
    found = replace(hits_of(post(SOURDOUGH))[0], title=HOSTILE, date=HOSTILE)
    listed = StoredPost("'><b>", "/x.md", HOSTILE, HOSTILE, HOSTILE, (), 1)
    answers = [
        refused(HOSTILE, [found]),
        Answer(f"And? {HOSTILE}", text=HOSTILE, asked=f"{HOSTILE} And? {HOSTILE}", coverage="maybe", note=HOSTILE),
        Answer("which posts?", text=HOSTILE, posts=(listed,), done=True),
    ]
    for answer in answers:
        talk.keep(talk.begin(answer.question), answer)
    shown = [render.conversation(talk.exchanges), render.opened(Post("x", HOSTILE, HOSTILE), (0, 9), (2, 5))]
    for answer in answers:
        shown += [render.preface(answer), render.answer(answer, 1), render.posts(answer, 1)]
    for piece in shown:
        assert not re.search(r"<(?:img|script|b)\b", piece), piece
        assert not re.search(r"='[^']*'[^\s>/]", piece), piece  # no attribute ends early


def test_an_opened_post_shows_the_passage_and_marks_a_quote_if_there_is_one() -> None:
    bread = Post("x", "Bread", "Rye is dark. Wheat is light. Oats are neither.")
    near = render.opened(bread, (13, 28), (0, 0))
    assert "<span class='passage'>Wheat is light.</span>" in near
    assert "<mark>" not in near
    assert "<mark>light</mark>" in render.opened(bread, (13, 28), (22, 27))
    assert "Rye is dark." in render.opened(bread, (900, 950), (0, 0))  # it has changed since


def test_a_quote_is_marked_where_it_stands_now() -> None:
    cited = Citation(1, 0, "x", "Bread", None, None, "Wheat is light.", 13, 28)
    found = Answer("What is light?", text="Wheat is.", citations=(cited,), done=True)
    moved = "Oats are neither. Rye is dark. Wheat is light."
    for shown in (
        render.sources(found, {"x": moved}),
        render.opened(Post("x", "Bread", moved), (0, 28), (13, 28), cited.quote),
    ):
        assert "<mark>Wheat is light.</mark>" in shown
        assert render.CHANGED not in shown
    changed = render.sources(found, {"x": "Rye is dark. Wheat is lighter."})
    assert render.CHANGED in changed
    assert "Wheat is light." in changed
    assert "<mark>" not in changed
    assert REMOVED in render.sources(found, {})
