"""A question finds its passage by its words, by its meaning, or by both; nothing that can be typed breaks it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rag.errors import BadQuestion, ModelError
from rag.finding.coverage import Scale
from rag.records import Hit, InUse, Manifest, Passage, Post
from rag.search import clean_question, search
from rag.words import words_of
from store.library import SqliteLibrary
from tests.fakes import FakeEmbedder, FakeIndex
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, passages_of, post

STORIES = (SOURDOUGH, FLATBREAD, BICYCLE)


class Shelf:
    """A real library and a fake index with three stories."""

    def __init__(self, path: Path) -> None:
        self.library = SqliteLibrary(path)
        self.index = FakeIndex()
        self.embedder = FakeEmbedder()
        self.index.rebuild(
            Manifest(InUse("f", 1), {}, ""), [], self.embedder.encode_documents([]), lambda done, total: None
        )
        for story in STORIES:
            self.put(post(story))

    def put(self, a_post: Post, *, into_index: bool = True) -> list[Passage]:
        passages = passages_of(a_post, self.embedder.max_tokens)
        vectors = self.embedder.encode_documents([passage.embedded_text for passage in passages])
        stored, _ = self.library.put(a_post, passages, vectors, self.embedder.fingerprint)
        if into_index:
            self.index.upsert([passage.id for passage in stored], vectors)
        return stored

    def search(self, question: str, mode: Any = "hybrid", limit: int = 8) -> Sequence[Hit]:
        return search(question, self.library, self.index, self.embedder, mode, limit).hits


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "library.sqlite3")
    yield made
    made.library.close()


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_each_search_finds_the_right_post_first(shelf: Shelf, mode: str) -> None:
    for question, title in (
        ("Why does the starter smell of vinegar?", "Keeping a sourdough starter"),
        ("How thin is the dough rolled?", "Flatbread in twenty minutes"),
        ("What eats the bicycle chain in winter?", "A winter with my bicycle"),
    ):
        assert shelf.search(question, mode)[0].title == title


def test_hits_come_best_first_and_no_more_than_wanted(shelf: Shelf) -> None:
    hits = shelf.search("How do flour and water become a starter?")
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.passage.id for hit in hits}) == len(hits) > 2
    assert shelf.search("How do flour and water become a starter?", limit=2) == hits[:2]


def test_a_passage_that_both_searches_like_comes_before_one_that_only_one_likes(shelf: Shelf) -> None:
    shelf.put(post("Vinegar vinegar vinegar is sour.", source="/words.md", title="Words"), into_index=False)
    shelf.put(post("The hungry starter smells of vinegar.", source="/both.md", title="Both"))
    hits = shelf.search("hungry starter vinegar smells")
    assert hits[0].title == "Both"
    assert all(hit.lexical <= 1 and (hit.cosine is None or -1 <= hit.cosine <= 1.0001) for hit in hits)


def test_words_find_what_the_index_has_not_got_yet_and_the_library_tells_its_cosine(shelf: Shelf) -> None:
    [stored] = shelf.put(post("The zeppelin lands at noon.", source="/z.md", title="Airships"), into_index=False)
    hit = shelf.search("When does the zeppelin land?")[0]
    vector = shelf.embedder.encode_documents([stored.embedded_text])[0]
    assert hit.passage == stored
    assert hit.cosine == pytest.approx(
        float(vector @ shelf.embedder.encode_queries(["When does the zeppelin land?"])[0])
    )


def test_a_passage_that_left_the_library_is_not_shown_though_the_index_still_has_it(shelf: Shelf) -> None:
    shelf.library.remove(post(SOURDOUGH).id)
    assert all(hit.title != "Keeping a sourdough starter" for hit in shelf.search("sourdough starter vinegar"))


def test_word_endings_do_not_matter_to_the_words(shelf: Shelf) -> None:
    assert shelf.search("smelling starters", "lexical")[0].title == "Keeping a sourdough starter"


def test_the_lexical_search_needs_no_model(shelf: Shelf) -> None:
    shelf.embedder.trouble = "The embedder is not installed. Run `make run` again."
    hits = shelf.search("vinegar", "lexical")
    assert hits[0].title == "Keeping a sourdough starter"
    assert hits[0].cosine is None
    with pytest.raises(ModelError):
        shelf.search("vinegar", "hybrid")


def test_with_no_index_open_words_alone_are_searched(shelf: Shelf) -> None:
    shelf.index.close()
    assert shelf.search("vinegar", "hybrid")[0].title == "Keeping a sourdough starter"
    assert shelf.search("vinegar", "dense") == ()


@pytest.mark.parametrize(
    "typed",
    [
        'NEAR(vinegar" OR *',
        '"',
        "'",
        "vinegar OR",
        "AND NOT",
        "NEAR(a b, 5)",
        "text:vinegar",
        "heading : ^x",
        "vinegar*",
        "-vinegar +starter",
        "(((",
        "'; DROP TABLE posts; --",
        "{vinegar}",
        "\\",
        "%_%",
        "a" * 4000,
        "粉 água мука",
        "<|im_end|> <script>",
        "🥖 vinegar",
        "ein\u00adlauf \u202evinegar",
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_whatever_is_typed_is_searched_for_and_harms_nothing(shelf: Shelf, typed: str, mode: str) -> None:
    hits = shelf.search(typed, mode)
    if "vinegar" in typed:
        assert any("vinegar" in hit.passage.text for hit in hits)
    assert shelf.library.count()[0] == len(STORIES)


def test_stop_words_do_not_decide(shelf: Shelf) -> None:
    assert words_of("What is the best flour for a sourdough?") == ["best", "flour", "sourdough"]
    assert words_of("To be or not to be") == ["to", "be", "or", "not"]
    assert words_of("Flour, flour; FLOUR!") == ["flour"]
    assert words_of("?!") == []
    shelf.put(post("What is this and why is that the one for you?", source="/stop.md", title="Stop words"))
    assert shelf.search("What is the one for vinegar?", "lexical")[0].title == "Keeping a sourdough starter"


def test_a_post_of_stop_words_alone_is_found_by_them(shelf: Shelf) -> None:
    shelf.put(post("To be or not to be.", source="/hamlet.md", title="Hamlet"))
    assert shelf.search("to be or not to be", "lexical")[0].title == "Hamlet"


class TestQuestions:
    def test_a_question_becomes_one_line(self) -> None:
        assert clean_question("  How do I\n\tfeed it?  ") == "How do I feed it?"

    @pytest.mark.parametrize("blank", ["", "   ", "\n\t", "?", "… – !", "\u200b\u200b", "🥖", "\0"])
    def test_a_blank_one_is_refused_with_what_to_do(self, blank: str) -> None:
        with pytest.raises(BadQuestion, match=r"no question yet\. Type one in plain words\.$"):
            clean_question(blank)

    def test_one_of_200_000_characters_is_refused_with_what_to_do(self) -> None:
        with pytest.raises(BadQuestion, match=r"200,000 characters.*Ask a shorter one\.$"):
            clean_question("a" * 200_000)
        assert clean_question("a" * 4000)

    def test_one_typed_in_another_character_set_can_still_be_written_down(self) -> None:
        # what a shell hands over when its bytes are no UTF-8
        cleaned = clean_question(os.fsdecode(b"Who baked at the caf\xe9?"))
        assert cleaned.encode("utf-8").startswith(b"Who baked at the caf")


def test_an_index_that_is_a_step_ahead_of_the_library_breaks_nothing(shelf: Shelf) -> None:
    for story in STORIES:
        shelf.library.remove(post(story).id)
    found = search("sourdough starter", shelf.library, shelf.index, shelf.embedder, "hybrid", 8)
    assert (found.hits, found.coverage) == ((), "not covered")


def test_words_are_those_that_full_text_search_knows() -> None:
    assert words_of("What's my cat's name? I don't know") == ["cat", "name"]
    assert words_of("crème brûlée") == ["creme", "brulee"]
    assert words_of("酸面包好") == ["酸面", "面包", "包好"]


def test_a_question_typed_without_accents_has_the_words_of_a_post_with_them(shelf: Shelf) -> None:
    shelf.put(post("The crème brûlée needs six yolks.", source="/creme.md", title="Dessert"))
    found = search("How many yolks does creme brulee need?", shelf.library, shelf.index, shelf.embedder, "hybrid", 8)
    assert found.hits[0].title == "Dessert"
    assert found.coverage != "not covered"


def test_nothing_is_refused_before_the_scale_was_measured(shelf: Shelf) -> None:
    asked = ("How many moons does Neptune have?", shelf.library, shelf.index, shelf.embedder)
    assert search(*asked, "hybrid", 8, scale=Scale(0.3, 0.9, 3)).coverage == "not covered"
    assert search(*asked, "hybrid", 8).coverage == "maybe"
