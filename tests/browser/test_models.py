"""The tab Models in a real browser, over a hub on the loopback that serves the models that ship under other names."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SHOTS, App, start, stop
from tests.hub import Hub, embedded

pytestmark = pytest.mark.slow

RYE = "baker/rye-GGUF:rye.gguf"
LONG_MS = 120_000  # a machine that does other things, too


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub with a writer and an embedder, which are those that ship."""
    made = Hub()
    folder, file = embedded()
    made.files["baker/rye-GGUF"] = {"rye.gguf": file}
    made.facts["baker/rye-GGUF"] = {
        "gguf": {"architecture": "llama", "context_length": 8192},
        "cardData": {"license": "apache-2.0"},
    }
    made.files["baker/shards-GGUF"] = {f"large-0000{part}-of-00002.gguf": file for part in (1, 2)}
    made.files["Snowflake/snowflake-arctic-embed-xs"] = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    made.hash()
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[App]:
    """A Footnote whose Hub is that one, with a cache of its own."""
    home = tmp_path_factory.mktemp("home")
    running = start(
        home,
        HF_ENDPOINT=hub.address,
        HF_HOME=str(home / "hf"),
        HF_HUB_OFFLINE="",
        HF_HUB_DISABLE_XET="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_TOKEN="",
        no_proxy="127.0.0.1",
    )
    assert running.command("add", "samples").returncode == 0
    yield running
    stop(running)


def models(page: Page) -> Page:
    page.get_by_role("tab", name="Models").click()
    expect(page.locator("#models-list li").first).to_be_visible(timeout=LONG_MS)
    return page


def look(page: Page, wanted: str) -> None:
    page.get_by_label("A repository on the Hub").fill(wanted)
    page.locator("#look-model").click()


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(500)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def test_a_writer_is_downloaded_used_asked_and_removed(hub: Hub, app: App, open_page: Callable[..., Page]) -> None:
    page = models(open_page())
    expect(page.locator(".card").first).to_contain_text("SmolLM2-135M-Instruct")
    assert not [asked for asked in hub.asked if "baker" in asked], "the Hub was asked by itself"
    look(page, "https://huggingface.co/baker/rye-GGUF")
    hub.piece_s = 0.004
    page.get_by_role("button", name="Download rye").click(timeout=LONG_MS)
    doing = page.locator("#models-doing")
    expect(doing).to_contain_text(re.compile(r"Downloading rye: [1-9]\d* MB of 98 MB, .* MB a second"), timeout=LONG_MS)
    shot(page, "models-downloading")
    doing.get_by_role("button", name="Cancel").click()
    expect(page.locator("#models-found").get_by_role("button", name="Go on rye")).to_be_visible(timeout=LONG_MS)
    hub.piece_s = 0
    page.locator("#models-found").get_by_role("button", name="Go on rye").click()
    expect(doing).to_contain_text("rye is here. It is not in use yet.", timeout=LONG_MS)
    assert int(hub.ranges[-1]) > 0, "it began anew"

    page.locator("#models-list").get_by_role("button", name="Use rye").click()
    expect(doing).to_contain_text("rye writes from now on.", timeout=LONG_MS)
    expect(page.locator(".card").first).to_contain_text("rye")
    shot(page, "models")
    page.get_by_role("tab", name="Ask").click()
    page.get_by_label("Your question").fill("What does Footnote keep on this machine?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer .written")).to_be_visible(timeout=LONG_MS)
    expect(page.locator("#answer .status")).to_have_count(0, timeout=LONG_MS)

    models(page).reload()
    models(page)
    expect(page.locator(".card").first).to_contain_text("rye", timeout=LONG_MS)
    page.locator("#models-list").get_by_role("button", name="Use SmolLM2-135M-Instruct").click()
    expect(doing).to_contain_text("SmolLM2-135M-Instruct writes from now on.", timeout=LONG_MS)
    page.locator("#models-list").get_by_role("button", name="Remove rye").click()
    page.get_by_role("button", name="Delete it rye").click(timeout=LONG_MS)
    expect(doing).to_contain_text("rye is gone", timeout=LONG_MS)
    assert not list((app.home / "hf").rglob("*.gguf"))


def test_a_search_model_is_downloaded_measured_and_exchanged(
    hub: Hub, app: App, open_page: Callable[..., Page]
) -> None:
    page = models(open_page())
    page.get_by_role("button", name="Download Arctic Embed XS").click()
    doing = page.locator("#models-doing")
    expect(doing).to_contain_text("Arctic Embed XS is here", timeout=LONG_MS)
    page.get_by_role("button", name="Use Arctic Embed XS").click()
    expect(doing).to_contain_text("Arctic Embed XS searches from now on.", timeout=LONG_MS)
    expect(page.locator(".card").last).to_contain_text("Arctic Embed XS")
    assert app.command("search", "What stays on this machine?").returncode == 0


def test_what_cannot_be_had_is_one_sentence_and_nothing_changes(hub: Hub, open_page: Callable[..., Page]) -> None:
    page = models(open_page())
    found = page.locator("#models-found")
    for wanted, said in (
        ("baker/nothing", "baker/nothing is not on the Hub, or it is private."),
        ("baker/shards-GGUF", "comes in several parts"),
        ("/no/such/file.gguf", "There is nothing at /no/such/file.gguf"),
        ("a loaf of bread", "is no model"),
    ):
        look(page, wanted)
        expect(found).to_contain_text(said, timeout=LONG_MS)
    hub.status, hub.error = 401, "GatedRepo"
    look(page, "baker/rye-GGUF")
    expect(found).to_contain_text("asks for permission", timeout=LONG_MS)
    hub.status = 200
    expect(page.locator(".card").first).to_contain_text("SmolLM2-135M-Instruct")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("models-dark", {"color_scheme": "dark"}),
        ("models-phone", {"viewport": {"width": 400, "height": 800}}),
    ],
)
def test_it_fits_a_phone_and_the_dark(name: str, options: dict[str, object], open_page: Callable[..., Page]) -> None:
    page = models(open_page(**options))
    shot(page, name)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_file_of_ones_own(app: App, open_page: Callable[..., Page], tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    shutil.copyfile(embedded()[1], mine)
    page = models(open_page())
    look(page, str(mine))
    page.get_by_role("button", name="Use mine").click(timeout=LONG_MS)
    expect(page.locator("#models-doing")).to_contain_text("mine writes from now on.", timeout=LONG_MS)
    expect(page.locator(".card").first).to_contain_text(str(mine))
