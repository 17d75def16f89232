"""BM25 taken from FTS5's lists is FTS5's own bm25()."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rag.records import Passage, Post
from store.fulltext import FullText
from store.library import SqliteLibrary

TEXTS = (
    "Sourdough bread rises slowly. Bread, and again bread: the oven is hot.",
    "The naïve baker’s starter died; bakers write of it, writing more than they wrote.",
    "Université, universities and the universe. 日本のパン is bread, too.",
    "C++ and x86_64: what a compiler writes. " + "Filler words make this passage long. " * 40,
    "the the the the",
)
WORDS = ("bread", "BREAD", "bakers", "naive", "writes", "universities", "universe", "the", "x86", "long", "日本のパン")


@pytest.fixture
def library(tmp_path: Path) -> SqliteLibrary:
    library = SqliteLibrary(tmp_path / "library.sqlite3")
    for number, text in enumerate(TEXTS):
        passage = Passage("", 0, len(text), text, f"Post {number} > Bread" if number % 2 else "")
        library.put(Post(f"{number}.md", f"Post {number}", text), [passage], np.zeros((1, 2), dtype=np.float32), "none")
    return library


@pytest.mark.parametrize("word", WORDS)
def test_scores_are_those_of_fts5(library: SqliteLibrary, word: str) -> None:
    query = "SELECT rowid, -bm25(passage_words) FROM passage_words WHERE passage_words MATCH ? ORDER BY rowid"
    with library.reading() as db:
        ids, scores = FullText(db).scores(word)
        own = dict(db.execute(query, (f'"{word}"',)))
    assert own
    assert dict(zip(ids.tolist(), scores.tolist(), strict=True)) == pytest.approx(own)


@pytest.mark.parametrize("word", ["", '"', "\0", "unheard", "OR", "*", "NEAR(", "a" * 10_000])
def test_a_word_that_no_passage_has_has_no_scores(library: SqliteLibrary, word: str) -> None:
    with library.reading() as db:
        full_text = FullText(db)
        assert not len(full_text.scores(word)[0])
        assert not full_text.holders(word)
        assert full_text.weight(word) > 0


def test_words_are_sound_after_a_post_went(library: SqliteLibrary) -> None:
    before = {id_ for id_, _ in library.lexical(["bread"], 10)}
    library.remove(library.posts()[0].id)
    assert {id_ for id_, _ in library.lexical(["bread"], 10)} < before


def test_in_half_of_two_passages_a_word_still_tells(library: SqliteLibrary) -> None:
    for post in library.posts():
        if post.title not in ("Post 0", "Post 4"):  # of these two one has it
            library.remove(post.id)
    told = library.weights(["oven", "spaceship"])
    assert 0.5 < told["oven"] < told["spaceship"]
