"""Web pages as posts: what is read, what is left, and what the page says about itself."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from rag.passages import split
from rag.readers import html
from rag.records import Post
from tests.stories import count_words

STORY = """<p>A starter that smells of vinegar is hungry, and the cure is a larger meal at longer intervals.</p>
<p>Feed it twice a day for three days, with as much flour as there is starter in the jar, and the smell is gone.</p>
<p>In a cold kitchen it takes longer. Put the jar into the oven, lamp on, and look again in the evening.</p>"""


def page(head: str = "", top: str = "", story: str = STORY, end: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{top}<article>{story}</article>{end}</body></html>"


def read(content: str, address: str | None = None) -> Post:
    return html.read(content, "/saved/page.html", "page", address)


WEBLOG = f"""<!DOCTYPE html><html lang="en"><head><title>A hungry starter</title>
<meta name="author" content="Ada Crumb"><meta property="og:site_name" content="Ada Crumb’s Weblog">
<link rel="canonical" href="https://crumb.example/2023/Dec/31/starter/"></head><body class="smallhead">
<div id="smallhead"><h1><a href="/">Ada Crumb’s Weblog</a></h1><a href="/about/#subscribe">Subscribe</a></div>
<div id="cookie-banner"><p>We use cookies to make your visit more pleasant. Choose what you allow us to keep.</p></div>
<div id="wrapper"><div id="primary"><div class="entry"><div data-permalink-context="/2023/Dec/31/starter/">
<h2>A hungry starter</h2><p class="mobile-date">31st December 2023</p>
{STORY}
<h3 id="flour">Which flour <a class="anchor" href="#flour">#</a></h3>
<p>Rye wakes it sooner than wheat. My best from this year:</p>
<ul><li><a href="/2023/rye/">Rye in three days</a></li><li><a href="/2023/spelt/">Spelt, and why not</a></li></ul>
<p>And two that were read aloud:</p>
<ul><li><a href="https://radio.example/1">Bread at night</a> on the Oven Hour</li></ul>
</div><div class="entryFooter">Posted <a href="/2023/Dec/31/">31st December 2023</a> at 11:59 pm &middot; Follow me on
<a href="https://social.example/@ada">Mastodon</a> or <a href="/about/#subscribe">subscribe to my newsletter</a></div>
</div>
<div class="share-buttons"><a href="https://x.example/share">Share on X</a> <a href="mailto:">Send by mail</a></div>
<div class="recent-articles"><h2>More recent articles</h2><ul>
<li><a href="/2025/a/">Annotated release notes of my oven, all that has changed</a> - 17th February 2025</li>
<li><a href="/2025/b/">Baking on a balcony when the wind is strong</a> - 15th February 2025</li></ul></div>
<div class="newsletter"><h3>Never miss a loaf</h3><p>Get one letter a month with everything that I have baked since.</p>
<form><input type="email"><button>Sign up</button></form></div>
<div id="comments"><h3>2 comments</h3><p>Tom: I tried this for a week and my jar smells of apples now, thank you!</p>
<time datetime="2024-02-02">2 February 2024</time></div></div>
<div id="secondary"><div class="metabox"><p>This is <strong>A hungry starter</strong> by Ada Crumb, posted on
<a href="/2023/Dec/31/">31st December 2023</a>.</p>
<a class="item-tag" href="/tags/bread/" rel="tag">bread <span>1234</span></a>
<a class="item-tag" href="/tags/rye-flour/" rel="tag">rye-flour <span>68</span></a>
<p><strong>Next:</strong> <a href="/2024/Jan/2/">The formidable power of proving baskets</a></p>
<p><strong>Previous:</strong> <a href="/2023/Dec/30/">Last notes of the week</a></p>
<p class="sponsored">Sponsored by: Mill Brothers, the finest stones in the valley since 1820.</p></div></div>
</div><div id="ft"><ul><li><a href="/about/">Colophon</a></li><li>&copy;</li>
<li><a href="/2002/">2002</a></li></ul></div>
</body></html>"""
FURNITURE = """1234|68|recent articles|Annotated|Baking on a balcony|Posted|Follow me|newsletter|Share on|cookies|Tom:
comments|Next:|Previous|formidable|Sponsored|Colophon|2002|Weblog|Never miss""".replace("\n", "|").split("|")


class TestWhatIsRead:
    def test_of_a_weblog_page_only_the_post_is_in_any_passage(self) -> None:
        post = read(WEBLOG)
        passages = list(split(post, count_words, 256))
        for passage in passages:
            for line in FURNITURE:
                assert line.casefold() not in passage.embedded_text.casefold()
        for line in ("hungry, and the cure", "look again in the evening", "Rye in three days", "on the Oven Hour"):
            assert any(line in passage.text for passage in passages)

    def test_the_title_and_the_date_stand_beside_the_text_and_not_in_it(self) -> None:
        assert read(WEBLOG).text.startswith("A starter that smells of vinegar")

    def test_an_anchor_beside_a_heading_is_no_part_of_it(self) -> None:
        assert "### Which flour\n" in read(WEBLOG).text

    def test_code_headings_tables_and_lists_keep_their_form(self) -> None:
        story = f"""<h1>Timers</h1>{STORY}
        <h2>The program</h2><div class="highlight"><table><tr><td class="gutter"><pre class="lineno">1
2
3</pre></td><td class="code"><pre><code class="language-python"><span class="k">for</span> loaf in oven:

    loaf.turn()
</code></pre></td></tr></table></div>
        <table><thead><tr><th>Flour</th><th>Hours</th></tr></thead><tbody><tr><td>Rye</td><td>12</td></tr>
        <tr><td>Wheat</td><td>8</td></tr></tbody></table>
        <p>Before you begin, lay out what you need, so that nothing is missing once your hands are full of dough:</p>
        <ol><li>50 grams of rye flour<ul><li>from the mill</li></ul></li><li>a jar</li></ol>
        <blockquote><p>Bread waits for nobody, as my aunt used to say when the oven was hot.</p></blockquote>"""
        text = read(page("<title>Timers</title>", story=story)).text
        assert "```python\nfor loaf in oven:\n\n    loaf.turn()\n```" in text.replace("``` python", "```python")
        assert "lineno" not in text
        assert "\n2\n" not in text
        assert "## The program" in text
        assert re.search(r"\| Rye +\| 12 +\|\n\| Wheat +\| 8 +\|", text)
        assert re.search(r"1\. +50 grams of rye flour\n\s+- from the mill\n2\. +a jar", text)
        assert "> Bread waits for nobody" in text

    def test_lines_of_code_that_are_blocks_stay_lines(self) -> None:
        story = (
            STORY
            + "<pre><div class='line'>knead()</div><div class='line'>rest()</div></pre>"
            + STORY.replace("A ", "The ")
        )
        assert "knead()\nrest()" in read(page(story=story)).text

    def test_a_picture_leaves_what_it_shows_unless_that_is_said_already(self) -> None:
        pictures = """<figure><img src="a.jpg" alt="Two loaves on a stone"><figcaption>Two loaves</figcaption></figure>
        <p><img src="b.jpg" alt="IMG_2041.jpg"><img src="c.jpg" alt="A hungry starter 2"></p>"""
        text = read(page("<title>A hungry starter</title>", story=STORY + pictures + STORY.replace("A ", "The "))).text
        assert "Two loaves on a stone" in text
        assert "IMG_2041" not in text
        assert "hungry starter 2" not in text

    def test_links_keep_their_text_and_are_made_whole(self) -> None:
        story = (
            STORY + '<p>There is more about flour in <a href="/rye" title="go">the long piece on rye</a>, from May.</p>'
        )
        assert (
            "[the long piece on rye](https://crumb.example/rye)"
            in read(page(story=story), "https://crumb.example/s").text
        )

    def test_text_between_line_breaks_becomes_paragraphs(self) -> None:
        lines = re.sub(r"</?p>", "", STORY).replace("\n", "<br><br>\n")
        assert read(f"<html><body><div id=post>{lines}</div></body></html>").text.count("\n\n") == 2

    def test_a_post_that_goes_on_after_an_advertisement_is_read_whole(self) -> None:
        part = '<div class="body grid">{}</div>'
        rest = "".join(
            f"<p>On day {n} the dough rose by {n} millimetres, and the jar had to be opened.</p>" for n in range(9)
        )
        whole = (
            part.format(STORY)
            + "<div class='ad'><p>Buy a mill today and have it tomorrow!</p></div>"
            + part.format(rest)
        )
        text = read(page(story=whole)).text
        assert "look again in the evening" in text
        assert "On day 8" in text
        assert "Buy a mill" not in text

    def test_a_page_in_a_layout_table_is_read_as_paragraphs(self) -> None:
        layout = f"<table><tr><td><ul><li><a href=/>Home</a></li></ul></td><td>{STORY}</td></tr></table>"
        text = read(f"<html><body>{layout}</body></html>").text
        assert "|" not in text
        assert "Feed it twice a day" in text

    @pytest.mark.parametrize(
        "last",
        [
            "Next I shall write about rye.",
            "In 2019 I baked my first loaf.",
            "The newsletter of the mill says so too.",
            "More from the oven, and less from the shop.",
            "Follow the recipe and you will be fine.",
        ],
    )
    def test_short_sentences_of_the_post_are_kept_at_its_ends(self, last: str) -> None:
        text = read(page("<title>Rye</title>", story=f"<h1>Rye</h1><p>{last}</p>{STORY}<p>{last}</p>")).text
        assert text.count(last) == 2

    def test_a_page_of_one_line_is_that_line(self) -> None:
        assert read("<title>Rye</title><p>Rye</p>").text == "Rye"

    def test_a_text_that_is_stated_only_for_machines_is_read(self) -> None:
        body = "A starter that smells of vinegar is hungry. " * 20
        data = f'<script type="application/ld+json">{{"@type": "BlogPosting", "articleBody": "{body}"}}</script>'
        assert (
            "smells of vinegar" in read(f"<html><head>{data}</head><body><div id=app>Loading</div></body></html>").text
        )


DIARY = "<meta property=og:site_name content='Oven Diary'>"
GRAPH = """<title>x</title><script type='application/ld+json'>{"@graph": [{"@type": "WebSite", "name": "Oven"},
{"@type": ["BlogPosting"], "headline": "A hungry &amp; cold starter"}]}</script>"""
HOME = "<h1><a href='/'>Oven Diary</a></h1>"


class TestTitles:
    @pytest.mark.parametrize(
        ("head", "top", "title"),
        [
            ("<title>A hungry starter | Oven Diary</title>", "", "A hungry starter"),
            (f"<title>A hungry starter - Oven Diary</title>{DIARY}", "", "A hungry starter"),
            (f"<title>Oven Diary | A hungry starter</title>{DIARY}", "", "A hungry starter"),
            ("<title>Flour - a love story</title>", "", "Flour - a love story"),
            ("<title>Rye - a love story - Oven Diary</title>", "<h1>Rye - a love story</h1>", "Rye - a love story"),
            ("<title>A hungry starter – Oven Diary</title>", f"{HOME}<h2>A Hungry Starter</h2>", "A Hungry Starter"),
            ("<title>Oven Diary</title><meta property=og:title content='A hungry starter'>", "", "A hungry starter"),
            (GRAPH, "", "A hungry & cold starter"),
            ("", "<h1>A hungry starter</h1>", "A hungry starter"),
            ("", "", "page"),
            ("<title>  A\n hungry   starter </title>", "", "A hungry starter"),
        ],
    )  # fmt: skip
    def test_the_title_is_the_posts_own(self, head: str, top: str, title: str) -> None:
        assert read(page(head, top)).title == title


MAY = '<time datetime="2024-05-01">May</time>'


class TestDates:
    @pytest.mark.parametrize(
        ("head", "top", "end", "day"),
        [
            ('<meta property="article:published_time" content="2024-05-01T08:00:00+02:00">', "", "", "2024-05-01"),
            ('<meta property="article:modified_time" content="2024-06-01">', "", "", None),
            ('<script type="application/ld+json">{"@type": "BlogPosting", "datePublished": "2024-05-01T22:15:00Z",'
             '"dateModified": "2024-07-01"}</script>', '<time datetime="2020-01-01">x</time>', "", "2024-05-01"),
            ('<script type="application/ld+json">{broken</script>', MAY, "", "2024-05-01"),
            ("", f"<p>Updated <time datetime=2025-01-01>now</time></p>{MAY}", "", "2024-05-01"),
            ("", f"<time class=updated datetime=2025-01-01>x</time>{MAY}", "", "2024-05-01"),
            ("", "<time datetime=2020-01-01>x</time>" + MAY.replace("datetime", "pubdate datetime"), "", "2024-05-01"),
            ("", '<h1>Rye</h1><p class="post-date">31st December 2023</p>', "", "2023-12-31"),
            ("", "<h1>Rye</h1><p>By Ada Crumb, May 1, 2024</p>", "", "2024-05-01"),
            ("", '<h1>Rye</h1><span class="date">Last updated 2 May 2025</span>', "", None),
            ('<link rel="canonical" href="https://crumb.example/2023/12/31/rye/">', "", "", "2023-12-31"),
            ('<link rel="canonical" href="https://crumb.example/2023/Dec/31/rye/">', "", "", "2023-12-31"),
            ("", "", "<footer><time datetime='2025-01-01'>x</time><p class=date>© 1 May 2025</p></footer>", None),
            ("", "", "<div id=comments><p class=date>3 May 2025</p><time datetime='2025-05-03'>x</time></div>", None),
            ("", "", "<div class='related-posts'><span class=date>3 May 2025</span></div>", None),
            ("", "", "<p>Copyright 1 May 2025</p>", None),
        ],
    )  # fmt: skip
    def test_the_date_is_the_day_of_publication(self, head: str, top: str, end: str, day: str | None) -> None:
        assert read(page(head, top, end=end)).date == day


class TestTheRest:
    @pytest.mark.parametrize(
        ("head", "top", "author"),
        [
            ('<meta name="author" content="Ada Crumb">', "", "Ada Crumb"),
            ('<meta property="article:author" content="https://social.example/ada">', "", None),
            ('<script type="application/ld+json">{"@type": "Article", "author": [{"name": "Ada"}, {"name": "Tom"}]'
             "}</script>", "", "Ada, Tom"),
            ("", '<p class="byline">By <a rel="author" href="/ada">Ada Crumb</a></p>', "Ada Crumb"),
            ("", '<div class="comments"><span class="author">Tom</span></div>', None),
            ("", "", None),
        ],
    )  # fmt: skip
    def test_the_author_is_a_name(self, head: str, top: str, author: str | None) -> None:
        assert read(page(head, top)).author == author

    def test_tags_come_without_their_counts(self) -> None:
        assert read(WEBLOG).tags == ("bread", "rye-flour")
        tagged = "".join(f'<meta property="article:tag" content="{tag}">' for tag in ("bread", "rye", "bread"))
        assert read(page(tagged)).tags == ("bread", "rye")
        assert read(page('<meta name="keywords" content="bread, rye flour">')).tags == ("bread", "rye flour")

    @pytest.mark.parametrize(
        ("canonical", "given", "address"),
        [
            ("https://crumb.example/rye", None, "https://crumb.example/rye"),
            ("/rye", "https://crumb.example/rye?from=feed", "https://crumb.example/rye"),
            ("/rye", None, None),
            ("javascript:alert(1)", "https://crumb.example/rye", "https://crumb.example/rye"),
            ("https://crumb.example/", "https://crumb.example/rye", "https://crumb.example/rye"),
            ("", "https://crumb.example/rye", "https://crumb.example/rye"),
            ("http://[", "https://crumb.example/rye", "https://crumb.example/rye"),
        ],
    )
    def test_the_address_is_the_canonical_one(self, canonical: str, given: str | None, address: str | None) -> None:
        assert read(page(f'<link rel="canonical" href="{canonical}">'), given).url == address


TRAPS = {
    "tags in one paragraph": "<p>" + "rye <b>oats</b> <i>wheat</i> " * 6000,
    "attributes": "<p " + " ".join(f'a{n}="b"' for n in range(100_000)) + ">rye bread</p>",
    "one attribute again and again": "<p " + "a=b " * 100_000 + ">rye bread</p>",
    "nested": "<div>" * 50_000 + STORY,
    "nested inline": "<b>" * 50_000 + STORY,
    "nested links": "<a href=x>" * 20_000 + STORY,
    "nested tables": "<table><tr><td>" * 10_000 + STORY,
    "breaks": "rye bread<br>" * 20_000,
    "items": "<ul>" + "<li>one loaf of rye" * 20_000,
    "rows": "<table>" + "<tr><td>rye<td>12" * 20_000,
    "headings": "<h2>Rye</h2>" * 10_000,
    "data": '<script type="application/ld+json">' + "[" * 100_000 + "</script>" + STORY,
    "deep data": '<script type="application/ld+json">' + '{"@graph":' * 900 + "1" + "}" * 900 + "</script>" + STORY,
    "a long title": "<title>" + "a - " * 100_000 + "</title>" + STORY,
}


@pytest.mark.slow
@pytest.mark.parametrize("trap", TRAPS)
def test_a_page_made_to_hang_its_reader_is_read_at_once(trap: str) -> None:
    started = time.monotonic()
    post = read(TRAPS[trap])
    assert time.monotonic() - started < 15  # it takes less than 2 s; what it was made for takes minutes
    assert isinstance(post.text, str)


@pytest.mark.parametrize("tag", ["<div>", "<b>", "<blockquote>", "<table><tr><td>"])
def test_what_is_nested_too_deeply_to_be_parsed_is_read_without_its_form(tag: str) -> None:
    hidden = "<style>p {color: red}</style><script>x = 1</script><!-- do not read me -->"
    text = read(f"<title>Rye</title>{hidden}{tag * 3000}{STORY}").text
    assert text == re.sub("</?p>", "", STORY).replace("\n", "\n\n")


def test_the_seed_posts_are_read_without_furniture(datasets: Path) -> None:
    found = [
        html.read(path.read_text("utf-8"), path.name, "name")
        for path in sorted((datasets / "seed" / "posts").iterdir())
    ]
    assert [(post.date, post.author) for post in found] == [
        ("2023-12-31", "Simon Willison"),
        ("2024-12-31", "Simon Willison"),
    ]
    for post in found:
        assert str(post.url).startswith("https://simonwillison.net/202")
        assert not re.search(r"\d", "".join(post.tags))
        assert not re.search(
            r"(?im)^\W*(?:posted\b.* at |more recent articles|next:|previous:|colophon|sponsored)", post.text
        )
        for heading in (" Recent articles", "More recent", "subscribe to my newsletter", "Follow me on"):
            assert heading not in post.text
