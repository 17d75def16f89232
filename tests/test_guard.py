"""The page is for this machine's browser; a site that borrows its address is turned away."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from rag.ui import guard
from rag.ui.guard import LocalOnly


def status(method: str, **headers: str) -> int:
    """Ask a guarded page and return what it answers."""
    sent: list[dict[str, Any]] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": pairs}
    answer = LocalOnly(page, ("127.0.0.1", "localhost", "::1"))(scope, send, send)
    with suppress(StopIteration):  # nothing in it waits, so it needs no loop
        answer.__await__().__next__()
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


def test_a_page_opened_to_a_network_is_called_by_names_that_nobody_knows_here() -> None:
    assert guard("0.0.0.0") == []
    assert len(guard("127.0.0.1")) == 1
