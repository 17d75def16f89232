"""One contract for each port: what the core relies on must hold for the fake and for the real part alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from rag.errors import ModelError, NotFound
from rag.records import (
    REMOVED,
    REMOVED_WORDS,
    Citation,
    Filters,
    InUse,
    Item,
    Judged,
    KeptHit,
    KeptTurn,
    Label,
    Manifest,
    Mark,
    Passage,
    Post,
    Prompt,
    Said,
    Segment,
    Way,
    id_of,
)
from store.catalogue import SqliteCatalogue
from store.conversations import SqliteConversations
from store.gold import SqliteGold
from store.library import SqliteLibrary
from store.vectors import ChromaIndex
from tests.fakes import (
    FakeCatalogue,
    FakeConversations,
    FakeEmbedder,
    FakeGold,
    FakeIndex,
    FakeLibrary,
    FakeWriter,
)
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, passages_of, post

pytestmark = pytest.mark.slow

SENTENCES = [
    "Feed the starter every morning with rye flour.",
    "A dry iron pan must be smoking hot.",
    "Salt eats the chain of a bicycle in one winter.",
]
MANIFEST = Manifest(InUse("fa1e000000000001", FakeEmbedder().dimension), {}, "by sentences")


@pytest.fixture(params=["fake", "real"])
def embedder(request: pytest.FixtureRequest) -> Any:
    return FakeEmbedder() if request.param == "fake" else request.getfixturevalue("real_embedder")


class TestEmbedder:
    def test_documents_and_queries_become_unit_vectors(self, embedder: Any) -> None:
        for encode in (embedder.encode_documents, embedder.encode_queries):
            vectors = encode(SENTENCES)
            assert vectors.shape == (3, embedder.dimension)
            assert vectors.dtype == np.float32
            assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_no_texts_become_no_vectors(self, embedder: Any) -> None:
        assert embedder.encode_documents([]).shape == (0, embedder.dimension)
        assert embedder.encode_queries([]).shape == (0, embedder.dimension)
        assert embedder.count_tokens([]) == []

    @pytest.mark.parametrize("odd", ["", " \n ", "\x00\u200b", "🥖" * 50, "word " * 3000])
    def test_odd_texts_have_a_vector_too(self, embedder: Any, odd: str) -> None:
        assert np.linalg.norm(embedder.encode_documents([odd])) == pytest.approx(1, abs=1e-4)

    def test_the_same_text_gets_the_same_vector_whatever_stands_beside_it(self, embedder: Any) -> None:
        alone = embedder.encode_documents(SENTENCES[:1])[0]
        together = embedder.encode_documents([SENTENCES[2], "word " * 200, SENTENCES[0]])[2]
        assert alone @ together > 0.999

    def test_a_question_is_nearest_to_the_sentence_that_answers_it(self, embedder: Any) -> None:
        cosines = embedder.encode_documents(SENTENCES) @ embedder.encode_queries(["Which flour feeds the starter?"])[0]
        assert int(np.argmax(cosines)) == 0

    def test_the_fingerprint_stays_the_same_and_has_16_hex_digits(self, embedder: Any) -> None:
        assert embedder.fingerprint == embedder.fingerprint
        assert len(embedder.fingerprint) == 16
        assert int(embedder.fingerprint, 16)

    def test_tokens_are_counted_text_by_text_and_never_cut(self, embedder: Any) -> None:
        few, many, none = embedder.count_tokens(["Bread rises.", "Bread rises. " * 1000, ""])
        assert none == 0
        assert 2 <= few <= 5
        assert many > embedder.max_tokens
        assert many >= 1000 * (few - 1)

    def test_it_can_tell_what_it_is(self, embedder: Any) -> None:
        assert embedder.max_tokens >= 32
        assert embedder.name
        assert [check.ok for check in embedder.checks()] == [True]
        assert embedder.ready

    def test_four_threads_get_the_vectors_that_one_gets(self, embedder: Any) -> None:
        texts = [f"Loaf number {number} rests for {number} hours." for number in range(24)]
        alone = embedder.encode_documents(texts)
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(lambda text: embedder.encode_documents([text])[0], texts))
            counts = list(pool.map(lambda text: embedder.count_tokens([text])[0], texts))
        assert (np.stack(rows) * alone).sum(axis=1).min() > 0.999
        assert counts == embedder.count_tokens(texts)


def prompt(question: str, passages: str = "A starter is only flour and water that went sour.") -> Prompt:
    return Prompt(
        (
            Segment("system", "You answer questions about blog posts. Use only the passages.", True),
            Segment("user", "Passages:\n\n", True),
            Segment("user", passages + "\n\n", False),
            Segment("user", "Question: ", True),
            Segment("user", question, False),
        ),
        hits=(),
        tokens=0,
    )


@pytest.fixture(params=["fake", "real"])
def writer(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeWriter("A starter ", "is flour ", "and water ", "that went sour.")
    return request.getfixturevalue("real_writer")


class TestWriter:
    QUESTION = "What is a starter made of?"

    def test_the_answer_comes_piece_by_piece(self, writer: Any) -> None:
        pieces = list(writer.write(prompt(self.QUESTION), Event()))
        assert len(pieces) > 2
        assert "".join(pieces).strip()
        assert all(isinstance(piece, str) for piece in pieces)

    def test_the_same_question_gets_the_same_answer(self, writer: Any) -> None:
        first = "".join(writer.write(prompt(self.QUESTION), Event()))
        "".join(writer.write(prompt("How long does a bicycle chain last?"), Event()))
        assert "".join(writer.write(prompt(self.QUESTION), Event())) == first

    def test_a_stop_before_the_first_piece_leaves_nothing(self, writer: Any) -> None:
        stop = Event()
        stop.set()
        assert "".join(writer.write(prompt(self.QUESTION), stop)) == ""

    def test_a_stop_after_the_first_piece_keeps_only_that(self, writer: Any) -> None:
        stop, pieces = Event(), []
        for piece in writer.write(prompt(self.QUESTION), stop):
            pieces.append(piece)
            stop.set()
        assert len(pieces) == 1

    def test_after_a_stop_and_after_an_early_close_it_writes_as_before(self, writer: Any) -> None:
        whole = "".join(writer.write(prompt(self.QUESTION), Event()))
        stop = Event()
        for _ in writer.write(prompt(self.QUESTION), stop):
            stop.set()
        pieces = writer.write(prompt(self.QUESTION), Event())
        next(pieces)
        pieces.close()
        assert "".join(writer.write(prompt(self.QUESTION), Event())) == whole

    def test_longer_prompts_count_more_tokens(self, writer: Any) -> None:
        short, longer = prompt(self.QUESTION), prompt(self.QUESTION + " And how do I keep it alive in July?")
        assert 0 < writer.count_tokens(short) < writer.count_tokens(longer) < writer.budget

    def test_a_prompt_over_the_budget_is_refused_and_the_next_one_answered(self, writer: Any) -> None:
        with pytest.raises(ModelError, match=r"too many .*\. Ask a shorter one\.$"):
            list(writer.write(prompt(self.QUESTION, passages="flour " * (writer.budget + 10)), Event()))
        assert list(writer.write(prompt(self.QUESTION), Event()))

    def test_a_second_caller_waits_for_the_first(self, writer: Any) -> None:
        first = writer.write(prompt(self.QUESTION), Event())
        next(first)
        started, answered, second = Event(), Event(), []

        def ask() -> None:
            started.set()
            second.extend(writer.write(prompt(self.QUESTION), Event()))
            answered.set()

        threading.Thread(target=ask, daemon=True).start()
        assert started.wait(10)
        assert not answered.wait(0.2)
        assert second == []
        rest = list(first)
        assert answered.wait(60)
        assert second[1:] == rest

    def test_a_second_caller_can_be_stopped_while_it_waits(self, writer: Any) -> None:
        first = writer.write(prompt(self.QUESTION), Event())
        next(first)
        stop, waited = Event(), []
        thread = threading.Thread(target=lambda: waited.extend(writer.write(prompt(self.QUESTION), stop)), daemon=True)
        thread.start()
        stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert waited == []
        first.close()

    def test_what_was_read_ahead_or_forgotten_changes_no_answer(self, writer: Any) -> None:
        whole = "".join(writer.write(prompt(self.QUESTION), Event()))
        writer.warm(prompt("What is a st"), Event())
        writer.forget()
        assert "".join(writer.write(prompt(self.QUESTION), Event())) == whole

    def test_it_tells_once_and_before_the_first_piece_how_much_it_read(self, writer: Any) -> None:
        told: list[int] = []
        writing = writer.write(prompt(self.QUESTION), Event(), lambda prefill, cached: told.append(prefill + cached))
        next(writing)
        assert told == [writer.count_tokens(prompt(self.QUESTION))]
        list(writing)
        assert len(told) == 1

    def test_it_can_tell_what_it_is(self, writer: Any) -> None:
        assert writer.name
        assert [check.ok for check in writer.checks()] == [True]
        assert writer.passages >= 1
        writer.load()
        assert writer.ready


@pytest.fixture(params=["fake", "real"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = FakeLibrary() if request.param == "fake" else SqliteLibrary(tmp_path / "library.sqlite3")
    yield made
    made.close()


def put(
    library: Any, a_post: Post, fingerprint: str = MANIFEST.fingerprint, max_tokens: int = 256
) -> tuple[list[Passage], list[int]]:
    passages = passages_of(a_post, max_tokens)
    return library.put(a_post, passages, vectors_for(passages), fingerprint)


def vectors_for(passages: list[Passage]) -> np.ndarray:
    return FakeEmbedder().encode_documents([passage.embedded_text for passage in passages])


class TestLibrary:
    def test_a_post_comes_back_as_it_was_put(self, library: Any) -> None:
        bread = Post(
            "/blog/bread.md",
            "Bread “für alle” 🥖",
            SOURDOUGH,
            "2024-05-01",
            "https://example.com/b",
            ("a", "b"),
            "Ada Baker",
            (0, 30),
        )
        stored, gone = put(library, bread)
        assert gone == []
        assert library.post(bread.id) == bread
        assert library.passages() == stored
        assert {passage.post_id for passage in stored} == {bread.id}
        assert all(bread.text[passage.start : passage.end] == passage.text for passage in stored)
        assert library.count() == (1, len(stored))
        assert library.passage_ids() == {passage.id for passage in stored} != {0}

    def test_a_post_is_found_by_its_source_and_by_its_text(self, library: Any) -> None:
        bread = post(SOURDOUGH, source="/blog/bread.md")
        assert library.find(bread) is None
        put(library, bread)
        assert library.find(bread) == (bread.id, True)
        assert library.find(replace(bread, text=FLATBREAD)) == (bread.id, False)
        assert library.find(replace(bread, title="Another title")) == (bread.id, False)
        assert library.find(replace(bread, source="/elsewhere/copy.md")) == (bread.id, True)
        assert library.find(post(BICYCLE)) is None

    def test_a_changed_post_keeps_its_id_and_gets_new_passages(self, library: Any) -> None:
        bread = post(SOURDOUGH, source="/blog/bread.md")
        before, _ = put(library, bread)
        after, gone = put(library, replace(bread, title="Flat", text=FLATBREAD))
        assert gone == [passage.id for passage in before]
        assert not {passage.id for passage in after} & set(gone)
        assert library.post(bread.id).text == FLATBREAD
        assert library.passages() == after
        assert library.count()[0] == 1
        assert library.lexical(["vinegar"], 9) == []

    def test_a_removed_post_leaves_nothing_to_be_found(self, library: Any) -> None:
        stored, _ = put(library, post(SOURDOUGH))
        kept, _ = put(library, post(FLATBREAD))
        bread = post(SOURDOUGH)
        assert library.remove(bread.id) == [passage.id for passage in stored]
        library.scrub()
        assert library.find(bread) is None
        assert library.passages() == kept
        assert library.lexical(["vinegar"], 9) == []
        assert library.vectors([passage.hash for passage in stored], MANIFEST.fingerprint) == {}
        with pytest.raises(NotFound, match="List the posts"):
            library.post(bread.id)
        with pytest.raises(NotFound, match="List the posts"):
            library.remove(bread.id)

    def test_ids_of_removed_passages_are_never_given_again(self, library: Any) -> None:
        stored, _ = put(library, post(SOURDOUGH))
        library.remove(post(SOURDOUGH).id)
        again, _ = put(library, post(SOURDOUGH))
        assert min(passage.id for passage in again) > max(passage.id for passage in stored)

    def test_posts_are_listed_newest_first_and_those_without_a_date_last(self, library: Any) -> None:
        for title, date in (
            ("Undated", None),
            ("Old", "2019-02-03"),
            ("New", "2024-11-30"),
            ("Also new", "2024-11-30"),
        ):
            put(library, Post(f"/blog/{title}", title, f"{title}: bread rises.", date, None, ("bread", "oven")))
        listed = library.posts()
        assert [stored.title for stored in listed] == ["Also new", "New", "Old", "Undated"]
        assert {stored.passages for stored in listed} == {1}
        assert listed[0].tags == ("bread", "oven")
        assert listed[0].id == Post("/blog/Also new", "", "").id

    def test_words_find_passages_and_the_best_comes_first(self, library: Any) -> None:
        put(library, post(SOURDOUGH))
        put(library, post(FLATBREAD))
        put(library, post(BICYCLE))
        found = library.lexical(["vinegar", "smell"], 9)
        [best] = library.passages([found[0][0]])
        assert "vinegar" in best.text
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        assert all(score > 0 for _, score in found)
        assert len(library.lexical(["starter", "flatbread", "chain"], 2)) == 2
        assert library.lexical(["zeppelin"], 9) == []
        assert library.lexical([], 9) == []

    def test_words_in_the_heading_count(self, library: Any) -> None:
        [stored], _ = put(library, post("Feed it at eight.", title="Levain"))
        assert [id_ for id_, _ in library.lexical(["levain"], 9)] == [stored.id]

    def test_labels_come_for_the_posts_there_are(self, library: Any) -> None:
        bread = replace(post(SOURDOUGH), url="https://example.com/bread", date="2024-05-01", pages=(0, 40))
        put(library, bread)
        expected = {bread.id: Label(bread.title, "https://example.com/bread", "2024-05-01", (0, 40))}
        assert library.labels([bread.id, "000000000000"]) == expected
        assert library.labels([]) == {}

    def test_a_copy_is_another_way_to_the_same_post(self, library: Any) -> None:
        bread = post(SOURDOUGH, source="/blog/bread.md")
        put(library, bread)
        page = "https://example.com/bread"
        library.link(page, page, bread.id)
        assert library.find(replace(bread, source=page, text=FLATBREAD)) == (bread.id, False)
        assert library.reached([page, "/blog/bread.md", "/nowhere"]) == {
            page: [Way(page, bread.id, bread.title)],
            "/blog/bread.md": [Way("/blog/bread.md", bread.id, bread.title)],
        }
        library.unlink(page)
        assert library.reached([page]) == {}
        assert library.find(replace(bread, source=page, text=FLATBREAD)) is None

    def test_a_post_stays_while_one_way_to_it_is_left(self, library: Any) -> None:
        bread = post(SOURDOUGH, source="/blog/bread.md")
        stored, _ = put(library, bread)
        page = "https://example.com/bread"
        library.link(page, page, bread.id)
        assert library.leave("/blog/bread.md") == (None, [])
        assert library.post(bread.id) == replace(bread, source=page)
        assert library.leave(page) == (bread.id, [passage.id for passage in stored])
        assert library.count() == (0, 0)
        assert library.leave(page) == (None, [])

    def test_a_post_whose_id_a_copy_has_kept_gets_another(self, library: Any) -> None:
        bread = post(SOURDOUGH, source="/blog/bread.md")
        put(library, bread)
        library.link("https://example.com/bread", "https://example.com/bread", bread.id)
        library.leave("/blog/bread.md")
        [new, *_], _ = put(library, replace(bread, text=FLATBREAD))
        assert new.post_id != bread.id
        assert library.post(bread.id).text == SOURDOUGH
        assert library.post(new.post_id).text == FLATBREAD

    def test_one_place_can_give_several_posts(self, library: Any) -> None:
        for text in (SOURDOUGH, FLATBREAD):
            a_post = post(text, source=f"/export.zip#{text[2:6]}")
            passages = passages_of(a_post)
            library.put(a_post, passages, vectors_for(passages), MANIFEST.fingerprint, place="/export.zip")
        ways = library.reached(["/export.zip"])["/export.zip"]
        assert [(way.source, way.title) for way in ways] == [
            ("/export.zip#Flat", "Flatbread in twenty minutes"),
            ("/export.zip#Keep", "Keeping a sourdough starter"),
        ]

    def test_what_a_person_removes_is_put_away_until_it_is_put_again(self, library: Any) -> None:
        bread = post(SOURDOUGH, source="/blog/bread.md")
        put(library, bread)
        library.link("https://example.com/bread", "https://example.com/bread", bread.id)
        library.remove(bread.id)
        assert library.put_away() == {id_of("/blog/bread.md"), id_of("https://example.com/bread")}
        put(library, bread)
        assert library.put_away() == {id_of("https://example.com/bread")}
        library.leave("/blog/bread.md")
        assert library.put_away() == {id_of("https://example.com/bread")}

    def test_posts_are_found_by_what_their_sketches_share(self, library: Any) -> None:
        for number, text in enumerate((SOURDOUGH, FLATBREAD, BICYCLE)):
            a_post, sketch = post(text), list(range(number * 6, number * 6 + 10))
            passages = passages_of(a_post)
            library.put(a_post, passages, vectors_for(passages), MANIFEST.fingerprint, sketch=sketch)
        assert library.similar(range(5, 12), 9) == [
            (post(FLATBREAD).id, list(range(6, 16))),
            (post(SOURDOUGH).id, list(range(10))),
        ]
        assert library.similar(range(5, 12), 1) == [(post(FLATBREAD).id, list(range(6, 16)))]
        assert library.similar([], 9) == []
        library.remove(post(FLATBREAD).id)
        assert [id_ for id_, _ in library.similar(range(5, 11), 9)] == [post(SOURDOUGH).id]

    def test_passages_come_in_the_order_they_are_asked_for(self, library: Any) -> None:
        stored, _ = put(library, post(SOURDOUGH))
        ids = [passage.id for passage in stored]
        assert library.passages(list(reversed(ids))) == list(reversed(stored))
        assert library.passages([ids[-1], 999_999]) == [stored[-1]]
        assert library.passages([]) == []

    def test_vectors_are_kept_by_content_and_embedder(self, library: Any) -> None:
        stored, _ = put(library, post(SOURDOUGH))
        hashes = [passage.hash for passage in stored]
        kept = library.vectors([*hashes, "not a hash"], MANIFEST.fingerprint)
        assert set(kept) == set(hashes)
        assert all(np.array_equal(kept[hash_], v) for hash_, v in zip(hashes, vectors_for(stored), strict=True))
        assert library.vectors(hashes, "another embedder") == {}

    def test_vectors_can_be_kept_ahead_of_their_passages(self, library: Any) -> None:
        passages = passages_of(post(SOURDOUGH))
        hashes = [passage.hash for passage in passages]
        library.keep_vectors(hashes, vectors_for(passages), MANIFEST.fingerprint)
        assert set(library.vectors(hashes, MANIFEST.fingerprint)) == set(hashes)
        assert library.count() == (0, 0)

    def test_forgetting_drops_other_embedders_vectors_and_those_of_no_passage(self, library: Any) -> None:
        stored, _ = put(library, post(SOURDOUGH))
        hashes, vectors = [passage.hash for passage in stored], vectors_for(stored)
        library.keep_vectors(hashes, vectors, "another embedder")
        library.keep_vectors(["of no passage"], vectors[:1], MANIFEST.fingerprint)
        library.forget_vectors([MANIFEST.fingerprint])
        assert set(library.vectors([*hashes, "of no passage"], MANIFEST.fingerprint)) == set(hashes)
        assert library.vectors(hashes, "another embedder") == {}

    def test_a_vector_that_two_posts_share_survives_the_removal_of_one(self, library: Any) -> None:
        first, second = (post("Feed it at eight.", source=source, title="Levain") for source in ("/a.md", "/b.md"))
        [stored], _ = put(library, first)
        put(library, second)
        library.remove(first.id)
        assert stored.hash in library.vectors([stored.hash], MANIFEST.fingerprint)

    def test_passages_that_did_not_change_keep_their_ids_when_posts_are_split_anew(self, library: Any) -> None:
        assert library.splitter() == ""
        stored, _ = put(library, post(SOURDOUGH))
        flat, _ = put(library, post(FLATBREAD))
        one_passage = Passage(post(SOURDOUGH).id, 0, len(SOURDOUGH.rstrip()), SOURDOUGH.rstrip(), "Keeping")
        library.replace_passages([one_passage, *flat], "by chapters")
        now = library.passages()
        assert library.splitter() == "by chapters"
        assert [passage for passage in now if passage.post_id == post(FLATBREAD).id] == flat
        [new] = [passage for passage in now if passage.post_id == post(SOURDOUGH).id]
        assert replace(new, id=0) == one_passage
        assert new.id not in {passage.id for passage in stored}
        assert {id_ for id_, _ in library.lexical(["vinegar"], 9)} == {new.id}

    FILTERED = (
        (Filters(), {"Sourdough", "Flatbread", "Bicycle"}),
        (Filters(tags=("bread",)), {"Sourdough", "Flatbread"}),
        (Filters(tags=("BREAD", "rye_flour")), {"Sourdough"}),
        (Filters(tags=("brea",)), set()),
        (Filters(after="2023-03-15"), {"Sourdough", "Flatbread"}),
        (Filters(after="2023-03-16"), {"Flatbread"}),
        (Filters(before="2023-03-15"), {"Sourdough"}),
        (Filters(after="2023-03-15", before="2023-03-15"), {"Sourdough"}),
        (Filters(after="2025-01-01", before="2023-01-01"), set()),
        (Filters(posts=("sour",)), {"Sourdough"}),
        (Filters(posts=(id_of("/blog/bicycle.md").upper(),)), {"Bicycle"}),
        (Filters(posts=("sour", "bicycle")), set()),
        (Filters(phrases=("Sharp SMELL of vinegar",)), {"Sourdough"}),
        (Filters(phrases=("smells of vinegar", "the starter is hungry")), {"Sourdough"}),
        (Filters(phrases=("smell of", "flour and water")), set()),
        (Filters(phrases=("sharp smelling",)), set()),
        (Filters(phrases=("harp smell",)), set()),
        (Filters(phrases=("…",)), set()),
        (Filters(without=("starters", "flatbread")), {"Bicycle"}),
        (Filters(without=('"', "…", "starter\0", "salt eats")), {"Flatbread"}),
        (Filters(tags=("bread",), after="2024-01-01", phrases=("iron pan",), without=("yoghurt",)), {"Flatbread"}),
    )

    @pytest.fixture
    def shelved(self, library: Any) -> Any:
        for a_post in (
            Post("/blog/sourdough.md", "Sourdough", SOURDOUGH, "2023-03-15", None, ("Bread", "rye flour")),
            Post("/blog/flatbread.md", "Flatbread", FLATBREAD, "2024-02-01", None, ("bread",)),
            Post("/blog/bicycle.md", "Bicycle", BICYCLE),
        ):
            put(library, a_post, max_tokens=48)  # a section a passage
        return library

    @pytest.mark.parametrize(("filters", "titles"), FILTERED)
    def test_filters_let_passages_through(self, shelved: Any, filters: Filters, titles: set[str]) -> None:
        ids = shelved.within(filters)
        assert ids.dtype == np.int64
        assert list(ids) == sorted(ids)
        assert {shelved.post(passage.post_id).title for passage in shelved.passages(list(ids))} == titles
        words = ["starter", "flatbread", "bicycle", "pan", "salt", "vinegar"]
        found = {id_ for id_, _ in shelved.lexical(words, 99, filters)}
        assert found == {id_ for id_, _ in shelved.lexical(words, 99)} & set(ids)

    def test_filters_follow_what_changes(self, shelved: Any) -> None:
        spelt = Post("/blog/spelt.md", "Spelt", "Spelt is an old grain.", "2025-01-01", None, ("bread",))
        assert shelved.within(Filters(after="2025-01-01")).size == 0
        stored, _ = put(shelved, spelt)
        assert list(shelved.within(Filters(after="2025-01-01"))) == [passage.id for passage in stored]
        put(shelved, replace(spelt, tags=()))
        assert shelved.within(Filters(after="2025-01-01", tags=("bread",))).size == 0
        shelved.remove(id_of("/blog/sourdough.md"))
        assert [post.title for post in shelved.mentioning([], Filters(tags=("bread",)))] == ["Flatbread"]

    @pytest.mark.parametrize(
        ("phrases", "filters", "titles"),
        [
            ((), Filters(), ["Flatbread", "Sourdough", "Bicycle"]),
            (("flour",), Filters(), ["Flatbread", "Sourdough"]),
            (("starters",), Filters(), ["Sourdough"]),
            (("hungry", "water"), Filters(), ["Sourdough"]),
            (("flour and waters",), Filters(), ["Sourdough"]),
            (("water and flour",), Filters(), []),
            (("flour",), Filters(before="2023-12-31"), ["Sourdough"]),
            ((), Filters(without=("yeast",)), ["Sourdough", "Bicycle"]),
            ((), Filters(phrases=("smell of", "flour and water")), ["Sourdough"]),
            (("🥖", "flour"), Filters(), []),
        ],
    )
    def test_posts_are_listed_by_what_they_mention(
        self, shelved: Any, phrases: tuple[str, ...], filters: Filters, titles: list[str]
    ) -> None:
        assert [post.title for post in shelved.mentioning(phrases, filters)] == titles
        assert all(post in shelved.posts() for post in shelved.mentioning(phrases, filters))

    def test_an_empty_one_lets_nothing_through(self, library: Any) -> None:
        for filters, _ in self.FILTERED:
            assert library.within(filters).size == 0
            assert library.mentioning(["flour"], filters) == []
            assert library.lexical(["flour"], 9, filters) == []

    def test_four_threads_add_and_read_at_once(self, library: Any) -> None:
        def add_and_read(number: int) -> int:
            [stored], _ = put(library, Post(f"/blog/{number}.md", f"Loaf {number}", f"Loaf {number} rests."))
            assert library.post(stored.post_id).title == f"Loaf {number}"
            library.lexical(["loaf"], 100)
            assert len(library.lexical(["loaf"], 100, Filters(posts=(stored.post_id,)))) == 1
            return stored.id

        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(add_and_read, range(20)))
        assert len(set(ids)) == 20
        assert library.count() == (20, 20)
        assert len(library.lexical(["loaf"], 100)) == 20

    def test_its_checks_are_well(self, library: Any) -> None:
        put(library, post(SOURDOUGH))
        assert all(check.ok for check in library.checks())


@pytest.fixture
def gold(library: Any) -> Any:
    return FakeGold(library) if isinstance(library, FakeLibrary) else SqliteGold(library)


class TestGold:
    def test_marks_come_back_in_order_and_once(self, gold: Any, library: Any) -> None:
        first, second = (mark_of(library, story) for story in (SOURDOUGH, FLATBREAD))
        gold.mark("When is it fed?", second)
        gold.mark("How thin is it?", second)
        gold.mark("When is it fed?", first)
        gold.mark("When is it fed?", first)
        both = tuple(sorted((first, second), key=lambda mark: mark.post_id))
        assert gold.judged() == [Judged("When is it fed?", both), Judged("How thin is it?", (second,))]

    def test_a_mark_can_be_taken_back_and_the_last_one_takes_the_question_with_it(
        self, gold: Any, library: Any
    ) -> None:
        first, second = (mark_of(library, story) for story in (SOURDOUGH, FLATBREAD))
        gold.mark("When is it fed?", first)
        gold.mark("When is it fed?", second)
        gold.unmark("When is it fed?", second)
        gold.unmark("Never asked?", second)
        assert gold.judged() == [Judged("When is it fed?", (first,))]
        gold.unmark("When is it fed?", first)
        assert gold.judged() == []

    def test_a_question_may_have_no_answer_until_one_is_marked(self, gold: Any, library: Any) -> None:
        mark = mark_of(library, SOURDOUGH)
        gold.mark("Who is Bertha?", mark)
        gold.deny("Who is Bertha?")
        gold.deny("Who is the king of bread?")
        assert gold.judged() == [Judged("Who is Bertha?"), Judged("Who is the king of bread?")]
        gold.mark("Who is Bertha?", mark)
        gold.forget("Who is the king of bread?")
        assert gold.judged() == [Judged("Who is Bertha?", (mark,))]
        gold.forget("Who is Bertha?")
        assert gold.judged() == []

    def test_marks_stay_when_a_post_is_edited_and_go_when_it_is_removed(self, gold: Any, library: Any) -> None:
        bread, flat = (mark_of(library, story) for story in (SOURDOUGH, FLATBREAD))
        for mark in (bread, flat):
            gold.mark("What bread?", mark)
        gold.mark("When is it fed?", bread)
        put(library, post(SOURDOUGH.replace("50 grams", "a spoon"), source="/blog/keeping-a-sourdough-starter.md"))
        assert Judged("When is it fed?", (bread,)) in gold.judged()
        library.remove(bread.post_id)
        assert gold.judged() == [Judged("What bread?", (flat,))]

    def test_a_post_that_is_not_there_cannot_be_marked(self, gold: Any) -> None:
        with pytest.raises(NotFound):
            gold.mark("When is it fed?", Mark("nosuchpost00", 0, 4, "Feed"))
        assert gold.judged() == []


def mark_of(library: Any, story: str) -> Mark:
    """Add a story and return a mark on its last passage."""
    passage = put(library, post(story))[0][-1]
    return Mark(passage.post_id, passage.start, passage.end, passage.text)


@pytest.fixture
def conversations(library: Any) -> Any:
    return FakeConversations(library) if isinstance(library, FakeLibrary) else SqliteConversations(library)


def turn_of(library: Any, *stories: str, question: str = "How is it fed?", minute: int = 0) -> KeptTurn:
    """Add stories and return a turn that has a sentence and a footnote of each of them."""
    passages = [put(library, post(story))[0][-1] for story in stories]
    cited = tuple(
        Citation(n, p.id, p.post_id, p.heading, "https://b.example/ä", "2024-03-02", p.text, p.start, p.end, 3)
        for n, p in enumerate(passages, start=1)
    )
    said = [Said(f"{cited[n].quote} ", (p.post_id,), n + 1, "yes") for n, p in enumerate(passages)]
    hits = tuple(KeptHit(p.id, p.post_id, p.start, p.end, 0.5, 0.25, 1.0, 1, 2) for p in passages)
    asked_at = f"2026-11-25T08:{minute:02}:00.000+00:00"
    listed = tuple(stored for stored in library.posts() if stored.id in {p.post_id for p in passages})
    return KeptTurn(
        question, asked_at, (*said, Said("Perhaps.")), cited, cited[:1], hits, listed, question, "maybe", 0.4
    )


class TestConversations:
    def test_a_turn_comes_back_as_it_was(self, conversations: Any, library: Any) -> None:
        turn = replace(turn_of(library, SOURDOUGH), note="Stopped.", alone=True, thumb="up", failed=True)
        talk, id_ = conversations.keep(0, "Bread", turn)
        assert conversations.turns(talk) == [replace(turn, id=id_)]
        assert conversations.talk(talk).turns == 1
        assert conversations.listed() == [conversations.talk(talk)]

    def test_turns_stand_in_order_and_one_can_take_the_place_of_another(self, conversations: Any, library: Any) -> None:
        first, second, third = (turn_of(library, SOURDOUGH, question=f"And {n}?", minute=n) for n in range(3))
        talk, _ = conversations.keep(0, "Bread", first)
        _, replaced = conversations.keep(talk, "", second)
        assert conversations.keep(talk, "", third, replaced)[0] == talk
        assert [turn.question for turn in conversations.turns(talk)] == ["And 0?", "And 2?"]
        assert conversations.talk(talk).changed == third.asked_at
        assert conversations.talk(talk).begun == first.asked_at

    def test_a_conversation_called_after_a_question_is_called_after_the_one_that_replaces_it(
        self, conversations: Any, library: Any
    ) -> None:
        turn = turn_of(library, SOURDOUGH, question="How is it fet?")
        talk, first = conversations.keep(0, "How is it fet?", turn)
        _, second = conversations.keep(talk, "How is it fed?", replace(turn, question="How is it fed?"), first)
        assert conversations.talk(talk).title == "How is it fed?"
        conversations.rename(talk, "Bertha")
        conversations.keep(talk, "And then?", replace(turn, question="And then?"), second)
        assert conversations.talk(talk).title == "Bertha"

    def test_the_last_changed_is_listed_first_and_words_find_in_any_case(
        self, conversations: Any, library: Any
    ) -> None:
        bread, _ = conversations.keep(0, "Über Brot", turn_of(library, SOURDOUGH))
        chain, _ = conversations.keep(0, "Chains", turn_of(library, BICYCLE, question="What of salt?", minute=9))
        assert [talk.id for talk in conversations.listed()] == [chain, bread]
        conversations.keep(bread, "", turn_of(library, FLATBREAD, minute=30))
        assert [talk.id for talk in conversations.listed()] == [bread, chain]
        assert [talk.id for talk in conversations.listed(limit=1)] == [bread]
        for words in (["über"], ["SMOKING", "hot"], ["vinegar"]):
            assert [talk.id for talk in conversations.listed(words)] == [bread], words
        assert [talk.id for talk in conversations.listed(["salt"])] == [chain]
        for words in (["support"], ["%"], ["salt", "vinegar"]):  # what is not in any one of them
            assert conversations.listed(words) == [], words

    def test_a_thumb_can_be_set_and_taken_back(self, conversations: Any, library: Any) -> None:
        talk, id_ = conversations.keep(0, "Bread", turn_of(library, SOURDOUGH))
        for thumb in ("up", "down", ""):
            conversations.judge(id_, thumb)
            assert conversations.turns(talk)[0].thumb == thumb
        with pytest.raises(NotFound, match="Ask again"):
            conversations.judge(999, "up")

    def test_one_can_be_renamed_and_deleted_and_begins_anew_when_it_goes_on(
        self, conversations: Any, library: Any
    ) -> None:
        turn = turn_of(library, SOURDOUGH)
        talk, id_ = conversations.keep(0, "Bread", turn)
        conversations.rename(talk, "Rye")
        assert conversations.talk(talk).title == "Rye"
        conversations.delete(talk)
        conversations.delete(talk)
        assert conversations.listed() == []
        for gone in (conversations.talk, conversations.turns, lambda id_: conversations.rename(id_, "x")):
            with pytest.raises(NotFound, match="deleted"):
                gone(talk)
        with pytest.raises(NotFound):
            conversations.judge(id_, "up")
        again, _ = conversations.keep(talk, "And then?", turn)
        assert again != talk
        assert conversations.talk(again).title == "And then?"

    def test_a_removed_post_takes_its_words_along_and_no_others(self, conversations: Any, library: Any) -> None:
        turn = turn_of(library, SOURDOUGH, BICYCLE)
        talk, _ = conversations.keep(0, "Bread", turn)
        gone, stays = turn.citations
        library.remove(gone.post_id)
        [now] = conversations.turns(talk)
        assert [said.text for said in now.said] == [REMOVED_WORDS, f"{stays.quote} ", "Perhaps."]
        assert [said.citation for said in now.said] == [1, 2, None]
        empty = replace(gone, title=REMOVED, url=None, date=None, quote="", start=0, end=0, page=None)
        assert now.citations == (empty, stays)
        assert now.quotes == (empty,)
        assert [listed.id for listed in now.posts] == [stays.post_id]
        assert now.hits == turn.hits
        late, _ = conversations.keep(0, "Late", turn)  # its answer was being written when the post went
        assert conversations.turns(late)[0].citations == now.citations
        library.leave(library.post(stays.post_id).source)  # its source is gone, and it with that
        assert {cited.title for cited in conversations.turns(talk)[0].citations} == {REMOVED}

    def test_an_edited_post_leaves_the_quote_as_it_was_said(self, conversations: Any, library: Any) -> None:
        turn = turn_of(library, SOURDOUGH)
        talk, id_ = conversations.keep(0, "Bread", turn)
        put(library, replace(post(SOURDOUGH), text="# Keeping a sourdough starter\n\nIt died."))
        assert conversations.turns(talk) == [replace(turn, id=id_)]

    def test_two_can_write_at_once(self, conversations: Any, library: Any) -> None:
        turn = turn_of(library, SOURDOUGH)
        talk, _ = conversations.keep(0, "Bread", turn)
        with ThreadPoolExecutor(4) as pool:
            ids = [id_ for _, id_ in pool.map(lambda _: conversations.keep(talk, "", turn), range(20))]
        assert len(set(ids)) == 20
        assert conversations.talk(talk).turns == 21


@pytest.fixture
def catalogue(library: Any) -> Any:
    return FakeCatalogue(library) if isinstance(library, FakeLibrary) else SqliteCatalogue(library)


class TestCatalogue:
    def test_a_source_is_remembered_once(self, catalogue: Any) -> None:
        blog = catalogue.remember("folder", "/blog")
        assert catalogue.remember("folder", "/blog") == blog
        site = catalogue.remember("site", "https://example.com/")
        assert catalogue.sources() == [blog, site]
        assert blog.id != site.id
        assert (site.kind, site.location, site.posts, site.checked) == ("site", "https://example.com/", 0, None)
        catalogue.checked(site.id, "2024-05-01T08:00:00+00:00")
        assert catalogue.sources()[1].checked == "2024-05-01T08:00:00+00:00"

    def test_items_come_back_as_they_were_kept(self, catalogue: Any) -> None:
        blog = catalogue.remember("folder", "/blog")
        page = Item("/blog/a.md", "done", "1 abc", '"tag"', "Wed, 01 May 2024 08:00:00 GMT")
        catalogue.keep(blog.id, [page, Item("/blog/b.md")])
        assert catalogue.items(blog.id) == {"/blog/a.md": page, "/blog/b.md": Item("/blog/b.md")}
        catalogue.keep(blog.id, [replace(page, state="failed")])
        assert catalogue.items(blog.id)["/blog/a.md"].state == "failed"
        catalogue.drop(blog.id, ["/blog/a.md", "/blog/never.md"])
        assert list(catalogue.items(blog.id)) == ["/blog/b.md"]

    def test_posts_are_counted_by_the_places_that_gave_them(self, catalogue: Any, library: Any) -> None:
        blog = catalogue.remember("folder", "/blog")
        catalogue.keep(blog.id, [Item("/blog/bread.md", "done"), Item("/blog/empty.md", "failed")])
        put(library, post(SOURDOUGH, source="/blog/bread.md"))
        put(library, post(FLATBREAD, source="/elsewhere.md"))
        assert [source.posts for source in catalogue.sources()] == [1]

    def test_a_place_belongs_to_the_first_source_that_has_read_it(self, catalogue: Any) -> None:
        feed, site = (catalogue.remember(kind, f"https://example.com/{kind}") for kind in ("feed", "site"))
        catalogue.keep(feed.id, [Item("https://example.com/a")])
        assert catalogue.owner("https://example.com/a") is None
        for source in (site, feed):
            catalogue.keep(source.id, [Item("https://example.com/a", "done")])
        assert catalogue.owner("https://example.com/a") == feed.id
        catalogue.forget(feed.id)
        assert catalogue.owner("https://example.com/a") == site.id

    def test_a_source_that_is_forgotten_takes_its_items_along(self, catalogue: Any) -> None:
        blog = catalogue.remember("folder", "/blog")
        catalogue.keep(blog.id, [Item("/blog/a.md", "done")])
        catalogue.forget(blog.id)
        assert catalogue.sources() == []
        assert catalogue.items(blog.id) == {}
        catalogue.keep(blog.id, [Item("/blog/a.md", "done")])  # a job that was still running
        assert catalogue.items(blog.id) == {}
        with pytest.raises(NotFound, match="List the sources"):
            catalogue.forget(blog.id)

    def test_choices_are_noted(self, catalogue: Any) -> None:
        assert catalogue.fact("schedule") == ""
        catalogue.note("schedule", "off")
        assert catalogue.fact("schedule") == "off"


@pytest.fixture(params=["fake", "real", "real, very many"])
def index(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if request.param == "real, very many":
        monkeypatch.setattr("store.vectors._EXACT", -1)  # Chroma searches
    made = FakeIndex() if request.param == "fake" else ChromaIndex(tmp_path / "index")
    yield made
    made.close()


def silent(done: int, total: int) -> None:
    assert 0 <= done <= total


class TestVectorIndex:
    VECTORS = FakeEmbedder().encode_documents([*SENTENCES, "Roll the dough as thin as a coin."])

    def build(self, index: Any, manifest: Manifest = MANIFEST) -> None:
        index.rebuild(manifest, [11, 22, 33], self.VECTORS[:3], silent)

    def test_the_nearest_come_first_with_their_cosine(self, index: Any) -> None:
        self.build(index)
        query = FakeEmbedder().encode_queries(["Salt on the bicycle chain in a hot pan"])[0]
        found = index.nearest(query, 3)
        cosines = {id_: float(vector @ query) for id_, vector in zip((11, 22, 33), self.VECTORS, strict=False)}
        assert [id_ for id_, _ in found] == sorted(cosines, key=lambda id_: -cosines[id_])
        assert found[0][0] == 33
        assert all(cosine == pytest.approx(cosines[id_], abs=1e-4) for id_, cosine in found)
        assert len(index.nearest(query, 2)) == 2
        assert len(index.nearest(query, 100)) == 3

    def test_a_search_among_some_finds_those_alone(self, index: Any) -> None:
        self.build(index)
        index.upsert([44, 22], self.VECTORS[[3, 0]])
        index.delete([33])
        query = self.VECTORS[0]
        cosines = {11: 1.0, 22: 1.0, 44: float(self.VECTORS[3] @ query)}
        for among in ([11, 22, 33, 44, 55], [22, 44], [44], [33], [55, 999_999], []):
            found = index.nearest(query, 9, np.array(among, dtype=np.int64))
            assert dict(found) == pytest.approx({id_: cosines[id_] for id_ in among if id_ in cosines}, abs=1e-4)
            assert [cosine for _, cosine in found] == sorted((cosine for _, cosine in found), reverse=True)
        assert index.nearest(query, 1, np.array([22, 44]))[0][0] == 22
        index.close()
        assert index.nearest(query, 9, np.array([11])) == []
        assert index.open(MANIFEST, {11: self.VECTORS[0]}) == ""
        assert [id_ for id_, _ in index.nearest(query, 9, np.array([22, 33, 44]))] == [22, 44]

    def test_before_it_is_built_it_is_empty_and_says_so(self, index: Any) -> None:
        assert index.open(MANIFEST, {}) != ""
        assert index.ids() == set()
        assert index.nearest(self.VECTORS[0], 5) == []
        assert index.nearest(self.VECTORS[0], 5, np.array([1])) == []
        index.upsert([1], self.VECTORS[:1])
        index.delete([1])
        assert index.ids() == set()
        assert [check.ok for check in index.checks()] == [False]

    def test_an_empty_one_is_sound(self, index: Any) -> None:
        index.rebuild(MANIFEST, [], self.VECTORS[:0], silent)
        assert index.nearest(self.VECTORS[0], 5) == []
        index.close()
        assert index.open(MANIFEST, {}) == ""
        index.upsert([5], self.VECTORS[:1])
        assert index.ids() == {5}

    def test_upsert_adds_and_replaces(self, index: Any) -> None:
        self.build(index)
        index.upsert([44, 11], self.VECTORS[[3, 1]])
        assert index.ids() == {11, 22, 33, 44}
        assert index.nearest(self.VECTORS[3], 1)[0] == (44, pytest.approx(1, abs=1e-4))
        assert {id_ for id_, _ in index.nearest(self.VECTORS[1], 2)} == {11, 22}
        index.upsert([], self.VECTORS[:0])
        assert len(index.ids()) == 4

    def test_what_is_deleted_is_not_found_and_the_rest_is(self, index: Any) -> None:
        self.build(index)
        index.delete([22, 999])
        index.delete([])
        assert index.ids() == {11, 33}
        assert {id_ for id_, _ in index.nearest(self.VECTORS[1], 5)} == {11, 33}

    def test_one_that_lost_a_third_is_worn_until_it_is_rebuilt(self, index: Any) -> None:
        self.build(index)
        index.upsert([44], self.VECTORS[3:])
        index.delete([22, 999])
        assert not index.worn
        index.delete([33])
        assert index.worn
        index.close()
        assert not index.worn
        assert index.open(MANIFEST, {11: self.VECTORS[0]}) == ""
        assert index.worn
        index.rebuild(MANIFEST, [11, 44], self.VECTORS[[0, 3]], silent)
        assert not index.worn

    def test_closed_and_opened_again_it_answers_as_before(self, index: Any) -> None:
        self.build(index)
        index.upsert([44], self.VECTORS[3:])
        index.close()
        assert index.nearest(self.VECTORS[0], 5) == []
        assert index.open(MANIFEST, {11: self.VECTORS[0], 44: self.VECTORS[3]}) == ""
        assert index.ids() == {11, 22, 33, 44}
        assert index.nearest(self.VECTORS[3], 1)[0][0] == 44
        assert [check.ok for check in index.checks()] == [True]

    def test_one_of_another_embedder_is_not_opened(self, index: Any) -> None:
        self.build(index)
        assert "embedder" in index.open(
            replace(MANIFEST, embedder=replace(MANIFEST.embedder, fingerprint="fa1e000000000002")), {}
        )
        assert index.nearest(self.VECTORS[0], 5) == []

    def test_one_with_other_settings_answers_until_it_is_rebuilt(self, index: Any) -> None:
        self.build(index)
        other = replace(MANIFEST, splitter="by chapters")
        assert index.open(other, {11: self.VECTORS[0]}) != ""
        assert index.nearest(self.VECTORS[0], 1)[0][0] == 11
        index.rebuild(other, [1], self.VECTORS[:1], silent)
        assert index.open(other, {1: self.VECTORS[0]}) == ""

    def test_one_that_does_not_find_its_vectors_is_not_opened(self, index: Any) -> None:
        self.build(index)
        assert index.open(MANIFEST, {11: self.VECTORS[3]}) != ""
        assert index.nearest(self.VECTORS[0], 1) == []
        assert index.open(MANIFEST, {77: self.VECTORS[3]}) != ""

    def test_a_vector_missing_from_it_is_no_damage(self, index: Any) -> None:
        # a kill between library and index leaves this; the engine mends it
        self.build(index)
        assert index.open(MANIFEST, {11: self.VECTORS[0], 44: self.VECTORS[3]}) == ""

    def test_two_passages_with_one_vector_are_both_found(self, index: Any) -> None:
        index.rebuild(MANIFEST, [1, 2], self.VECTORS[[0, 0]], silent)
        assert index.open(MANIFEST, {1: self.VECTORS[0], 2: self.VECTORS[0]}) == ""
        assert {id_ for id_, _ in index.nearest(self.VECTORS[0], 2)} == {1, 2}

    def test_a_rebuild_replaces_everything(self, index: Any) -> None:
        self.build(index)
        index.rebuild(MANIFEST, [7], self.VECTORS[3:], silent)
        assert index.ids() == {7}
        assert index.open(MANIFEST, {7: self.VECTORS[3]}) == ""
        assert index.ids() == {7}

    def test_a_rebuild_tells_how_far_it_is(self, index: Any) -> None:
        told: list[tuple[int, int]] = []
        index.rebuild(MANIFEST, [1, 2, 3], self.VECTORS[:3], lambda done, total: told.append((done, total)))
        assert told[-1] == (3, 3)

    def test_readers_are_answered_while_it_is_rebuilt(self, index: Any) -> None:
        self.build(index)
        end, answers = Event(), []

        def read() -> None:
            while not end.is_set():
                answers.append(len(index.nearest(self.VECTORS[0], 3)))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for _ in range(2):
            index.rebuild(MANIFEST, [11, 22, 33], self.VECTORS[:3], silent)
        end.set()
        thread.join(30)
        assert set(answers) == {3}
