"""A command typed while the page is open runs in the page's process, and only for who can read the owner's files."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from rag import commands, handover
from rag.errors import StoreError
from store.lock import hold
from tests.house import ROOT, House
from tests.stories import FLATBREAD, SOURDOUGH


class Door:
    """The route for commands, served by a real web server in this process; no page around it."""

    def __init__(self) -> None:
        self.home = Path()
        self.run: Callable[[str, dict[str, Any]], Iterator[commands.Event]] = echo
        self.announced: list[handover.Server] = []
        route = handover.route(
            lambda: self.announced[0] if self.announced else None,
            lambda command, arguments: self.run(command, arguments),
        )
        self.server = uvicorn.Server(
            uvicorn.Config(Starlette(routes=[route]), host="127.0.0.1", port=0, log_level="critical")
        )
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    def announce(self) -> handover.Server:
        self.announced = [handover.announce(self.home, "127.0.0.1", self.port, f"http://127.0.0.1:{self.port}")]
        return self.announced[0]

    def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", handover.PATH, body, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="module")
def one_door() -> Iterator[Door]:
    made = Door()
    yield made
    made.close()


@pytest.fixture
def open_door(one_door: Door, tmp_path: Path) -> Callable[..., Door]:
    def make(run: Callable[..., Iterator[commands.Event]]) -> Door:
        one_door.home, one_door.run, one_door.announced = tmp_path, run, []
        return one_door

    return make


def echo(command: str, arguments: dict[str, Any]) -> Iterator[commands.Event]:
    yield {"log": "Rebuilding…"}
    yield {"result": {"command": command, **arguments}}


COMMAND = json.dumps({"command": "posts", "arguments": {"id": None}}).encode()


class TestAnnouncement:
    def test_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        old_mask = os.umask(0)
        try:
            server = handover.announce(tmp_path, "127.0.0.1", 7860, "http://127.0.0.1:7860")
        finally:
            os.umask(old_mask)
        [file] = tmp_path.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert handover.find(tmp_path) == server
        assert (server.pid, server.port) == (os.getpid(), 7860)
        assert len(server.token) >= 32

    def test_each_has_a_token_of_its_own_and_the_last_one_counts(self, tmp_path: Path) -> None:
        first = handover.announce(tmp_path, "127.0.0.1", 1, "http://127.0.0.1:1")
        (tmp_path / "server.json.new").write_text("left by a kill", encoding="utf-8")
        second = handover.announce(tmp_path, "127.0.0.1", 2, "http://127.0.0.1:2")
        assert first.token != second.token
        assert handover.find(tmp_path) == second

    def test_taken_back_there_is_none(self, tmp_path: Path) -> None:
        handover.announce(tmp_path, "127.0.0.1", 1, "http://127.0.0.1:1")
        handover.withdraw(tmp_path)
        handover.withdraw(tmp_path)
        with pytest.raises(StoreError, match=r"Another Footnote command is using .*try again\.$"):
            handover.find(tmp_path)

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "127.0.0.1"}', "\ufffe"])
    def test_one_that_cannot_be_read_is_none(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "server.json").write_text(content, encoding="utf-8")
        with pytest.raises(StoreError, match="try again"):
            handover.find(tmp_path)


class TestDoor:
    def test_a_command_runs_behind_it_and_its_events_come_back(self, open_door: Callable[..., Door]) -> None:
        door = open_door(echo)
        door.announce()
        events = list(handover.send(door.home, "search", {"question": "Wie heißt das 面包?", "limit": 8}))
        assert events == [
            {"log": "Rebuilding…"},
            {"result": {"command": "search", "question": "Wie heißt das 面包?", "limit": 8}},
        ]

    def test_events_come_while_the_command_still_runs(self, open_door: Callable[..., Door]) -> None:
        go_on = threading.Event()

        def slow(command: str, arguments: dict[str, Any]) -> Iterator[commands.Event]:
            yield {"log": "first"}
            assert go_on.wait(30)
            yield {"result": {}}

        door = open_door(slow)
        door.announce()
        events = handover.send(door.home, "reindex", {})
        assert next(events) == {"log": "first"}
        go_on.set()
        assert list(events) == [{"result": {}}]

    def test_an_error_of_the_command_comes_back(self, open_door: Callable[..., Door]) -> None:
        door = open_door(lambda command, arguments: iter([{"error": "There is no such post. List the posts."}]))
        door.announce()
        assert list(handover.send(door.home, "posts", {"id": "x"})) == [
            {"error": "There is no such post. List the posts."}
        ]

    @pytest.mark.parametrize("shown", ["", "Bearer ", "Bearer wrong", "Basic {token}", "Bearer {token}x", "{token}é"])
    def test_whoever_does_not_show_the_token_is_turned_away(self, open_door: Callable[..., Door], shown: str) -> None:
        ran: list[str] = []

        def run(command: str, arguments: dict[str, Any]) -> Iterator[commands.Event]:
            ran.append(command)
            yield {"result": {}}

        door = open_door(run)
        token = door.announce().token
        header = shown.format(token=token).encode("utf-8").decode("latin-1")
        status, _ = door.post(COMMAND, **({"Authorization": header} if header else {}))
        assert status == 403
        assert ran == []
        status, _ = door.post(COMMAND, Authorization=f"Bearer {token}")
        assert (status, ran) == (200, ["posts"])

    def test_before_the_announcement_nobody_gets_in(self, open_door: Callable[..., Door]) -> None:
        assert open_door(echo).post(COMMAND, Authorization="Bearer ")[0] == 403

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"command": "posts"}', b'{"arguments": {}}', b"\xff"])
    def test_what_is_no_command_is_refused(self, open_door: Callable[..., Door], body: bytes) -> None:
        door = open_door(echo)
        token = door.announce().token
        assert door.post(body, Authorization=f"Bearer {token}")[0] == 400

    def test_a_server_with_another_token_refuses_and_the_command_says_so(self, open_door: Callable[..., Door]) -> None:
        door = open_door(echo)
        door.announce()
        handover.announce(door.home, "127.0.0.1", door.port, "http://127.0.0.1")
        with pytest.raises(StoreError, match=r"refused the command \(403\)\. Close the page and try again\.$"):
            list(handover.send(door.home, "posts", {}))

    def test_a_server_that_is_gone_is_a_sentence(self, tmp_path: Path) -> None:
        door = Door()
        door.home = tmp_path
        door.announce()
        door.close()
        with pytest.raises(StoreError, match=rf"process {os.getpid()}\) holds .*does not answer.*try again\.$"):
            list(handover.send(tmp_path, "posts", {}))

    def test_a_command_that_breaks_off_is_a_sentence(self, open_door: Callable[..., Door]) -> None:
        door = open_door(lambda command, arguments: iter([{"log": "Rebuilding…"}]))
        door.announce()
        with pytest.raises(StoreError, match=r"closed in the middle of the command"):
            list(handover.send(door.home, "reindex", {}))

    def test_a_real_command_runs_on_the_posts_of_the_page(
        self, open_door: Callable[..., Door], light_house: House
    ) -> None:
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        flat = light_house.write("flatbread.md", FLATBREAD)
        door = open_door(lambda command, arguments: commands.run(light_house.engine, command, arguments, list))
        door.announce()
        [*_, last] = handover.send(door.home, "add", {"paths": [str(flat)]})
        assert [row["title"] for row in last["result"]["added"]] == ["Flatbread in twenty minutes"]
        assert light_house.engine.count()[0] == 2
        [*_, last] = handover.send(door.home, "posts", {"id": "000000000000"})
        assert "List the posts" in last["error"]

    def test_a_command_nobody_knows_is_no_traceback(self, open_door: Callable[..., Door], light_house: House) -> None:
        door = open_door(lambda command, arguments: commands.run(light_house.engine, command, arguments, list))
        door.announce()
        with pytest.raises(StoreError, match=r"\.$"):
            list(handover.send(door.home, "nonsense", {}))


@pytest.mark.slow
def test_one_process_holds_the_house_and_lets_go_even_when_it_is_killed(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    lock = hold(tmp_path)
    assert lock is not None
    code = (
        "import sys; from pathlib import Path; from store.lock import hold; print(hold(Path(sys.argv[1])) is not None)"
    )
    assert run_python(code, str(tmp_path)).stdout == "False\n"
    lock.release()
    killed = run_python(code + "; import os; os.kill(os.getpid(), 9)", str(tmp_path))
    assert killed.returncode == -signal.SIGKILL
    assert run_python(code, str(tmp_path)).stdout == "True\n"


def test_a_house_that_cannot_be_held_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cannot be used .*set another FOOTNOTE_HOME\.$"):
        hold(tmp_path / "file")


class Page:
    """app.py, serving a page of its own in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {**os.environ, "FOOTNOTE_HOME": str(home), "FOOTNOTE_OFFLINE": "1", "BROWSER": "true"}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline()

    def command(self, *typed: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the page."""
        return subprocess.run(
            [sys.executable, str(ROOT / "app.py"), *typed],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    made = Page(tmp_path / "home")
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait(60)


@pytest.mark.slow
def test_commands_typed_while_the_page_is_open_run_in_its_process(page: Page, tmp_path: Path) -> None:
    assert page.said.startswith("Footnote is open at http://127.0.0.1:")
    announced = page.home / "server.json"
    assert stat.S_IMODE(announced.stat().st_mode) == 0o600
    assert handover.find(page.home).pid == page.process.pid
    assert handover.find(page.home).token not in page.said

    blog = tmp_path / "blog"
    blog.mkdir()
    (blog / "sourdough.md").write_text(SOURDOUGH, encoding="utf-8")
    added = page.command("add", str(blog), "--json")
    assert added.returncode == 0, added.stderr
    [row] = json.loads(added.stdout)["added"]
    listed = json.loads(page.command("posts", "--json").stdout)["posts"]
    assert [post["id"] for post in listed] == [row["id"]]
    hits = json.loads(page.command("search", "When is the starter hungry?", "--json").stdout)["hits"]
    assert hits[0]["post_id"] == row["id"]
    missing = page.command("remove", "000000000000")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: ")
    assert "already open at http" in page.command().stdout

    page.close()
    assert not announced.exists()
    assert json.loads(page.command("posts", "--json").stdout)["posts"] == listed


@pytest.mark.slow
def test_after_a_page_that_was_killed_commands_run_on_their_own(page: Page) -> None:
    page.process.kill()
    page.process.wait(60)
    assert (page.home / "server.json").exists()
    ran = page.command("posts", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"posts": []}
