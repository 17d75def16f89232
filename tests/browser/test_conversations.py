"""A person finds yesterday's conversation again, goes on with it, says what was good, and takes it along, in real
Chromium with the real models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SHOTS, App
from tests.browser.test_page import PATIENCE, Open, ask
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

pytestmark = pytest.mark.slow

FED, CHAIN = "How often is the starter fed?", "What eats the chain of a bicycle?"
HOSTILE = "Who is <img src=x onerror=\"document.title='owned'\"> in ${1+1}?"


@pytest.fixture(scope="module", autouse=True)
def _stories(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("blog")
    for name, text in (("starter.md", SOURDOUGH), ("flat.md", FLATBREAD), ("chain.md", BICYCLE)):
        (folder / name).write_text(text, encoding="utf-8")
    added = app.command("add", str(folder), "--json")
    assert added.returncode == 0, added.stderr
    yield
    assert "Traceback" not in app.log.read_text(encoding="utf-8")


def deed(page: Page, act: str) -> None:
    """Do something with the last answer."""
    page.locator(f"#deeds button[data-act={act}]").first.click()


def finish(page: Page, question: str) -> None:
    """Wait for the end of an answer and for what can be done with it."""
    page.locator(f'#answer [data-answered="{question}"]').wait_for(timeout=PATIENCE)
    expect(page.locator("#deeds button[data-act=again]")).to_be_visible(timeout=PATIENCE)


def unfold(page: Page) -> None:
    """Open the list of conversations."""
    page.locator("#kept summary").click()
    page.locator("#kept li, #kept .note").first.wait_for()


def titles(page: Page) -> list[str]:
    return page.locator("#kept li .title").all_inner_texts()


def test_a_conversation_is_found_again_and_goes_on_where_it_stood(open_page: Open) -> None:
    page = open_page()
    unfold(page)
    expect(page.locator("#kept")).to_contain_text("What you ask is kept here")
    ask(page, FED)
    finish(page, FED)
    expect(page.locator("#kept li .title")).to_have_text([FED])  # also where the list is open
    deed(page, "up")
    expect(page.locator("#deeds button[data-act=up]")).to_have_attribute("aria-pressed", "true")
    ask(page, "And when it smells?")
    finish(page, "And when it smells?")
    page.get_by_role("button", name="New topic").click()
    ask(page, CHAIN)
    finish(page, CHAIN)

    page.reload()
    page.get_by_label("Your question").wait_for()
    unfold(page)
    expect(page.locator("#kept li")).to_have_count(2)
    assert titles(page) == [CHAIN, FED]
    page.get_by_label("Search in conversations").fill("SMELLS")
    expect(page.locator("#kept li")).to_have_count(1)
    page.screenshot(path=SHOTS / "conversations.png")
    page.locator("#kept li .title").click()
    finish(page, "And when it smells?")
    expect(page.get_by_label("Your question")).to_have_value("And when it smells?")
    before = page.locator("#earlier details.exchange").first
    before.locator("summary").first.click()
    expect(before.locator("button[data-act=up]")).to_have_attribute("aria-pressed", "true")
    before.locator("button[data-act=up]").click()
    expect(before.locator("button[data-act=up]")).to_have_attribute("aria-pressed", "false")
    ask(page, "And after that?")
    expect(page.locator("#preface")).to_contain_text("Taken together with what you asked before")
    assert page.locator("#earlier details.exchange > summary").all_inner_texts() == [FED, "And when it smells?"]


def test_an_answer_can_be_copied_asked_again_and_its_question_edited(open_page: Open) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    ask(page, FED)
    finish(page, FED)
    deed(page, "copy")
    expect(page.locator("#deeds button[data-act=copy]")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "[1]" in copied.splitlines()[0]
    assert copied.splitlines()[-1].startswith("[1] Keeping a sourdough starter")

    deed(page, "again")
    expect(page.locator("#deeds button:visible")).to_have_count(0)
    finish(page, FED)
    deed(page, "edit")
    expect(page.locator("#deeds")).to_contain_text("takes the place of this question")
    expect(page.get_by_label("Your question")).to_have_value(FED)
    expect(page.get_by_label("Your question")).to_be_focused()
    ask(page, CHAIN)
    finish(page, CHAIN)
    expect(page.locator("#earlier details.exchange")).to_have_count(0)
    unfold(page)
    page.locator("#kept li").first.locator(".title").click()
    finish(page, CHAIN)
    expect(page.locator("#earlier details.exchange")).to_have_count(0)


def test_an_offered_question_is_asked_with_a_click(open_page: Open) -> None:
    page = open_page()
    ask(page, FED)
    finish(page, FED)
    offered = page.locator("#deeds button[data-act=ask]")
    question = offered.first.inner_text()
    assert question.endswith("?")
    offered.first.click()
    finish(page, question)
    expect(page.get_by_label("Your question")).to_have_value(question)
    assert page.locator("#earlier details.exchange > summary").all_inner_texts() == [FED]


def test_a_conversation_is_renamed_saved_and_deleted(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    ask(page, CHAIN)
    finish(page, CHAIN)
    unfold(page)
    row = page.locator("#kept li.here")
    row.get_by_label("More about this conversation").click()
    for link, ending in (("Save as Markdown", ".md"), ("Save as JSON", ".json")):
        with page.expect_download() as saving:
            row.get_by_text(link).click()
        saving.value.save_as(tmp_path / f"saved{ending}")
    assert "[^1-1]: A winter with my bicycle" in (tmp_path / "saved.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "saved.json").read_text(encoding="utf-8"))["turns"][0]["question"] == CHAIN
    row.get_by_role("button", name="Rename").click()
    page.keyboard.type("Salt & <b>chains</b>")
    page.keyboard.press("Enter")
    expect(row.locator(".title")).to_have_text("Salt & <b>chains</b>")
    row.get_by_label("More about this conversation").click()
    row.get_by_role("button", name="Delete").click()
    row.get_by_role("button", name="Really delete?").click()
    expect(page.locator("#kept li").filter(has_text="Salt")).to_have_count(0)
    expect(page.locator("#answer .written")).to_have_count(0)  # it was the one that is open


def test_two_tabs_go_on_with_one_conversation(open_page: Open) -> None:
    page, other = open_page(), open_page()
    ask(page, FED)
    finish(page, FED)
    unfold(other)
    other.locator("#kept li .title").first.click()
    finish(other, FED)
    for tab, question in ((page, "And on Sundays?"), (other, "And on Mondays?")):
        tab.get_by_label("Your question").fill(question)
        tab.keyboard.press("Enter")
    finish(page, "And on Sundays?")
    finish(other, "And on Mondays?")
    unfold(page)
    page.locator("#kept li .title").first.click()
    expect(page.locator("#earlier details.exchange")).to_have_count(2)


def test_a_removed_post_takes_its_words_out_of_what_is_opened_again(open_page: Open, app: App) -> None:
    page = open_page()
    ask(page, CHAIN)
    finish(page, CHAIN)
    post_id = json.loads(app.command("ask", CHAIN, "--json").stdout)["quotes"][0]["post_id"]
    assert app.command("remove", post_id, "--json").returncode == 0
    unfold(page)
    page.locator("#kept li .title").first.click()
    expect(page.locator("#sources")).to_contain_text("This post was removed.")
    for part in ("#answer", "#sources", "#hits"):
        expect(page.locator(part)).not_to_contain_text("Salt")


def test_titles_are_only_text_and_the_list_fits_a_phone(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page.get_by_label("Your question").fill(HOSTILE)
    page.keyboard.press("Enter")
    answered = "(asked) => document.querySelector('#answer [data-answered]')?.dataset.answered === asked"
    page.wait_for_function(answered, arg=HOSTILE, timeout=PATIENCE)
    unfold(page)
    expect(page.locator("#kept li .title").first).to_have_text(HOSTILE)
    expect(page.locator("#kept img, #deeds img")).to_have_count(0)
    assert page.title() == "Footnote"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.screenshot(path=SHOTS / "conversations-phone.png")
