"""What a writer has read of passages is kept, found again, bounded and forgotten; the answers stay the same."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from models.prefill import SPARE, States
from models.writer import LlamaWriter
from rag.records import Prompt, Segment

STARTER = (
    "Keeping a sourdough starter\nA starter is flour and water that wild yeast has moved into. Feed it every morning "
    "with 50 g of rye flour and 50 g of water. It smells of apples when it is well and of vinegar when it is hungry."
)
PAN = (
    "Flatbread in twenty minutes\nMix 200 g of flour with 120 g of water and a little salt, and let it rest. The pan "
    "has to be very hot: 250 degrees. Each flatbread takes two minutes, one on each side, until it has dark spots."
)
CHAIN = (
    "A winter with my bicycle\nSalt eats chains. Wipe the chain after every ride, oil it on Sundays, and look at the "
    "brake pads once a month, because grit sits in them and grinds the rims away while nobody looks."
)
FEED, HOT, OIL = "What is the starter fed with?", "How hot must the pan be?", "When is the chain oiled?"
Reading = tuple[int, int]


def prompt(question: str, *passages: str) -> Prompt:
    segments = [
        Segment("system", "You answer questions about blog posts. Use only the passages.", True),
        Segment("user", "Passages:\n\n", True),
        *(Segment("user", f"{passage}\n\n", False, passage=True) for passage in passages),
        Segment("user", "Question: ", True),
        Segment("user", question, False),
    ]
    return Prompt(tuple(segments), hits=(), tokens=0)


def ask(writer: LlamaWriter, asked: Prompt, pieces: int = 24) -> tuple[str, Reading]:
    """Return the beginning of the answer, and how much was read for it and how much had been."""
    told: list[Reading] = []
    answer = []
    writing = writer.write(asked, Event(), lambda prefill, cached: told.append((prefill, cached)))
    for piece in writing:
        assert len(told) == 1  # told once, and before the first piece
        answer.append(piece)
        if len(answer) == pieces:
            break
    writing.close()  # type: ignore[attr-defined]
    return "".join(answer), told[0]


def without(writer: LlamaWriter, asked: Prompt) -> str:
    """Return the answer as it is when everything is read anew."""
    able, writer._prefill.able = writer._prefill.able, False
    try:
        answer, (prefill, cached) = ask(writer, asked)
    finally:
        writer._prefill.able = able
    assert (prefill, cached) == (writer.count_tokens(asked), 0)
    return answer


Opened = Callable[..., LlamaWriter]


@pytest.fixture
def opened(real_writer: LlamaWriter, tmp_path: Path) -> Opened:
    """Return the real writer as it is after a start: nothing in memory, what it kept in a folder."""

    def start(folder: str = "prefill", *, disk_bytes: int = 100_000_000, memory_bytes: int = 100_000_000) -> Any:
        states = States(tmp_path / folder, disk_bytes=disk_bytes, memory_bytes=memory_bytes)
        writer = LlamaWriter(offline=True, states=states)
        model = real_writer._model
        writer._loaded, writer._lock = model, real_writer._lock
        writer._prefill = type(real_writer._prefill)(model, "the model that ships", states)
        writer._keep_alive = real_writer._keep_alive
        return writer

    return start


def files(tmp_path: Path, folder: str = "prefill") -> list[Path]:
    return sorted((tmp_path / folder).glob("*")) if (tmp_path / folder).exists() else []


@pytest.mark.slow
class TestAnswers:
    def test_one_passage_is_read_once_and_the_answers_are_those_without(self, opened: Opened) -> None:
        writer = opened()
        first, cold = ask(writer, prompt(FEED, STARTER))
        again, warm = ask(writer, prompt(FEED, STARTER))
        other, another = ask(writer, prompt("What does it smell of when it is hungry?", STARTER))
        assert first == again == without(writer, prompt(FEED, STARTER))
        assert other == without(writer, prompt("What does it smell of when it is hungry?", STARTER))
        assert cold == (writer.count_tokens(prompt(FEED, STARTER)), 0)
        assert sum(warm) == sum(cold)
        assert warm[0] < cold[0] / 3
        assert another[0] < cold[0] / 3

    def test_passages_moved_at_once_are_as_if_each_was_moved_before_the_next_came(self, opened: Opened) -> None:
        writer = opened()
        asked = prompt(FEED, CHAIN, PAN, STARTER, CHAIN + " Oil it.")
        expected = ask(writer, asked)[0]
        prefill, moved = writer._prefill, []
        join = prefill._join

        def settled(*given: Any) -> None:
            join(*given)
            prefill._decode([1], 0, SPARE)  # llama.cpp moves what is to be moved when it next reads
            prefill._llama.llama_memory_seq_rm(prefill._memory, SPARE, -1, -1)
            moved.append(given)

        prefill._join = settled
        prefill._clear()
        assert ask(writer, asked)[0] == expected
        assert len(moved) == 3

    def test_passages_are_reused_in_any_order_and_company(self, opened: Opened) -> None:
        writer = opened()
        ask(writer, prompt(FEED, STARTER, CHAIN, PAN))
        answer, (prefill, cached) = ask(writer, prompt(HOT, CHAIN, STARTER, PAN))
        parts = writer._parts(prompt(HOT, CHAIN, STARTER, PAN))
        last = max(place for place, part in enumerate(parts) if part.passage)
        assert cached == sum(len(part.tokens) for part in parts[:last])  # the best one, the last, is read whole
        assert prefill + cached == writer.count_tokens(prompt(HOT, CHAIN, STARTER, PAN))
        assert "250" in answer

    def test_the_same_prompt_gets_the_same_answer_cold_and_warm(self, opened: Opened) -> None:
        asked = prompt(OIL, PAN, STARTER, CHAIN)
        writer = opened()
        cold = ask(writer, asked)[0]
        assert ask(writer, asked)[0] == cold
        assert ask(opened(), asked)[0] == cold  # after a start, from the disk

    def test_another_question_about_the_same_passages_is_read_alone(self, opened: Opened) -> None:
        first, second = prompt(FEED, CHAIN, PAN, STARTER), prompt("What does it smell of?", CHAIN, PAN, STARTER)
        cold = ask(opened("other"), second)[0]
        writer = opened()
        ask(writer, first)
        answer, (prefill, cached) = ask(writer, second)
        parts = writer._parts(second)
        last = max(place for place, part in enumerate(parts) if part.passage)
        assert (answer, prefill) == (cold, sum(len(part.tokens) for part in parts[last + 1 :]))
        assert prefill + cached == writer.count_tokens(second)

    @pytest.mark.parametrize("between", ["another prompt", "the same without states", "a quote", "none that fits"])
    def test_whatever_came_between_the_answer_is_the_same(self, opened: Opened, between: str) -> None:
        asked = prompt(FEED, CHAIN, PAN, STARTER)
        writer = opened()
        cold = ask(writer, asked)[0]
        if between == "the same without states":
            without(writer, asked)
        elif between == "none that fits":
            list(writer.write(Prompt((Segment("user", STARTER, False, passage=True),), (), 0), Event()))
        else:
            ask(writer, prompt(HOT, PAN, CHAIN) if between == "another prompt" else prompt(OIL, "Oil it on Sundays."))
        assert ask(writer, asked)[0] == cold

    def test_the_tokens_are_those_of_the_plain_prompt(self, opened: Opened) -> None:
        writer = opened()
        marked = prompt(FEED, STARTER, PAN)
        plain = Prompt(tuple(Segment(s.role, s.text, s.trusted) for s in marked.segments), (), 0)
        assert writer._tokens(marked) == writer._tokens(plain)
        ask(writer, marked, pieces=1)
        tokens = writer._tokens(marked)
        assert list(writer._model.input_ids[: len(tokens)]) == tokens

    def test_a_passage_that_is_there_twice_or_empty_is_no_trouble(self, opened: Opened) -> None:
        writer = opened()
        asked = prompt(FEED, STARTER, STARTER, "")
        assert ask(writer, asked)[0] == ask(writer, asked)[0] != ""

    def test_nothing_but_a_passage_is_read_as_ever(self, opened: Opened) -> None:
        writer = opened()
        asked = Prompt((Segment("user", STARTER, False, passage=True),), (), 0)
        assert ask(writer, asked)[0] == without(writer, asked)

    def test_a_memory_that_cannot_shift_reads_as_ever(self, opened: Opened) -> None:
        writer = opened()
        writer._prefill.able = False
        asked = prompt(FEED, PAN, STARTER)
        assert ask(writer, asked) == (without(writer, asked), (writer.count_tokens(asked), 0))
        writer.warm(asked, Event())


@pytest.mark.slow
class TestFiles:
    def test_after_a_start_they_are_read_from_the_disk(self, opened: Opened, tmp_path: Path) -> None:
        expected, cold = ask(opened(), prompt(FEED, PAN, STARTER))
        assert len(files(tmp_path)) == 1
        answer, warm = ask(opened(), prompt(FEED, PAN, STARTER))
        assert answer == expected
        assert 0 < warm[0] < cold[0]

    @pytest.mark.parametrize("damage", ["cut", "empty", "changed", "foreign"])
    def test_a_file_that_is_not_whole_or_anothers_is_read_again(
        self, opened: Opened, tmp_path: Path, damage: str
    ) -> None:
        expected, _ = ask(opened(), prompt(FEED, PAN, STARTER))
        ask(opened("other"), prompt(HOT, CHAIN, PAN))
        [file] = files(tmp_path)
        whole = file.read_bytes()
        file.write_bytes(
            {
                "cut": whole[: len(whole) // 2],
                "empty": b"",
                "changed": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
                "foreign": files(tmp_path, "other")[0].read_bytes(),
            }[damage]
        )
        assert ask(opened(), prompt(FEED, PAN, STARTER))[0] == expected
        assert file.read_bytes() == whole  # made anew

    def test_a_state_that_the_library_does_not_take_is_dropped(self, opened: Opened, tmp_path: Path) -> None:
        writer = opened()
        expected, _ = ask(writer, prompt(FEED, PAN, STARTER))
        for key in writer._states._memory:
            writer._states._memory[key] = b"no state of anything"
        writer._prefill._clear()
        assert ask(writer, prompt(FEED, PAN, STARTER)) == (
            expected,
            (writer.count_tokens(prompt(FEED, PAN, STARTER)), 0),
        )
        assert ask(writer, prompt(FEED, PAN, STARTER))[0] == expected

    def test_another_model_does_not_take_them(self, opened: Opened, real_writer: LlamaWriter) -> None:
        ask(opened(), prompt(FEED, PAN, STARTER))
        writer = opened()
        writer._prefill = type(writer._prefill)(writer._model, "another model", writer._states)
        assert ask(writer, prompt(FEED, PAN, STARTER))[1][1] == 0

    def test_a_full_disk_is_no_trouble(self, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(file: Path, data: bytes) -> int:
            with file.open("wb") as opened_file:
                opened_file.write(data[:1000])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
        writer = opened()
        expected, _ = ask(writer, prompt(FEED, PAN, STARTER))
        assert files(tmp_path) == []
        assert ask(writer, prompt(FEED, PAN, STARTER))[0] == expected

    def test_a_folder_that_cannot_be_made_is_no_trouble(self, opened: Opened, tmp_path: Path) -> None:
        (tmp_path / "prefill").write_text("a file is in the way", encoding="utf-8")
        writer = opened()
        assert ask(writer, prompt(FEED, PAN, STARTER))[0]
        writer.forget()


@pytest.mark.slow
class TestForgetting:
    def test_a_removed_passage_leaves_no_file_and_no_state(self, opened: Opened, tmp_path: Path) -> None:
        writer = opened()
        ask(writer, prompt(HOT, STARTER, PAN))
        assert len(files(tmp_path)) == 1
        writer.forget()
        assert files(tmp_path) == []
        assert not writer._states._memory
        asked = prompt(HOT, STARTER, PAN)
        assert ask(writer, asked)[1] == (writer.count_tokens(asked), 0)  # not even what stands before it was kept

    def test_what_is_forgotten_while_it_is_read_is_not_kept(self, opened: Opened, tmp_path: Path) -> None:
        writer = opened()
        writing = writer.write(prompt(FEED, PAN, STARTER), Event(), lambda *_: writer.forget())
        for _ in zip(writing, range(3), strict=False):
            pass
        writing.close()  # type: ignore[attr-defined]
        assert files(tmp_path) == []

    def test_what_was_found_before_it_was_forgotten_is_not_kept(self, opened: Opened, tmp_path: Path) -> None:
        writer = opened()
        begun = writer._states.forgotten
        writer.forget()
        with writer._lock:
            writer._prefill.read(writer._parts(prompt(FEED, PAN, STARTER)), begun)
        writer._states.save()
        assert files(tmp_path) == []
        assert not writer._states._memory

    def test_what_a_killed_process_left_half_written_goes_too(self, tmp_path: Path) -> None:
        (tmp_path / "0123.state.4711").write_bytes(b"Footnote st")
        States(tmp_path, disk_bytes=1000).forget()
        assert list(tmp_path.iterdir()) == []


class TestBounds:
    def test_the_last_used_stay(self, tmp_path: Path) -> None:
        states = States(tmp_path, disk_bytes=3900, memory_bytes=2500)
        for day, name in enumerate(("bread", "chain", "pan")):
            states.put("model", name, name.encode() * 200, states.forgotten)
            states.save()
            for file in tmp_path.iterdir():
                if file.stat().st_mtime > 1e9:  # as if each was made on a day of its own, long ago
                    os.utime(file, (day, day))
        assert [text for _, text in states._memory] == ["chain", "pan"]
        assert states.get("model", "bread") == b"bread" * 200  # from the disk; it is the one used last now
        states.put("model", "pot", b"pot" * 400, states.forgotten)
        states.save()
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3900
        assert [text for _, text in states._memory] == ["bread", "pot"]
        fresh = States(tmp_path, disk_bytes=3900)
        kept = {name for name in ("bread", "chain", "pan", "pot") if fresh.get("model", name) is not None}
        assert kept == {"bread", "pan", "pot"}

    def test_a_bound_of_nothing_keeps_nothing_and_clears_what_was(self, tmp_path: Path) -> None:
        before = States(tmp_path, disk_bytes=10_000)
        before.put("model", "bread", b"state", before.forgotten)
        before.save()
        states = States(tmp_path, disk_bytes=0, memory_bytes=0)
        states.put("model", "chain", b"state", states.forgotten)
        states.save()
        assert states.get("model", "chain") is None
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_a_writer_that_may_keep_nothing_answers_the_same(self, opened: Opened, tmp_path: Path) -> None:
        asked = prompt(HOT, STARTER, PAN)
        expected, _ = ask(opened("kept"), asked)
        writer = opened(disk_bytes=0, memory_bytes=0)
        assert ask(writer, asked)[0] == expected
        assert files(tmp_path) == []


@pytest.mark.slow
class TestStopping:
    def test_a_stop_while_a_passage_is_read_keeps_no_half_of_it(self, tmp_path: Path) -> None:
        writer = LlamaWriter(offline=True, states=States(tmp_path / "prefill", disk_bytes=100_000_000))
        writer.load()
        before, _ = ask(writer, prompt(FEED, PAN, STARTER))
        long = prompt(FEED, "Feed the starter every morning with rye flour. " * 120, STARTER)
        stop, pieces = Event(), list[str]()
        thread = threading.Thread(target=lambda: pieces.extend(writer.write(long, stop)), daemon=True)
        thread.start()
        time.sleep(0.2)  # long enough to have begun, far too short to have read it all
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
        assert pieces == []
        assert len(files(tmp_path)) == 1
        assert ask(writer, prompt(FEED, PAN, STARTER))[0] == before
        assert ask(writer, long, pieces=2)[0]
        assert len(files(tmp_path)) == 2

    def test_a_stop_before_anything_reads_nothing(self, opened: Opened, tmp_path: Path) -> None:
        writer, stop = opened(), Event()
        stop.set()
        assert list(writer.write(prompt(FEED, PAN, STARTER), stop)) == []
        assert files(tmp_path) == []

    def test_two_threads_at_once_get_their_own_answers(self, opened: Opened) -> None:
        writer = opened()
        asked = [prompt(FEED, STARTER, PAN), prompt(HOT, PAN, STARTER), prompt(OIL, CHAIN, PAN)]
        alone = [ask(writer, one)[0] for one in asked]
        answers: dict[int, str] = {}
        threads = [
            threading.Thread(target=lambda n=n, one=one: answers.__setitem__(n, ask(writer, one)[0]))
            for n, one in enumerate(asked)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert [answers[n] for n in range(3)] == alone


@pytest.mark.slow
class TestReadingAhead:
    def test_what_was_read_ahead_is_not_read_again(self, opened: Opened) -> None:
        writer = opened()
        writer.warm(prompt("what is the st", CHAIN, PAN, STARTER), Event())
        asked = prompt(FEED, CHAIN, PAN, STARTER)
        answer, (prefill, cached) = ask(writer, asked)
        assert 4 * prefill < cached  # also the last passage, the best one
        assert answer == ask(opened("other"), asked)[0]

    def test_a_question_ends_it_at_once(self, tmp_path: Path) -> None:
        writer = LlamaWriter(offline=True, states=States(tmp_path / "prefill", disk_bytes=100_000_000))
        writer.load()
        ahead = prompt(FEED, *(f"Day {day}. " + "Feed the starter with rye flour. " * 40 for day in range(8)))
        assert writer.count_tokens(ahead) <= writer.budget
        thread = threading.Thread(target=lambda: writer.warm(ahead, Event()), daemon=True)
        thread.start()
        while not writer._lock.locked():
            time.sleep(0.001)
        assert ask(writer, prompt(HOT, CHAIN, PAN))[0]
        thread.join(60)
        assert len(files(tmp_path)) < 9

    def test_it_waits_for_nobody_and_can_be_stopped(self, opened: Opened, tmp_path: Path) -> None:
        writer, stop = opened(), Event()
        stop.set()
        writer.warm(prompt(FEED, PAN, STARTER), stop)
        assert files(tmp_path) == []
        writing = writer.write(prompt(HOT, CHAIN, PAN), Event())
        next(iter(writing))
        writer.warm(prompt(FEED, PAN, STARTER), Event())  # another writes: it returns at once
        writing.close()  # type: ignore[attr-defined]
        assert len(files(tmp_path)) == 1


@pytest.mark.slow
def test_the_model_that_ships_can_keep_states(real_writer: LlamaWriter) -> None:
    import llama_cpp

    assert real_writer._prefill.able
    assert llama_cpp.llama_n_seq_max(real_writer._model._ctx.ctx) == SPARE + 1
