"""HTML pages, saved by a browser or fetched: the post without menus, and what the page says about it.

What the page says about itself to machines (JSON-LD, meta tags) comes first, then what it shows near the post."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import unescape
from itertools import islice
from typing import Any
from urllib.parse import urljoin, urlsplit

from rag.errors import BadFile
from rag.readers.decode import tidy
from rag.readers.facts import author_of, iso_day, line, tags_of, unmarked, web_address
from rag.records import Post

_LONG_TAG = re.compile(r"<([A-Za-z][\w:-]*)[^<>]{20000,}>")  # so many attributes take libxml2 minutes
_DATA = re.compile(r"([\"'])data:[^\"']{200,}\1")
_BLOCK_TAG = re.compile(
    r"</?(?:p|div|h\d|li|[uod]l|d[dt]|br|t[rdh]|table|blockquote|section|article|pre)\b[^<>]*>", re.I
)
_DEPTH = 200
"""Steps from the root past which a page is read as plain text: trafilatura's time grows with the square of it."""
_ARTICLES = {"Article", "BlogPosting", "NewsArticle", "TechArticle", "Report", "ScholarlyArticle", "LiveBlogPosting"}
_ARTICLES |= {"AnalysisNewsArticle", "OpinionNewsArticle", "ReportageNewsArticle", "ReviewNewsArticle", "Review"}
_PAGES = {"WebPage", "ItemPage", "CreativeWork", "SocialMediaPosting", "QAPage", "HowTo", "Recipe"}
_PUBLISHED = """article:published_time datepublished date.published og:published_time dc.date.issued dcterms.created
 dc.date.created dc.date dcterms.date parsely-pub-date sailthru.date publish-date publish_date publication_date pubdate
 citation_publication_date citation_date date article.published created""".split()
_AUTHORS = ("author", "article:author", "parsely-author", "sailthru.author", "dc.creator", "citation_author")
_SUFFIX = re.compile(r"\s+(?:[|·•»«:–—-]|::|\|\|)\s+")
_DAY = re.compile(
    r"\b(?:\d{4}-\d\d-\d\d|\d{1,2}(?:st|nd|rd|th)?[ ](?:of[ ])?[A-Z][a-z]{2,8}\.?,?[ ]\d{4}|"
    r"[A-Z][a-z]{2,8}\.?[ ]\d{1,2}(?:st|nd|rd|th)?,?[ ]\d{4})\b"
)
_LATER = re.compile(r"updated|modified|edited|changed|copyright|©|archived|reviewed", re.I)
_DATE_NAME = re.compile(r"(?:^|[\s_-])(?:date|dated|published|pub-?date|posted(?:-?on)?|post-?meta|entry-?meta)", re.I)
_ELSEWHERE = re.compile(
    r"comment|related|recent|footer|sidebar|respond|copyright|widget|promo|newsletter|next|prev|more-", re.I
)
_IN_ADDRESS = re.compile(r"/((?:19|20)\d\d)[/-](\d{1,2}|[A-Za-z]{3,9})[/-](\d{1,2})(?=/|$|[-_.])")
_BYLINE = re.compile(r"(?:(?:written|posted|published)\s+)?by\s+", re.I)
_CLOUD = 25  # more linked tags than a post has: the site's
_LOOKED_AT = 200  # headings, dates
_SHORT = 250  # characters: less text than this may be a teaser
_ELEMENTS = 15_000  # in a post; pandoc takes 15 s for 100,000 rows or items
_CHARACTERS = 2_000_000  # in a post's HTML; pandoc takes 2 s for a million

Element = Any  # an lxml.html.HtmlElement: lxml is not typed


def read(content: str, source: str, name: str, address: str | None = None) -> Post:
    """Read a web page; its text is empty if there is none to read. `address` is where it was fetched from."""
    tree = _parse(content)
    if tree is None:
        return Post(source, name, "")
    facts = _Facts(tree, address)
    post = Post(
        source=source,
        title=facts.title() or name,
        text="",
        date=facts.date(),
        url=facts.address(),
        tags=facts.tags(),
        author=facts.author(),
    )
    text = _text(tree, content, post.title, post.url or "", facts.body())
    return replace(post, text=tidy(text).strip("\n").rstrip())


def _parse(content: str) -> Element | None:
    from lxml.etree import LxmlError  # type: ignore[import-untyped,unused-ignore]
    from lxml.html import HTMLParser, document_fromstring  # type: ignore[import-untyped,unused-ignore]

    content = _LONG_TAG.sub(r"<\1>", _DATA.sub('""', content))
    parser = HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return document_fromstring(content.encode("utf-8", "replace"), parser=parser)
    except (LxmlError, ValueError, AssertionError):
        return None  # a page too broken for the parser is a page without text


def _text(tree: Element, content: str, title: str, address: str, stated: str) -> str:
    """Return the post of a page as Markdown; what the page states as its text, where next to nothing is shown."""
    # imported here: it takes a second, and Markdown does without it
    from lxml.html import tostring

    from rag.readers.article import find_article, simple_text
    from rag.readers.pandoc import fragment_to_markdown

    if _depth(tree) > _DEPTH:
        return _without_tags(content)
    article = find_article(tree, title)
    if article is None:
        return stated
    html = tostring(article, encoding="unicode", with_tail=False)
    try:
        small = len(html) < _CHARACTERS and sum(1 for _ in article.iter()) < _ELEMENTS
        text = fragment_to_markdown(html, address) if small else ""
    except BadFile:
        text = ""
    text = text.strip() or simple_text(article)
    return stated if len(text) < _SHORT and len(stated) > 2 * len(text) else text


def _without_tags(content: str) -> str:
    """Return the text of a page without parsing it: the parser drops what is nested deeper than 256."""
    for name in ("script", "style", "title"):
        pieces = re.split(rf"(</?{name}\b[^<>]*>)", content, flags=re.I)
        hidden, kept = False, []
        for piece in pieces:
            if piece[:1] == "<" and re.match(rf"</?{name}\b", piece, re.I):
                hidden = piece[1] != "/"
            elif not hidden:
                kept.append(piece)
        content = "".join(kept)
    first, *rest = content.split("<!--")  # not by a pattern: a page of nothing but comments that never end took minutes
    content = first + "".join(piece.partition("-->")[2] for piece in rest)
    lines = re.sub(r"<[^<>]*>", "", _BLOCK_TAG.sub("\n", content)).split("\n")
    return "\n\n".join(words for text in lines if (words := " ".join(unescape(text).split())))


def _depth(tree: Element) -> int:
    from lxml.etree import iterwalk

    deepest = depth = 0
    for event, _ in iterwalk(tree, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


class _Facts:
    """What a page says about its post, to machines and to people."""

    def __init__(self, tree: Element, address: str | None) -> None:
        self._tree = tree
        self._given = web_address(address)
        self._metas: dict[str, list[str]] = {}
        for meta in tree.iter("meta"):
            for key in {(meta.get(name) or "").lower() for name in ("property", "name", "itemprop")} - {""}:
                if content := line(meta.get("content")):
                    self._metas.setdefault(key, []).append(content)
        self._data = _linked_data(tree)

    def title(self) -> str:
        """Return the title as the post's own heading has it, else as the page is called, without the site's name."""
        page = next((line(_shown(title)) for title in self._tree.iter("title")), "")
        stated = [unmarked(self._data.get("headline")), *self._meta("og:title", "twitter:title"), page]
        stated = [title for title in stated if title]
        headings = [
            text
            for heading in islice(self._tree.iter("h1", "h2"), _LOOKED_AT)
            if (text := line(_shown(heading))) and not _is_home(heading) and _plain(text) != _plain(self._site())
        ]
        for title in stated:
            for heading in sorted(headings, key=len, reverse=True):
                if _plain(heading) and (_plain(title) + " ").startswith(_plain(heading) + " "):
                    return heading
        if stated:
            return self._without_site(stated[0])
        return next(iter(headings), "")

    def date(self) -> str | None:
        """Return the day of publication, as it is stated, marked or shown near the post, else as the address has it."""
        stated = [self._data.get("datePublished"), *self._meta(*_PUBLISHED), self._data.get("dateCreated")]
        return next((day for value in (*stated, *self._marked_days()) if (day := iso_day(value))), None)

    def author(self) -> str | None:
        """Return who wrote the post, or None."""
        stated = self._meta(*_AUTHORS)
        shown = self._tree.xpath(
            "//*[@rel='author' or @itemprop='author' or contains(@class, 'p-author') or contains(@class, 'byline')"
            " or contains(@class, 'author-name') or contains(@class, 'author')]"
        )
        names = (line(_shown(each)) for each in shown[:20] if not _lies_in(each, _ELSEWHERE))
        for name in (author_of(self._data.get("author")), *stated, *names):
            name = _BYLINE.sub("", name or "", count=1).strip(" ,.·|")
            if 2 <= len(name) <= 80 and len(name.split()) <= 8 and not re.search(r"[/@\d]", name):
                return name
        return None

    def tags(self) -> tuple[str, ...]:
        """Return the tags, as they are stated or linked, without the number of posts that have them."""
        linked = [
            _tag(link) for link in self._tree.xpath("//a[@rel='tag' or contains(concat(' ', @rel, ' '), ' tag ')]")
        ]
        for found in (self._metas.get("article:tag", []), linked if len(linked) <= _CLOUD else []):
            if tags := tags_of(found):
                return tags
        keywords = self._data.get("keywords") or next(iter(self._meta("keywords", "news_keywords")), "")
        return tags_of([unmarked(word) for word in keywords] if isinstance(keywords, list) else unmarked(keywords))

    def address(self) -> str | None:
        """Return the canonical address, unless that is the front page of a site of which this is another page."""
        links = [link.get("href") for link in self._tree.iter("link") if (link.get("rel") or "").lower() == "canonical"]
        for value in (*links, *self._meta("og:url")):
            found = web_address(_whole(value, self._given))
            if found and not (self._given and _path(found) == "" != _path(self._given)):
                return found
        return self._given

    def body(self) -> str:
        """Return the text of the post as it is stated for machines, "" if it is not."""
        body = self._data.get("articleBody")
        return _paragraphs(body) if isinstance(body, str) else ""

    def _meta(self, *keys: str) -> list[str]:
        return [value for key in keys for value in self._metas.get(key, ())[:1]]

    def _site(self) -> str:
        publisher = self._data.get("publisher")
        stated = author_of(publisher) if isinstance(publisher, dict) else None
        return next(iter(self._meta("og:site_name", "application-name")), stated or "")

    def _without_site(self, title: str) -> str:
        parts = [(match.start(), match.end(), match.group()) for match in _SUFFIX.finditer(title)]
        if not parts:
            return title
        host = re.sub(r"^www\.|\.\w+$", "", urlsplit(self.address() or "").hostname or "")
        known = {re.sub(r"\W", "", name).casefold() for name in (self._site(), host)} - {""}
        first, last = title[: parts[0][0]], title[parts[-1][1] :]
        if re.sub(r"\W", "", first).casefold() in known:
            return title[parts[0][1] :]
        if re.sub(r"\W", "", last).casefold() in known or parts[-1][2].strip() in ("|", "·", "•", "»", "«", "::", "||"):
            return title[: parts[-1][0]]
        return title

    def _marked_days(self) -> Iterator[str]:
        """Yield days as the page marks and shows them, the likeliest first."""
        times = [time for time in islice(self._tree.iter("time"), _LOOKED_AT) if not _lies_in(time, _ELSEWHERE)]
        names = {
            time: f"{time.get('class')} {time.get('itemprop')} {time.get('pubdate') is not None}" for time in times
        }
        times = [time for time in times if not _LATER.search(names[time] + _before(time))]
        for time in sorted(times, key=lambda time: not re.search(r"publish|True", names[time], re.I)):
            yield time.get("datetime") or line(_shown(time))
        named = self._tree.xpath("//*[@itemprop='datePublished' or @class or @id]")
        for element in named:
            name = f"{element.get('class') or ''} {element.get('id') or ''} {element.get('itemprop') or ''}"
            if (_DATE_NAME.search(name) or "datePublished" in name) and not _lies_in(element, _ELSEWHERE):
                yield element.get("content") or element.get("title") or ""
                yield from _days(_shown(element)[:200])
        if match := _IN_ADDRESS.search(urlsplit(self.address() or "").path):
            year, month, day = match.groups()
            yield f"{year}-{month}-{day}" if month.isdigit() else f"{day} {month} {year}"
        for heading in islice(self._tree.iter("h1", "h2"), _LOOKED_AT):
            if not _is_home(heading):
                yield from _days(_after(heading))


def _linked_data(tree: Element) -> dict[str, Any]:
    """Return the page's JSON-LD about its post, {} if there is none."""
    found: list[dict[str, Any]] = []
    for script in tree.iter("script"):
        if "ld+json" in (script.get("type") or "") and script.text and len(script.text) < 2_000_000:
            try:
                found += _objects(json.loads(script.text, strict=False))
            except (ValueError, RecursionError):
                continue
    for kinds in (_ARTICLES, _PAGES):
        for each in found:
            types = each.get("@type")
            if kinds & {kind for kind in (types if isinstance(types, list) else [types]) if isinstance(kind, str)}:
                return each
    return {}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each
            for inner in ("@graph", "mainEntity", "mainEntityOfPage"):
                if isinstance(each.get(inner), (list, dict)):
                    yield from _objects(each[inner])


def _days(text: str) -> Iterator[str]:
    """Yield the days that a text names, but those at which something was changed."""
    for match in _DAY.finditer(text):
        if not _LATER.search(text[max(0, match.start() - 25) : match.start()]):
            yield match.group().replace(" of ", " ")


def _before(element: Element) -> str:
    """Return the words right before an element on its line."""
    previous = element.getprevious()
    parent = element.getparent()
    return str((previous.tail if previous is not None else parent.text if parent is not None else "") or "")[-40:]


def _after(heading: Element) -> str:
    """Return the first words below a heading."""
    found = ""
    for each in heading.itersiblings():
        found += " " + _shown(each)[:200]
        if len(found) > 200:
            break
    return found[:200]


def _lies_in(element: Element, names: re.Pattern[str]) -> bool:
    """Whether an element, or one around it, is named by a pattern, or is set aside."""
    for each in (element, *element.iterancestors()):
        if each.tag in ("body", "html"):
            return False
        if each.tag in ("aside", "nav") or (each.tag == "footer" and next(each.iterancestors("article"), None) is None):
            return True
        if names.search(f"{each.get('class') or ''} {each.get('id') or ''}"[:500]):
            return True
    return False


def _is_home(heading: Element) -> bool:
    """Whether a heading links to the front page: the site's name."""
    links: Iterable[Element] = (*heading.iter("a"), *(each for each in heading.iterancestors("a")))
    return any(_path(link.get("href") or "") == "" for link in links)


def _whole(address: str | None, base: str | None) -> str | None:
    """Return an address made whole by the one it stands at; None for what is none."""
    try:
        whole = urljoin(base or "", address or "") if address else None
        return whole if whole and urlsplit(whole).hostname else None
    except ValueError:
        return None


def _path(address: str) -> str:
    try:
        return "" if address.startswith("#") else urlsplit(address).path.strip("/")
    except ValueError:
        return address


def _tag(link: Element) -> str:
    """Return a tag's name without the count beside it."""
    name = line("".join([link.text or "", *(_shown(each) + (each.tail or "") for each in link if not _is_count(each))]))
    return re.sub(r"\s*\(\d+\)$", "", name)


def _is_count(element: Element) -> bool:
    return bool(re.fullmatch(r"[\s(]*[\d.,]+k?[\s)]*", _shown(element)))


def _shown(element: Element) -> str:
    return str(element.text_content()) if isinstance(element.tag, str) else ""


def _plain(title: str) -> str:
    return " ".join(re.findall(r"\w+", title.casefold()))


def _paragraphs(text: str) -> str:
    """Return a text that may hold HTML as paragraphs of plain words."""
    paragraphs = (words for part in re.split(r"\n+|</p>|<br\s*/?>", text) if (words := _unmarked(part)))
    return "\n\n".join(paragraphs)


def _unmarked(text: str) -> str:
    return " ".join(unescape(re.sub(r"</?[A-Za-z!][^<>]*>", "", text)).split())
