"""How a person finds out how good search is, in real Chromium with the real models."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SHOTS, App
from tests.browser.test_page import HOSTILE, PATIENCE, SOURDOUGH, upload
from tests.stories import BICYCLE, FLATBREAD

pytestmark = pytest.mark.slow
Open = Callable[..., Page]


def inspect(page: Page, question: str) -> None:
    """Look into the search for a question."""
    page.get_by_label("A question").fill(question)
    page.locator("#inspect").click()
    page.locator(f'#inspected [data-inspected="{question}"]').wait_for(timeout=PATIENCE)


def test_without_posts_there_is_nothing_to_measure_and_a_way_to_add_some(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("tab", name="Quality").click()
    expect(page.locator("#nothing-to-measure")).to_contain_text("There are no posts yet")
    expect(page.locator("#measure")).to_be_hidden()
    page.locator("#nothing-to-measure").get_by_role("button", name="Add your posts").click()
    expect(page.locator("#drop")).to_be_visible()


def test_search_is_measured_and_the_number_is_there_for_the_next_visitor(open_page: Open) -> None:
    page = open_page()
    stories = {"starter.md": SOURDOUGH, "flatbread.md": FLATBREAD, "bicycle.md": BICYCLE, "sheep.md": HOSTILE}
    upload(page, *((name, story.encode()) for name, story in stories.items()))
    page.get_by_role("tab", name="Quality").click()
    expect(page.locator("#number")).to_contain_text("Nothing was measured yet")
    page.locator("#measure").click()
    expect(page.locator("#number .reading")).to_contain_text("the right passage is first for", timeout=PATIENCE)
    expect(page.locator("#number")).to_contain_text("95 % certainty")
    other = open_page()
    other.get_by_role("tab", name="Quality").click()
    expect(other.locator("#number .reading")).to_contain_text("questions made from your posts")


def test_a_search_is_looked_into_judged_and_taken_along(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    page.get_by_role("tab", name="Quality").click()
    inspect(page, "How often is Bertha fed?")
    expect(page.locator("#inspected .fused mark").first).to_be_visible()
    expect(page.locator("#inspected .legs .leg")).to_have_count(2)
    page.locator("#inspected .fused li").filter(has_text="50 grams").get_by_role("button").click()
    expect(page.locator("#inspected .fused .unmark")).to_have_count(1)
    expect(page.locator("#gold")).to_contain_text("How often is Bertha fed? 1 passage")
    page.screenshot(path=SHOTS / "inspector.png", full_page=True)
    inspect(page, "Who won the chess world championship in 1972?")
    expect(page.locator("#inspected .reading")).to_contain_text("Not covered")
    page.get_by_role("button", name="No passage answers this").click()
    expect(page.locator("#gold")).to_contain_text("no passage answers it")
    page.locator("#measure").click()
    expect(page.locator("#number")).to_contain_text("1 question you judged", timeout=PATIENCE)
    expect(page.locator("#history")).to_be_visible()
    with page.expect_download() as started:
        page.locator("#gold a").click()
    started.value.save_as(tmp_path / "gold.zip")
    with zipfile.ZipFile(tmp_path / "gold.zip") as packed:
        assert sorted(packed.namelist()) == ["corpus.jsonl", "qrels.tsv", "queries.jsonl"]
        assert b"How often is Bertha fed?" in packed.read("queries.jsonl")
    page.locator("#gold").get_by_role("button", name="How often is Bertha fed?", exact=True).click()
    page.locator('#inspected [data-inspected="How often is Bertha fed?"]').wait_for(timeout=PATIENCE)
    page.locator("#inspected .fused .unmark").click()
    expect(page.locator("#gold li")).to_have_count(1)


def test_the_exported_set_can_be_measured_on_the_command_line(open_page: Open, app: App, tmp_path: Path) -> None:
    page = open_page()
    page.get_by_role("tab", name="Quality").click()
    inspect(page, "How often is Bertha fed?")
    page.locator("#inspected .fused li").filter(has_text="50 grams").get_by_role(
        "button", name="This answers it"
    ).click()
    expect(page.locator("#gold li")).to_have_count(2)
    with page.expect_download() as started:
        page.locator("#gold a").click()
    started.value.save_as(tmp_path / "gold.zip")
    with zipfile.ZipFile(tmp_path / "gold.zip") as packed:
        packed.extractall(tmp_path / "gold")
    found = app.command("eval", str(tmp_path / "gold"))
    assert found.returncode == 0, found.stderr
    assert "accuracy@1" in found.stdout


@pytest.mark.parametrize(("question", "said"), [("   ", "no question yet"), ("why " * 10_000, "4,000 is the limit")])
def test_what_is_no_question_gets_one_clear_sentence(open_page: Open, question: str, said: str) -> None:
    page = open_page()
    page.get_by_role("tab", name="Quality").click()
    page.get_by_label("A question").fill(question)
    page.locator("#inspect").click()
    expect(page.locator("#inspected .trouble")).to_contain_text(said, timeout=PATIENCE)


def test_a_hostile_post_is_only_text_here_too(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("tab", name="Quality").click()
    inspect(page, "Who shears the sheep on the island of Runde?")
    expect(page.locator("#inspected .fused")).to_contain_text("shorn in June")
    expect(page.locator("#inspected img, #inspected script, #inspected b, #inspected a")).to_have_count(0)
    assert page.title() == "Footnote"


def test_it_fits_a_phone_and_the_dark(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.get_by_role("tab", name="Quality").click()
    inspect(page, "How often is Bertha fed?")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"the page is {wide} px wide on a phone of 360"


def test_no_traceback_reached_the_terminal(app: App) -> None:
    assert "Traceback" not in app.log.read_text(encoding="utf-8")
