"""A person follows a question up, is told when the posts do not cover one, and begins a new topic, in real Chromium
with the real models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SHOTS, App
from tests.browser.test_page import PATIENCE, Open, ask
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

pytestmark = pytest.mark.slow

RYE = """---
title: Rye at last
date: 2022-11-05
tags: [bread]
---

The rye loaf rests for ten hours and is baked at 230 degrees. <b>Rye dough</b> is too soft to be shaped by hand.
"""
FILES = [("starter.md", SOURDOUGH), ("flat.md", FLATBREAD), ("chain.md", BICYCLE), ("rye.md", RYE)]
RESTS, FLAT, CHESS = (
    "How long does the rye loaf rest?",
    "And the flatbread?",
    "Who won the world championship in chess?",
)


@pytest.fixture(scope="module", autouse=True)
def _stories(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("blog")
    for name, text in FILES:
        (folder / name).write_text(text, encoding="utf-8")
    added = app.command("add", str(folder), "--json")
    assert added.returncode == 0, added.stderr
    yield
    assert "Traceback" not in app.log.read_text(encoding="utf-8")


def earlier(page: Page) -> list[str]:
    return page.locator("#earlier details.exchange > summary").all_inner_texts()


def test_a_question_that_no_post_covers_lists_the_nearest_and_opens_one(open_page: Open) -> None:
    page = open_page()
    ask(page, CHESS)
    expect(page.locator("#answer")).to_contain_text("Your posts do not cover this.")
    cards = page.locator("#found-posts details.source")
    titles = cards.locator(".title").all_inner_texts()
    assert sorted(titles) == sorted({*titles}), titles
    assert len(titles) > 1
    rye = cards.filter(has_text="Rye at last")
    expect(rye).to_contain_text("2022-11-05")
    rye.locator("summary").click()
    expect(rye.locator(".passage")).to_contain_text("rests for ten hours")
    expect(rye.locator("b, mark")).to_have_count(0)
    expect(page.locator("#hits li:visible, #preface p:visible, a.footnote")).to_have_count(0)
    page.screenshot(path=SHOTS / "not-covered.png")


def test_an_answer_that_may_be_none_is_preceded_by_a_warning(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Your question").fill("How do I clean my bicycle in summer?")
    page.keyboard.press("Enter")
    warning = page.locator("#preface").get_by_text("Your posts may not really answer this; check the footnotes.")
    expect(warning).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#submit")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#answer .written")).not_to_be_empty()
    above = page.evaluate(
        "() => ['#preface', '#answer'].map((id) => document.querySelector(id).getBoundingClientRect().y)"
    )
    assert above == sorted(above)
    page.screenshot(path=SHOTS / "maybe.png")
    ask(page, RESTS)
    expect(warning).to_have_count(0)


def test_a_follow_up_leans_on_the_last_question_and_can_be_asked_on_its_own(open_page: Open) -> None:
    page = open_page()
    expect(page.locator("#earlier button:visible")).to_have_count(0)
    ask(page, RESTS)
    ask(page, FLAT)
    expect(page.locator("#preface")).to_contain_text(f"Taken together with what you asked before: “{RESTS}”")
    expect(page.locator("#found-posts details, #sources details").first).to_be_visible()
    assert earlier(page) == [RESTS]
    page.screenshot(path=SHOTS / "follow-up.png")

    before = page.locator("#earlier details.exchange").first
    before.locator("summary").first.click()
    expect(before).to_contain_text("ten hours")
    before.locator("a.footnote").first.click()
    card = before.locator("details.source").first
    expect(card.locator("mark")).to_be_in_viewport()
    expect(card).to_contain_text("is baked at 230 degrees")

    page.get_by_role("button", name="Ask it on its own").click()
    expect(page.locator("#preface")).to_be_hidden(timeout=PATIENCE)
    page.locator(f'#answer [data-answered="{FLAT}"]').wait_for(timeout=PATIENCE)
    expect(page.locator("#submit")).to_be_visible()
    assert earlier(page) == [RESTS]
    expect(before.locator("details.source").first).to_contain_text("is baked at 230 degrees")  # it was left open

    ask(page, "And how hot must the pan be?")
    expect(page.locator("#preface")).to_contain_text(f"asked before: “{FLAT}”")
    ask(page, CHESS)
    expect(page.locator("#answer")).to_contain_text("do not cover")
    assert earlier(page) == [RESTS, FLAT, "And how hot must the pan be?"]


def test_a_new_topic_empties_the_conversation_and_so_does_an_example_and_a_reload_keeps_it(open_page: Open) -> None:
    page = open_page()
    examples = page.locator(".example:visible")
    expect(examples).to_have_count(3)
    ask(page, "which posts mention rye?")
    expect(examples).to_have_count(0)
    page.get_by_role("button", name="Narrow the search").click()
    page.get_by_label("From").fill("2022")
    page.get_by_label("Your question").fill(RESTS)
    page.locator("#submit").click()
    expect(page.locator("#answer")).to_contain_text("Only passages from 2022-01-01 on", timeout=PATIENCE)
    expect(page.locator("#submit")).to_be_visible()
    assert earlier(page) == ["which posts mention rye?"]

    page.get_by_role("button", name="New topic").click()
    expect(examples).to_have_count(3)
    expect(page.locator("#earlier, #answer p:visible, #sources details, #hits:visible")).to_have_count(1)
    expect(page.get_by_label("Your question")).to_have_value("")
    expect(page.get_by_label("Your question")).to_be_focused()
    expect(page.get_by_label("From")).to_have_value("")
    ask(page, FLAT)
    expect(page.locator("#preface")).to_be_hidden()
    assert earlier(page) == []

    page.get_by_role("button", name="New topic").click()
    example = examples.first.inner_text()
    examples.first.click()
    page.locator("#answer [data-answered]:not([data-answered=''])").wait_for(timeout=PATIENCE)
    expect(page.get_by_label("Your question")).to_have_value(example)
    expect(page.locator("#submit")).to_be_visible()
    ask(page, RESTS)
    assert earlier(page) == [example]
    page.reload()
    expect(page.locator(f'#answer [data-answered="{RESTS}"]')).to_be_visible(timeout=PATIENCE)
    assert earlier(page) == [example]
    page.get_by_role("button", name="New topic").click()
    expect(page.locator("#answer p:visible")).to_have_count(0)
    page.reload()
    page.get_by_label("Your question").wait_for()
    ask(page, FLAT)
    expect(page.locator("#preface")).to_be_hidden()
    assert earlier(page) == []


def test_a_question_in_mid_answer_takes_its_place_and_can_lean_on_it(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Your question").fill("Tell me everything about the starter and its flour.")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_visible(timeout=PATIENCE)
    page.keyboard.type(FLAT)  # the question that was asked is selected
    expect(page.get_by_label("Your question")).to_have_value(FLAT)
    page.keyboard.press("Enter")
    page.locator(f'#answer [data-answered="{FLAT}"]').wait_for(timeout=PATIENCE)
    expect(page.locator("#submit")).to_be_visible()
    expect(page.locator("#preface")).to_contain_text("“Tell me everything about the starter and its flour.”")
    page.wait_for_timeout(1000)
    expect(page.locator("#answer")).not_to_contain_text("Stopped")
    assert earlier(page) == ["Tell me everything about the starter and its flour."]


def test_a_new_topic_in_mid_answer_leaves_nothing_behind(open_page: Open) -> None:
    page = open_page()
    page.get_by_label("Your question").fill("Tell me everything about the starter.")
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("Writing", timeout=PATIENCE)
    page.get_by_role("button", name="New topic").click()
    expect(page.locator("#submit")).to_be_visible()
    page.wait_for_timeout(1500)
    expect(page.locator("#answer .written")).to_have_count(0)
    expect(page.locator("#stop")).to_be_hidden()


def test_a_question_is_only_text_in_the_conversation(open_page: Open) -> None:
    page = open_page()
    hostile = "And <img src=x onerror=\"document.title='owned'\"> '${1+1}' {{value}}?"
    for question in (RESTS, hostile, "And why?"):
        page.get_by_label("Your question").fill(question)
        page.locator("#submit").click()
        answered = "(asked) => document.querySelector('#answer [data-answered]')?.dataset.answered === asked"
        page.wait_for_function(answered, arg=question, timeout=PATIENCE)
    assert earlier(page) == [RESTS, hostile]
    assert page.title() == "Footnote"
    expect(page.locator("#earlier img, #preface img, #answer img")).to_have_count(0)


def test_a_conversation_fits_a_phone(open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
    for question in (RESTS, "And how long, with all these words, does a flatbread take?", CHESS):
        ask(page, question)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"the page is {wide} px wide on a phone of 360"
