"""A person narrows the search, and asks about posts instead of passages, in real Chromium with the real models."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import SHOTS
from tests.browser.test_page import PATIENCE, Open, ask, upload

pytestmark = pytest.mark.slow


def dated(title: str, day: str, tags: str, text: str) -> tuple[str, bytes]:
    name = title.lower().replace(" ", "-")
    return f"{name}.md", f"---\ntitle: {title}\ndate: {day}\ntags: [{tags}]\n---\n\n{text}\n".encode()


FILES = [
    dated("Rye at last", "2022-11-05", "bread, rye", "The rye loaf rests for ten hours and is baked at 230 degrees."),
    dated("White rolls", "2024-03-02", "bread", "The rolls rest for one hour and are baked at 210 degrees."),
    dated("Winter chain", "2024-12-01", "cycling", "The chain rests in oil for a night after a ride through salt."),
    *(dated(f"Diary {n:02}", f"2021-01-{n:02}", "diary", f"Day {n}: <b>nothing</b> was baked.") for n in range(1, 23)),
]


def test_what_is_chosen_beside_the_question_narrows_it(open_page: Open) -> None:
    page = open_page()
    upload(page, *FILES)
    page.get_by_role("tab", name="Ask").click()
    page.get_by_role("button", name="Narrow the search").click()
    page.get_by_label("Tag").click()
    page.get_by_role("option", name="bread (2)").click()
    page.get_by_label("From").fill("2024")
    page.get_by_label("Your question").fill("How long do they rest?")
    page.locator("#submit").click()
    said = "Only passages tagged “bread”, from 2024-01-01 on were searched."
    expect(page.locator("#answer")).to_contain_text(said, timeout=PATIENCE)
    expect(page.locator("#hits li")).to_have_count(1)
    expect(page.locator("#hits li")).to_contain_text("White rolls")
    page.screenshot(path=SHOTS / "narrowed.png")

    page.get_by_label("From").fill("2024-02-31")
    page.locator("#submit").click()
    expect(page.locator("#answer .trouble")).to_contain_text("“2024-02-31” is no date", timeout=PATIENCE)
    page.get_by_label("From").fill("")
    page.get_by_label("Your question").fill("")
    page.locator("#submit").click()
    expect(page.locator("#answer")).to_contain_text("You have 2 posts tagged “bread”.", timeout=PATIENCE)
    expect(page.locator("#found-posts details.source .title")).to_have_text(["White rolls", "Rye at last"])


def test_posts_are_listed_and_opened_where_they_stand(open_page: Open) -> None:
    page = open_page()
    ask(page, "which posts mention baked?")
    expect(page.locator("#answer")).to_contain_text("You have 24 posts that mention “baked”.")
    expect(page.locator("#found-posts details.source:visible")).to_have_count(20)
    first = page.locator("#found-posts details.source").first
    first.locator("summary").click()
    expect(first).to_contain_text("The rolls rest for one hour")
    page.screenshot(path=SHOTS / "posts-found.png")
    page.get_by_text("and 4 more").click()
    last = page.locator("#found-posts details.source").last
    last.locator("summary").click()
    expect(last).to_contain_text("Day 1: nothing was baked.")
    expect(last.locator("b")).to_have_count(0)
    expect(first).to_have_attribute("open", "")

    ask(page, "latest post about oil")
    expect(page.locator("#answer")).to_contain_text("is “Winter chain”, of 2024-12-01.")
    expect(page.locator("#found-posts details.source")).to_have_count(1)
    ask(page, "which posts mention zeppelins?")
    expect(page.locator("#answer")).to_contain_text("You have no posts that mention “zeppelins”.")
    expect(page.locator("#found-posts details.source")).to_have_count(0)
