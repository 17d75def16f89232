"""The page is for this machine's browser; a site that borrows its address is turned away."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rag.settings import Settings
from rag.ui.guard import Gate, LocalOnly, guard

LOCAL = ("127.0.0.1", "localhost", "::1")


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Answer as Gradio does: 400 to a wrong password at its door."""
    wrong = scope["path"] == "/login" and dict(scope["headers"]).get(b"said") != b"right"
    await send({"type": "http.response.start", "status": 400 if wrong else 200, "headers": []})


def status(
    method: str, path: str = "/", wrap: Any = LocalOnly, about: Any = LOCAL, app: Any = None, **headers: str
) -> int:
    """Ask a guarded page and return what it answers."""
    return answer(wrap(page, about), method, path, "192.168.1.5", app, **headers)


def answer(guarded: Any, method: str, path: str, address: str, app: Any = None, **headers: str) -> int:
    """Ask from an address and return what is answered."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "app": app, "client": (address, 5000)}
    asking = guarded(scope, send, send)
    with suppress(StopIteration):  # nothing in it waits, so it needs no loop
        asking.__await__().__next__()
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "[::1]:7860", "LOCALHOST:80"])
def test_the_own_browser_comes_in(host: str) -> None:
    assert status("GET", host=host) == 200
    assert status("POST", host=host, origin=f"http://{host}") == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:7860", "", "[", "127.0.0.1@evil.example"])
def test_a_site_that_points_its_name_here_does_not(host: str) -> None:
    assert status("GET", host=host) == 403


def test_another_sites_page_may_not_send_files() -> None:
    assert status("POST", host="127.0.0.1:7860", origin="https://evil.example") == 403
    assert status("POST", host="127.0.0.1:7860", origin="null") == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost:7860", "http://evil@127.0.0.1:7860"])
def test_another_port_of_this_machine_is_another_site(origin: str) -> None:
    assert status("POST", host="127.0.0.1:7860", origin=origin) == 403
    assert status("GET", host="127.0.0.1:7860", origin=origin) == 403


def test_a_page_opened_to_a_network_may_have_any_name_and_still_no_other_sites_page_gets_in() -> None:
    assert status("GET", about=None, host="footnote.lan:7860") == 200
    assert status("POST", about=None, host="footnote.lan:7860", origin="http://footnote.lan:7860") == 200
    assert status("POST", about=None, host="footnote.lan:7860", origin="https://evil.example") == 403


def parts(**settings: Any) -> list[Any]:
    return [part.cls for part in guard(Settings(home=Path(), **settings))]


def test_each_page_gets_the_guard_that_fits_it() -> None:
    assert parts() == [LocalOnly]
    assert parts(password="rye") == [LocalOnly, Gate]
    assert parts(host="0.0.0.0", password="rye") == [LocalOnly, Gate]
    assert parts(host="0.0.0.0", space=True) == []


def asked(path: str, method: str = "GET", app: Any = None, **headers: str) -> int:
    return status(method, path, Gate, "käse:brot", app, **headers)


def basic(said: str) -> str:
    return "Basic " + base64.b64encode(said.encode()).decode()


DOORS = ("/v1/models", "/mcp", "/footnote/gold.json", "/gradio_api/queue/join", "/gradio_api/upload", "/monitoring/x")


@pytest.mark.parametrize("path", DOORS)
def test_with_a_password_every_door_asks_for_it(path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        assert asked(path, method) == 401
        assert asked(path, method, authorization="Bearer käse:brot") == 200
        assert asked(path, method, authorization=basic("anyone:käse:brot")) == 200


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Bearer ",
        "Bearer brot",
        "Bearer käse:brot ",
        "käse:brot",
        "Digest käse:brot",
        "Basic käse:brot",
        "Basic !!!",
        "Basic gA==",
        basic("käse:brot"),
        basic("anyone:"),
        "Bearer \udcff",
    ],
)
def test_a_wrong_password_opens_nothing(said: str) -> None:
    header = said.encode("utf-8", "surrogateescape").decode("latin-1").encode("latin-1").decode("utf-8", "replace")
    assert asked("/v1/models", authorization=header) == 401


def test_the_page_to_sign_in_is_all_that_is_open() -> None:
    for path in ("/", "/assets/index.js", "/theme.css", "/gradio_api/startup-events"):
        assert asked(path) == 200
        assert asked(path, "POST") == 401
    assert asked("/login", "POST", said="right") == 200
    assert asked("/login") == 401
    assert asked("/footnote/command", "POST") == 200  # it has a token of its own
    for path in ("//v1/models", "/assets", "/asset/../v1", "/config/x", "/v1/models/", "/ASSETS/x"):
        assert asked(path) == 401


class SignedIn:
    """What Gradio knows of those who have signed in."""

    cookie_id = "abc"
    tokens: ClassVar[dict[str, str]] = {"t0ken": "ada"}


def test_who_has_signed_in_on_the_page_may_go_on() -> None:
    for name in ("access-token-abc", "access-token-unsecure-abc"):
        assert asked("/v1/models", app=SignedIn, cookie=f"x=y; {name}=t0ken") == 200
        assert asked("/v1/models", app=SignedIn, cookie=f"{name}=other") == 401
    assert asked("/v1/models", app=SignedIn, cookie="access-token-xyz=t0ken") == 401
    assert asked("/v1/models", app=SignedIn, cookie="access-token-abc=") == 401
    assert asked("/v1/models", app=None, cookie='access-token-=t0ken; "') == 401


@pytest.mark.parametrize("door", ["/v1/models", "/login"])
def test_who_tries_many_passwords_waits_and_nobody_else_does(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    gate = Gate(page, "brot")

    def tried(path: str, password: str, address: str = "192.168.1.5", **more: Any) -> int:
        if path == "/login":
            return answer(gate, "POST", path, address, said="right" if password == "brot" else "wrong")
        return answer(gate, "GET", path, address, authorization=f"Bearer {password}", **more)

    wrong = {"/v1/models": 401, "/login": 400}[door]
    assert [tried(door, f"guess {n}") for n in range(10)] == [wrong] * 10
    assert tried("/v1/models", "brot") == tried("/login", "brot") == 429
    assert tried(door, "brot", "192.168.1.6") == 200
    assert answer(gate, "GET", "/", "192.168.1.5") == 200
    assert answer(gate, "GET", "/v1/models", "192.168.1.5", SignedIn, cookie="access-token-abc=t0ken") == 200
    now[0] += 61
    assert tried(door, "brot") == 200


def test_many_tries_at_once_are_many_tries() -> None:
    asked: list[bytes] = []

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        asked.append(dict(scope["headers"])[b"said"])
        await asyncio.sleep(0.01)
        await page(scope, receive, send)

    async def said(password: str) -> int:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"said", password.encode())]
        scope = {"type": "http", "method": "POST", "path": "/login", "headers": headers, "client": ("192.168.1.5", 1)}
        await gate(scope, send, send)
        return int(sent[0]["status"])

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*(said(f"guess {n}") for n in range(200)))

    gate = Gate(slow, "brot")
    assert sorted(set(asyncio.run(all_at_once()))) == [400, 429]
    assert len(asked) == 10


def test_a_command_of_another_terminal_does_not_wait() -> None:
    gate = Gate(page, "brot")
    for _ in range(11):
        answer(gate, "GET", "/v1/models", "127.0.0.1", authorization="Bearer wrong")
    assert answer(gate, "GET", "/v1/models", "127.0.0.1", authorization="Bearer brot") == 429
    assert answer(gate, "POST", "/footnote/command", "127.0.0.1", authorization="Bearer its-own-token") == 200


def test_who_mistypes_now_and_then_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    gate = Gate(page, "brot")
    for _ in range(40):
        assert answer(gate, "POST", "/login", "192.168.1.5", said="right") == 200
        assert answer(gate, "GET", "/v1/models", "192.168.1.5", authorization="Bearer Brot") == 401
        now[0] += 7
    assert answer(gate, "GET", "/v1/models", "192.168.1.5", authorization="Bearer brot") == 200
