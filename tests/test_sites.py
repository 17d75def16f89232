"""What lies at an address, what a source lists, and which pages are no posts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest

from rag.errors import BadAddress, BadFile, Gone
from rag.incoming.fetch import Fetcher
from rag.incoming.sites import Finding, Listing, discover, listing
from rag.readers.outline import not_a_post, outline
from rag.records import Document, Entry, Outline, Post, Refused
from tests import loopback
from tests.loopback import LoopbackSite, Reply, redirect

pytestmark = pytest.mark.slow

POSTS = {
    "/2024/sourdough": ("Sourdough", "<p>Sourdough rises overnight in a cool kitchen.</p>"),
    "/2024/rye": ("Rye", "<p>Rye needs a hot oven and a day of rest.</p>"),
    "/notes/salt": ("Salt", "<p>Two parts in a hundred are enough.</p>"),
}


class PlainReaders:
    """Reads in this process."""

    def read(self, document: Document) -> Iterator[Post | Refused]:
        raise AssertionError("nothing is read here")

    def outline(self, document: Document) -> Outline:
        return outline(document)

    def close(self) -> None:
        pass


@pytest.fixture
def site() -> Iterator[LoopbackSite]:
    with LoopbackSite() as made:
        made.blog(POSTS)
        yield made


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(allow_private=True, delay=0, seconds=2, pause=0)
    yield made
    made.close()


def found_at(site: LoopbackSite, fetcher: Fetcher, path: str) -> tuple[Finding, ...]:
    return discover(site.address(path), fetcher, PlainReaders())


def paths(site: LoopbackSite, listed: Listing) -> list[str]:
    return [entry.address.removeprefix(site.url) for entry in listed.entries]


def shape(site: LoopbackSite, findings: tuple[Finding, ...]) -> list[tuple[str, str, int | None]]:
    return [(finding.kind, finding.location.removeprefix(site.url), finding.count) for finding in findings]


# what lies at an address


def test_at_a_front_page_lie_the_site_its_feed_and_the_page(site: LoopbackSite, fetcher: Fetcher) -> None:
    findings = found_at(site, fetcher, "")
    assert shape(site, findings) == [("site", "/", 3), ("feed", "/feed.xml", 3), ("page", "/", 1)]
    assert findings[0].title == findings[1].title == "The bread blog"
    assert findings[1].samples == ("Sourdough", "Rye", "Salt")
    assert site.requests == ["/robots.txt", "/", "/feed.xml", "/sitemap.xml"]


def test_at_a_post_lies_the_post_first(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/2024/rye"] = str(site.pages["/"]).replace("<title>The bread blog", "<title>Rye")
    found = shape(site, found_at(site, fetcher, "/2024/rye?utm_source=news"))
    assert found == [("page", "/2024/rye", 1), ("site", "/", 3), ("feed", "/feed.xml", 3)]


def test_a_part_of_a_site_is_limited_to_its_path(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/2024/"] = loopback.post_page("2024", "<p>All that was baked in 2024.</p>")
    site.pages["/2024"] = redirect("/2024/")
    assert shape(site, found_at(site, fetcher, "/2024")) == [("site", "/2024/", 2), ("page", "/2024/", 1)]
    listed = listing("site", site.address("/2024/"), fetcher, PlainReaders())
    assert paths(site, listed) == ["/2024/sourdough", "/2024/rye"]
    assert listed.complete


def test_a_feed_and_a_sitemap_are_known_by_what_they_are(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/anything"] = Reply(loopback.feed("Bread", site.url, [("/2024/rye", "Rye", "", "2024-05-01")]).body)
    assert shape(site, found_at(site, fetcher, "/anything")) == [("feed", "/anything", 1)]
    assert shape(site, found_at(site, fetcher, "/sitemap.xml")) == [("site", "/sitemap.xml", 3)]
    site.pages["/notes.pdf"] = Reply(b"%PDF-1.7 ...", type="application/pdf")
    assert shape(site, found_at(site, fetcher, "/notes.pdf")) == [("page", "/notes.pdf", 1)]


def test_an_empty_feed_and_an_empty_sitemap_are_refused(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/feed.xml"], site.pages["/sitemap.xml"] = loopback.feed("Bread", site.url, []), loopback.sitemap({})
    for path in ("/feed.xml", "/sitemap.xml"):
        with pytest.raises(BadAddress, match="lists no posts"):
            found_at(site, fetcher, path)


def test_without_feed_and_sitemap_the_links_of_the_front_page_are_the_site(
    site: LoopbackSite, fetcher: Fetcher
) -> None:
    for path in ("/feed.xml", "/sitemap.xml", "/robots.txt"):
        del site.pages[path]
    site.pages["/"] = str(site.pages["/"]).replace(
        "</ul>", '<a href="/tags/">Tags</a><a href="https://other.example/x">Elsewhere</a><a href="#top">Top</a></ul>'
    )
    assert shape(site, found_at(site, fetcher, "/")) == [("site", "/", 3), ("page", "/", 1)]
    listed = listing("site", site.address("/"), fetcher, PlainReaders())
    assert paths(site, listed) == list(POSTS)
    assert not listed.complete


@pytest.mark.parametrize("path", ["/sitemap_index.xml", "/wp-sitemap.xml", "/blog/sitemap.xml"])
def test_sitemaps_that_nothing_names_are_looked_for(site: LoopbackSite, fetcher: Fetcher, path: str) -> None:
    posts = loopback.sitemap({site.address(f"/blog/{n}"): "2024-05-01" for n in range(4)})
    site.pages = {"/blog/": loopback.post_page("Blog", "<p>All about bread.</p>"), path: posts}
    assert shape(site, found_at(site, fetcher, "/blog/"))[0] == ("site", "/blog/", 4)


def test_a_robots_txt_that_names_nonsense_is_no_trouble(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/robots.txt"] = (
        f"Sitemap: http://[x\nSitemap: file:///etc/passwd\nSitemap: {site.address('/sitemap.xml')}"
    )
    listed = listing("site", site.address("/"), fetcher, PlainReaders())
    assert paths(site, listed) == list(POSTS)


def test_a_soft_404_is_no_sitemap(site: LoopbackSite, fetcher: Fetcher) -> None:
    del site.pages["/robots.txt"]
    site.pages["/sitemap.xml"] = loopback.post_page("Page not found", "<p>There is nothing here.</p>")
    assert [finding.kind for finding in found_at(site, fetcher, "/")] == ["feed", "page"]


def test_a_page_that_is_no_post_is_refused_with_the_reason(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/secret"] = "<title>Log in</title><form>Log in: <input type=password></form>"
    with pytest.raises(BadAddress, match=r"/secret: the site asks for a login\. .*\.$"):
        found_at(site, fetcher, "/secret")
    with pytest.raises(Gone):
        found_at(site, fetcher, "/nowhere")


# what a site lists


def test_a_sitemap_of_sitemaps_is_read_to_its_end(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/sitemap.xml"] = loopback.sitemap_index(
        [
            site.address(f"/{name}")
            for name in ("posts.xml", "old.xml.gz", "sitemap.xml", "category-sitemap.xml", "plain.txt")
        ]
    )
    site.pages["/posts.xml"] = loopback.sitemap({site.address("/2024/rye"): "2024-05-01T08:00:00+02:00"})
    packed = gzip.compress(loopback.sitemap({site.address("/2019/spelt"): ""}).data)
    site.pages["/old.xml.gz"] = Reply(packed, type="application/gzip")
    site.pages["/plain.txt"] = Reply(f"{site.url}/2018/oats\n{site.url}/2018/barley\n", type="text/plain")
    listed = listing("site", site.address("/"), fetcher, PlainReaders())
    assert paths(site, listed) == ["/2024/rye", "/2019/spelt", "/2018/oats", "/2018/barley"]
    assert listed.entries[0].date == "2024-05-01T08:00:00+02:00"
    assert listed.complete
    assert site.count("/category-sitemap.xml") == 0
    assert site.count("/sitemap.xml") == 1


def test_a_part_that_cannot_be_read_makes_a_site_incomplete(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/sitemap.xml"] = loopback.sitemap_index([site.address("/posts.xml"), site.address("/broken.xml")])
    site.pages["/posts.xml"] = loopback.sitemap({site.address("/2024/rye"): ""})
    site.pages["/broken.xml"] = Reply("", 500)
    listed = listing("site", site.address("/"), fetcher, PlainReaders())
    assert paths(site, listed) == ["/2024/rye"]
    assert not listed.complete
    assert "/broken.xml: the site is out of order" in listed.troubles[0]


def test_a_site_that_cannot_be_listed_today_has_not_lost_its_posts(site: LoopbackSite, fetcher: Fetcher) -> None:
    site.pages["/sitemap.xml"] = Reply("", 500)
    with pytest.raises(BadAddress, match="out of order"):
        listing("site", site.address("/"), fetcher, PlainReaders())
    with pytest.raises(BadAddress, match="out of order"):
        listing("site", site.address("/sitemap.xml"), fetcher, PlainReaders())


def test_only_pages_of_this_host_that_may_be_posts_are_listed(site: LoopbackSite, fetcher: Fetcher) -> None:
    kept = [
        "/about",
        "/2024/05/my-post",
        "/2024/05/my-post.html",
        "/archives/2024/crust",
        "/tagged-bread",
        "/?p=17",
        "/a.pdf",
    ]
    left = """/ /?lang=de /index.html /tag/rye /tags/ /blog/tags/rye/ /category/bread/page/2 /categories /author/ann
    /page/2 /blog/page/3/ /search /feed /feed/ /rss.xml /atom.xml /photo.jpg /style.css /archives/
    /wp-content/uploads/x""".split()
    pages = {site.address(path): "" for path in [*kept, *left]} | {"https://other.example/rye": "", "ftp://x/y": ""}
    site.pages["/sitemap.xml"] = loopback.sitemap(pages)
    listed = listing("site", site.address("/"), fetcher, PlainReaders())
    assert paths(site, listed) == kept


def test_a_vast_site_is_read_up_to_a_limit(
    site: LoopbackSite, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.incoming.sites.MAX_PAGES", 30)
    monkeypatch.setattr("rag.incoming.sites.MAX_SITEMAPS", 5)
    site.pages["/sitemap.xml"] = loopback.sitemap_index([site.address(f"/{n}.xml") for n in range(100)])
    for n in range(100):
        site.pages[f"/{n}.xml"] = loopback.sitemap({site.address(f"/{n}/{m}"): "" for m in range(2)})
    listed = listing("site", site.address("/"), fetcher, PlainReaders())
    assert (len(listed.entries), listed.complete, len(site.requests)) == (8, False, 6)
    assert "larger than Footnote reads" in listed.troubles[0]
    site.pages["/sitemap.xml"] = loopback.sitemap({site.address(f"/{n}"): "" for n in range(100)})
    assert len(listing("site", site.address("/"), fetcher, PlainReaders()).entries) == 30


# what a feed lists


def test_a_feed_in_parts_is_followed_and_its_end_found(site: LoopbackSite, fetcher: Fetcher) -> None:
    def part(number: int, following: str) -> Reply:
        return loopback.feed("Bread", site.url, [(f"/{number}", f"Loaf {number}", "", "2024-05-01")], following)

    site.pages |= {"/feed.xml": part(1, "/feed/2"), "/feed/2": part(2, "/feed/3"), "/feed/3": part(3, "/feed.xml")}
    listed = listing("feed", site.address("/feed.xml"), fetcher, PlainReaders())
    assert paths(site, listed) == ["/1", "/2", "/3"]
    assert not listed.complete
    site.pages["/feed/2"] = Reply("", 500)
    listed = listing("feed", site.address("/feed.xml"), fetcher, PlainReaders())
    assert (paths(site, listed), len(listed.troubles)) == (["/1"], 1)


def test_a_feed_that_has_not_changed_costs_one_conditional_request(site: LoopbackSite, fetcher: Fetcher) -> None:
    address = site.address("/feed.xml")
    first = listing("feed", address, fetcher, PlainReaders())
    site.forget()
    again = listing("feed", address, fetcher, PlainReaders(), etag=first.etag, modified=first.modified)
    assert (first.unchanged, len(first.entries)) == (False, 3)
    assert again == Listing(unchanged=True)
    assert len(site.requests) == 1


def test_a_page_where_a_feed_was_is_said(site: LoopbackSite, fetcher: Fetcher) -> None:
    with pytest.raises(BadAddress, match="no longer a feed"):
        listing("feed", site.address("/2024/rye"), fetcher, PlainReaders())


RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Bread &amp; butter</title><link>https://bread.example/</link>
<item><title>Rye &lt;b&gt;bread&lt;/b&gt;</title><link>https://bread.example/rye?utm_source=feed</link>
 <pubDate>Wed, 01 May 2024 23:30:00 -0500</pubDate><dc:creator>Ann Baker</dc:creator><category>rye</category>
 <category>ovens</category><description>Short.</description><content:encoded><![CDATA[<h2>Flour</h2><p>Use
 <em>whole</em> rye, as <a href="/mill">the mill</a> sells it.</p>
 <pre><code>bake(rye)</code></pre><script>alert(1)</script>
 <p>The post <a href="https://bread.example/rye">Rye</a> appeared first on <a href="https://bread.example">Bread</a>.</p>
 ]]></content:encoded></item>
<item><title>Spelt</title><link>https://bread.example/spelt</link>
 <description>A grain for … [&#8230;]</description></item>
<item><title>Oats</title><link>https://bread.example/oats</link><content:encoded>&lt;p&gt;Oats are mild.
 &lt;a href="/oats"&gt;Continue reading Oats →&lt;/a&gt;&lt;/p&gt;</content:encoded></item>
<item><title>Barley</title><link>https://bread.example/barley</link><description>LONG</description></item>
<item><title>Note</title><guid isPermaLink="false">note 1</guid>
 <content:encoded>No page, all here.</content:encoded></item>
<item><title>Nothing</title><description>Neither page nor text.</description></item>
<item><title>Bad</title><link>javascript:alert(1)</link></item>
</channel></rss>""".replace("LONG", "Barley keeps for weeks if it is dry. " * 20)


def test_a_feed_gives_whole_posts_where_it_has_them() -> None:
    found = outline(Document("s", "feed.xml", RSS.encode(), address="https://bread.example/feed"))
    assert (found.kind, found.title) == ("feed", "Bread & butter")
    rye, spelt, oats, barley, note = found.entries
    assert rye.address == "https://bread.example/rye"
    assert rye.post is not None
    assert (rye.post.source, rye.post.url) == (rye.address, rye.address)
    assert (rye.post.title, rye.post.author, rye.post.tags) == ("Rye bread", "Ann Baker", ("rye", "ovens"))
    assert (rye.post.date, rye.date) == ("2024-05-01", "2024-05-02T04:30:00Z")
    assert "## Flour" in rye.post.text
    assert "https://bread.example/mill" in rye.post.text
    assert "bake(rye)" in rye.post.text
    assert "alert" not in rye.post.text
    assert "appeared first" not in rye.post.text
    assert spelt == Entry("https://bread.example/spelt", "Spelt")
    assert oats.post is None
    assert barley.post is not None
    assert barley.post.text.startswith("Barley keeps")
    assert note.address == "https://bread.example/feed#note%201"
    assert note.post is not None
    assert note.post.url == "https://bread.example/feed"


def test_what_a_feed_says_of_anothers_page_is_not_taken_for_its_words() -> None:
    data = RSS.replace("https://bread.example/rye?", "https://bank.example/rye?")
    for address, page_is_read in (
        ("https://bread.example/feed", False),
        ("https://www.bread.example/feed", False),
        ("https://feeds.example/bread", True),
    ):
        found = outline(Document("s", "feed.xml", data.encode(), address=address))
        rye, barley = found.entries[0], found.entries[3]
        assert rye == Entry("https://bank.example/rye", "Rye bread", "2024-05-02T04:30:00Z")
        assert (barley.post is None) == page_is_read


def test_atom_and_json_feeds_are_feeds_too() -> None:
    atom = """<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://bread.example/"><title>Bread</title>
    <link rel="next" href="?page=2"/><entry><title type="html">Rye &amp;amp; salt</title><link href="rye"/><id>1</id>
    <published>2024-05-01T23:30:00-05:00</published><updated>2024-06-01T00:00:00Z</updated>
    <author><name>Ann</name></author>
    <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Rye and salt.</p></div></content>
    </entry></feed>"""
    found = outline(Document("s", "feed.xml", atom.encode(), address="https://bread.example/atom"))
    assert found.following == "https://bread.example/?page=2"
    assert found.entries[0].date == "2024-06-01T00:00:00Z"
    assert found.entries[0].post == Post(
        "https://bread.example/rye", "Rye & salt", "Rye and salt.", "2024-05-01", "https://bread.example/rye", (), "Ann"
    )
    items = [
        {"id": "1", "url": "/rye", "title": "Rye", "content_html": "<p>Rye and <a href='/salt'>salt</a>.",
         "tags": ["rye", 3],
         "date_published": "2024-05-01T08:00:00Z", "authors": [{"name": "Ann"}]},
        {"id": "https://bread.example/oats", "content_text": "Oats & milk.\n\nWarm < hot."},
        {"id": 7, "title": "no address"},
        "odd",
    ]  # fmt: skip
    data = json.dumps(
        {"version": "https://jsonfeed.org/version/1.1", "title": "Bread", "items": items, "next_url": "/2"}
    )
    found = outline(Document("s", "feed.json", data.encode(), address="https://bread.example/feed.json"))
    assert (found.kind, found.following) == ("feed", "https://bread.example/2")
    assert [entry.post.text for entry in found.entries if entry.post] == [
        "Rye and [salt](https://bread.example/salt).",
        "Oats & milk.\n\nWarm < hot.",
    ]
    assert found.entries[0].post is not None
    assert (found.entries[0].post.author, found.entries[0].post.tags) == ("Ann", ("rye",))


def test_no_entry_of_a_feed_takes_words_of_another() -> None:
    htmls = [
        "<p>Rye <b>bread",
        "</div></body><p>Oats</p><!-- ",
        "<pre>Spelt",
        "<script>bad()</script><textarea>Salt",
        "End",
    ]
    items = [{"url": f"/{number}", "content_html": html} for number, html in enumerate(htmls)]
    data = json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": items})
    found = outline(Document("s", "feed.json", data.encode(), address="https://bread.example/"))
    texts = [entry.post.text if entry.post else "" for entry in found.entries]
    assert [word in text for word, text in zip(["Rye", "Oats", "Spelt", "", "End"], texts, strict=True)] == [True] * 5
    assert "bad" not in "".join(texts)
    assert texts[4] == "End"


def test_a_long_feed_carries_its_newest_posts_and_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.readers.outline.WHOLE_TEXTS", 3000)
    monkeypatch.setattr("rag.readers.feeds.TOGETHER", 1000)
    items = [{"url": f"/{number}", "content_html": f"<p>{number} {'loaves ' * 70}</p>"} for number in range(9)]
    data = json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": items})
    entries = outline(Document("s", "feed.json", data.encode(), address="https://bread.example/")).entries
    assert [entry.post is not None for entry in entries] == [True] * 6 + [False] * 3
    assert [entry.post.text[:8] for entry in entries if entry.post] == [f"{number} loaves" for number in range(6)]


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("x.json", b"{" * 100_000, "file"),
        ("x.json", b'{"items": []}', "file"),
        ("x.json", b'{"version": "https://jsonfeed.org/version/1", "items": []}', "feed"),
        ("x.xml", b"<rss>", "feed"),
        ("x.html", "\ufeff<?xml version='1.0'?><!-- <html> --><rss/>".encode(), "feed"),
        ("x.xml", "<?xml version='1.0' encoding='utf-16'?><urlset/>".encode("utf-16"), "sitemap"),
        ("x.xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "file"),
        ("x.txt", b"https://a.example/b\n\nhttps://a.example/c\n", "sitemap"),
        ("x.txt", b"https://a.example/b\nand more\n", "file"),
        ("x.html", b"%PDF-1.7", "file"),
        ("x.html", b"PK\x03\x04\0\0", "file"),
        ("x.html", b"<p>Bread", "page"),
        ("x.html", b"<div>" * 50_000, "page"),
        ("x.html", b"", "page"),
        ("x.bin", b"\x00\x01", "file"),
    ],
)
def test_a_document_is_known_by_its_content(name: str, data: bytes, kind: str) -> None:
    assert outline(Document("s", name, data)).kind == kind


def test_a_broken_sitemap_keeps_its_other_pages_and_a_bomb_is_refused() -> None:
    broken = (
        b"<urlset><url><loc>https://a.example/?a=1&b=2</loc></url><url><loc>https://a.example/c</loc></url></urlset>"
    )
    found = outline(Document("s", "sitemap.xml", broken))
    assert [entry.address for entry in found.entries] == ["https://a.example/?a=1&b=2", "https://a.example/c"]
    bomb = b'<!DOCTYPE u [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><urlset><url><loc>&b;</loc></url></urlset>'
    with pytest.raises(BadFile, match="entities"):
        outline(Document("s", "sitemap.xml", bomb))
    for data in (gzip.compress(b"<urlset>" + b" " * 60_000_000, 1), b"\x1f\x8bdamaged"):
        with pytest.raises(BadFile):
            outline(Document("s", "sitemap.xml.gz", data))


def test_half_of_a_packed_list_is_none_and_one_in_parts_is_whole() -> None:
    lines = [f"https://a.example/{number}\n".encode() for number in range(600)]
    parts = gzip.compress(b"".join(lines[:300])) + gzip.compress(b"".join(lines[300:]))
    assert len(outline(Document("s", "sitemap.txt.gz", parts)).entries) == 600
    for end in (-1, -200, len(parts) // 4):
        with pytest.raises(BadFile, match="damaged"):
            outline(Document("s", "sitemap.txt.gz", parts[:end]))


# which pages are no posts


LONG = "<p>Bread needs flour, water, salt and time, and most of all time.</p>" * 40


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("<title>Page not found – Bread</title><h1>Oops!</h1><p>Try the search.</p>", "does not exist"),
        ("<title>Bread | 404 Not Found</title><p>Nothing.</p>", "does not exist"),
        ("<title>Bread</title><h1>404</h1><p>Nothing here.</p>", "does not exist"),
        (f"<title>Not found - Bread</title><h1>Page not found</h1><h2>Recent posts</h2>{LONG}", "does not exist"),
        ("<title>Seite nicht gefunden - Brot</title><p>Schade.</p>", "does not exist"),
        ("<title>Just a moment...</title><p>Checking your browser</p>", "person is asking"),
        ("<title>Attention Required! | Cloudflare</title><p>Sorry.</p>", "person is asking"),
        ("<title>Log in ‹ Bread — WordPress</title><form><label>Username<input></label></form>", "asks for a login"),
        ("<title>Members</title><p>Please log in to read on.</p><input type=password>", "asks for a login"),
        (
            "<title>Bread</title><div id=root></div><noscript>Enable JavaScript to run this app.</noscript>",
            "JavaScript",
        ),
        ("<title>Bread</title><body><script>let bread = 1</script>", "no text"),
        ("", "empty"),
    ],
)
def test_what_is_no_post_is_said(page: str, why: str) -> None:
    assert why in not_a_post(page)
    assert not_a_post(page).endswith(".")


@pytest.mark.parametrize(
    "page",
    [
        f"<title>Bread</title><h1>Bread</h1>{LONG}<form>Log in <input type=password></form>",
        f"<title>How to build a 404 page</title><h1>How to build a 404 page</h1>{LONG}",
        f"<title>404 | Bread</title><h1>404 kilometres by bike</h1>{LONG}",
        f"<title>Not found in any cookbook</title><h1>Not found in any cookbook</h1>{LONG}",
        "<title>Login forms</title><h1>On forms</h1><p>A short thought about forms.</p>",
        f"<title>Just a moment in the bakery</title>{LONG}<script src=/cdn-cgi/challenge-platform/x></script>",
        f"<title>Captchas</title>{LONG}<noscript>Please enable JavaScript to see comments</noscript>",
        "<title>Salt</title><p>Two parts in a hundred are enough.</p><noscript>Comments need scripts</noscript>",
    ],
)
def test_posts_about_such_pages_are_posts(page: str) -> None:
    assert not_a_post(page) == ""


def test_no_real_article_is_refused(datasets: object) -> None:
    from pathlib import Path

    pages = sorted(Path(str(datasets), "extraction/article_extraction_benchmark/html").iterdir())
    refused = []
    for path in pages:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if outline(Document("s", "page.html", data, address="https://bread.example/")).reason:
            refused.append(path.name)
    assert len(pages) > 100
    assert refused == []
