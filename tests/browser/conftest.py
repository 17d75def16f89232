"""The real app in a process of its own, and a real Chromium in front of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHECKOUT = Path(__file__).resolve().parents[2]
SHOTS = Path(__file__).parent / "shots"
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@dataclass
class App:
    """A running Footnote."""

    home: Path
    url: str
    process: subprocess.Popen[str]
    log: Path

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Type a command in another terminal."""
        return subprocess.run(
            [sys.executable, str(CHECKOUT / "app.py"), *arguments],
            env=environment(self.home),
            capture_output=True,
            text=True,
            timeout=240,
        )


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with a home of its own and no browser that opens by itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    return {**kept, "FOOTNOTE_HOME": str(home), "BROWSER": "true", **more}


def start(home: Path, *before: str, **more: str) -> App:
    """Start the app, `before` put in front of its command line, and wait until it says where it is."""
    home.mkdir(parents=True, exist_ok=True)
    log = home / "terminal.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*before, sys.executable, str(CHECKOUT / "app.py")],
            env=environment(home, **more),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"open at (http://\S+)", log.read_text(encoding="utf-8"))
        if found:
            return App(home, found.group(1), process, log)
        time.sleep(0.2)
    process.kill()
    raise AssertionError(f"the app did not start: {log.read_text(encoding='utf-8')}")


def stop(app: App) -> None:
    """End the app as a system does that shuts down, itself and not what watches it."""
    os.kill(json.loads((app.home / "server.json").read_text(encoding="utf-8"))["pid"], signal.SIGTERM)
    try:
        app.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        app.process.kill()
        app.process.wait()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A Footnote without posts, one for all stories of a file."""
    running = start(tmp_path_factory.mktemp("home"), FOOTNOTE_ALLOW_PRIVATE="1")
    yield running
    stop(running)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; a machine without it skips, but CI fails."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and not os.environ.get("CI"):
        pytest.skip("no Chromium is installed: the page is not tested")
    assert found, "CI has no Chromium: install it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(app: App, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open the page in a fresh browser; every request it makes must stay on this machine."""
    contexts: list[BrowserContext] = []
    strangers: list[str] = []
    errors: list[str] = []

    def opened(**options: object) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: strangers.append(request.url) if is_stranger(request.url) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}") or dialog.dismiss())
        page.goto(app.url)
        page.get_by_role("tab", name="Ask").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not strangers, f"the page asked a stranger: {strangers}"
    assert not errors, f"the page ran into: {errors}"


def is_stranger(url: str) -> bool:
    """Say whether a request leaves this machine."""
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
