"""A sentence gets a footnote only to a place that says the same; the quote stands there to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.citations import Verifier
from rag.records import Citation, Post, Sentence
from tests.fakes import FakeEmbedder
from tests.stories import FLATBREAD, SOURDOUGH, hits_of, post

FED = "Feed it every morning at eight with 50 grams of rye flour."
HUNGRY = "A sharp smell of vinegar means that the starter is hungry."
THIN = "Mix yoghurt with wheat flour and roll the dough as thin as a coin."
QUESTION = "How do I feed a sourdough starter?"
POSTS = (post(SOURDOUGH), post(FLATBREAD))
TEXTS = {a_post.id: a_post.text for a_post in POSTS}


def verifier(*posts: Post, question: str = QUESTION) -> Verifier:
    hits = [hit for a_post in posts or POSTS for hit in hits_of(a_post, 48)]
    return Verifier(question, hits, FakeEmbedder())


def verify(text: str, *posts: Post, question: str = QUESTION) -> tuple[tuple[Sentence, ...], tuple[Citation, ...]]:
    return verifier(*posts, question=question).verify(text, done=True)


def numbers(text: str, *posts: Post) -> list[int | None]:
    return [sentence.citation for sentence in verify(text, *posts)[0]]


def test_a_sentence_of_a_post_gets_a_footnote_to_its_place() -> None:
    sentences, [citation] = verify(FED)
    assert sentences == (Sentence(FED, 0, len(FED), 1, "yes"),)
    assert citation.quote == FED
    assert citation.title == "Keeping a sourdough starter"
    assert citation.post_id == post(SOURDOUGH).id
    assert SOURDOUGH[citation.start : citation.end] == FED


def test_a_sentence_that_no_passage_supports_gets_none() -> None:
    assert numbers("The moon is made of green cheese and circles the earth.") == [None]
    assert numbers("Yes.") == [None]
    assert numbers("And so it is, as they say.") == [None]


def test_a_number_that_disagrees_takes_the_footnote_away() -> None:
    assert numbers("Feed it every morning at eight with 50 grams of rye flour.") == [1]
    assert numbers("Feed it every morning at eight with 60 grams of rye flour.") == [None]
    assert numbers("Feed it every morning at eight with 50.5 grams of rye flour.") == [None]
    assert numbers("Feed 2 of it every morning at eight with 50 grams of rye flour.") == [None]


@pytest.mark.parametrize(
    ("told", "claimed"),
    [
        ("I was born in Graz in 1981. I moved to Linz in 1999.", "I moved to Linz in 1981."),
        ("The rye dough rests for 12 hours. The wheat dough rests for 4 hours.", "The rye dough rests for 4 hours."),
        ("In 2019 we sold 40 loaves every day. In 2023 we sold 90.", "In 2019 we sold 90 loaves every day."),
    ],
)
def test_a_number_of_the_sentence_next_to_it_does_not_help(told: str, claimed: str) -> None:
    story = post(told, title="Diary")
    assert numbers(told.split(". ")[0] + ".", story) == [1]
    assert numbers(claimed, story) == [None]


def test_a_not_that_is_not_in_the_post_takes_the_footnote_away() -> None:
    assert numbers("Do not feed it every morning at eight with 50 grams of rye flour.") == [None]
    assert numbers("Flatbread needs no yeast at all.") == [1]
    assert numbers("Flatbread needs yeast.") == [None]


def test_a_name_that_is_not_in_the_post_takes_the_footnote_away() -> None:
    story = post("The baker Anna Berger sold forty loaves of rye bread on the first market day.", title="Market")
    assert numbers("The baker Anna Berger sold forty loaves of rye bread on the first market day.", story) == [1]
    assert numbers("The baker Clara Berger sold forty loaves of rye bread on the first market day.", story) == [None]


@pytest.mark.parametrize(
    "said",
    [
        "Anna Berger burned forty loaves of rye bread to Ben Huber at the market.",
        "Ben Huber sold forty loaves of rye bread to Anna Berger at the market.",
    ],
)
def test_another_verb_or_names_in_each_others_place_are_at_most_partly_proven(said: str) -> None:
    told = "At the market Anna Berger sold forty loaves of rye bread to Ben Huber."
    story = post(told, title="Market")
    proven = "Anna Berger sold forty loaves of rye bread to Ben Huber at the market."
    assert [sentence.support for sentence in verify(proven, story)[0]] == ["yes"]
    assert [sentence.support for sentence in verify(said, story)[0]] == ["partly"]


def test_the_same_place_twice_has_one_number() -> None:
    sentences, citations = verify(f"{FED} {HUNGRY} {FED}")
    assert [sentence.citation for sentence in sentences] == [1, 2, 1]
    assert [citation.number for citation in citations] == [1, 2]


def test_footnotes_are_numbered_in_the_order_of_the_answer() -> None:
    sentences, citations = verify(f"{THIN} The moon is made of cheese. {HUNGRY} {FED}")
    assert [sentence.citation for sentence in sentences] == [1, None, 2, 3]
    assert [citation.quote for citation in citations] == [THIN, HUNGRY, FED]


def test_every_quote_stands_where_it_says() -> None:
    _, citations = verify(f"{THIN} {HUNGRY} {FED} Flatbread needs no yeast at all. The pan must be smoking hot.")
    assert len(citations) >= 4
    for citation in citations:
        assert TEXTS[citation.post_id][citation.start : citation.end] == citation.quote


def test_a_sentence_that_takes_two_places_to_prove_is_marked_not_half_proven() -> None:
    joined = "Flatbread needs no yeast at all, mix yoghurt with wheat flour and roll the dough as thin as a coin."
    sentences, citations = verify(joined)
    assert [(sentence.citation, sentence.support) for sentence in sentences] == [(1, "partly")]
    assert [citation.quote for citation in citations] == [THIN]


def test_of_a_sentence_and_its_neighbourhood_the_sentence_alone_is_quoted() -> None:
    _, [citation] = verify(HUNGRY)
    assert citation.quote == HUNGRY


def test_marks_in_the_post_do_not_hide_what_it_says() -> None:
    story = post("Feed **it** every [morning](https://example.com) at *eight* with `rye` flour.", title="Levain")
    sentences, [citation] = verify("Feed it every morning at eight with rye flour.", story)
    assert sentences[0].citation == 1
    assert citation.quote == story.text


def test_a_word_of_the_heading_counts_as_said() -> None:
    story = post("## Sourdough starter\n\nIt wants fresh flour every single morning.", title="Kitchen")
    assert numbers("A sourdough starter wants fresh flour every single morning.", story) == [1]


def test_a_growing_answer_leaves_out_the_sentence_that_is_still_written() -> None:
    growing = verifier()
    assert growing.verify("Feed it every", done=False) == ((), ())
    assert growing.verify(FED, done=False) == ((), ())
    sentences, citations = growing.verify(FED + " A sharp", done=False)
    assert [sentence.text for sentence in sentences] == [FED]
    assert [citation.quote for citation in citations] == [FED]
    sentences, _ = growing.verify(FED + " A sharp", done=True)
    assert [sentence.citation for sentence in sentences] == [1, None]


def test_a_footnote_once_shown_stays_as_the_answer_grows() -> None:
    growing, answer, shown = verifier(), f"{FED} {HUNGRY} {THIN}", []
    for length in range(0, len(answer) + 1, 7):
        _, citations = growing.verify(answer[:length], done=False)
        assert list(citations[: len(shown)]) == shown
        shown = list(citations)
    assert len(growing.verify(answer, done=True)[1]) == 3


def test_no_sentence_is_embedded_twice() -> None:
    embedder = FakeEmbedder()
    growing = Verifier(QUESTION, hits_of(post(SOURDOUGH), 48), embedder)
    for _ in range(5):
        growing.verify("Feed it with rye flour. A smell of vinegar means that it is hungry. It is sour.", done=True)
    assert len(embedder.encoded) == len(set(embedder.encoded))


def test_without_hits_nothing_is_supported() -> None:
    assert Verifier(QUESTION, [], FakeEmbedder()).verify(FED, done=True) == ((Sentence(FED, 0, len(FED), None),), ())


@pytest.mark.parametrize("blank", ["", " ", "\n\n", "…", "?!", "- ", "🥖🥖."])
def test_an_answer_without_words_has_no_footnotes(blank: str) -> None:
    assert verify(blank)[1] == ()


@given(
    st.one_of(st.text(max_size=200), st.lists(st.sampled_from([FED, HUNGRY, THIN, "No.", "50", "\n- "])).map(" ".join))
)
@settings(max_examples=60)
def test_whatever_the_writer_writes_quotes_and_sentences_stand_where_they_say(text: str) -> None:
    sentences, citations = verify(text)
    assert all(text[sentence.start : sentence.end] == sentence.text for sentence in sentences)
    assert all(TEXTS[citation.post_id][citation.start : citation.end] == citation.quote for citation in citations)
    cited = [sentence.citation for sentence in sentences if sentence.citation]
    assert (
        list(dict.fromkeys(cited)) == [citation.number for citation in citations] == list(range(1, len(citations) + 1))
    )


def test_the_best_sentences_are_quoted_each_once_and_as_they_stand() -> None:
    quotes = verifier().quotes()
    assert [quote.number for quote in quotes] == [1, 2, 3]
    assert FED in {quote.quote for quote in quotes}
    assert len({quote.quote for quote in quotes}) == 3
    assert all(TEXTS[quote.post_id][quote.start : quote.end] == quote.quote for quote in quotes)


def test_the_mark_of_a_list_heading_and_questions_are_not_quoted() -> None:
    story = post(
        "# How do I feed a sourdough starter?\n\nHow do I feed a sourdough starter, you ask?\n\n"
        "* Feed the sourdough starter with rye flour.\n* Keep it warm.\n",
        title="Notes",
    )
    quotes = verifier(story).quotes()
    assert quotes[0].quote == "Feed the sourdough starter with rye flour."
    assert all(story.text[quote.start : quote.end] == quote.quote for quote in quotes)


def test_a_question_is_no_answer_however_many_words_it_shares() -> None:
    text = "# Ovens\n\nHow much would it cost to heat the oven for all 60 loaves? To heat it cost me $2 for 60 of them."
    asked = "How much did it cost to heat the oven for 60 loaves?"
    assert verifier(post(text), question=asked).quotes()[0].quote == "To heat it cost me $2 for 60 of them."


def test_what_two_posts_both_say_is_quoted_once() -> None:
    copies = [post(f"{FED} Number {name} ends here.", title=name) for name in ("One", "Two")]
    quotes = verifier(*copies).quotes()
    assert [quote.quote for quote in quotes].count(FED) == 1


def test_without_hits_nothing_is_quoted() -> None:
    assert Verifier(QUESTION, [], FakeEmbedder()).quotes() == ()


def test_a_question_proves_nothing_though_the_posts_ask_it() -> None:
    asked = "# Bread\n\nHow long does the rye starter rest? It rests for ten hours in a warm place.\n"
    verifier = Verifier(QUESTION, hits_of(post(asked)), FakeEmbedder())
    sentences, citations = verifier.verify("How long does the rye starter rest? It rests for ten hours.", done=True)
    assert [sentence.support for sentence in sentences] == ["no", "yes"]
    assert len(citations) == 1
