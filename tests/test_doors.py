"""Other programs' doors, each knocked at by the client that people use for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import uvicorn
from gradio_client import Client as GradioClient
from gradio_client import handle_file
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette

import app
from rag import commands, doors
from rag.doors import chat, tools
from rag.settings import Settings
from rag.ui import api
from rag.ui.guard import guard
from store.lock import hold
from tests.house import ROOT, House
from tests.stories import FLATBREAD, SOURDOUGH
from tests.test_handover import Page

pytestmark = pytest.mark.slow

FED = "Feed it every morning at eight with 50 grams of rye flour."
QUESTION = "With which rye flour is the sourdough starter fed every morning?"
PASSWORD = "rye & water, käse"


class Served:
    """The doors over an engine, on a real web server in this process, guarded as the page is."""

    def __init__(self, house: House, password: str = "") -> None:
        self.house = house
        settings = Settings(house.home, password=password)
        made = Starlette(routes=doors.routes(house.engine), middleware=guard(settings))
        self.server = uvicorn.Server(uvicorn.Config(made, host="127.0.0.1", port=0, log_level="critical"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    def send(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        with suppress(ValueError):
            return response.status, json.loads(content)
        return response.status, content

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture
def bread(light_house: House) -> House:
    """A house with two posts about bread and a writer that tells the truth."""
    light_house.write_and_add("sourdough.md", "---\ndate: 2024-05-01\nurl: https://example.com/sour\n---\n" + SOURDOUGH)
    light_house.write_and_add("flatbread.md", FLATBREAD)
    light_house.writer.pieces = ("Feed it every morning at eight ", "with 50 grams of rye flour. ")
    return light_house


@pytest.fixture
def serve(bread: House) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def start(password: str = "") -> Served:
        made.append(Served(bread, password))
        return made[-1]

    yield start
    for served in made:
        served.close()


def ask(client: openai.OpenAI, *said: str, **more: Any) -> Any:
    """Ask with the turns before, the person's and the assistant's by turns."""
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return client.chat.completions.create(model="footnote", messages=messages, **more)  # type: ignore[call-overload]


def content(stream: Any) -> tuple[str, Any, Any]:
    """Return (text, footnotes, usage) of a stream."""
    text, footnotes, usage = "", None, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            footnotes = getattr(choice.delta, "footnotes", footnotes)
    return text, footnotes, usage


class TestChat:
    def test_the_model_is_listed(self, serve: Callable[..., Served]) -> None:
        client = serve().openai()
        assert [model.id for model in client.models.list()] == ["footnote"]
        assert client.models.retrieve("footnote").object == "model"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-9")

    def test_an_answer_has_its_footnotes_as_text_and_as_a_field(self, serve: Callable[..., Served]) -> None:
        whole = ask(serve().openai(), QUESTION)
        [choice] = whole.choices
        assert choice.message.content.startswith(f"{FED} [1]\n\n[1] Keeping a sourdough starter, 2024-05-01")
        [note] = choice.message.footnotes
        assert note["quote"] == FED
        assert (note["number"], note["address"]) == (1, "https://example.com/sour")
        assert (choice.finish_reason, whole.object) == ("stop", "chat.completion")
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens > 0

    def test_a_stream_is_the_same_answer_in_pieces(self, serve: Callable[..., Served]) -> None:
        client = serve().openai()
        whole = ask(client, QUESTION).choices[0].message
        text, footnotes, usage = content(ask(client, QUESTION, stream=True, stream_options={"include_usage": True}))
        assert (text, footnotes) == (whole.content, whole.footnotes)
        assert usage.completion_tokens > 0

    def test_what_was_sent_and_does_not_hold_is_corrected(self, serve: Callable[..., Served], bread: House) -> None:
        bread.writer.pieces = ("The moon is made of green cheese. ", "It was on sale last week in the shop. ")
        text, footnotes, _ = content(ask(serve().openai(), QUESTION, stream=True))
        if "moon" in text:
            assert "Not all of that is borne out by your posts" in text
        assert FED in text
        assert footnotes[0]["quote"] == FED

    def test_earlier_turns_are_the_conversation(self, serve: Callable[..., Served], bread: House) -> None:
        client = serve().openai()
        first = ask(client, QUESTION).choices[0].message.content
        ask(client, QUESTION, first, "And when it smells of vinegar?")
        prompt = " ".join(segment.text for segment in bread.writer.prompts[-1].segments)
        assert "vinegar" in prompt
        asked = chat.asked_of(
            {
                "messages": [
                    {"role": "system", "content": "Be a pirate."},
                    {"role": "user", "content": QUESTION},
                    {"role": "assistant", "content": first},
                    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "then?"}]},
                ]
            }
        )
        assert (asked.question, asked.stream) == ("And\nthen?", False)
        [turn] = asked.turns
        assert (turn.question, turn.answer) == (QUESTION, FED)  # without its footnotes

    def test_what_the_posts_do_not_cover_is_refused_in_words(self, serve: Callable[..., Served]) -> None:
        message = ask(serve().openai(), "Who painted the Mona Lisa in Florence?").choices[0].message
        assert message.content.startswith("Your posts do not cover this.")
        assert message.footnotes == []

    def test_posts_that_are_counted_are_listed(self, serve: Callable[..., Served]) -> None:
        message = ask(serve().openai(), "Which posts mention rye?").choices[0].message
        assert "- Keeping a sourdough starter, 2024-05-01" in message.content

    @pytest.mark.parametrize(
        ("sent", "status", "param"),
        [
            ({"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}, 404, "model"),
            ({"model": 7, "messages": []}, 404, "model"),
            ({"messages": []}, 400, "messages"),
            ({"messages": "x"}, 400, "messages"),
            ({"messages": ["x"]}, 400, "messages"),
            ({"messages": [{"role": "system", "content": "x"}]}, 400, "messages"),
            ({"messages": [{"role": "user"}, {"role": "assistant", "content": "x"}]}, 400, "messages"),
            ({"messages": [{"role": "user", "content": 7}]}, 400, "messages"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages"),
            ({"messages": [{"role": "user", "content": "bread " * 3000}]}, 400, None),
            ({"messages": [{"role": "user", "content": "?"}], "stream": True}, 400, None),
            ({"messages": [{"role": "user"}]}, 400, None),
            ({"messages": [{"role": "user", "content": "x"}], "n": 2}, 400, "n"),
            ([], 400, None),
            ("\ud800", 400, None),
            (b"{", 400, None),
            (b"[" * 100_000, 400, None),
            (b" " * 1_000_001, 400, None),
        ],
    )
    def test_what_cannot_be_answered_is_an_error_in_openais_shape(
        self, serve: Callable[..., Served], sent: Any, status: int, param: str | None
    ) -> None:
        body = sent if isinstance(sent, bytes) else json.dumps(sent)
        got, said = serve().send("POST", "/v1/chat/completions", body)
        assert got == status
        assert said["error"].keys() == {"message", "type", "param", "code"}
        assert said["error"]["type"] == "invalid_request_error"
        assert said["error"]["param"] == param
        assert said["error"]["message"].endswith(".")

    def test_a_model_that_is_not_there_is_a_servers_error(self, serve: Callable[..., Served], bread: House) -> None:
        bread.embedder.trouble = "The embedder is not installed. Run `make run` again."
        with pytest.raises(openai.InternalServerError, match="not installed"):
            ask(serve().openai(), QUESTION)

    def test_a_client_that_goes_away_stops_the_writer(self, serve: Callable[..., Served], bread: House) -> None:
        bread.writer.pieces = Endless()
        stream = ask(serve().openai(), QUESTION, stream=True)
        assert any(chunk.choices[0].delta.content for chunk in stream)
        assert bread.writer.closed == 0
        stream.close()
        assert soon(lambda: bread.writer.closed == 1)

    def test_so_does_one_that_waits_for_the_whole(self, serve: Callable[..., Served], bread: House) -> None:
        bread.writer.pieces = Endless()
        served = serve()
        connection = http.client.HTTPConnection("127.0.0.1", served.port)
        body = json.dumps({"messages": [{"role": "user", "content": QUESTION}]})
        connection.request("POST", "/v1/chat/completions", body)
        assert soon(lambda: bool(bread.writer.prompts))
        connection.close()
        assert soon(lambda: bread.writer.closed == 1)


class Endless:
    """Pieces that come as long as somebody wants them."""

    def __iter__(self) -> Iterator[str]:
        while True:
            time.sleep(0.01)
            yield f"{FED} "


def soon(true: Callable[[], bool]) -> bool:
    """Say whether something becomes true while one waits."""
    deadline = time.monotonic() + 30
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def with_tools(server: Any, do: Callable[[Client], Any], mode: Any = "auto") -> Any:
    """Open an MCP client, do something with it, and return what that gives.

    A thread of its own: the thread of the tests may hold the loop of a browser that another file opened.
    """

    async def talk() -> Any:
        async with Client(server, mode=mode) as client:
            return await do(client)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(talk())).result()


async def use_all(client: Client) -> dict[str, Any]:
    """Search, read what was found, and ask."""
    found = await client.call_tool("search_posts", {"question": QUESTION, "limit": 2})
    post_id = found.structured_content["hits"][0]["post_id"]
    return {
        "tools": [tool.name for tool in (await client.list_tools()).tools],
        "found": found,
        "read": await client.call_tool("read_post", {"id": post_id}),
        "asked": await client.call_tool("ask_posts", {"question": QUESTION}),
        "wrong": await client.call_tool("read_post", {"id": "000000000000"}),
    }


def check_all(said: dict[str, Any]) -> None:
    assert said["tools"] == ["search_posts", "read_post", "ask_posts"]
    assert FED in said["found"].content[0].text
    assert said["read"].content[0].text.startswith("Keeping a sourdough starter")
    assert said["read"].structured_content["text"].rstrip().endswith("until the smell is gone.")
    assert FED in said["asked"].content[0].text
    assert said["asked"].structured_content["citations"][0]["title"] == "Keeping a sourdough starter"
    assert said["wrong"].is_error
    assert said["wrong"].content[0].text.startswith("There is no post with the id")


class TestTools:
    @pytest.mark.parametrize("mode", ["auto", "legacy"])
    def test_over_http_posts_are_searched_read_and_asked(self, serve: Callable[..., Served], mode: str) -> None:
        check_all(with_tools(f"{serve().url}/mcp", use_all, mode))

    @pytest.mark.parametrize(
        ("tool", "given"),
        [
            ("nonsense", {}),
            ("search_posts", {}),
            ("search_posts", {"question": ""}),
            ("search_posts", {"question": 7}),
            ("search_posts", {"question": "?"}),
            ("search_posts", {"question": QUESTION, "limit": 0}),
            ("search_posts", {"question": QUESTION, "limit": 51}),
            ("search_posts", {"question": QUESTION, "limit": True}),
            ("search_posts", {"question": QUESTION, "limit": "2"}),
            ("read_post", {"id": "../../etc/passwd"}),
            ("read_post", {"id": []}),
            ("read_post", {"id": "x", "start": -1}),
            ("ask_posts", {"question": "bread " * 3000}),
        ],
    )
    def test_what_cannot_be_done_is_one_sentence(self, bread: House, tool: str, given: dict[str, Any]) -> None:
        served = tools.server(lambda command, arguments: commands.run(bread.engine, command, arguments, list))
        got = with_tools(served, lambda client: client.call_tool(tool, given))
        assert got.is_error
        assert re.fullmatch(r"[^\n]+\.", got.content[0].text)

    def test_a_long_post_is_read_in_parts(self, bread: House) -> None:
        whole = "# A long walk\n\n" + " ".join(f"Step {n}." for n in range(9000))
        post_id = bread.write_and_add("walk.md", whole).post_id
        served = tools.server(lambda command, arguments: commands.run(bread.engine, command, arguments, list))

        async def read(client: Client) -> list[str]:
            parts, start, length = [], 0, 1
            while start < length:
                got = (await client.call_tool("read_post", {"id": post_id, "start": start})).structured_content
                parts.append(got["text"])
                start, length = got["end"], got["length"]
            return parts

        parts = with_tools(served, read)
        assert "".join(parts) == whole
        assert [len(part) for part in parts[:-1]] == [tools.PART] * (len(parts) - 1)

    def test_only_messages_get_in(self, serve: Callable[..., Served]) -> None:
        served = serve()
        assert served.send("GET", "/mcp")[0] == 405
        assert served.send("DELETE", "/mcp")[0] == 405
        for body in (b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000):
            status, _ = served.send("POST", "/mcp", body, Content_Type="application/json", Accept="application/json")
            assert 400 <= status < 500
        assert served.send("POST", "/mcp", b" " * 1_000_001, Content_Type="application/json")[0] == 413

    def test_a_client_that_goes_away_stops_the_writer(self, serve: Callable[..., Served], bread: House) -> None:
        bread.writer.pieces = Endless()
        url = f"{serve().url}/mcp"

        async def leave(client: Client) -> None:
            call = asyncio.create_task(client.call_tool("ask_posts", {"question": QUESTION}))
            while not bread.writer.prompts:
                await asyncio.sleep(0.05)
            call.cancel()

        with suppress(asyncio.CancelledError, Exception):
            with_tools(url, leave)
        assert soon(lambda: bread.writer.closed == 1)


class TestHand:
    """The data is in hand only while somebody calls."""

    def test_it_is_let_go_when_nobody_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tools, "HELD_S", 0.05)
        did: list[str] = []

        def take() -> Any:
            did.append("taken")
            return lambda command, arguments: iter([{"result": {"here": command}}]), lambda: did.append("let go")

        hand = tools.Hand(take, lambda command, arguments: iter([{"result": {"there": command}}]))
        assert list(hand.run("posts", {})) == [{"result": {"here": "posts"}}]
        assert soon(lambda: did == ["taken", "let go"])
        assert list(hand.run("posts", {})) == [{"result": {"here": "posts"}}]
        assert soon(lambda: did == ["taken", "let go"] * 2)

    def test_a_call_that_goes_on_keeps_it(self) -> None:
        did: list[str] = []
        take = lambda: (lambda *_: iter([{"log": "…"}, {"result": {}}]), lambda: did.append("let go"))  # noqa: E731
        hand = tools.Hand(take, lambda *_: iter([]))
        events = hand.run("ask", {})
        next(events)
        hand.let_go()
        assert did == []
        events.close()  # type: ignore[attr-defined]
        hand.let_go()
        assert did == ["let go"]

    def test_where_a_page_holds_it_the_call_is_handed_over(self) -> None:
        hand = tools.Hand(lambda: None, lambda command, arguments: iter([{"result": {"there": command}}]))
        assert list(hand.run("posts", {})) == [{"result": {"there": "posts"}}]
        hand.let_go()


class TestWhoGetsIn:
    DOORS = (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/mcp"), ("GET", "/mcp"))

    @pytest.mark.parametrize(("method", "path"), DOORS)
    def test_no_other_sites_page_whatever_it_calls_this_machine(
        self, serve: Callable[..., Served], method: str, path: str
    ) -> None:
        served = serve()
        for headers in (
            {"Host": "evil.example"},
            {"Host": f"evil.example:{served.port}"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
        ):
            assert served.send(method, path, b"{}", **headers)[0] == 403

    @pytest.mark.parametrize(("method", "path"), DOORS)
    def test_nobody_without_the_password(self, serve: Callable[..., Served], method: str, path: str) -> None:
        served = serve(PASSWORD)
        for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic OnJ5ZQ=="}):
            status, said = served.send(method, path, b"{}", **shown)
            assert (status, said["error"]["code"]) == (401, "invalid_api_key")

    def test_clients_show_it_as_their_key(self, serve: Callable[..., Served]) -> None:
        served = serve("rye")
        with pytest.raises(openai.AuthenticationError):
            served.openai("wheat").models.list()
        assert FED in ask(served.openai("rye"), QUESTION).choices[0].message.content

    def test_assistants_show_it_in_a_header(self, serve: Callable[..., Served]) -> None:
        served = serve(PASSWORD)
        client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {PASSWORD}".encode()})
        check_all(with_tools(streamable_http_client(f"{served.url}/mcp", http_client=client), use_all))
        with pytest.raises(BaseException):  # noqa: B017 - whatever the client makes of a 401
            with_tools(f"{served.url}/mcp", use_all)


def test_a_page_for_others_without_a_password_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FOOTNOTE_PASSWORD", "SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FOOTNOTE_HOST", "0.0.0.0")
    assert app.main([]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"error: FOOTNOTE_HOST=0\.0\.0\.0 opens the page to others\. Set FOOTNOTE_PASSWORD .*\.\n", said
    )
    assert not (tmp_path / "home").exists()


class TestAdding:
    """What the page's API may be told to add."""

    @pytest.fixture
    def add(self, bread: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        (tmp_path / "uploads").mkdir()
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))

        def added(*sources: Any, local: bool = False) -> Any:
            [last] = [e for e in api._add(bread.engine, list(sources), local=local) if "result" in e or "error" in e]
            return last.get("error") or [row["title"] for row in last["result"]["added"]]

        return added

    def test_a_file_that_was_uploaded(self, add: Callable[..., Any], tmp_path: Path) -> None:
        upload = tmp_path / "uploads" / "abc" / "x.md"
        upload.parent.mkdir()
        upload.write_text("# Uploaded\n\nA loaf of spelt.", encoding="utf-8")
        assert add({"path": str(upload), "orig_name": "..\\../../etc/spelt.md"}) == ["Uploaded"]
        assert not upload.exists()

    def test_a_path_of_this_machine_only_where_the_page_is_for_it_alone(
        self, add: Callable[..., Any], tmp_path: Path
    ) -> None:
        mine = tmp_path / "mine.md"
        mine.write_text("# Mine\n\nA loaf of rye.", encoding="utf-8")
        for path in (str(mine), "mine.md", "~/mine.md", f"file://{mine}", "\\\\server\\share"):
            assert add(path) == "This page reads no paths of its own machine. Name an address, or send the file itself."
        assert add(str(mine), local=True) == ["Mine"]

    @pytest.mark.parametrize("local", [False, True])
    def test_no_file_that_a_client_only_says_was_uploaded(
        self, add: Callable[..., Any], tmp_path: Path, local: bool
    ) -> None:
        secret = tmp_path / "secret.md"
        secret.write_text("# Secret\n\nNobody is to read it.", encoding="utf-8")
        (tmp_path / "uploads" / "link.md").symlink_to(secret)
        inside = str(tmp_path / "uploads")
        paths = (
            str(secret),
            f"{inside}/../secret.md",
            f"{inside}/link.md",
            inside,
            f"{inside}x/a.md",
            "",
            "\0",
            None,
            7,
        )
        for path in paths:
            assert "was not uploaded here" in add({"path": path}, local=local)

    @pytest.mark.parametrize("sources", [[], [7], [""], [None], [[]], ["https://x.example/"] * 201])
    def test_nothing_that_is_no_source(self, add: Callable[..., Any], sources: list[Any]) -> None:
        assert re.fullmatch(r"[^\n]+\.", add(*sources))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Page]]:
    """Start the whole app with a post in it, as often as it is asked for."""
    made: list[Page] = []

    def start(**settings: str) -> Page:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        made.append(Page(tmp_path / "home"))
        assert "open at http" in made[-1].said
        (tmp_path / "sourdough.md").write_text(SOURDOUGH, encoding="utf-8")
        ran = made[-1].command("add", str(tmp_path / "sourdough.md"), "--json")
        assert ran.returncode == 0, ran.stderr
        return made[-1]

    yield start
    for opened in made:
        if opened.process.poll() is None:
            opened.process.kill()
            opened.process.wait(60)


def address(page: Page) -> str:
    return page.said.split("open at ")[1].strip().rstrip("/")


def stdio(home: Path) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=[str(ROOT / "app.py"), "mcp"],
        env={**os.environ, "FOOTNOTE_HOME": str(home), "FOOTNOTE_OFFLINE": "1"},
    )


@pytest.mark.timeout(900)
class TestTheWholeApp:
    """Real models, the real page, and every client."""

    def test_every_door_answers(self, page: Callable[..., Page], tmp_path: Path) -> None:
        opened = page()
        url = address(opened)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        message = ask(client, QUESTION).choices[0].message
        assert message.footnotes[0]["quote"] in SOURDOUGH
        assert content(ask(client, QUESTION, stream=True))[0] == message.content
        check_whole(with_tools(f"{url}/mcp", use_all))
        check_whole(with_tools(stdio(opened.home), use_all))  # beside the open page
        self.gradio(GradioClient(url, verbose=False, analytics_enabled=False), tmp_path)
        self.files(opened, tmp_path)
        opened.close()
        check_whole(with_tools(stdio(opened.home), use_all))  # and without one
        assert hold(opened.home) is not None

    def files(self, opened: Page, tmp_path: Path) -> None:
        """Save, export and restore while the page is open."""
        saved = json.loads(opened.command("backup", str(tmp_path / "my.backup"), "--json").stdout)
        assert saved["posts"] == 3
        removed = json.loads(opened.command("posts", "--json").stdout)["posts"][0]["id"]
        assert opened.command("remove", removed).returncode == 0
        assert "--force" in opened.command("restore", str(tmp_path / "my.backup")).stderr
        restored = opened.command("restore", str(tmp_path / "my.backup"), "--force", "--json")
        assert json.loads(restored.stdout) == {"posts": 3}
        assert json.loads(opened.command("export", str(tmp_path / "out"), "--json").stdout)["posts"] == 3
        hits = json.loads(opened.command("search", QUESTION, "--json").stdout)["hits"]
        assert FED in hits[0]["text"]
        assert json.loads(opened.command("doctor", "--json").stdout)["ok"]

    def gradio(self, client: GradioClient, tmp_path: Path) -> None:
        shown = client.view_api(print_info=False, return_format="dict")
        assert set(shown["named_endpoints"]) == {"/ask", "/search", "/add", "/posts"}
        assert not shown["unnamed_endpoints"]
        [post] = client.predict(api_name="/posts")["posts"]
        assert client.predict(post["id"], api_name="/posts")["text"] == SOURDOUGH.strip()
        assert client.predict(QUESTION, 3, api_name="/search")["hits"][0]["post_id"] == post["id"]
        answer = client.predict(QUESTION, api_name="/ask")
        assert answer["citations"][0]["title"] == "Keeping a sourdough starter"
        flat, mine = tmp_path / "flatbread.md", tmp_path / "named.md"
        flat.write_text(FLATBREAD, encoding="utf-8")
        mine.write_text("# Named\n\nThis file lies on the machine itself.", encoding="utf-8")
        added = client.predict([handle_file(str(flat)), str(mine)], api_name="/add")["added"]
        assert [row["title"] for row in added] == ["Named", "Flatbread in twenty minutes"]
        forged = {"path": str(mine), "meta": {"_type": "gradio.FileData"}}
        for sources in ([forged], [], [7], [""], ["\0"], "x", [{}]):
            with suppress(Exception):
                assert not client.predict(sources, api_name="/add")["added"]

    def test_with_a_password_each_asks_for_it(self, page: Callable[..., Page]) -> None:
        url = address(page(FOOTNOTE_PASSWORD="rye", FOOTNOTE_HOST="0.0.0.0")).replace("0.0.0.0", "127.0.0.1")
        for path in ("/v1/models", "/mcp", "/gradio_api/info", "/footnote/gold.json", "/config"):
            assert httpx2.get(url + path).status_code == 401
        login = httpx2.get(url)
        assert login.status_code == 200
        assert "sourdough" not in login.text
        with pytest.raises(Exception):  # noqa: B017 - whatever the client makes of a 401
            GradioClient(url, verbose=False, analytics_enabled=False).predict(api_name="/posts")
        client = GradioClient(url, auth=("anyone", "rye"), verbose=False, analytics_enabled=False)
        assert len(client.predict(api_name="/posts")["posts"]) == 1
        with pytest.raises(Exception, match="reads no paths of its own machine"):
            client.predict(["/etc/passwd"], api_name="/add")
        models = httpx2.get(f"{url}/v1/models", headers={"Authorization": "Bearer rye"})
        assert models.json()["data"][0]["id"] == "footnote"
        with pytest.raises(ValueError, match="Could not login"):
            GradioClient(url, auth=("anyone", "wheat"), verbose=False, analytics_enabled=False)


def check_whole(said: dict[str, Any]) -> None:
    """Hold what real models have said against the post."""
    assert said["tools"] == ["search_posts", "read_post", "ask_posts"]
    assert FED in said["found"].content[0].text
    assert said["asked"].structured_content["citations"][0]["quote"] in SOURDOUGH
    assert said["wrong"].is_error


def test_an_assistant_is_told_which_sentences_are_proven_only_in_part() -> None:
    said = "It is fed daily. It is fed at eight. It is blue."
    ends = [(16, "yes", 1), (36, "partly", 2), (48, "no", None)]
    sentences = [{"end": end, "support": support, "citation": cited} for end, support, cited in ends]
    answer = tools._answer({"answer": said, "sentences": sentences, "citations": [], "posts": [], "note": ""})
    assert answer == (
        "It is fed daily. [1] It is fed at eight. [2] (partly in your posts) It is blue. (not in your posts)"
    )
