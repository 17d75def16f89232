"""How the page reads, in real Chromium: on a wide and a narrow screen, by keys alone, after a reload, to a screen
reader, and as an app of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SHOTS, App, start, stop
from tests.browser.test_page import PATIENCE, Open, ask, upload

pytestmark = pytest.mark.slow

TEA = "# Tea\n\nThe green tea is brewed at 75 degrees for two minutes. The black tea is brewed at 95 degrees.\n"
PAPER = "# Paper\n\nThe paper is folded twice. A bone folder makes the crease sharp.\n"
BREWED = "At how many degrees is the green tea brewed?"
TABS = ("Ask", "Posts", "Quality", "Models")


def answered(page: Page, question: str) -> None:
    ask(page, question)
    expect(page.locator("#deeds button").first).to_be_visible(timeout=PATIENCE)


def places(page: Page) -> tuple[dict[str, float], dict[str, float]]:
    answer, sources = page.locator("#answer").bounding_box(), page.locator("#sources").bounding_box()
    assert answer
    assert sources
    return dict(answer), dict(sources)  # type: ignore[call-overload]


def test_the_sources_stand_beside_the_answer_or_under_it_and_keys_lead_there(open_page: Open) -> None:
    page = open_page(viewport={"width": 1500, "height": 900})
    upload(page, ("tea.md", TEA.encode()), ("paper.md", PAPER.encode()))
    page.get_by_role("tab", name="Ask").click()
    page.get_by_label("Your question").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    expect(page.get_by_label("Your question")).to_be_focused()
    expect(page.get_by_label("Your question")).to_have_value("")
    answered(page, BREWED)
    answer, sources = places(page)
    assert sources["x"] > answer["x"] + answer["width"]
    page.screenshot(path=SHOTS / "wide.png")

    notes = page.locator("#answer a.footnote")
    notes.first.focus()
    page.keyboard.press("ArrowLeft")
    expect(notes.first).to_be_focused()
    for place in range(1, notes.count()):
        page.keyboard.press("ArrowRight")
        expect(notes.nth(place)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#sources details[open] mark").first).to_be_in_viewport()

    for width in (360, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
    page.set_viewport_size({"width": 360, "height": 900})
    answer, sources = places(page)
    assert sources["y"] >= answer["y"] + answer["height"]
    page.screenshot(path=SHOTS / "phone.png", full_page=True)


def test_a_reload_in_mid_answer_keeps_what_was_written(open_page: Open) -> None:
    page = open_page()
    answered(page, BREWED)
    page.get_by_label("Your question").fill("Tell me all about how the paper is folded.")
    page.keyboard.press("Enter")
    page.locator("#answer .lead, #answer .written").first.wait_for(timeout=PATIENCE)
    page.reload()
    expect(page.locator("#answer .written, #answer .lead").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#earlier details.exchange, #answer [data-answered]").first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_has_a_serious_fault_of_accessibility(open_page: Open, app: App, theme: str) -> None:
    page = open_page()
    page.goto(f"{app.url}?__theme={theme}")
    answered(page, BREWED)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(1000)  # until what is drawn anew has its colours
        page.screenshot(path=SHOTS / f"{tab.lower()}-{theme}.png", full_page=True)
        found = [
            fault for fault in Axe().run(page).response["violations"] if fault["impact"] in ("serious", "critical")
        ]
        assert not found, (tab, [(fault["id"], fault["nodes"][0]["html"]) for fault in found])


def test_it_can_be_installed_with_an_icon_of_its_own(open_page: Open, app: App) -> None:
    page = open_page()
    manifest = page.request.get(f"{app.url}manifest.json").json()
    assert (manifest["name"], manifest["display"]) == ("Footnote", "standalone")
    [icon] = manifest["icons"]
    drawn = page.request.get(app.url.rstrip("/") + icon["src"] if icon["src"].startswith("/") else icon["src"])
    assert drawn.ok
    assert b"<svg" in drawn.body()


def test_a_lost_connection_says_so_and_mends_itself(chromium: Browser, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = start(tmp_path, FOOTNOTE_PORT=port)
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(running.url)
        upload(page, ("tea.md", TEA.encode()))
        page.get_by_role("tab", name="Ask").click()
        answered(page, BREWED)
        stop(running)
        lost = page.get_by_text("Connection to the server was lost")
        expect(lost).to_be_visible(timeout=PATIENCE)
        running = start(tmp_path, FOOTNOTE_PORT=port)
        expect(lost).to_have_count(0, timeout=PATIENCE)
        expect(page.locator("#answer")).to_contain_text("75 degrees", timeout=PATIENCE)  # what was asked is still there
        answered(page, "At how many degrees is the black tea brewed?")
        expect(page.locator("#answer")).to_contain_text("95 degrees")
    finally:
        context.close()
        stop(running)
