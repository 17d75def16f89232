"""A person tunes search on their own posts, from the page, in real Chromium with the real models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SHOTS, App
from tests.browser.test_page import PATIENCE, upload
from tests.test_tuning import DISHES, story

pytestmark = pytest.mark.slow
Open = Callable[..., Page]
NDCG = re.compile(r"384 numbers, .* before, .* tuned\.$")
TRAINING = 600_000  # ms; a short training, on two cores that others use as well


def quality(page: Page) -> None:
    """Open the tab, and wait until it says what search uses."""
    page.get_by_role("tab", name="Quality").click()
    expect(page.locator("#tune-use")).to_contain_text("Search uses", timeout=PATIENCE)


def test_one_post_is_too_little_and_gets_one_sentence(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("tab", name="Quality").click()
    expect(page.locator("#tune")).to_be_hidden()
    upload(page, ("rye.md", story("rye", 0).encode()))
    quality(page)
    page.locator("#tune").click()
    expect(page.locator("#tuning .trouble")).to_have_text(
        "There are too few posts to tune on: some must be put aside to measure with. Add more posts.", timeout=PATIENCE
    )
    expect(page.locator("#tune")).to_be_visible()


def test_a_file_that_is_broken_gets_one_sentence(open_page: Open) -> None:
    page = open_page()
    upload(page, *((f"{dish}.md", story(dish, number).encode()) for number, dish in enumerate(DISHES)))
    quality(page)
    page.get_by_role("button", name="Your own pairs, and how long it may take").click()
    broken = {"name": "mine.jsonl", "mimeType": "text/plain", "buffer": b'{"question": "How long does'}
    page.locator("#tune-file input[type=file]").set_input_files([broken])
    page.locator("#tune-file").get_by_role("row", name="mine.jsonl").wait_for(timeout=PATIENCE)
    page.locator("#tune-look").click()
    expect(page.locator("#tuning .trouble")).to_contain_text("mine.jsonl: it is cut short", timeout=PATIENCE)
    expect(page.locator("#tune-plan p")).to_have_count(0)


@pytest.mark.timeout(1200)  # two cores that others use as well
def test_search_is_tuned_looked_at_installed_and_taken_back(open_page: Open, app: App) -> None:
    page = open_page()
    quality(page)
    page.get_by_role("button", name="Your own pairs, and how long it may take").click()
    page.get_by_label("number input for Minutes that it may take").fill("1")
    page.locator("#tune-look").click()
    expect(page.locator("#tune-plan")).to_contain_text("fit to train on", timeout=TRAINING)
    expect(page.locator("#tune")).to_be_visible(timeout=PATIENCE)
    page.locator("#pairs > summary").click()
    first = page.locator("#pairs li").first
    asked = first.locator("strong").inner_text()
    first.get_by_role("button", name="Strike out").click()
    expect(page.locator("#pairs li.struck strong")).to_have_text(asked)
    expect(page.locator("#tune-plan")).to_contain_text("1 struck out")
    page.locator("#refused-pairs > summary").click()
    expect(page.locator("#refused-pairs")).to_contain_text("its passage is furniture of a page")

    page.locator("#tune").click()
    expect(page.locator("#tuning .phases")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#tuning svg.plot")).to_be_visible(timeout=TRAINING)
    expect(page.locator("#tuning [role=status]")).to_contain_text("step")
    expect(page.locator("#tune-plan")).not_to_contain_text("struck out")  # it is not among them any more
    page.screenshot(path=SHOTS / "tuning.png", full_page=True)
    other = app.command("tune", "--rollback")
    assert other.returncode == 1
    assert "A tuning is running already" in other.stderr

    result = page.locator("#tuned")
    result.wait_for(timeout=TRAINING)
    expect(result.locator("tbody tr th").first).to_have_text("384")
    expect(result.locator("svg.plot").first).to_have_attribute("aria-label", NDCG)
    expect(page.locator("#tune-use")).to_contain_text("all-MiniLM-L6-v2, all 384 numbers")
    page.screenshot(path=SHOTS / "tuned.png", full_page=True)
    result.locator("button[data-act=install]").click()
    expect(page.locator("#tune-use")).to_contain_text("-tuned-", timeout=PATIENCE)
    expect(result).to_have_attribute("data-state", "installed", timeout=PATIENCE)
    page.locator("#tune-use").get_by_role("button", name="128 ·").click()
    expect(page.locator("#tune-use")).to_contain_text("the first 128 of 384 numbers", timeout=PATIENCE)
    found = app.command("search", "What wakes up barley?", "--json")
    assert "barley" in json.loads(found.stdout)["hits"][0]["text"]

    page.locator("#tune-use").get_by_role("button", name="Roll back to all-MiniLM-L6-v2").click()
    expect(page.locator("#tune-use")).to_contain_text("Search uses all-MiniLM-L6-v2, all 384", timeout=PATIENCE)
    expect(page.locator("#tuned")).to_have_attribute("data-state", "former")
    page.get_by_role("button", name="Earlier tunings").click()
    expect(page.locator("#tune-runs tbody tr")).to_have_count(1)
    expect(page.locator("#tune-runs")).to_contain_text("in use before")


def test_a_cancelled_tuning_leaves_everything_as_it_was(open_page: Open) -> None:
    page = open_page()
    quality(page)
    page.locator("#tune").click()
    page.locator("#cancel-tuning").click(timeout=PATIENCE)
    expect(page.locator("#tune")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#tuning p")).to_have_count(0)
    expect(page.locator("#tune-use")).to_contain_text("Search uses all-MiniLM-L6-v2")


def test_it_fits_a_phone_and_the_dark(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    quality(page)
    expect(page.locator("#tuned svg.plot").first).to_be_visible(timeout=PATIENCE)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"the page is {wide} px wide on a phone of 360"


def test_no_traceback_reached_the_terminal(app: App) -> None:
    assert "Traceback" not in app.log.read_text(encoding="utf-8")
