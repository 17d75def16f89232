"""A person brings a whole blog in, in real Chromium: from an address, from a folder, past a reload and a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SHOTS, App
from tests.loopback import LoopbackSite, Reply

pytestmark = pytest.mark.slow
Open = Callable[..., Page]
PATIENCE = 60_000  # ms; models load on two busy cores
DAYS = 12


@pytest.fixture(scope="module")
def site() -> Iterator[LoopbackSite]:
    text = (
        "<p>On day {n} the loaf rose by {m} millimetres in the cellar, and the baker wrote it down at {n} o'clock.</p>"
    )
    with LoopbackSite() as made:
        made.blog({f"/{n}": (f"Day {n} in the bakery", text.format(n=n, m=n * 7) * 3) for n in range(DAYS)})
        yield made


def look(page: Page, where: str) -> None:
    """Name an address or a folder on the tab Posts."""
    page.get_by_role("tab", name="Posts").click()
    page.get_by_label("Or take a whole blog").fill(where)
    page.locator("#look").click()


def test_a_site_is_looked_at_chosen_and_comes_in_while_the_page_is_reloaded(
    open_page: Open, site: LoopbackSite
) -> None:
    site.pages["/3"] = Reply("out of order", status=500)
    page = open_page()
    look(page, site.address())
    expect(page.locator("#found")).to_contain_text(f"{DAYS} posts", timeout=PATIENCE)
    page.get_by_role("button", name="Add these posts").click()
    expect(page.locator("#outcome li.added").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#outcome")).to_contain_text("of 12 done")
    expect(page.locator("#cancel")).to_be_visible()
    page.screenshot(path=SHOTS / "import.png")
    page.reload()  # the work goes on, and shows up again
    page.get_by_role("tab", name="Posts").click()
    expect(page.locator("#outcome")).to_contain_text("12 of 12 done", timeout=PATIENCE)
    expect(page.locator("#outcome li.failed")).to_contain_text("/3")
    expect(page.locator("#cancel")).to_be_hidden()
    page.screenshot(path=SHOTS / "import-failed.png")


def test_what_failed_is_tried_again(open_page: Open, site: LoopbackSite) -> None:
    site.pages["/3"] = site.pages["/4"]
    site.pages["/3"] = "<html><head><title>Day 3</title></head><body><article><h1>Day 3</h1>" + (
        "<p>On the third day the oven broke, and all the loaves of the week went to the neighbours unbaked.</p>" * 3
    )
    page = open_page()
    page.get_by_role("tab", name="Posts").click()
    page.locator("#retry").click()
    expect(page.locator("#outcome")).to_contain_text("1 of 1 done", timeout=PATIENCE)
    expect(page.locator("#outcome li.added")).to_contain_text("Day 3")


def test_a_folder_comes_in_and_its_vanished_post_goes_on_a_click(open_page: Open, tmp_path: Path) -> None:
    blog = tmp_path / "blog"
    blog.mkdir()
    (blog / "rye.md").write_text("# Rye at night\n\nRye rises slowly in a cold kitchen.", encoding="utf-8")
    (blog / "oats.md").write_text("# Oats by day\n\nOats never rise at all, whatever one does.", encoding="utf-8")
    page = open_page()
    look(page, str(blog))
    expect(page.locator("#outcome")).to_contain_text("2 of 2 done", timeout=PATIENCE)
    (blog / "oats.md").unlink()
    page.get_by_text("Where your posts come from").click()
    expect(page.locator("#sources-list")).to_contain_text("blog")
    page.screenshot(path=SHOTS / "sources.png", full_page=True)
    page.locator("#sync").click()
    expect(page.locator("#outcome li.vanished")).to_contain_text("oats.md", timeout=PATIENCE)
    page.get_by_role("button", name="Remove 1 vanished post").click()
    expect(page.locator("#list")).not_to_contain_text("Oats by day", timeout=PATIENCE)
    expect(page.locator("#list")).to_contain_text("Rye at night")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("", "no address yet"),
        ("ftp://example.com/", "http and https"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
        ("https://user:secret@example.com/", "user name"),
    ],
)
def test_an_address_that_cannot_be_read_gets_one_clear_sentence(open_page: Open, where: str, said: str) -> None:
    page = open_page()
    look(page, where)
    expect(page.locator("#found-note .trouble")).to_contain_text(said, timeout=PATIENCE)
    expect(page.locator("#found")).to_be_hidden()


def test_cancel_keeps_what_is_done(open_page: Open, site: LoopbackSite) -> None:
    site.blog(
        {f"/slow/{n}": (f"Slow {n}", f"<p>Slow bread number {n} takes {n} days to rise.</p>" * 9) for n in range(60)}
    )
    page = open_page()
    look(page, site.address())
    page.get_by_role("button", name="Add these posts").click(timeout=PATIENCE)
    expect(page.locator("#outcome li.added").first).to_be_visible(timeout=PATIENCE)
    page.locator("#cancel").click()
    expect(page.locator("#outcome li.stopped").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#cancel")).to_be_hidden(timeout=PATIENCE)
    expect(page.locator("#list")).to_contain_text("Slow 0")


def test_no_script_of_a_hostile_post_runs(open_page: Open, datasets: Path) -> None:
    page = open_page()
    look(page, str(datasets / "hostile" / "owasp_xss"))
    expect(page.locator("#outcome .job").last).to_contain_text("XSS Filter Evasion", timeout=PATIENCE)
    sheet = page.locator("#list").get_by_role("gridcell", name="XSS Filter Evasion").first
    deadline = time.monotonic() + PATIENCE / 1000
    while not sheet.is_visible():  # the list is long, shows what is in view, and forgets its search when it changes
        assert time.monotonic() < deadline
        page.locator("#list").get_by_placeholder("Search").fill("")
        page.locator("#list").get_by_placeholder("Search").fill("XSS Filter")
        page.wait_for_timeout(2000)
    sheet.click(timeout=PATIENCE)
    expect(page.locator("#chosen .post")).to_contain_text("alert", timeout=PATIENCE)
    expect(page.locator("#chosen .post script, #chosen .post img, #chosen .post a, #chosen .post svg")).to_have_count(0)
    page.get_by_role("tab", name="Ask").click()
    page.get_by_label("Your question").fill("How is an XSS filter evaded with an img onerror event handler?")
    page.keyboard.press("Enter")
    page.locator("#answer [data-answered*='XSS']").wait_for(timeout=PATIENCE)
    assert page.title() == "Footnote"


def test_no_traceback_reached_the_terminal(app: App) -> None:
    assert "Traceback" not in app.log.read_text(encoding="utf-8")
