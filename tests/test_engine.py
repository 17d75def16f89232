"""The life of posts and questions, told as stories: real SQLite and Chroma where the disk matters, fakes elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from rag.answering.growing import QUOTED, REFUSAL
from rag.errors import BadQuestion, ModelError, NotFound, StoreError
from rag.readers.limits import Limits
from rag.records import Answer, InUse, Post
from tests.fakes import FakeEmbedder, FakeLibrary
from tests.house import House, outcomes
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, post

FED = "Feed it every morning at eight with 50 grams of rye flour."
HUNGRY = "A sharp smell of vinegar means that the starter is hungry."
THIN = "Mix yoghurt with wheat flour and roll the dough as thin as a coin."
QUESTION = "With which rye flour is the sourdough starter fed every morning?"


def last(answers: Iterator[Answer]) -> Answer:
    return list(answers)[-1]


class TestAdding:
    def test_two_posts_about_bread_one_question_the_right_citation(self, house: House) -> None:
        sour = house.write_and_add("sourdough.md", SOURDOUGH)
        flat = house.write_and_add("flatbread.md", FLATBREAD)
        assert (sour.state, flat.state) == ("added", "added")
        assert sour.title == "Keeping a sourdough starter"
        house.writer.pieces = ("Feed it every morning at eight ", "with 50 grams of rye flour.")
        answer = last(house.engine.ask(QUESTION))
        [citation] = answer.citations
        assert citation.post_id == sour.post_id
        assert citation.title == "Keeping a sourdough starter"
        assert citation.quote == FED
        assert house.engine.post(sour.post_id).text[citation.start : citation.end] == FED
        assert [sentence.citation for sentence in answer.sentences] == [1]
        assert answer.hits[0].passage.post_id == sour.post_id

    def test_each_file_is_followed_from_waiting_to_added(self, light_house: House) -> None:
        paths = [light_house.write("a.md", SOURDOUGH), light_house.write("b.md", FLATBREAD)]
        steps = list(light_house.engine.add([str(path.parent) for path in paths]))
        assert [Path(step.source).name for step in steps if step.state == "waiting"] == ["a.md", "b.md"]
        for name in ("a.md", "b.md"):
            states = [step.state for step in steps if Path(step.source).name == name]
            assert states == ["waiting", "reading", "indexing", "added"]
        assert [(Path(step.source).name, step.state) for step in steps if step.state == "added"] == [
            ("a.md", "added"),
            ("b.md", "added"),
        ]

    def test_the_same_file_again_is_unchanged_and_costs_nothing(self, light_house: House) -> None:
        added = light_house.write_and_add("sourdough.md", SOURDOUGH)
        encoded = len(light_house.embedder.encoded)
        again = light_house.write_and_add("sourdough.md", SOURDOUGH)
        assert (again.state, again.post_id) == ("unchanged", added.post_id)
        assert len(light_house.embedder.encoded) == encoded
        assert light_house.engine.count()[0] == 1

    def test_the_same_text_from_another_place_is_the_same_post(self, light_house: House) -> None:
        added = light_house.write_and_add("sourdough.md", SOURDOUGH)
        copy = light_house.write_and_add("backup/copy.md", SOURDOUGH)
        assert (copy.state, copy.post_id) == ("unchanged", added.post_id)

    def test_twins_in_one_go_become_one_post(self, light_house: House) -> None:
        light_house.write("a.md", SOURDOUGH)
        path = light_house.write("b.md", SOURDOUGH)
        assert sorted(outcome.state for outcome in light_house.add(path.parent)) == ["added", "unchanged"]
        assert light_house.engine.count()[0] == 1

    def test_a_changed_file_keeps_its_id_and_loses_its_old_words(self, house: House) -> None:
        added = house.write_and_add("bread.md", SOURDOUGH)
        changed = house.write_and_add("bread.md", FLATBREAD)
        assert (changed.state, changed.post_id) == ("updated", added.post_id)
        assert house.engine.search("vinegar", "lexical").hits == ()
        assert house.engine.search("yoghurt").hits[0].title == "Flatbread in twenty minutes"
        assert house.engine.count()[0] == 1
        assert house.index.ids() == house.library.passage_ids()

    def test_a_changed_title_alone_is_a_change(self, light_house: House) -> None:
        light_house.write_and_add("bread.md", "---\ntitle: Old\n---\nFeed it at eight.")
        changed = light_house.write_and_add("bread.md", "---\ntitle: New\n---\nFeed it at eight.")
        assert changed.state == "updated"
        assert light_house.engine.search("feed").hits[0].title == "New"

    def test_one_bad_file_fails_alone(self, light_house: House) -> None:
        good = light_house.write("good.md", SOURDOUGH)
        empty = light_house.write("empty.md", "")
        binary = light_house.write("binary.md", "\0\0")
        also_good = light_house.write("also-good.md", FLATBREAD)
        missing = light_house.home / "missing.md"
        found = {Path(o.source).name: o for o in light_house.add(missing, empty, good, binary, also_good)}
        assert {name: outcome.state for name, outcome in found.items()} == {
            "missing.md": "failed",
            "empty.md": "failed",
            "good.md": "added",
            "binary.md": "failed",
            "also-good.md": "added",
        }
        for name in ("missing.md", "empty.md", "binary.md"):
            assert name in found[name].error
            assert found[name].error.endswith(".")

    def test_a_link_that_leads_to_itself_fails_alone(self, light_house: House) -> None:
        path = light_house.write("z-good.md", SOURDOUGH)
        (path.parent / "a-loop.md").symlink_to(path.parent / "a-loop.md")
        found = {Path(outcome.source).name: outcome.state for outcome in light_house.add(path.parent)}
        assert found.get("z-good.md") == "added"

    def test_a_file_given_twice_is_read_once(self, light_house: House) -> None:
        path = light_house.write("bread.md", SOURDOUGH)
        (path.parent / "link.md").symlink_to(path)
        assert [outcome.state for outcome in light_house.add(path, path.parent, path)] == ["added"]

    def test_a_home_that_nobody_has_is_a_sentence(self, light_house: House) -> None:
        [outcome] = outcomes(light_house.engine.add(["~nobody-of-that-name/posts"]))
        assert outcome.state == "failed"
        assert outcome.error.endswith(".")

    def test_a_file_name_in_another_character_set_does_no_harm(self, house: House) -> None:
        folder = house.write("good.md", FLATBREAD).parent
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md")).write_text("Feed it at eight.", encoding="utf-8")
        found = house.add(folder)
        assert sorted(outcome.state for outcome in found) == ["added", "added"]
        assert len(house.engine.posts()) == 2

    def test_two_uploads_of_one_name_are_told_apart_by_their_titles(self, light_house: House, tmp_path: Path) -> None:
        def upload(text: str) -> Any:
            (tmp_path / "upload").write_text(text, encoding="utf-8")
            [outcome] = outcomes(light_house.engine.add_uploads([(tmp_path / "upload", "index.md")]))
            return outcome

        first, second = upload("# Sourdough\n\nFeed it."), upload("# Flatbread\n\nRoll it.")
        assert (first.state, second.state) == ("added", "added")
        assert first.post_id != second.post_id
        again = upload("# Sourdough\n\nFeed it twice.")
        assert (again.state, again.post_id) == ("updated", first.post_id)
        assert upload("# Sourdough\n\nFeed it twice.").state == "unchanged"
        assert upload("# Flatbread\n\nRoll it.").state == "unchanged"
        assert upload("# Flatbread\n\nRoll it out.").post_id == second.post_id
        assert light_house.engine.count()[0] == 2

    def test_a_file_over_the_limit_is_refused_from_the_disk_and_as_an_upload(self, light_house: House) -> None:
        light_house.readers.limits = Limits(post_bytes=100)
        path = light_house.write("long.md", SOURDOUGH)
        added = light_house.add(path)
        for outcome in (*added, *outcomes(light_house.engine.add_uploads([(path, "long.md")]))):
            assert outcome.state == "failed"
            assert "more than the limit" in outcome.error

    @pytest.mark.slow
    def test_hundreds_of_posts_are_all_added(self, light_house: House) -> None:
        posts = [
            Post(f"/blog/{n}.md", f"Day {n}", f"On day {n} the loaf rose by {n * 7} millimetres.") for n in range(200)
        ]
        found = outcomes(light_house.engine.add_posts(posts))
        assert [outcome.state for outcome in found] == ["added"] * 200
        assert light_house.engine.count() == (200, 200)
        assert light_house.index.ids() == light_house.library.passage_ids()

    def test_without_dedupe_the_same_text_may_come_twice(self, light_house: House) -> None:
        twins = [Post("/a", "A", "Feed it at eight."), Post("/b", "B", "Feed it at eight.")]
        assert [o.state for o in outcomes(light_house.engine.add_posts(twins, dedupe=False))] == ["added", "added"]

    def test_a_post_without_words_fails_with_a_sentence(self, light_house: House) -> None:
        [blank, good] = outcomes(light_house.engine.add_posts([Post("/blank", "Blank", " \n"), post(SOURDOUGH)]))
        assert blank.state == "failed"
        assert "no text was found" in blank.error
        assert good.state == "added"

    def test_a_post_the_disk_has_no_room_for_fails_alone(self, light_house: House) -> None:
        class FullForFlatbread(FakeLibrary):
            def put(self, a_post: Post, *rest: Any, **more: Any) -> Any:
                if "yeast" in a_post.text:
                    raise StoreError("The disk is full. Free some space and try again; nothing was lost.")
                return super().put(a_post, *rest, **more)

        light_house.library = FullForFlatbread()
        light_house.restart()
        stories = [post(SOURDOUGH), post(FLATBREAD), post(BICYCLE)]
        found = outcomes(light_house.engine.add_posts(stories))
        assert [outcome.state for outcome in found] == ["added", "failed", "added"]
        assert "disk is full" in found[1].error

    def test_without_the_embedder_nothing_is_added(self, light_house: House) -> None:
        light_house.embedder.trouble = "The embedder is not installed. Run `make run` again."
        with pytest.raises(ModelError, match="make run"):
            light_house.write_and_add("bread.md", SOURDOUGH)
        assert light_house.engine.count() == (0, 0)

    def test_an_embedder_that_fails_in_the_middle_fails_the_posts_it_was_given(self, light_house: House) -> None:
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        light_house.embedder.trouble = "The embedder gave vectors that are not numbers. Set FOOTNOTE_EMBEDDER."
        failed = light_house.write_and_add("flatbread.md", FLATBREAD)
        assert failed.state == "failed"
        assert "FOOTNOTE_EMBEDDER" in failed.error
        light_house.embedder.trouble = ""
        assert light_house.write_and_add("flatbread.md", FLATBREAD).state == "added"

    def test_two_threads_that_add_the_same_folder_make_one_post_of_each_file(self, house: House) -> None:
        for number in range(12):
            house.write(f"{number}.md", f"On day {number} the loaf rose by {number * 7} millimetres.")
        found: list[str] = []

        def add() -> None:
            found.extend(outcome.state for outcome in house.add(house.home / "blog"))

        threads = [threading.Thread(target=add) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(found) == ["added"] * 12 + ["unchanged"] * 12
        assert house.engine.count() == (12, 12)
        assert house.index.ids() == house.library.passage_ids()

    def test_a_post_that_meets_an_exchange_of_the_embedder_gets_the_vectors_of_the_new_one(
        self, light_house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        light_house.write_and_add("flatbread.md", FLATBREAD)
        indexing, library = light_house.engine._indexing, light_house.library
        other = FakeEmbedder("fa1e0000000000bb", dimension=64, max_tokens=24)
        embed, exchanged = indexing.vectors, []

        def exchange_then(passages: Any, *given: Any, **more: Any) -> Any:
            found = embed(passages, *given, **more)
            if not exchanged and any("starter" in passage.text for passage in passages):
                exchanged.append(True)
                indexing.swap(other, InUse(other.fingerprint, other.dimension), former=None)
            return found

        monkeypatch.setattr(indexing, "vectors", exchange_then)
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        assert exchanged
        passages = library.passages()
        stored = library.vectors([passage.hash for passage in passages], other.fingerprint)
        for passage in passages:
            assert np.allclose(stored[passage.hash], other.encode_documents([passage.embedded_text])[0])
            assert other.count_tokens([passage.text])[0] <= other.max_tokens
        assert light_house.engine.search("starter").hits

    def test_vectors_of_another_width_are_made_anew(self, light_house: House) -> None:
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        [passage, *_] = light_house.library.passages()
        narrow = np.ones((1, 8), dtype=np.float32)
        light_house.library.keep_vectors([passage.hash], narrow, light_house.embedder.fingerprint)
        light_house.engine.reindex()
        assert light_house.engine.search("starter").hits


class TestRemoving:
    def test_a_removed_post_is_not_found_any_more(self, light_house: House) -> None:
        sour = light_house.write_and_add("sourdough.md", SOURDOUGH)
        flat = light_house.write_and_add("flatbread.md", FLATBREAD)
        assert light_house.engine.remove([sour.post_id, sour.post_id]) == [sour.post_id]
        assert [stored.id for stored in light_house.engine.posts()] == [flat.post_id]
        assert all(hit.passage.post_id == flat.post_id for hit in light_house.engine.search(QUESTION).hits)
        assert light_house.index.ids() == light_house.library.passage_ids()
        assert light_house.library.scrubbed > 0

    def test_what_the_writer_keeps_of_a_removed_or_changed_post_is_forgotten(self, light_house: House) -> None:
        sour = light_house.write_and_add("sourdough.md", SOURDOUGH)
        added = light_house.writer.forgotten
        light_house.write_and_add("sourdough.md", FLATBREAD)
        changed = light_house.writer.forgotten
        light_house.engine.remove([sour.post_id])
        assert added < changed < light_house.writer.forgotten

    def test_an_id_that_is_not_there_removes_none_of_the_others(self, light_house: House) -> None:
        sour = light_house.write_and_add("sourdough.md", SOURDOUGH)
        with pytest.raises(NotFound, match="List the posts"):
            light_house.engine.remove([sour.post_id, "000000000000"])
        assert light_house.engine.count()[0] == 1

    def test_no_byte_of_it_is_left_in_the_folder_of_the_house(self, house: House) -> None:
        secret = "zinnoberwurz"
        told = house.write_and_add("secret.md", f"# The {secret}\n\nNobody may know of the {secret}. " + FLATBREAD)
        house.write_and_add("sourdough.md", SOURDOUGH)
        (house.home / "blog" / "secret.md").unlink()
        assert holds(house.home, secret)
        house.engine.remove([told.post_id])
        assert not holds(house.home, secret)
        house.restart()
        house.engine.prepare()
        assert not holds(house.home, secret)

    def test_no_byte_of_a_text_that_was_replaced_is_left(self, house: House) -> None:
        house.write_and_add("bread.md", "Nobody may know of the zinnoberwurz.")
        house.write_and_add("bread.md", SOURDOUGH)
        assert not holds(house.home, "zinnoberwurz")

    def test_a_removed_post_can_come_back(self, house: House) -> None:
        sour = house.write_and_add("sourdough.md", SOURDOUGH)
        house.engine.remove([sour.post_id])
        back = house.write_and_add("sourdough.md", SOURDOUGH)
        assert (back.state, back.post_id) == ("added", sour.post_id)
        assert house.engine.search(QUESTION).hits[0].passage.post_id == sour.post_id


def holds(folder: Path, word: str) -> bool:
    return any(word.encode() in file.read_bytes().lower() for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def kitchen(light_house: House) -> House:
    """A house with two posts about bread."""
    light_house.write_and_add("sourdough.md", SOURDOUGH)
    light_house.write_and_add("flatbread.md", FLATBREAD)
    return light_house


class TestAsking:
    def test_the_answer_grows_and_only_the_last_is_done(self, kitchen: House) -> None:
        kitchen.writer.pieces = ("  Feed it every morning ", "at eight with 50 grams of rye flour. ", HUNGRY, "\n")
        answers = list(kitchen.engine.ask(QUESTION))
        texts = [answer.text for answer in answers[:-1]]
        assert all(after.startswith(before) for before, after in pairwise(texts))
        assert answers[-1].text == f"{FED} {HUNGRY}"
        assert [answer.done for answer in answers] == [False] * (len(answers) - 1) + [True]
        assert all(answer.status for answer in answers[:-1])
        assert answers[-1].status == ""
        assert all(answer.question == QUESTION for answer in answers)

    def test_a_finished_sentence_gets_its_footnote_while_the_next_is_written(self, kitchen: House) -> None:
        kitchen.writer.pieces = (FED + " ", "A sharp smell ", "of vinegar means that the starter is hungry.")
        growing = next(answer for answer in kitchen.engine.ask(QUESTION) if "sharp" in answer.text)
        assert not growing.done
        assert [citation.quote for citation in growing.citations] == [FED]

    def test_footnotes_are_numbered_in_the_order_of_the_text(self, kitchen: House) -> None:
        kitchen.writer.pieces = (f"{HUNGRY} The moon is made of cheese. {FED} {HUNGRY}",)
        answer = last(kitchen.engine.ask(QUESTION))
        assert [sentence.citation for sentence in answer.sentences] == [1, None, 2, 1]
        assert [(citation.number, citation.quote) for citation in answer.citations] == [(1, HUNGRY), (2, FED)]

    def test_the_writer_reads_the_best_passages_and_the_question(self, kitchen: House) -> None:
        last(kitchen.engine.ask("  With which rye flour is the sourdough\nstarter fed every morning? "))
        [prompt] = kitchen.writer.prompts
        text = "".join(segment.text for segment in prompt.segments)
        assert QUESTION in text
        assert FED in text
        assert prompt.hits[0].title == "Keeping a sourdough starter"

    def test_what_the_posts_do_not_cover_is_refused_and_nothing_is_written(self, kitchen: House) -> None:
        answer = last(kitchen.engine.ask("Who invented the zeppelin?"))
        assert answer.refused
        assert answer.done
        assert answer.text == REFUSAL
        assert (answer.citations, answer.sentences) == ((), ())
        assert 0 < len(answer.quotes) <= 3
        for quote in answer.quotes:  # what comes nearest, for whoever knows better
            assert kitchen.engine.post(quote.post_id).text[quote.start : quote.end] == quote.quote
        assert kitchen.writer.prompts == []

    def test_without_posts_it_says_that_there_are_none(self, light_house: House) -> None:
        answer = last(light_house.engine.ask(QUESTION))
        assert answer.refused
        assert answer.note == "There are no posts yet. Add some first."
        assert light_house.writer.prompts == []

    @pytest.mark.parametrize("blank", ["", "  \n", "???", "\u200b"])
    def test_a_blank_question_is_refused_before_anything_is_searched(self, kitchen: House, blank: str) -> None:
        encoded = len(kitchen.embedder.encoded)
        with pytest.raises(BadQuestion, match=r"Type one in plain words\.$"):
            list(kitchen.engine.ask(blank))
        assert len(kitchen.embedder.encoded) == encoded

    def test_a_question_as_long_as_a_book_is_refused(self, kitchen: House) -> None:
        with pytest.raises(BadQuestion, match=r"Ask a shorter one\.$"):
            list(kitchen.engine.ask("bread " * 40_000))

    def test_a_question_typed_in_another_character_set_does_no_harm(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        typed = os.fsdecode(b"Which rye flour is the sourdough starter of the caf\xe9 fed?")
        answer = last(house.engine.ask(typed))
        assert answer.done
        assert answer.hits

    def test_a_writer_that_fails_leaves_the_passages_and_says_why(self, kitchen: House) -> None:
        kitchen.writer.pieces = ()
        kitchen.writer.error = ModelError("The writer is damaged. Download it again.")
        answer = last(kitchen.engine.ask(QUESTION))
        assert answer.done
        assert not answer.refused
        assert answer.note == "The writer is damaged. Download it again."
        assert answer.hits[0].title == "Keeping a sourdough starter"

    def test_a_writer_that_fails_in_the_middle_leaves_what_it_wrote(self, kitchen: House) -> None:
        kitchen.writer.pieces = (FED + " ", "A sharp")
        kitchen.writer.error = ModelError("The writer is damaged. Download it again.")
        answer = last(kitchen.engine.ask(QUESTION))
        assert answer.text.startswith(FED)
        assert answer.citations[0].quote == FED
        assert "damaged" in answer.note

    def test_where_the_writer_proves_nothing_the_posts_themselves_are_quoted(self, kitchen: House) -> None:
        for pieces in ((" ", "\n"), ("The moon is made of green cheese.",)):
            kitchen.writer.pieces = pieces
            answer = last(kitchen.engine.ask(QUESTION))
            [citation] = answer.citations
            assert answer.text == citation.quote == FED
            assert answer.note == QUOTED
            assert not answer.failed

    def test_stop_ends_the_answer_and_keeps_what_was_written(self, kitchen: House) -> None:
        kitchen.writer.pieces = (FED + " ", "A sharp smell ", "of vinegar")
        stop, answers = Event(), []
        for answer in kitchen.engine.ask(QUESTION, stop):
            answers.append(answer)
            if answer.text:
                stop.set()
        assert answers[-1].done
        assert answers[-1].text.rstrip() == FED
        assert answers[-1].note.startswith("Stopped.")
        assert [citation.quote for citation in answers[-1].citations] == [FED]

    def test_stop_before_the_first_word_writes_nothing(self, kitchen: House) -> None:
        stop = Event()
        stop.set()
        answer = last(kitchen.engine.ask(QUESTION, stop))
        assert answer.done
        assert answer.text == ""
        assert answer.note.startswith("Stopped.")

    def test_closing_the_page_in_the_middle_stops_the_writer(self, kitchen: House) -> None:
        kitchen.writer.pieces = ("Feed ", "it ", "every morning.")
        answers = kitchen.engine.ask(QUESTION)
        next(answer for answer in answers if answer.text)
        assert kitchen.writer.closed == 0
        answers.close()  # type: ignore[attr-defined]
        assert kitchen.writer.closed == 1
        assert last(kitchen.engine.ask(QUESTION)).text == "Feed it every morning."

    def test_two_threads_that_ask_both_get_their_answer(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        house.write_and_add("flatbread.md", FLATBREAD)
        house.writer.pieces = (f"{FED} ", THIN)
        questions = [QUESTION, "How thin is the flatbread dough with yoghurt and wheat flour?"] * 3
        answers: dict[int, Answer] = {}

        def ask(number: int) -> None:
            answers[number] = last(house.engine.ask(questions[number]))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(questions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [answers[number].question for number in range(6)] == questions
        assert {tuple(citation.quote for citation in answer.citations) for answer in answers.values()} == {(FED, THIN)}

    def test_times_and_tokens_are_counted(self, kitchen: House) -> None:
        kitchen.writer.pieces = ("Feed it ", "at eight.")
        timings = last(kitchen.engine.ask(QUESTION)).timings
        assert 0 <= timings.search_s <= timings.first_token_s <= timings.total_s
        assert timings.prompt_tokens == kitchen.writer.count_tokens(kitchen.writer.prompts[0])
        assert timings.answer_tokens == 2


@pytest.mark.slow
class TestRestarting:
    def test_posts_answer_after_a_restart_without_being_embedded_again(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        house.restart()
        house.embedder.encoded.clear()
        house.engine.prepare()
        assert house.engine.search(QUESTION).hits[0].title == "Keeping a sourdough starter"
        assert house.embedder.passages == []

    def test_a_kill_between_library_and_index_is_mended(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        removed = house.write_and_add("flatbread.md", FLATBREAD)
        house.library.remove(removed.post_id)  # the kill came before the index heard of it
        chain = post(BICYCLE)
        passages = [replace(p, id=0) for p in passages_of_house(house, chain)]
        vectors = house.embedder.encode_documents([passage.embedded_text for passage in passages])
        house.library.put(chain, passages, vectors, house.embedder.fingerprint)  # and here too
        assert house.index.ids() != house.library.passage_ids()
        house.restart()
        house.engine.prepare()
        assert house.index.ids() == house.library.passage_ids()
        assert house.engine.search("Who oils the bicycle chain every Sunday?", "dense", 1).hits[0].title == chain.title
        assert all(check.ok for check in house.engine.checks())

    def test_an_index_that_went_missing_is_rebuilt_from_the_library(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        house.close()
        (house.home / "index" / "current").write_text("generation-gone", encoding="utf-8")
        house.restart()
        house.embedder.encoded.clear()
        house.engine.prepare()
        assert house.engine.search(QUESTION, "dense").hits[0].title == "Keeping a sourdough starter"
        assert house.embedder.passages == []

    def test_an_index_that_no_longer_finds_its_vectors_is_rebuilt(self, light_house: House) -> None:
        sour = light_house.write_and_add("sourdough.md", SOURDOUGH)
        noise = light_house.embedder.encode_documents(["Salt eats the bicycle chain."])
        light_house.index.upsert([1, 2], noise.repeat(2, axis=0))  # what a damaged segment answers with
        light_house.restart()
        light_house.engine.prepare()
        [hit, *_] = light_house.engine.search(QUESTION, "dense").hits
        assert (hit.passage.post_id, hit.cosine > 0.5) == (sour.post_id, True)

    def test_an_index_that_lost_much_is_rebuilt_at_the_next_start(self, house: House) -> None:
        bread = house.write_and_add("sourdough.md", SOURDOUGH)
        house.write_and_add("bicycle.md", BICYCLE)
        house.engine.remove([bread.post_id])
        worn = house.index.worn
        house.restart()
        house.engine.prepare()
        assert (worn, house.index.worn) == (True, False)
        assert house.engine.search("Which salt eats the bicycle chain?", "dense").hits

    def test_with_another_embedder_posts_are_split_and_embedded_anew(self, house: House) -> None:
        added = house.write_and_add("sourdough.md", SOURDOUGH * 3)
        before = [passage.hash for passage in house.library.passages()]
        house.embedder = FakeEmbedder(fingerprint="fa1e000000000002", dimension=96, max_tokens=24)
        house.restart()
        house.engine.prepare()
        [stored] = house.engine.posts()
        assert (stored.id, stored.passages > added.passages) == (added.post_id, True)
        assert house.engine.search(QUESTION, "dense").hits[0].title == "Keeping a sourdough starter"
        assert house.index.ids() == house.library.passage_ids()
        assert all(house.embedder.count_tokens([p.embedded_text])[0] <= 24 for p in house.library.passages())
        assert house.library.vectors(before, "fa1e000000000001") == {}

    def test_reindex_gives_the_passages_their_number_and_keeps_their_ids(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        house.write_and_add("flatbread.md", FLATBREAD)
        before = house.library.passages()
        told: list[tuple[int, int]] = []
        assert house.engine.reindex(lambda done, total: told.append((done, total))) == len(before)
        assert house.library.passages() == before
        assert told[-1] == (len(before), len(before))
        assert house.engine.search(QUESTION, "dense").hits[0].title == "Keeping a sourdough starter"

    def test_reindex_is_the_first_thing_that_may_be_done(self, house: House) -> None:
        assert house.engine.reindex() == 0
        house.write_and_add("sourdough.md", SOURDOUGH)
        house.restart()
        assert house.engine.reindex() == len(house.library.passages())
        assert house.engine.search(QUESTION, "dense").hits

    @pytest.mark.slow
    def test_a_rebuild_that_was_interrupted_goes_on_where_it_stopped(self, light_house: House) -> None:
        days = [Post(f"/{n}.md", f"Day {n}", f"On day {n} the loaf rose by {n * 7} millimetres.") for n in range(600)]
        list(light_house.engine.add_posts(days))

        class Interrupted(FakeEmbedder):
            def encode_documents(self, texts: Any) -> Any:
                if len(self.encoded) >= 200:
                    raise ModelError("The embedder ran out of memory. Close other programs.")
                return super().encode_documents(texts)

        light_house.embedder = Interrupted(fingerprint="fa1e000000000002")
        light_house.restart()
        with pytest.raises(ModelError):
            light_house.engine.prepare()
        light_house.embedder = FakeEmbedder(fingerprint="fa1e000000000002")
        light_house.restart()
        light_house.engine.prepare()
        assert 0 < len(light_house.embedder.passages) <= 600 - 256
        assert light_house.index.ids() == light_house.library.passage_ids()

    def test_a_post_whose_vectors_could_not_be_written_is_found_after_a_restart(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        real, house.index.upsert = house.index.upsert, refuse
        house.write_and_add("flatbread.md", FLATBREAD)
        house.index.upsert = real
        house.restart()
        house.engine.prepare()
        assert house.index.ids() == house.library.passage_ids()
        assert house.write_and_add("flatbread.md", FLATBREAD).state in ("added", "unchanged")
        assert (
            house.engine.search("yoghurt dough as thin as a coin", "dense", 1).hits[0].title
            == "Flatbread in twenty minutes"
        )

    def test_the_index_is_not_opened_twice(self, light_house: House) -> None:
        light_house.engine.prepare()
        encoded = len(light_house.embedder.encoded)
        light_house.engine.prepare()
        light_house.engine.warm_up()
        assert len(light_house.embedder.encoded) == encoded
        assert light_house.writer.ready


def refuse(ids: Any, vectors: Any) -> None:
    raise StoreError("The index could not be written. Free some space and run reindex.")


def passages_of_house(house: House, a_post: Post) -> list[Any]:
    from rag.passages import split

    return list(split(a_post, house.embedder.count_tokens, house.embedder.max_tokens))


class TestChecks:
    def test_a_sound_house_is_well(self, house: House) -> None:
        house.write_and_add("sourdough.md", SOURDOUGH)
        checks = house.engine.checks()
        assert all(check.ok for check in checks), checks
        assert {"embedder", "writer", "library", "index", "index self-test"} <= {check.name for check in checks}

    def test_an_index_out_of_step_is_told(self, house: House) -> None:
        added = house.write_and_add("sourdough.md", SOURDOUGH)
        house.library.remove(added.post_id)
        [check] = [check for check in house.engine.checks() if not check.ok]
        assert check.name == "index self-test"
        assert check.detail.endswith("Run reindex.")
        house.engine.reindex()
        assert all(check.ok for check in house.engine.checks())

    def test_a_missing_embedder_is_told_and_the_rest_still_checked(self, light_house: House) -> None:
        light_house.embedder.trouble = "The embedder is not installed. Run `make run` again."
        checks = {check.name: check for check in light_house.engine.checks()}
        assert checks["embedder"].detail == "The embedder is not installed. Run `make run` again."
        assert not checks["index self-test"].ok
        assert checks["library"].ok
