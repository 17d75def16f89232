"""What is done while nobody waits: reading ahead, and getting to know a new writer; a question ends both at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import numpy as np
import pytest

from rag.answering import memory as memory_room
from rag.answering import trial
from rag.answering.idle import Idle
from rag.answering.memory import Memory
from rag.answering.trial import Trial
from rag.errors import ModelError
from rag.ports import Read, unread
from rag.records import Prompt
from tests.fakes import FakeCatalogue, FakeEmbedder, FakeLibrary, FakeWriter
from tests.house import House
from tests.stories import FLATBREAD, SOURDOUGH

LIMIT_S = 10
QUESTION = "With which rye flour is the sourdough starter fed every morning?"


@pytest.fixture
def idle() -> Iterator[Idle]:
    lent = Idle()
    yield lent
    lent.close()


def eventually(told: Event) -> None:
    assert told.wait(LIMIT_S)


def test_only_the_last_wish_is_done(idle: Idle) -> None:
    done: list[str] = []
    ended = Event()
    idle.later(lambda _: done.append("half a question"), wait_s=60)
    idle.later(lambda _: (done.append("a question"), ended.set())[0])  # type: ignore[func-returns-value]
    eventually(ended)
    assert done == ["a question"]


def test_whoever_waits_ends_what_is_done_and_what_was_to_be_done(idle: Idle) -> None:
    begun, ended = Event(), Event()

    def read(stop: Event) -> None:
        begun.set()
        assert stop.wait(LIMIT_S)
        ended.set()

    idle.later(read)
    eventually(begun)
    idle.interrupt()
    eventually(ended)
    with idle.turn() as stop:
        assert not stop.is_set()
        idle.interrupt()
        assert stop.is_set()


@pytest.mark.filterwarnings("ignore")
def test_what_fails_does_not_end_what_comes_later(idle: Idle, capsys: pytest.CaptureFixture[str]) -> None:
    for error in (ModelError("The writer is gone. Run doctor."), ValueError("a bug")):
        failed, told = Event(), Event()

        def fail(_: Event, error: Exception = error, failed: Event = failed) -> None:
            failed.set()
            raise error

        idle.later(fail)
        eventually(failed)
        idle.later(lambda _, told=told: told.set())  # type: ignore[misc]
        eventually(told)
    assert "a bug" in capsys.readouterr().err


def test_after_the_end_nothing_is_begun() -> None:
    idle = Idle()
    idle.close()
    idle.later(lambda _: pytest.fail("it was closed"))
    with idle.turn() as stop:
        assert stop.is_set()
    assert idle.closed


class Reader(FakeWriter):
    """Repeats the best sentence, unless there are more passages before it than it can read."""

    name = "a-new-writer"

    def __init__(self, reads: int) -> None:
        super().__init__()
        self.reads = reads

    def write(self, prompt: Prompt, stop: Event, read: Read = unread) -> Iterator[str]:
        self.prompts.append(prompt)
        texts = [segment.text for segment in prompt.segments if not segment.trusted][:-1]
        yield from texts[-1:] if len(texts) <= self.reads + 1 else ["I do not know."]


@pytest.mark.parametrize(("reads", "given"), [(5, trial.MANY), (1, trial.ONE)])
def test_a_new_writer_is_given_what_it_can_use(reads: int, given: int) -> None:
    catalogue, writer = FakeCatalogue(FakeLibrary()), Reader(reads)
    tried = Trial(catalogue, writer)
    assert not tried.settled
    tried.run(Event())
    assert (tried.settled, writer.passages) == (True, given)
    again = Reader(reads)
    Trial(catalogue, again).apply()
    assert (again.passages, again.prompts) == (given, [])


def test_a_trial_that_is_interrupted_goes_on_where_it_was() -> None:
    catalogue, writer, stop = FakeCatalogue(FakeLibrary()), Reader(5), Event()
    tried = Trial(catalogue, writer)
    stop.set()
    tried.run(stop)
    assert (tried.settled, len(writer.prompts)) == (False, 2)
    tried.run(Event())
    asked = len(writer.prompts)
    assert tried.settled
    assert asked == 2 + 2 * len(trial._ASKED)


def test_the_writer_that_ships_was_measured_already() -> None:
    writer = FakeWriter()
    writer.name = "SmolLM2-135M-Instruct"
    tried = Trial(FakeCatalogue(FakeLibrary()), writer)
    tried.apply()
    assert (tried.settled, writer.passages) == (True, trial.ONE)


@pytest.fixture
def bakery(light_house: House) -> House:
    light_house.write_and_add("sourdough.md", SOURDOUGH)
    light_house.write_and_add("flatbread.md", FLATBREAD)
    light_house.engine.warm_up()
    return light_house


def warmed(house: House, count: int) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while len(house.writer.warmed) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(house.writer.warmed) == count


def test_what_is_typed_is_read_ahead(bakery: House) -> None:
    bakery.engine.expect([QUESTION])
    assert warmed(bakery, 1)
    assert any(segment.passage for segment in bakery.writer.warmed[0].segments)
    bakery.engine.expect(["tag:", QUESTION])
    assert warmed(bakery, 2)


def test_the_question_itself_ends_what_is_read_ahead(bakery: House, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = Event(), Event()

    def warm(prompt: Prompt, stop: Event) -> None:
        begun.set()
        assert stop.wait(LIMIT_S)
        ended.set()

    monkeypatch.setattr(bakery.writer, "warm", warm)
    bakery.engine.expect([QUESTION])
    eventually(begun)
    assert list(bakery.engine.ask(QUESTION))[-1].done
    eventually(ended)


def test_what_began_while_it_searched_ends_before_the_writer_is_asked(bakery: House) -> None:
    answers = bakery.engine.ask(QUESTION)
    assert not next(answers).quotes
    with bakery.engine._idle.turn() as stop:
        assert not stop.is_set()
        assert list(answers)[-1].done
        assert stop.is_set()


def test_a_writer_that_could_not_be_loaded_is_no_trouble_once_it_is_there(
    bakery: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ModelError("The server is not there. Start it.")

    bakery.writer.ready = False
    with monkeypatch.context() as patched:
        patched.setattr(bakery.writer, "load", refuse)
        bakery.engine.warm_up()
        assert bakery.engine.trouble == "The server is not there. Start it."
    assert list(bakery.engine.ask(QUESTION))[-1].done
    assert bakery.engine.trouble == ""


def test_for_a_writer_that_reads_a_sentence_only_the_quote_is_read_ahead(bakery: House) -> None:
    bakery.writer.passages = 1
    bakery.engine.expect([QUESTION, "Which flour is the flatbread made of?"])
    assert warmed(bakery, 2)
    before = len(bakery.embedder.encoded)
    answer = list(bakery.engine.ask(QUESTION))[-1]
    told = [segment.text.strip() for segment in bakery.writer.warmed[-1].segments if segment.passage]
    assert told == [answer.quotes[0].quote]
    read = [text for text in bakery.embedder.encoded[before:] if text in {quote.quote for quote in answer.quotes}]
    assert (bool(answer.quotes), read) == (True, [])


def test_no_reranker_is_asked_for_what_is_only_typed(bakery: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bakery.engine, "_reranker", pytest.fail)
    bakery.engine.expect([QUESTION])
    assert warmed(bakery, 1)


class TestMemory:
    """Sentences that were read before."""

    SENTENCES = ("Rye rests for ten hours.", "Wheat rests for four.", "Rye rests for ten hours.")

    def test_a_sentence_is_read_once(self) -> None:
        memory, embedder = Memory(), FakeEmbedder()
        first = memory.vectors(self.SENTENCES, embedder)
        again = memory.vectors(self.SENTENCES[1:], embedder)
        assert embedder.encoded == list(self.SENTENCES[:2])
        assert np.array_equal(first, FakeEmbedder().encode_documents(self.SENTENCES))
        assert np.array_equal(again, first[1:])

    def test_another_embedder_reads_it_itself(self) -> None:
        memory, other = Memory(), FakeEmbedder("fa1e000000000002", dimension=8)
        memory.vectors(self.SENTENCES, FakeEmbedder())
        assert np.array_equal(memory.vectors(self.SENTENCES, other), other.encode_documents(self.SENTENCES))

    def test_what_was_not_used_for_longest_goes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory_room, "MOST", 2)
        memory, embedder = Memory(), FakeEmbedder()
        for sentence in ("one", "two", "one", "three", "one", "two"):
            memory.vectors([sentence], embedder)
        assert embedder.encoded == ["one", "two", "three", "two"]
        assert memory.vectors(["a", "b", "c"], embedder).shape == (3, 256)

    def test_what_is_kept_does_not_keep_what_was_read_with_it(self) -> None:
        memory = Memory()
        memory.vectors(self.SENTENCES, FakeEmbedder())
        assert all(vector.base is None for vector in memory._known.values())

    def test_a_post_that_is_removed_leaves_nothing(self, bakery: House) -> None:
        answer = list(bakery.engine.ask(QUESTION))[-1]
        assert len(bakery.engine._memory._known) > 0
        bakery.engine.remove([answer.quotes[0].post_id])
        assert len(bakery.engine._memory._known) == 0

    @pytest.mark.parametrize("at", range(3))
    def test_a_post_that_is_removed_while_an_answer_is_written_leaves_nothing(self, bakery: House, at: int) -> None:
        bakery.writer.pieces = ("Feed it every morning at eight ", "with 50 grams of rye flour. ", "It is hungry.")
        growing = bakery.engine.ask(QUESTION)
        for _ in range(2 + at):
            answer = next(growing)
        bakery.engine.remove([answer.hits[0].passage.post_id])
        assert list(growing)[-1].done
        assert len(bakery.engine._memory._known) == 0
        assert list(bakery.engine.ask(QUESTION))[-1].done
        assert len(bakery.engine._memory._known) > 0

    def test_what_is_forgotten_once_more_is_not_forgotten_ever_again(self, bakery: House) -> None:
        first, second = bakery.engine.ask(QUESTION), bakery.engine.ask(QUESTION)
        next(first), next(first), next(second), next(second)
        bakery.engine.forget_read()
        list(first)
        third = bakery.engine.ask(QUESTION)
        next(third), next(third)
        list(second)  # which forgets once more, for it read before; the third one did not
        list(bakery.engine.ask(QUESTION))
        list(third)
        assert len(bakery.engine._memory._known) > 0
