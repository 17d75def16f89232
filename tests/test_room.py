"""The reading room: whatever a document does to its reader, it ends as posts or as a sentence, and the next is read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag.errors import BadFile
from rag.ports import Readers
from rag.readers.limits import Limits
from rag.readers.room import ReadingRoom
from rag.records import Document, Outline, Post, Refused
from tests import odd_worker
from tests.house import ROOT

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no limits to set, and no process groups.")


class ThisProcess:
    """The same readers without a room around them."""

    def read(self, document: Document) -> Iterator[Post | Refused]:
        return odd_worker.read(document, Limits())

    def outline(self, document: Document) -> Outline:
        return odd_worker.outline(document)

    def close(self) -> None:
        return None


@pytest.fixture(scope="module")
def shared_room() -> Iterator[ReadingRoom]:
    """One room for all tests that do it no harm, or that show that harm is healed."""
    made = ReadingRoom(seconds=10, worker="tests.odd_worker")
    yield made
    made.close()


@pytest.fixture(params=["this process", "room"])
def readers(request: pytest.FixtureRequest, shared_room: ReadingRoom) -> Readers:
    return shared_room if request.param == "room" else ThisProcess()


@pytest.fixture
def hasty_room() -> Iterator[ReadingRoom]:
    """A room that waits a second and a half for each post."""
    made = ReadingRoom(Limits(post_bytes=100_000), memory_bytes=600_000_000, worker="tests.odd_worker")
    assert texts(made, "Rye rises.") == ["Rye rises."]  # it is started: what follows is for reading alone
    made.seconds = 1.5
    yield made
    made.close()


def document(content: str, name: str = "post.md") -> Document:
    return Document(source=f"/posts/{name}", name=name, data=content.encode())


def texts(readers: Readers, content: str) -> list[str]:
    """Return the texts of the posts, and the reasons of what is none."""
    return [p.text if isinstance(p, Post) else p.reason for p in readers.read(document(content))]


def alive(pid: str) -> bool:
    """Tell whether a process runs; one that ended and was not yet fetched does not."""
    try:
        os.kill(int(pid), 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone(pid: str) -> bool:
    """Wait until a process has ended."""
    until = time.monotonic() + 5
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


def test_posts_and_refusals_arrive_as_they_were_made(readers: Readers) -> None:
    rest = ("2026-01-02", "https://bread.example/", ("rye", "oats"), "Ada", (0, 2))
    parts = list(readers.read(document("Rye – “naïve” \U0001f35e.\nrefuse this part is empty. Leave it out.\nOats.")))
    assert parts == [
        Post("/posts/post.md", "Bread", "Rye – “naïve” \U0001f35e.", *rest),
        Refused("/posts/post.md#1", "post.md: this part is empty. Leave it out."),
        Post("/posts/post.md#2", "Bread", "Oats.", *rest),
    ]


def test_an_outline_arrives_as_it_was_made(readers: Readers) -> None:
    found = readers.outline(document("Rye rises."))
    assert found == odd_worker.outline(document("Rye rises."))
    assert found.entries[0].post is not None
    with pytest.raises(BadFile, match=r"^post\.md: this lists nothing\. Give another address\.$"):
        readers.outline(document("bad"))


def test_many_posts_and_large_documents_pass(readers: Readers) -> None:
    assert len(list(readers.read(document("many 3000")))) == 3000
    large = "Rye rises. " * 500_000
    assert texts(readers, large) == [large.strip("\n")]


def test_a_reader_is_kept_for_the_next_document(shared_room: ReadingRoom) -> None:
    assert len({pid for _ in range(4) for pid in texts(shared_room, "pid")}) <= 2  # two that are idle are kept


@posix
@pytest.mark.slow
def test_a_large_app_does_not_make_its_readers_look_large() -> None:
    ballast = bytearray(600_000_000)  # as the models are: a new process begins with its parent's figure
    room = ReadingRoom(worker="tests.odd_worker")
    assert len({pid for _ in range(3) for pid in texts(room, "pid")}) == 1, len(ballast)
    room.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("exit", "ended its reader (exit code 3)."),
        pytest.param("segfault", "ended its reader (SIGSEGV).", marks=posix),
        ("raise 'oven'", "surprised Footnote"),
        pytest.param("allocate", "takes more than 1000 MB of memory.", marks=posix),
        ("say {]", "makes no sense."),
        ("say " + "[" * 100_000, "makes no sense."),
        ('say {"kind":"post"}', "is none."),
        ('say {"kind":"post","source":1,"title":"","text":"","tags":[],"pages":[]}', "makes no sense."),
        ('say {"kind":"refused","source":"/posts/other.md","reason":"No."}', "a post of another file."),
        ('say {"kind":"oven"}', "makes no sense."),
        ('say {"kind":"end","tired":false}', "makes no sense."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_reader_that_fails_ends_as_a_sentence_and_the_next_document_is_read(
    shared_room: ReadingRoom, content: str, reason: str
) -> None:
    first, *rest = texts(shared_room, f"Rye rises.\n{content}\nOats rise.")
    assert (first, len(rest)) == ("Rye rises.", 1)
    assert rest[0].startswith("post.md: ")
    assert reason in rest[0]
    assert texts(shared_room, "Wheat rises.") == ["Wheat rises."]


def test_a_reader_that_fails_over_an_outline_does_so_in_a_sentence(shared_room: ReadingRoom) -> None:
    for content in ("exit", "raise 'oven'", 'say {"kind":"outline"}', 'say {"kind":"end","tired":false}'):
        with pytest.raises(BadFile, match=r"^post\.md: .*\.$"):
            shared_room.outline(document(content))
    assert shared_room.outline(document("Rye rises.")).title == "Bread"


def test_what_a_captured_reader_spells_can_be_stored(shared_room: ReadingRoom) -> None:
    message = (
        r'{"kind":"post","source":"/posts/post.md","title":"\ud800","text":"a\udfffb","tags":["\ud800"],"pages":[9,1]}'
    )
    (post,) = shared_room.read(document(f"say {message}"))
    assert isinstance(post, Post)
    assert (post.title, post.text, post.tags, post.pages) == ("?", "a?b", ("?",), (1,))


@posix
def test_a_reader_cannot_write(shared_room: ReadingRoom, tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    (reason,) = texts(shared_room, f"write {target}")
    assert "surprised Footnote" in reason
    assert not target.exists() or not target.read_bytes()


def test_what_libraries_print_is_no_answer_and_commands_no_terminal(
    shared_room: ReadingRoom, capsys: pytest.CaptureFixture[str]
) -> None:
    assert texts(shared_room, "print \x1b[31mred\x1b]0;pwn\x07\nRye rises.") == ["Rye rises."]
    until, printed = time.monotonic() + 5, ""
    while "red" not in printed and time.monotonic() < until:
        time.sleep(0.02)
        printed += capsys.readouterr().err
    assert "?[31mred?]0;pwn?" in printed
    assert "\x1b" not in printed


def test_a_reader_knows_no_secrets(shared_room: ReadingRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAD_TOKEN", "rye")
    list(shared_room.read(document("exit")))  # the next reader is started after this
    (names,) = texts(shared_room, "environment")
    assert "PATH" in names
    assert "BREAD_TOKEN" not in names


def test_a_name_of_several_lines_makes_one_sentence(shared_room: ReadingRoom) -> None:
    for content in ("exit", "raise 'oven'"):
        (refused,) = shared_room.read(document(content, name="a\n\x1b[31m\u202eb.md"))
        assert isinstance(refused, Refused)
        assert refused.reason.startswith(r"a\n\x1b[31m\u202eb.md: ")
        assert refused.reason.isprintable()


def test_a_post_that_takes_too_long_is_stopped_and_those_before_it_are_kept(hasty_room: ReadingRoom) -> None:
    first, second, reason = texts(hasty_room, "Rye.\nsleep 0.3\nOats.\nsleep 60\nWheat.")
    assert (first, second) == ("Rye.", "Oats.")
    assert reason.startswith("post.md: reading this file was stopped after 1.5 seconds.")


def test_parts_that_are_no_posts_share_the_time_of_one(hasty_room: ReadingRoom) -> None:
    *refused, reason = texts(hasty_room, "Rye.\n" + "sleep 0.25\nrefuse it is empty\n" * 20)
    assert 3 < len(refused) < 10
    assert reason.startswith("post.md: reading this file was stopped after 1.5 seconds.")


def test_a_flood_of_words_is_stopped(hasty_room: ReadingRoom) -> None:
    (reason,) = texts(hasty_room, "flood")
    assert reason.startswith("post.md: its reader gave an answer that makes no sense.")


def test_a_post_over_the_limit_is_refused_alone(hasty_room: ReadingRoom) -> None:
    large, small = texts(hasty_room, "long 100001\nRye.")
    assert "more text than the limit of 0.1 MB" in large
    assert small == "Rye."


@posix
@pytest.mark.parametrize("end", ["sleep 60", "exit"])
def test_what_a_reader_started_ends_with_it(hasty_room: ReadingRoom, end: str) -> None:
    child, _ = texts(hasty_room, f"child\n{end}")
    assert gone(child)


def test_a_reader_nobody_listens_to_any_more_harms_no_other(hasty_room: ReadingRoom) -> None:
    parts = hasty_room.read(document("pid\nmany 100000"))
    worker = next(parts)
    assert isinstance(worker, Post)
    assert texts(hasty_room, "Rye.") == ["Rye."]  # asked while the other document is read
    parts.close()  # type: ignore[attr-defined]
    assert gone(worker.text)
    assert texts(hasty_room, "Oats.") == ["Oats."]


def test_several_threads_read_at_once(shared_room: ReadingRoom) -> None:
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(texts(shared_room, "many 50"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(posts) for posts in found] == [50, 50, 50]


def test_a_closed_room_has_no_readers_left_and_may_be_closed_again() -> None:
    room = ReadingRoom(seconds=10, worker="tests.odd_worker")
    (idle,) = texts(room, "pid")
    parts = room.read(document("Rye.\nsleep 60"))
    assert isinstance(next(parts), Post)
    room.close()
    room.close()
    assert gone(idle)
    assert list(parts) == [
        Refused("/posts/post.md", "post.md: Footnote is closing. Add it again after the next start.")
    ]
    (reason,) = texts(room, "Rye.")
    assert reason.startswith("post.md: Footnote is closing.")
    with pytest.raises(BadFile, match="is closing"):
        room.outline(document("Rye."))


@posix
@pytest.mark.parametrize("command", ["sleep 60", "child"])
def test_nothing_is_left_when_footnote_is_killed(command: str) -> None:
    code = (
        "import sys, threading, time\nfrom rag.readers.room import ReadingRoom\nfrom rag.records import Document\n"
        "room = ReadingRoom(worker='tests.odd_worker')\n"
        f"for part in room.read(Document('a', 'a.md', {f'pid{chr(10)}{command}{chr(10)}sleep 60'.encode()!r})):\n"
        "    print(part.text, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pids = [parent.stdout.readline().strip() for _ in range(2 if command == "child" else 1)]
        assert all(alive(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_cannot_start_says_so() -> None:
    room = ReadingRoom(seconds=10, worker="tests.no_such_worker")
    (reason,) = texts(room, "Rye.")
    assert "ended its reader (exit code 1)" in reason
    room.close()
