"""Which part of a web page is its post.

trafilatura says what the post's words are, well but not surely, and gives little of their form. So its text only votes:
the page's own blocks (paragraphs, headings, list items, rows, code) are kept or dropped by how many of their words it
took, by what lies around them, and by what furniture looks like; what is read in the end is the page's own markup.
Apart from `html.py`, because it is all judgement. Measured by benchmarks/extraction.py."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice
from typing import Any

Element = Any  # an lxml.html.HtmlElement: lxml is not typed

_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_BLOCKS = _HEADINGS | frozenset(
    """address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form
    header hr html li main ol p pre section summary table tbody td tfoot th thead tr ul""".split()
)
_HOLDERS = frozenset("article aside body center details div fieldset footer form header html main section".split())
_PURE = _HEADINGS | frozenset("p pre table thead tbody tfoot tr ul ol dl".split())  # no loose text, or nothing but text
_NEVER = frozenset(
    """audio button canvas dialog embed iframe input link map menu meta nav noscript object option script select
    style svg template textarea title video""".split()
)
_FURNITURE = re.compile(
    r"(?:^|[\s_-])(?:ads?|advert\w*|banner|breadcrumbs?|byline|comments?|commentlist|cookies?|consent|disqus|"
    r"newsletters?|subscri(?:be|ption)\w*|sign-?up|promo\w*|related\w*|recirc\w*|recommend\w*|recent|trending|popular|"
    r"more-?(?:stories|on|from|articles|posts)|most-?(?:read|popular)|read-?more|shar(?:e|ing)\w*|social\w*|follow\w*|"
    r"sidebar|sponsor\w*|tags?|taglist|taxonomy|teasers?|toolbar|widget|outbrain|taboola|pagination|pager|prev-?next|"
    r"post-?nav\w*|author-?(?:bio|box|info)|print-only|screen-reader\w*|sr-only|visually-?hidden)(?:[\s_-]|$)",
    re.I,
)
"""Classes and ids of what is not the post: votes can still keep what lies in it, nothing else does."""
_CAPTION = re.compile(r"caption|(?:^|[\s_-])(?:photo-?|image-?|media-?|img-?)?credits?(?:[\s_-]|$)", re.I)
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.I)
_POINTER = re.compile(
    r"\W*(?:(?:also )?(?:related|read|see|watch) (?:more|also|next)\b|also (?:on|read|see)\b|related\b.{0,20}:|"
    r"related$|related (?:articles|posts|stories|content|reading)|don.t miss|must read|more (?:from|on) |more recent|"
    r"you (?:may|might) (?:also )?(?:like|enjoy)|recommended (?:for you|articles|posts)|what to read next|"
    r"recent (?:articles|posts)|keep reading|"
    r"latest (?:posts|news|stories|articles)|most (?:read|popular)|continue reading|"
    r"(?:previous|next|newer|older)(?: (?:post|article|entry|page|story)s?)?\W*(?:$|[:»→])|"
    r"click here|leia (?:mais|também)|veja (?:também|mais)|lesen sie auch|mehr zum thema|lire aussi|à lire|leggi anche|"
    r"lee también|ver también|lees ook)",
    re.I,
)
"""How a line begins that only points to other pages."""
_ASIDE = re.compile(
    r"\W*(?:subscribe\b|sign up\b|follow (?:me|us|him|her|them|@\w+)\b|copyright\W*(?:19|20)\d\d|share (?:this|on)\b|"
    r"leave a (?:comment|reply)|comments?\W*$|tell us what|this (?:copy|material) (?:is|may)\b|order reprints|"
    r"print article|posted (?:in|on|by|at|\d)|filed under|tagged\b|tags?\s*:|"
    r"download (?:our|the) app|get .{0,60}(?:delivered|(?:in|to) your (?:inbox|door|letterbox))|(?:click|tap) here)|"
    r".*(?:all rights reserved|©|\bour newsletters?\b|in(?:to)? your inbox|click here (?:for more|to get the))",
    re.I,
)
"""What a short line at the end of a page says that is none of the post."""
_DATED = re.compile(r"(?:.*\b(?:(?:19|20)\d\d|updated|ago|\d?\d:\d\d)\b|by\s).*(?<![.!?:…])$", re.I)
"""A line with a date or an author, and no sentence."""
_MADE = "data-made"  # marks a paragraph that the page does not have
_GUTTER = re.compile(
    r"(?:^|[\s_-])(?:gutter|linenos?|line-?numbers?(?:-rows)?|lnt?|copy(?:-?btn|-?button)?)(?:[\s_]|$)", re.I
)
_LANGUAGE = re.compile(r"(?:language|lang|highlight-source|brush:|sourceCode)[-\s]\s*([\w+#.]+)", re.I)
_WORD = re.compile(r"\w+")

_RUN = 4  # words in a row that are compared
_ENOUGH = 0.6  # share of a block's runs that the vote must hold
_PROSE = 60  # characters that make a paragraph one of the post's own
_LINKED = 0.5  # share of characters in links that makes a block a list of links
_MOST = 0.7  # share of the voted text that the post's element must hold
_GROWTH = 0.3  # what twins of the post's element must hold, beside it, to be its further parts
_FEW = 0.3  # share of the text that may lie in furniture and be dropped with it
_LEAD = 4  # blocks at the top among which the title and the date are looked for
_DATELINE = 14  # words, fewer than which can be a line with the date and the author
_PICTURES = 300  # of which the alternative texts are read
_MANY = 2_000  # children of one element, or steps down, past which the page is read without a vote


@dataclass(eq=False)
class _Leaf:
    """A block with no block inside: the smallest thing that is kept or dropped."""

    element: Element
    words: tuple[str, ...]
    text: str
    linked: float
    furniture: bool
    caption: bool = False
    kept: bool = False

    @property
    def prose(self) -> bool:
        return len(self.text) >= _PROSE and self.linked < 0.3


def find_article(tree: Element, title: str) -> Element | None:
    """Return the element of the page that is its post, all else taken out of it, or None if there is no text.

    `tree` is changed. A first heading that repeats `title`, and the date and author below it, are left out.
    """
    votes = [] if _heavy(tree) else _votes(tree)
    _prune(tree)
    _level_tables(tree)
    _flatten_code(tree)
    _wrap(tree)
    leaves = list(_leaves(tree))
    _count(leaves, votes)
    if not any(leaf.kept for leaf in leaves):
        for leaf in leaves:
            leaf.kept = not leaf.furniture and (leaf.prose or not votes)
    kept = [leaf for leaf in leaves if leaf.kept]
    if not kept:
        return None
    scope = _scope(leaves)
    inside = set(scope.iter())
    for leaf in leaves:
        leaf.kept = leaf.kept and leaf.element in inside
    leaves = [leaf for leaf in leaves if leaf.element in inside]
    _add(leaves)
    all_kept = [leaf for leaf in leaves if leaf.kept]
    _drop_furniture(leaves)
    _drop_repeats(leaves)
    _drop_lead(leaves, title)
    _drop_pointers(leaves)
    _drop_end(leaves)
    if not any(leaf.kept for leaf in leaves):  # a page of one line, say
        for leaf in all_kept:
            leaf.kept = True
    _cut(scope, leaves, title)
    return scope


def simple_text(element: Element) -> str:
    """Return an element's text with the least of Markdown, for pages that are too large or odd for more."""
    _prune(element)
    lines = []
    for leaf in _leaves(element):
        tag = leaf.element.tag
        if tag == "pre":
            lines.append(f"```\n{leaf.element.text_content()}\n```")
        else:
            lines.append(("- " if tag == "li" else "#" * int(tag[1]) + " " if tag in _HEADINGS else "") + leaf.text)
    return "\n\n".join(lines)


def _heavy(tree: Element) -> bool:
    """Whether a page is so wide or deep that trafilatura, whose time grows with the square of it, would never end."""
    return any(len(element) > _MANY for element in tree.iter())


def _votes(tree: Element) -> list[str]:
    """Return what trafilatura takes for the post's text: its own rules, and if they find little, all it has."""
    from trafilatura import extract

    found = []
    for fast in (True, False):
        try:
            text = extract(deepcopy(tree), include_comments=False, fast=fast) or ""
        except (ValueError, TypeError, AssertionError, AttributeError, KeyError, RecursionError):
            text = ""  # a page too broken for it
        found = [text]
        if len(text) >= 250:
            break
    return [text for text in found if text.strip()]


def _prune(tree: Element) -> None:
    """Take out what no reader sees."""
    gone = [
        element
        for element in tree.iter()
        if not isinstance(element.tag, str)
        or element.tag in _NEVER
        or element.get("hidden") is not None
        or (element.get("aria-hidden") == "true" and element.tag != "body")
        or _HIDDEN.search(element.get("style") or "")
    ]
    for element in gone:
        if element.getparent() is not None:
            element.drop_tree()


def _level_tables(tree: Element) -> None:
    """Turn tables that only lay a page out into plain blocks: a table that is left holds data."""
    for table in list(tree.iter("table")):
        cells = list(table.iter("td", "th"))
        inner = table.xpath(".//pre|.//table|.//h1|.//h2|.//h3|.//td/p[2]|.//td/div[2]|.//td//ul|.//td//ol")
        if inner or len(cells) <= len(list(table.iter("tr"))):
            for each in table.iter("table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption"):
                each.tag = "div"


def _flatten_code(tree: Element) -> None:
    """Leave of a code block its lines and its language: colours, line numbers and buttons are not code."""
    for pre in list(tree.iter("pre")):
        if _GUTTER.search(" ".join(each.get("class") or "" for each in (pre, pre.getparent()) if each is not None)):
            pre.drop_tree()
            continue
        around = [pre, *pre.iterchildren("code"), *list(pre.iterancestors())[:2]]
        names = " ".join(each.get("class") or each.get("data-lang") or each.get("lang") or "" for each in around)
        language = _LANGUAGE.search(names)
        for number in [each for each in pre.iter() if _GUTTER.search(each.get("class") or "")]:
            number.drop_tree()
        for line_end in pre.iter("br"):
            line_end.tail = "\n" + (line_end.tail or "")
        for row in pre.iter("div", "p", "li", "tr"):
            if row.tail is None or not row.tail.startswith("\n"):
                row.tail = "\n" + (row.tail or "")
        text, tail = pre.text_content(), pre.tail
        pre.clear()
        pre.text, pre.tail = text, tail
        if language:
            pre.set("class", language.group(1).lower())


def _block_like(tree: Element) -> set[Element]:
    """Return the blocks and whatever holds one."""
    found: set[Element] = set()
    for element in tree.iter(*_BLOCKS):
        while element is not None and element not in found:
            found.add(element)
            element = element.getparent()
    return found


def _wrap(tree: Element) -> None:
    """Put loose text into paragraphs, so that all text is in a block without blocks; two line breaks part it."""
    blocks = _block_like(tree)
    for element in [each for each in tree.iter() if each in blocks and each.tag not in _PURE]:
        if element.tag in _HOLDERS or any(child in blocks for child in element):
            _wrap_children(element, blocks)


_UNWRITABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # lxml reads them and sets none


def _wrap_children(element: Element, blocks: set[Element]) -> None:
    children = list(element)
    text, element.text = element.text, None
    for child in children:
        element.remove(child)
    run: Element | None = None  # the paragraph that grows
    last: Element | None = None  # its last element
    broken = False
    for child in (None, *children):
        if child is not None:
            text, child.tail = child.tail, None
            if child in blocks:
                run, broken = None, False
                element.append(child)
            elif child.tag == "br" and (broken or run is None):
                run, broken = None, True
            else:
                run, last = (_paragraph(element) if run is None else run), child
                run.append(child)
                broken = child.tag == "br"
        text = _UNWRITABLE.sub("", text) if text else text
        if text and text.strip():
            broken = False
            if run is None:
                run, last = _paragraph(element), None
        if text and run is not None:
            if last is not None:
                last.tail = (last.tail or "") + text
            else:
                run.text = (run.text or "") + text


def _paragraph(parent: Element) -> Element:
    from lxml.etree import SubElement  # type: ignore[import-untyped,unused-ignore]

    return SubElement(parent, "p", {_MADE: ""})


def _leaves(tree: Element) -> Iterator[_Leaf]:
    blocks = _block_like(tree)
    pending = [(tree, False, False)]
    while pending:
        element, furniture, caption = pending.pop()
        if element.tag not in ("body", "html"):
            names = f"{element.get('class') or ''} {element.get('id') or ''}"[:500]
            furniture = furniture or element.tag in ("aside", "footer", "form") or bool(_FURNITURE.search(names))
            caption = caption or element.tag == "figcaption" or bool(_CAPTION.search(names))
        children = [child for child in element if child in blocks]
        if children and not _is_whole(element, children):
            pending.extend((child, furniture, caption) for child in reversed(children))
            continue
        text = _text(element)
        words = tuple(_WORD.findall(text))
        if words:
            linked = sum(len(_text(link)) for link in element.iter("a")) / len(text)
            yield _Leaf(element, words, text, linked, furniture, caption)


def _is_whole(element: Element, children: Sequence[Element]) -> bool:
    """Whether an element is one thing in spite of blocks inside: code, a paragraph, a row of a table of data."""
    if element.tag in ("p", "pre") or element.tag in _HEADINGS:
        return True
    if element.tag != "tr" or len(children) < 2:
        return False
    return not any(block.tag in ("pre", "table", "ul", "ol") for block in element.iter(*_BLOCKS))


def _text(element: Element) -> str:
    """Return an element's text on one line, with a space wherever a block or a line ends."""
    pieces = []
    pending: list[Element | str] = [element]
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            pieces.append(each)
            continue
        parts: list[Element | str] = [each.text or ""]
        for child in each:
            if child.tag in _BLOCKS or child.tag == "br":
                parts += [" ", child, " ", child.tail or ""]
            else:
                parts += [child, child.tail or ""]
        pending.extend(reversed(parts))
    return " ".join("".join(pieces).split())


def _count(leaves: Sequence[_Leaf], votes: Sequence[str]) -> None:
    """Keep each block whose words the vote holds."""
    for text in votes:
        lines = {tuple(_WORD.findall(line)) for line in text.split("\n")}
        runs = set(_runs(tuple(_WORD.findall(text))))
        for leaf in leaves:
            if len(leaf.words) < _RUN + 2:
                leaf.kept = leaf.words in lines
            else:
                own = set(_runs(leaf.words))
                leaf.kept = len(own & runs) >= _ENOUGH * len(own)


def _runs(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [words[at : at + _RUN] for at in range(max(1, len(words) - _RUN + 1))]


def _scope(leaves: Sequence[_Leaf]) -> Element:
    """Return the smallest element that holds nine tenths of what was kept, or its parent if twins of it go on there."""
    kept = [leaf for leaf in leaves if leaf.kept and leaf.prose] or [leaf for leaf in leaves if leaf.kept]
    counted = set(kept)
    total = sum(len(leaf.text) for leaf in kept)
    shares: dict[Element, int] = {}
    prose: dict[Element, int] = {}
    for leaf in leaves:
        own = len(leaf.text) if leaf in counted else 0
        good = len(leaf.text) if leaf.prose and not leaf.furniture and leaf.element.tag == "p" else 0
        for element in (leaf.element, *leaf.element.iterancestors()):
            shares[element] = shares.get(element, 0) + own
            prose[element] = prose.get(element, 0) + good
    scope = kept[0].element
    while shares[scope] < _MOST * total:
        scope = scope.getparent()
    part = scope
    while part.tag in ("div", "section") and (parent := part.getparent()) is not None:
        if sum(prose.get(twin, 0) for twin in parent if _are_twins(twin, part)) > _GROWTH * total:
            return parent
        part = parent
    return scope


def _are_twins(one: Element, other: Element) -> bool:
    """Whether two elements look like two parts of one text: named alike, and no title of its own in the second."""
    name = other.get("class")
    return (
        one is not other
        and one.tag == other.tag
        and bool(name)
        and one.get("class") == name
        and not len(one.xpath(".//h1"))
    )


def _add(leaves: Sequence[_Leaf]) -> None:
    """Keep what the vote left out though it stands among the post's paragraphs, and what goes on after them."""
    places = [at for at, leaf in enumerate(leaves) if leaf.kept and leaf.prose]
    places = [at for at in places if leaves[at].element.tag == "p"] or places
    if not places:
        return
    first, last = places[0], places[-1]
    top = max((at for at in range(first) if leaves[at].element.tag == "h1"), default=first)
    parents = [leaves[at].element.getparent() for at in places]
    home = Counter(parents).most_common(1)[0][0]
    last = max(
        at for at, leaf in enumerate(leaves) if at == last or (leaf.kept and home in leaf.element.iterancestors())
    )
    homes = {_home(leaves[at]) for at in places}
    for at, leaf in enumerate(leaves):
        if leaf.kept or leaf.furniture or leaf.caption or at < top:
            continue
        if leaf.linked >= _LINKED:
            leaf.kept = first < at < last and _is_own_list(leaf, home)
            continue
        tag = leaf.element.tag
        if at < first:
            leaf.kept = leaf.prose and tag == "p" and (_home(leaf) in homes)
        elif at < last:
            leaf.kept = tag in ("pre", "tr", "dt", "dd") or len(leaf.text) >= _PROSE - 10
        elif tag == "p" and len(leaf.text) >= 2 * _PROSE and _home(leaf) in homes:
            leaf.kept = not _POINTER.match(leaf.text)


def _is_own_list(item: _Leaf, home: Element) -> bool:
    """Whether a list or a table of links stands right among the post's paragraphs: the author's, not the page's."""
    lists = [each for each in item.element.iterancestors() if each.tag in ("ul", "ol", "table")]
    return bool(lists) and lists[-1].getparent() is home


def _names(element: Element) -> str:
    """Return the classes and ids of an element and its parent."""
    return " ".join(
        f"{each.get('class')} {each.get('id')}" for each in (element, element.getparent()) if each is not None
    )


def _home(leaf: _Leaf) -> Element:
    """Return what a block lies in, or its kind, if it is named."""
    parent = leaf.element.getparent()
    return (parent.tag, parent.get("class")) if parent is not None and parent.get("class") else parent


def _drop_furniture(leaves: Sequence[_Leaf]) -> None:
    """Drop what stands in something named like furniture, unless so much does that the name says nothing here."""
    kept = [leaf for leaf in leaves if leaf.kept]
    odd = [leaf for leaf in kept if leaf.furniture]
    if sum(len(leaf.text) for leaf in odd) < _FEW * sum(len(leaf.text) for leaf in kept):
        for leaf in odd:
            leaf.kept = False


def _drop_repeats(leaves: Sequence[_Leaf]) -> None:
    """Drop what the page says twice, as pages for several widths do."""
    seen: set[tuple[str, ...]] = set()
    for leaf in leaves:
        if leaf.kept and len(leaf.words) >= 5 * _RUN:
            leaf.kept = leaf.words not in seen or leaf.element.tag in ("pre", "tr", "li")
            seen.add(leaf.words)


def _drop_lead(leaves: Sequence[_Leaf], title: str) -> None:
    """Drop the title, the date, the author and the links above the first paragraph."""
    named = [word.casefold() for word in _WORD.findall(title)]
    kept = [leaf for leaf in leaves if leaf.kept]
    for at, leaf in enumerate(kept[:_LEAD]):
        words = [word.casefold() for word in leaf.words]
        if leaf.element.tag in _HEADINGS:
            leaf.kept = not (words == named[: len(words)] or (leaf.element.tag == "h1" and not at))
        else:
            leaf.kept = words != named and not (len(words) < _DATELINE and _DATED.match(leaf.text))
    for leaf in kept:
        if leaf.linked < _LINKED and leaf.element.tag in ("p", "pre", "li", "tr"):
            break
        if leaf.linked > 0.9:
            leaf.kept = False


def _drop_pointers(leaves: Sequence[_Leaf]) -> None:
    """Drop captions, lines that only point to other pages, and lists of links below a heading that says so."""
    pointing = False
    for at, leaf in enumerate(leaves):
        if leaf.caption and leaf.element.tag != "td":
            leaf.kept = False
        if not leaf.kept:
            continue
        points = bool(_POINTER.match(leaf.text)) and len(leaf.text) < 2 * _PROSE
        if pointing and leaf.linked > _LINKED and leaf.element.tag not in _HEADINGS:
            leaf.kept = False
            continue
        pointing = points and (leaf.element.tag in _HEADINGS or len(leaf.words) < 6) and _lists_links(at, leaves)
        shouted = leaf.text.isupper() and len(leaf.words) > 2 and leaf.element.tag == "p"
        leaf.kept = not pointing and not (leaf.linked > _LINKED and (points or shouted))


def _lists_links(at: int, leaves: Sequence[_Leaf]) -> bool:
    """Whether what follows a heading is a link or several."""
    below = next((leaf for leaf in islice(leaves, at + 1, None) if leaf.kept), None)
    return below is None or below.linked > _LINKED


def _drop_end(leaves: Sequence[_Leaf]) -> None:
    """Drop from the end what ends a page and not a post."""
    for leaf in reversed(leaves):
        if not leaf.kept:
            continue
        short = len(leaf.text) < 4 * _PROSE and leaf.element.tag not in ("pre", "tr")
        aside = short and (_ASIDE.match(leaf.text) or (leaf.linked > 0.3 and _POINTER.match(leaf.text)))
        if not aside and leaf.element.tag not in _HEADINGS:
            break
        leaf.kept = False


def _cut(scope: Element, leaves: Sequence[_Leaf], title: str) -> None:
    """Take out of `scope` what was not kept, pictures before and after the text included."""
    kept = {leaf.element for leaf in leaves if leaf.kept}
    order = {element: at for at, element in enumerate(scope.iter())}
    ends = [order[element] for element in kept]
    first, last = (min(ends), max(ends)) if ends else (0, -1)
    gone = [leaf.element for leaf in leaves if not leaf.kept]
    seen = " ".join([title, *(leaf.text for leaf in leaves if leaf.kept or leaf.element.tag == "h1")]).casefold()
    for at, image in enumerate(scope.iter("img")):
        among = any(ancestor in kept for ancestor in image.iterancestors())
        alt = " ".join((image.get("alt") or "").split())
        if (
            at < _PICTURES
            and (among or first < order[image] < last)
            and _is_told(alt, seen)
            and not _is_furniture(image)
        ):
            seen += " " + alt.casefold()
        else:
            gone.append(image)
    for element in gone:
        if element is not scope and element.getparent() is not None:
            element.drop_tree()
    for made in scope.xpath(f".//p[@{_MADE}]"):
        if made.getparent().tag in ("li", "td", "th", "dd", "dt"):  # a loose list, or a row that is no longer one line
            made.drop_tag()
    for line_end in list(scope.iter("br")):
        if line_end.getnext() is None and not (line_end.tail or "").strip():
            line_end.drop_tree()
    for link in list(scope.iter("a")):
        link.attrib.pop("title", None)
        mark = not _WORD.search(_text(link))  # of an anchor beside a heading
        if mark and not any(image.get("alt") for image in link.iter("img")):
            link.drop_tree()


def _is_told(alt: str, seen: str) -> bool:
    """Whether a picture's alternative text says something, and something that is not said beside it."""
    words = re.sub(r"\W*\d+\W*$", "", alt).casefold()
    return bool(" " in words and words not in seen and not re.search(r"\.(?:jpe?g|png|gif|webp|svg)$", words))


def _is_furniture(element: Element) -> bool:
    names = (f"{each.get('class') or ''} {each.get('id') or ''}"[:500] for each in (element, *element.iterancestors()))
    around = [each.tag for each in element.iterancestors()]
    depth = len(around) - 2  # body and html say nothing of one element
    return any(_FURNITURE.search(name) for at, name in enumerate(names) if at < depth)
