"""Makers of hostile files: what a careless exporter, a broken disk or someone with bad intentions may hand in.

Every file here is made on the fly. `benchmarks/hostile.py` reads all of them, `test_hostile.py` those that are small."""
# ruff: noqa: E501 - the longest lines are documents

from __future__ import annotations

import gzip
import io
import json
import os
import random
import socket
import stat
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

CANARY = "the secret loaf is under the stairs"
"""Stands in a file beside the traps; a post that has it was made by a reader that follows what a post names."""

WORDS = "Rye needs a wet dough and a long, cool rise before it goes into the oven. "


@dataclass(frozen=True)
class Trap:
    """A hostile file: `make` writes it at the path it is given. `large` ones take many seconds to make or to read."""

    family: str
    name: str
    make: Callable[[Path], None]
    large: bool = False


def make(trap: Trap, folder: Path) -> Path:
    """Write a trap into a folder of its own below `folder`, beside the file with the canary; return its path."""
    place = folder / f"{trap.family}-{zlib.crc32(trap.name.encode('utf-8', 'surrogateescape')):08x}"
    place.mkdir(parents=True)
    (place / "secret.txt").write_text(CANARY)
    trap.make(place / trap.name)
    return place / trap.name


def traps() -> list[Trap]:
    """List all traps."""
    families = (_markdown, _front_matter, _html, _xml, _json, _text, _archives, _books, _pdf, _other, _names, _special)
    return [trap for family in families for trap in family()]


LONG = {
    "5000 items.rss",
    "5000 same items.rss",
    "attributes.html",
    "attributes.rss",
    "bomb on many pages.pdf",
    "bzip2.zip",
    "deep.odt",
    "dots.toml.md",
    "letters everywhere.pdf",
    "long.epub",
    "many cells.ipynb",
    "many items.feed.json",
    "many lines.ipynb",
    "paragraphs.docx",
    "quotes.rst",
    "shortcodes in wordpress.xml",
    "spaces.odt",
}
"""Small files that take as long as large ones."""


def _trap(family: str, name: str, content: Callable[[], str | bytes], large: bool = False) -> Trap:
    def write(path: Path) -> None:
        made = content()
        if isinstance(made, str):
            made = made.replace("SECRET", (path.parent / "secret.txt").as_posix()).encode("utf-8", "surrogatepass")
        path.write_bytes(made)

    return Trap(family, name, write, large or name in LONG)


def _markdown() -> Iterator[Trap]:
    repeated = {
        "quotes": "> ",
        "lists": "- ",
        "numbers": "1. ",
        "brackets": "[",
        "closing brackets": "]",
        "links": "[a](",
        "images": "![a](",
        "nested links": "[a](b",
        "stars": "*a ",
        "double stars": "a**b ",
        "mixed stars": "*a **b _c __d ",
        "underscores": "_a__b",
        "strikes": "~~a ~",
        "ticks": "`a``b",
        "long ticks": "`" * 3 + "a",
        "less than": "<",
        "tags": "<a ",
        "autolinks": "<http:a",
        "comments": "<!--",
        "declarations": "<!A",
        "instructions": "<?",
        "ampersands": "&",
        "entities": "&amp;&#x41;&copy;",
        "backslashes": "\\",
        "escapes": "\\*",
        "dollars": "$a$$b",
        "at signs": "a@b.c",
        "colons": ":a:",
        "footnotes": "[^a]",
        "wiki links": "[[",
        "wiki links with bars": "[[a|",
        "embeds": "![[a",
        "shortcodes": "{{< ",
        "shortcode quotes": '{{< a b="',
        "percent shortcodes": "{{% a ",
        "closed shortcodes": "{{< a >}}",
        "opening and closing shortcodes": "{{< a >}}{{< /b >}}",
        "liquid": "{% ",
        "liquid blocks": "{% if a %}",
        "liquid outputs": "{{ a | ",
        "liquid raw": "{% raw %}",
        "braces": "{",
        "math": "\\(a\\[",
        "attributes": "{#a .b",
        "bars": "|",
        "spaces and bars": " | ",
        "equals": "=",
        "dashes": "-",
        "urls": "http://",
        "web": "www.",
        "sentences": "A. ",
        "question marks": "?!",
        "abbreviations": "e.g. ",
        "quotation marks": "“'\"",
    }
    for name, piece in repeated.items():
        yield _trap("markdown", f"{name}.md", lambda piece=piece: piece * (100_000 // len(piece)) + "x\n\n" + WORDS)
        line = f"many lines of {name}.md"
        yield _trap("markdown", line, lambda piece=piece: (piece + "\n") * (100_000 // (len(piece) + 1)) + "\n" + WORDS)
    yield _trap("markdown", "definitions.md", lambda: "".join(f"[a{i}]: /b\n" for i in range(8000)) + "[a1] " * 8000)
    yield _trap("markdown", "same definition.md", lambda: "[a]: b\n" * 20_000 + "\n" + "[a] [a][] ![a]\n" * 5000)
    yield _trap("markdown", "nested list.md", lambda: "".join("  " * i + "- a\n" for i in range(600)))
    yield _trap("markdown", "headings.md", lambda: "".join("#" * (i % 6 + 1) + f" h{i}\n\n" for i in range(20_000)))
    yield _trap("markdown", "long heading.md", lambda: "# " + WORDS * 3000 + "\n\n" + WORDS)
    yield _trap(
        "markdown", "wide table.md", lambda: "|a" * 3000 + "|\n" + "|-" * 3000 + "|\n" + ("|b" * 3000 + "|\n") * 8
    )
    yield _trap("markdown", "bomb of a table.md", lambda: "|a" * 9000 + "|\n" + "|-" * 9000 + "|\n" + "|\n" * 9000)
    yield _trap("markdown", "fences.md", lambda: "```\n~~~\n" * 10_000)
    yield _trap("markdown", "growing fence.md", lambda: "".join("`" * i + "\n" for i in range(3, 400)))
    yield _trap("markdown", "callouts.md", lambda: "".join("> " * (i % 60) + f"[!note]- a{i}\n" for i in range(2000)))
    yield _trap("markdown", "comment.md", lambda: "<!-- " + WORDS * 1000)
    yield _trap("markdown", "one paragraph.md", lambda: WORDS * 2000)
    yield _trap("markdown", "one paragraph of marks.md", lambda: "**a** _b_ `c` [d](e) " * 7000)
    yield _trap("markdown", "one word.md", lambda: "x" * 2_000_000)
    yield _trap("markdown", "accents.md", lambda: "Bread " + "a" + "\u0301\u0316" * 200_000)
    yield _trap("markdown", "marks of direction.md", lambda: "\u202ebread\u202c \u2066rye\u2069 " * 5000)
    yield _trap("markdown", "spaces.md", lambda: "# a" + " " * 100_000 + "b\n\n" + "a" + " \t" * 50_000 + "\n" + WORDS)
    yield _trap("markdown", "no letters.md", lambda: "\u200b\n\n" * 30_000)
    yield _trap("markdown", "nested mdx.mdx", lambda: "<A b={" * 3000 + "x" + "}>" * 3000)
    yield _trap(
        "markdown",
        "open mdx.mdx",
        lambda: "import {" * 10_000 + "\n\n" + "export const a = `${" * 5000 + "\n\n" + WORDS,
    )
    yield _trap("markdown", "expressions.mdx", lambda: "{" * 50_000 + WORDS + "}" * 49_999)
    yield _trap(
        "markdown",
        "scripts.md",
        lambda: "<script>alert(1)</script>\n\n[a](javascript:alert(1)) <img src=x onerror=alert(1)>\n" * 900,
    )
    yield _trap("markdown", "25 MB of quotes.md", lambda: (">" * 500 + " a\n") * 49_000, large=True)
    yield _trap("markdown", "24 MB of a paragraph.md", lambda: WORDS * 320_000, large=True)
    yield _trap(
        "markdown",
        "24 MB of posts.md",
        lambda: ("# Rye\n\n" + WORDS * 5 + "\n\n- oats\n- wheat\n\n") * 59_000,
        large=True,
    )
    yield _trap("markdown", "24 MB of brackets.md", lambda: "[" * 24_000_000, large=True)
    yield _trap("markdown", "24 MB of stars.md", lambda: "*a " * 8_000_000, large=True)
    yield _trap("markdown", "24 MB in one word.md", lambda: "x" * 24_000_000, large=True)


def _front_matter() -> Iterator[Trap]:
    def yaml(*lines: str) -> Callable[[], str]:
        return lambda: "---\n" + "\n".join(lines) + f"\n---\n\n{WORDS}\n"

    def toml(*lines: str) -> Callable[[], str]:
        return lambda: "+++\n" + "\n".join(lines) + f"\n+++\n\n{WORDS}\n"

    aliases = [
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]",
        *(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)),
    ]
    merges = [
        "a0: &a0 {k: v}",
        *(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}], k{i}: v}}" for i in range(1, 12)),
    ]
    yield _trap("front matter", "aliases.md", yaml(*aliases, "title: *a11"))
    yield _trap("front matter", "merges.md", yaml(*merges, "tags: *a11"))
    yield _trap("front matter", "alias to itself.md", yaml("title: &a [*a]", "tags: &b {b: *b}"))
    yield _trap("front matter", "nested lists.md", yaml("tags: " + "[" * 50_000))
    yield _trap("front matter", "closed nested lists.md", yaml("tags: " + "[" * 5000 + "]" * 5000))
    yield _trap("front matter", "nested keys.md", yaml(*(" " * i + "a:" for i in range(1200))))
    yield _trap("front matter", "dashes.md", yaml("tags:", "- " * 20_000 + "a"))
    yield _trap("front matter", "many keys.md", yaml(*(f"key{i}: value" for i in range(30_000))))
    yield _trap("front matter", "long key.md", yaml("? " + "k" * 500_000, ": v", "title: Rye"))
    yield _trap("front matter", "many tags.md", yaml("tags: [" + ", ".join(f"t{i}" for i in range(30_000)) + "]"))
    yield _trap("front matter", "many letters.md", yaml("title: " + "Rye " * 100_000))
    yield _trap("front matter", "objects.md", yaml('title: !!python/object/apply:os.system ["touch escaped"]'))
    yield _trap("front matter", "types.md", yaml("date: !!binary x", "title: !!set {a, b}", "tags: !!omap [a: 1]"))
    yield _trap("front matter", "dates.md", yaml("date: 9999-99-99T99:99:99+99:99", "updated: 0000-00-00"))
    yield _trap(
        "front matter", "numbers.md", yaml("title: " + "9" * 300_000, "date: 1e999999", "tags: 0o" + "7" * 90_000)
    )
    yield _trap("front matter", "sixty.md", yaml("title: " + "1:" * 50_000 + "1"))
    yield _trap("front matter", "escapes.md", yaml('title: "' + "\\ud800\\x00\\e[31m" * 3000 + '"'))
    yield _trap("front matter", "never closed.md", lambda: "---\n" + "title: Rye\n" * 20_000)
    yield _trap("front matter", "rules.md", lambda: "---\n" * 20_000 + WORDS)
    yield _trap("front matter", "nested.toml.md", toml("tags = " + "[" * 50_000))
    yield _trap("front matter", "closed nested.toml.md", toml("tags = " + "[" * 400 + "]" * 400))
    yield _trap("front matter", "tables in tables.toml.md", toml("a = " + "{a=" * 3000 + "1" + "}" * 3000))
    yield _trap("front matter", "dots.toml.md", toml(".".join(["a"] * 30_000) + " = 1"))
    yield _trap(
        "front matter", "dotted tables.toml.md", toml(*("[" + ".".join(["a"] * i) + "]" for i in range(1, 500)))
    )
    yield _trap("front matter", "many keys.toml.md", toml(*(f"key{i} = 1" for i in range(30_000))))
    yield _trap("front matter", "numbers.toml.md", toml("title = " + "9" * 300_000, "date = 9999-99-99"))
    yield _trap("front matter", "strings.toml.md", toml('title = """' + "\\" * 99_999))
    yield _trap("front matter", "nested.json.md", lambda: '{"title": ' + "[" * 100_000 + "\n\n" + WORDS)


def _html() -> Iterator[Trap]:
    def page(body: Callable[[], str]) -> Callable[[], str]:
        start = "<!doctype html><title>Rye</title><article><h1>Rye</h1>"
        return lambda: f"{start}<p>{WORDS * 4}</p>{body()}<p>{WORDS * 4}</p></article>"

    for tag in (
        "div",
        "blockquote",
        "ul><li",
        "table><tr><td",
        "b",
        "font",
        "a",
        "span",
        "section",
        "svg",
        "math",
        "p",
        "pre",
        "select",
        "template",
        "button",
        "ruby",
        "dl><dd",
        "frameset",
        "noscript",
        "h1",
        "form",
    ):
        for depth, size in ((2000, "deep"), (100_000, "very deep")):
            name = f"{size} {tag.replace('><', ' ')}.html"
            yield _trap("html", name, page(lambda tag=tag, depth=depth: f"<{tag}>" * depth + WORDS))
    yield _trap(
        "html", "attributes.html", page(lambda: "<p " + " ".join(f'a{i}="b"' for i in range(100_000)) + ">rye</p>")
    )
    yield _trap("html", "same attribute.html", page(lambda: "<p " + "a=b " * 100_000 + ">rye</p>"))
    yield _trap("html", "long attribute.html", page(lambda: f'<a href="{"x" * 2_000_000}">rye</a>'))
    yield _trap(
        "html",
        "inline tags.html",
        page(lambda: "<p>" + "rye <b>oats</b> <i>wheat</i> <a href=x>spelt</a> " * 3200 + "</p>"),
    )
    yield _trap("html", "nested inline tags.html", page(lambda: "<p>" + "rye <b>oats <i>" * 9000))
    yield _trap("html", "misnested.html", page(lambda: "<b><p><i></b></p></i>" * 6000))
    yield _trap("html", "misnested links.html", page(lambda: "<a href=x><table><a href=y>" * 2500))
    yield _trap("html", "breaks.html", page(lambda: "rye<br>" * 50_000))
    yield _trap("html", "less than.html", page(lambda: "<" * 200_000))
    yield _trap("html", "open tags.html", page(lambda: "<a" * 100_000))
    yield _trap("html", "open quotes.html", page(lambda: '<a b="' * 30_000))
    yield _trap("html", "open comments.html", page(lambda: "<!-- " * 50_000))
    yield _trap("html", "comments.html", page(lambda: "<!-- a -->" * 30_000))
    yield _trap("html", "cdata.html", page(lambda: "<![CDATA[" * 20_000))
    yield _trap("html", "entities.html", page(lambda: "&amp;&#1114111;&#xD800;&notit;&" * 20_000))
    yield _trap("html", "nulls.html", page(lambda: "r\0ye " * 20_000))
    yield _trap("html", "scripts.html", page(lambda: "<script>alert(1)</script><style>a{}</style>" * 9000))
    yield _trap("html", "open script.html", page(lambda: "<script><!--<script>" * 20_000))
    yield _trap("html", "large table.html", page(lambda: "<table>" + ("<tr>" + "<td>rye" * 60) * 900 + "</table>"))
    yield _trap(
        "html", "spans.html", page(lambda: '<table><tr><td colspan="999999999" rowspan="999999999">rye</table>')
    )
    yield _trap("html", "list items.html", page(lambda: "<ul>" + "<li>rye" * 40_000 + "</ul>"))
    yield _trap("html", "paragraphs.html", page(lambda: f"<p>{WORDS}</p>" * 9000))
    yield _trap("html", "links.html", page(lambda: "<p><a href='https://bread.example/'>rye</a></p>" * 9000))
    yield _trap(
        "html", "image data.html", page(lambda: f'<img alt="rye" src="data:image/png;base64,{"A" * 5_000_000}">')
    )
    yield _trap(
        "html", "linked data.html", page(lambda: f'<script type="application/ld+json">{"[" * 100_000}</script>')
    )
    yield _trap(
        "html",
        "linked data objects.html",
        page(lambda: f'<script type="application/ld+json">{chr(123) + chr(34) + "a" + chr(34) + ":"}' * 9000),
    )
    yield _trap(
        "html",
        "many meta.html",
        lambda: "<title>Rye</title>" + '<meta name="date" content="2026-99-99">' * 20_000 + f"<p>{WORDS * 9}",
    )
    yield _trap("html", "dates.html", page(lambda: "<time datetime='99999-99-99'>1/1/1</time> 2026 12 31 " * 5000))
    yield _trap("html", "digits.html", page(lambda: "<p>" + "1 2 2026/" * 20_000))
    yield _trap("html", "many titles.html", page(lambda: "<title>rye</title><h1>oats</h1>" * 9000))
    yield _trap("html", "long title.html", lambda: f"<title>{'Rye ' * 300_000}</title><p>{WORDS * 9}")
    yield _trap(
        "html", "base.html", lambda: '<base href="http://[::1"><link rel=canonical href="//[">' + f"<p>{WORDS * 9}"
    )
    yield _trap(
        "html", "encodings.html", lambda: '<meta charset="utf-7">' * 500 + "+ADw-script+AD4-" + f"<p>{WORDS * 9}"
    )
    yield _trap("html", "unknown encoding.html", lambda: b'<meta charset="idna"><p>\xff\xfe' + WORDS.encode() * 9)
    yield _trap("html", "compressing encoding.html", lambda: b'<meta charset="zip"><p>\xff' + WORDS.encode() * 9)
    yield _trap("html", "xhtml bomb.xhtml", lambda: _bomb("html", "<body><p>&z;</p></body>"))
    yield _trap(
        "html",
        "frames.html",
        page(lambda: '<iframe src="file://SECRET"></iframe><object data="file://SECRET"></object>'),
    )
    yield _trap("html", "24 MB of paragraphs.html", page(lambda: f"<p>{WORDS}</p>" * 290_000), large=True)
    yield _trap("html", "24 MB in one line.html", page(lambda: WORDS * 320_000), large=True)
    yield _trap("html", "24 MB of tags.html", page(lambda: "<b>a</b>" * 3_000_000), large=True)
    yield _trap("html", "24 MB of less than.html", lambda: "<" * 24_000_000, large=True)
    yield _trap("html", "24 MB of div.html", lambda: "<div>" * 4_800_000, large=True)


def _bomb(root: str, body: str, levels: int = 12) -> str:
    """Return XML whose entity `z` would expand to 10 ** levels words."""
    names = "abcdefghijklmnopqrstuvwxy"[:levels] + "z"
    entities = [f'<!ENTITY {names[0]} "rye ">']
    entities += [f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise(names)]
    return f'<?xml version="1.0"?><!DOCTYPE {root} [{"".join(entities)}]><{root}>{body}</{root}>'


def _outside(root: str, body: str) -> str:
    """Return XML whose entity `z` is a file beside it."""
    return f'<?xml version="1.0"?><!DOCTYPE {root} [<!ENTITY z SYSTEM "file://SECRET">]><{root}>{body}</{root}>'


def _xml() -> Iterator[Trap]:
    item = "<item><title>Rye</title><guid>rye</guid><description>&z;</description></item>"
    channel = f"<channel><title>Bread</title><link>https://bread.example/</link>{item}</channel>"
    plain_item = item.replace("&z;", WORDS)
    start = '<rss version="2.0"><channel><title>Bread</title><link>https://bread.example/</link>'
    end = "</channel></rss>"
    wxr = '<rss xmlns:wp="http://wordpress.org/export/1.2/" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><wp:wxr_version>1.2</wp:wxr_version>'
    wxr_item = "<item><title>Rye</title><content:encoded>{}</content:encoded><wp:post_type>post</wp:post_type><wp:status>publish</wp:status></item>"
    yield _trap("xml", "bomb.xml", lambda: _bomb("rss", channel))
    yield _trap("xml", "bomb.rss", lambda: _bomb("rss", channel))
    yield _trap("xml", "bomb.atom", lambda: _bomb("feed", "<entry><title>&z;</title><content>&z;</content></entry>"))
    yield _trap("xml", "bomb of five levels.rss", lambda: _bomb("rss", channel, 5))
    yield _trap(
        "xml",
        "bomb in wordpress.xml",
        lambda: _bomb("rss", "").removesuffix("<rss></rss>") + wxr + wxr_item.format("&z;") + end,
    )
    yield _trap(
        "xml",
        "quadratic.xml",
        lambda: f'<!DOCTYPE rss [<!ENTITY z "{"x" * 100_000}">]><rss>{channel.replace("&z;", "&z;" * 10_000)}</rss>',
    )
    yield _trap("xml", "outside.xml", lambda: _outside("rss", channel))
    yield _trap("xml", "outside.rss", lambda: _outside("rss", channel))
    yield _trap("xml", "outside.xhtml", lambda: _outside("html", f"<body><p>{WORDS * 9}</p><p>&z;</p></body>"))
    yield _trap("xml", "outside.svg", lambda: _outside("svg", "&z;"))
    yield _trap(
        "xml",
        "outside parameter.xml",
        lambda: f'<!DOCTYPE rss [<!ENTITY % p SYSTEM "file://SECRET"> %p;]><rss>{channel}</rss>',
    )
    yield _trap(
        "xml", "outside dtd.xml", lambda: f'<!DOCTYPE rss SYSTEM "http://127.0.0.1:9/rss.dtd"><rss>{channel}</rss>'
    )
    yield _trap(
        "xml",
        "include.xml",
        lambda: (
            f'{start}<item xmlns:xi="http://www.w3.org/2001/XInclude"><title>Rye</title><description><xi:include href="file://SECRET" parse="text"/></description></item>{end}'
        ),
    )
    yield _trap("xml", "deep.xml", lambda: "<rss>" + "<a>" * 100_000)
    yield _trap(
        "xml",
        "deep.rss",
        lambda: start + "<item><description>" + "<a>" * 100_000 + "</a>" * 100_000 + "</description></item>" + end,
    )
    yield _trap(
        "xml",
        "deep html in a feed.rss",
        lambda: start + plain_item.replace(WORDS, "&lt;div&gt;" * 50_000 + WORDS) + end,
    )
    yield _trap(
        "xml",
        "deep html in wordpress.xml",
        lambda: wxr + wxr_item.format("<![CDATA[" + "<div>" * 50_000 + WORDS + "]]>") + end,
    )
    yield _trap(
        "xml",
        "shortcodes in wordpress.xml",
        lambda: wxr + wxr_item.format("<![CDATA[" + "[caption a=&quot;" * 9000 + WORDS + "]]>") + end,
    )
    yield _trap(
        "xml",
        "blocks in wordpress.xml",
        lambda: wxr + wxr_item.format("<![CDATA[" + '<!-- wp:a {"a":' * 9000 + WORDS + "]]>") + end,
    )
    yield _trap(
        "xml",
        "attributes.rss",
        lambda: (
            start.replace("<channel>", "<channel " + " ".join(f'a{i}="b"' for i in range(100_000)) + ">")
            + plain_item
            + end
        ),
    )
    yield _trap(
        "xml",
        "names.rss",
        lambda: (
            start.replace("<channel>", "<channel " + " ".join(f'xmlns:a{i}="b{i}"' for i in range(20_000)) + ">")
            + plain_item
            + end
        ),
    )
    yield _trap(
        "xml",
        "5000 items.rss",
        lambda: start + "".join(plain_item.replace("rye<", f"rye{i}<") for i in range(5000)) + end,
    )
    yield _trap("xml", "5000 same items.rss", lambda: start + plain_item * 5000 + end)
    yield _trap("xml", "empty items.rss", lambda: start + "<item/>" * 50_000 + end)
    yield _trap("xml", "no items.rss", lambda: start + end)
    yield _trap("xml", "cut off.rss", lambda: (start + plain_item * 100)[:-250])
    yield _trap(
        "xml",
        "wrong encoding.rss",
        lambda: ('<?xml version="1.0" encoding="utf-16"?>' + start + plain_item + end).encode(),
    )
    yield _trap(
        "xml",
        "two encodings.rss",
        lambda: ('<?xml version="1.0" encoding="utf-8"?>' + start + plain_item + end).encode("utf-16"),
    )
    yield _trap(
        "xml",
        "utf-7.rss",
        lambda: ('<?xml version="1.0" encoding="utf-7"?>' + start + plain_item + end).encode("utf-7"),
    )
    yield _trap(
        "xml",
        "dates.rss",
        lambda: start + plain_item.replace("<guid>", f"<pubDate>{'9' * 50_000}</pubDate><guid>") + end,
    )
    yield _trap(
        "xml",
        "more dates.rss",
        lambda: (
            start
            + plain_item.replace("<guid>", f"<pubDate>{'-1' * 50_000}</pubDate><dc:date>{'T:' * 9000}</dc:date><guid>")
            + end
        ),
    )
    yield _trap(
        "xml", "sitemap of itself.xml", lambda: "<sitemapindex><sitemap><loc>sitemap.xml</loc></sitemap></sitemapindex>"
    )
    yield _trap("xml", "stylesheet.xml", lambda: '<?xml-stylesheet href="file://SECRET"?><a>rye</a>')
    yield _trap("xml", "only a start.xml", lambda: "<?xml " * 50_000)
    yield Trap("xml", "a gigabyte.xml.gz", _gigabyte_of_feed, large=True)
    yield Trap("xml", "a gigabyte.rss", _gigabyte_of_feed, large=True)
    yield _trap(
        "xml",
        "24 MB of items.rss",
        lambda: start + "".join(plain_item.replace("rye<", f"rye{i}<") for i in range(165_000)) + end,
        large=True,
    )
    yield _trap(
        "xml", "24 MB in one item.rss", lambda: start + plain_item.replace(WORDS, WORDS * 320_000) + end, large=True
    )
    yield _trap("xml", "90 MB of wordpress.xml", lambda: wxr + wxr_item.format(WORDS * 1200) * 980 + end, large=True)


def _gigabyte_of_feed(path: Path) -> None:
    """Write one stream of gzip that expands to a gigabyte; a block is packed once and repeated as it is."""
    head = b'<rss version="2.0"><channel><title>Bread</title><item><title>Rye</title><guid>1</guid><description>'
    block = (WORDS.encode() * 14_000)[:1_000_000]
    tail = b"</description></item></channel></rss>"
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed_head = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    packed_block = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(head)
    with path.open("wb") as file:
        file.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packed_head)
        for _ in range(1000):
            file.write(packed_block)
            checksum = zlib.crc32(block, checksum)
        file.write(packer.compress(tail) + packer.flush(zlib.Z_FINISH))
        size = len(head) + 1000 * len(block) + len(tail)
        file.write(struct.pack("<II", zlib.crc32(tail, checksum), size & 0xFFFFFFFF))


def _json() -> Iterator[Trap]:
    def notebook(*cells: object) -> str:
        return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)})

    def cell(source: object, kind: str = "markdown", **more: object) -> dict[str, object]:
        return {"cell_type": kind, "metadata": {}, "source": source, **more}

    def ghost(**fields: object) -> str:
        post = {"id": "1", "title": "Rye", "slug": "rye", "status": "published", **fields}
        return json.dumps(
            {"db": [{"meta": {"version": "5.0"}, "data": {"posts": [post], "tags": [], "posts_tags": []}}]}
        )

    def feed(**fields: object) -> str:
        item = {"id": "1", "title": "Rye", "content_text": WORDS, **fields}
        return json.dumps({"version": "https://jsonfeed.org/version/1.1", "title": "Bread", "items": [item]})

    nested = "[" * 100_000 + "]" * 100_000
    objects = '{"a":' * 100_000 + "1" + "}" * 100_000
    lexical = '{"children":[' * 900 + '{"type":"text","text":"rye"}' + "]}" * 900
    yield _trap("json", "nested.ipynb", lambda: nested)
    yield _trap("json", "nested objects.ipynb", lambda: objects)
    yield _trap("json", "nested cells.ipynb", lambda: '{"nbformat": 4, "cells": ' + nested + "}")
    yield _trap("json", "nested.json", lambda: nested)
    yield _trap("json", "nested objects.json", lambda: objects)
    yield _trap("json", "nested ghost.json", lambda: '{"db": [{"data": {"posts": ' + nested + "}}]}")
    yield _trap(
        "json", "nested feed.json", lambda: '{"version": "https://jsonfeed.org/version/1", "items": ' + nested + "}"
    )
    yield _trap("json", "not closed.json", lambda: "[" * 1_000_000)
    yield _trap(
        "json",
        "numbers.json",
        lambda: (
            '{"version": "https://jsonfeed.org/version/1", "items": [' + "9" * 300_000 + ", 1e999, -Infinity, NaN]}"
        ),
    )
    yield _trap(
        "json",
        "wrong types.ipynb",
        lambda: notebook(None, 1, [], cell(None), cell(5), cell({"a": 1}), cell([1, None, "rye"]), cell(WORDS, 7)),
    )  # type: ignore[arg-type]
    yield _trap("json", "no cells.ipynb", lambda: '{"nbformat": 4, "cells": {"a": 1}}')
    yield _trap("json", "many cells.ipynb", lambda: notebook(*[cell(WORDS)] * 20_000))
    yield _trap("json", "many lines.ipynb", lambda: notebook(cell(["rye\n"] * 300_000)))
    yield _trap(
        "json",
        "outputs.ipynb",
        lambda: notebook(
            cell(
                "1",
                "code",
                outputs=[
                    {"output_type": "display_data", "data": {"image/png": "A" * 5_000_000, "text/html": "<div>" * 9000}}
                ],
            )
        ),
    )
    yield _trap("json", "ticks.ipynb", lambda: notebook(cell("`" * 100_000, "code"), cell("```\n" * 9000, "code")))
    yield _trap("json", "html.ghost.json", lambda: ghost(html="<div>" * 50_000 + WORDS))
    yield _trap("json", "lexical.ghost.json", lambda: ghost(lexical='{"root":' + lexical + "}"))
    yield _trap("json", "deep lexical.ghost.json", lambda: ghost(lexical='{"root":' + '{"children":[' * 50_000))
    yield _trap(
        "json",
        "mobiledoc.ghost.json",
        lambda: ghost(
            mobiledoc=json.dumps(
                {
                    "version": "0.3.1",
                    "cards": [["markdown", {"markdown": "[" * 50_000}]],
                    "sections": [[10, 0], [10, 99], [1, "p", [[0, [9], 0, "rye"]]]],
                }
            )
        ),
    )
    yield _trap(
        "json",
        "wrong types.ghost.json",
        lambda: ghost(title=["rye"], html={"a": 1}, tags=5, published_at={}, slug=None),
    )
    yield _trap(
        "json", "wrong ghost.json", lambda: '{"db": [{"data": {"posts": {"a": 1}, "tags": 5, "posts_tags": "rye"}}]}'
    )
    yield _trap("json", "html.feed.json", lambda: feed(content_html="<div>" * 50_000 + WORDS))
    yield _trap(
        "json",
        "wrong types.feed.json",
        lambda: feed(content_text=[1], title={"a": 1}, tags="rye", authors=5, id=None, url=7),
    )
    yield _trap(
        "json",
        "many items.feed.json",
        lambda: json.dumps(
            {
                "version": "https://jsonfeed.org/version/1.1",
                "items": [{"id": str(i), "content_text": WORDS} for i in range(5000)],
            }
        ),
    )
    yield _trap("json", "24 MB of cells.ipynb", lambda: notebook(*[cell([WORDS] * 10)] * 27_000), large=True)
    yield _trap(
        "json",
        "90 MB of ghost.json",
        lambda: json.dumps(
            {
                "db": [
                    {
                        "data": {
                            "posts": [
                                {
                                    "id": str(i),
                                    "title": "Rye",
                                    "slug": f"rye-{i}",
                                    "status": "published",
                                    "html": f"<p>{WORDS * 1200}</p>",
                                }
                                for i in range(980)
                            ],
                            "tags": [],
                            "posts_tags": [],
                        }
                    }
                ]
            }
        ),
        large=True,
    )


def _text() -> Iterator[Trap]:
    noise = random.Random(7)
    yield _trap("text", "nothing.md", lambda: b"")
    yield _trap("text", "blanks.txt", lambda: " \n\t" * 1000)
    yield _trap("text", "noise.md", lambda: noise.randbytes(300_000))
    yield _trap("text", "noise without nulls.txt", lambda: noise.randbytes(300_000).replace(b"\0", b"a"))
    yield _trap("text", "nulls.txt", lambda: b"\0" * 100_000)
    yield _trap(
        "text", "broken utf-8.md", lambda: "Rye – oats\n".encode()[:-4] * 3000 + b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80"
    )
    yield _trap("text", "utf-16 without a mark.txt", lambda: (WORDS * 100).encode("utf-16-le"))
    yield _trap("text", "half utf-16.txt", lambda: (WORDS * 100).encode("utf-16")[:-1])
    yield _trap("text", "surrogates.txt", lambda: ("\ud800" * 999 + WORDS).encode("utf-16", "surrogatepass"))
    yield _trap("text", "utf-32 beyond the end.txt", lambda: b"\xff\xfe\0\0" + b"\xff\xff\xff\x7f" * 1000)
    yield _trap("text", "utf-7.txt", lambda: "+ADw-script+AD4-" * 1000)
    yield _trap("text", "escape codes.txt", lambda: "\x1b[31mrye\x1b]0;pwn\x07\r\b" * 5000)
    yield _trap("text", "returns.txt", lambda: "rye\r" * 100_000)
    yield _trap("text", "odd line ends.txt", lambda: "rye\x0b\x0c\x1c\x1d\x85\u2028\u2029" * 20_000)
    yield _trap(
        "text", "many scripts.txt", lambda: "".join(chr(c) for c in range(32, 0x30000) if not 0xD800 <= c < 0xE000)
    )
    yield _trap("text", "japanese.txt", lambda: ("パンを焼く。" * 20_000).encode("shift_jis"))
    yield _trap("text", "ligatures.txt", lambda: "\ufdfa" * 100_000)
    yield _trap("text", "emoji.txt", lambda: "👩‍👩‍👧‍👦" * 20_000)
    yield _trap("text", "300 MB.txt", lambda: WORDS * 4_000_000, large=True)
    yield _trap("text", "50 MB in one line.txt", lambda: "rye " * 12_500_000, large=True)
    yield _trap("text", "50 MB in one line.md", lambda: "rye " * 12_500_000, large=True)
    yield _trap("text", "24 MB in one line.txt", lambda: "rye " * 6_000_000, large=True)
    yield _trap("text", "24 MB in one word.txt", lambda: "x" * 24_000_000, large=True)
    yield _trap("text", "24 MB of short lines.txt", lambda: "a\n" * 12_000_000, large=True)
    yield _trap("text", "24 MB of accents.txt", lambda: "e\u0301" * 8_000_000, large=True)
    yield _trap("text", "24 MB of noise.txt", lambda: noise.randbytes(24_000_000).replace(b"\0", b"a"), large=True)
    yield _trap("text", "24 MB of numbered sentences.txt", lambda: "1. A " * 4_800_000, large=True)


def _zip(*members: tuple[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", method) as archive:
        warnings.simplefilter("ignore")  # it warns of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def _archives() -> Iterator[Trap]:
    post = ("rye.md", f"# Rye\n\n{WORDS}")

    def nested(levels: int, copies: int, core: bytes) -> bytes:
        made = core
        for level in range(levels):
            made = _zip(post, *((f"{level}-{copy}.zip", made) for copy in range(copies)))
        return made

    def tree() -> bytes:
        return nested(6, 10, _zip(("zeros.txt", b"rye " * 2_500_000)))

    def lying(said: int, central: bool = True, local: bool = True) -> bytes:
        """Return a zip whose member has 50 MB and says that it has another size."""
        made = bytearray(_zip(("rye.txt", b"rye " * 12_500_000)))
        if local:
            struct.pack_into("<I", made, 22, said)
        if central:
            struct.pack_into("<I", made, made.rindex(b"PK\x01\x02") + 24, said)
        return bytes(made)

    def encrypted() -> bytes:
        made = bytearray(_zip(post))
        made[6] |= 1
        made[made.rindex(b"PK\x01\x02") + 8] |= 1
        return bytes(made)

    def linked(target: str) -> bytes:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            info = zipfile.ZipInfo("link.md")
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
            archive.writestr(*post)
        return packed.getvalue()

    def overlapping() -> bytes:
        """Return a zip whose directory names one member of 1 MB ten thousand times."""
        made = _zip(("rye.txt", b"rye " * 250_000))
        start = made.rindex(b"PK\x01\x02")
        end = made.rindex(b"PK\x05\x06")
        entries = made[start:end] * 10_000
        return (
            made[:start]
            + entries
            + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 10_000, 10_000, len(entries), start, 0)
        )

    names = [
        "../../escaped.md",
        "/tmp/escaped.md",
        "..\\..\\escaped.md",
        "C:\\escaped.md",
        "a/../../../escaped.md",
        "//host/escaped.md",
        "./../escaped.md",
        "\\\\host\\escaped.md",
    ]
    odd = [
        "CON.md",
        "NUL.txt",
        "aux.html",
        "a\nb.md",
        "a\x1b[31m.md",
        "\u202edm.exe.md",
        "a" * 5000 + ".md",
        ".hidden.md",
        " .md",
        "a:b.md",
        "#.md",
        "a#b.md",
        "a?b%2e.md",
        "é.md",
        "e\u0301.md",
        "-rf.md",
    ]
    yield _trap("archives", "deep.zip", lambda: nested(60, 1, _zip(post)))
    yield _trap("archives", "wide and deep.zip", tree)
    yield _trap("archives", "three levels.zip", lambda: nested(2, 3, _zip(post)))
    yield _trap("archives", "traversal.zip", lambda: _zip(post, *((name, f"# Escaped\n\n{WORDS}") for name in names)))
    yield _trap(
        "archives", "odd names.zip", lambda: _zip(post, *((name, f"# Odd\n\n{name!r} {WORDS}") for name in odd))
    )
    yield _trap(
        "archives",
        "same names.zip",
        lambda: _zip(post, (post[0], "# Oats\n\nOats rise."), (post[0].upper(), "# Wheat\n\nWheat rises.")),
    )
    yield _trap("archives", "link.zip", lambda: linked("../secret.txt"))
    yield _trap("archives", "link to passwords.zip", lambda: linked("/etc/passwd"))
    yield _trap("archives", "encrypted.zip", encrypted)
    yield _trap("archives", "says ten bytes.zip", lambda: lying(10))
    yield _trap("archives", "says four gigabytes.zip", lambda: lying(0xFFFFFFF0))
    yield _trap("archives", "says ten bytes in one place.zip", lambda: lying(10, local=False))
    yield _trap("archives", "same bytes again and again.zip", overlapping)
    yield _trap("archives", "zeros.zip", lambda: _zip(post, ("zeros.txt", b"\0" * 200_000_000)))
    yield _trap("archives", "zeros in html.zip", lambda: _zip(post, ("zeros.html", b" " * 200_000_000)))
    yield _trap(
        "archives", "bzip2.zip", lambda: _zip(post, ("zeros.txt", b"rye " * 12_000_000), method=zipfile.ZIP_BZIP2)
    )
    yield _trap(
        "archives", "lzma.zip", lambda: _zip(post, ("zeros.txt", b"rye " * 12_000_000), method=zipfile.ZIP_LZMA)
    )
    yield _trap("archives", "unknown method.zip", lambda: _zip(post).replace(b"\x08\0", b"\x63\0"))
    yield _trap("archives", "empty.zip", lambda: _zip())
    yield _trap("archives", "only folders.zip", lambda: _zip(*((f"{i}/", b"") for i in range(1000))))
    yield _trap("archives", "deep folders.zip", lambda: _zip(("a/" * 20_000 + "rye.md", WORDS)))
    yield _trap("archives", "cut off.zip", lambda: _zip(post, ("oats.md", WORDS * 99))[:-60])
    yield _trap(
        "archives",
        "damaged.zip",
        lambda: _zip(post, ("oats.md", WORDS), method=zipfile.ZIP_STORED).replace(b"wet", b"wxt"),
    )
    yield _trap("archives", "not a zip.zip", lambda: b"PK\x03\x04" + b"rye" * 1000)
    yield _trap("archives", "noise.zip", lambda: b"PK\x05\x06" + random.Random(7).randbytes(50_000))
    yield _trap(
        "archives",
        "other files.zip",
        lambda: _zip(
            post,
            ("run.exe", b"MZ\0\0"),
            ("a.png", b"\x89PNG\0"),
            ("posts.csv", 'a,"b\n' * 9000),
            ("settings.json", "{}"),
        ),
    )
    yield _trap(
        "archives",
        "bad among good.zip",
        lambda: _zip(
            post,
            ("bad.docx", b"PK"),
            ("bad.pdf", b"%PDF-1.7"),
            ("bad.epub", b""),
            ("bad.ipynb", "{"),
            ("oats.md", f"# Oats\n\n{WORDS}"),
        ),
    )
    yield _trap(
        "archives",
        "substack.zip",
        lambda: _zip(
            (
                "posts.csv",
                "post_id,post_date,is_published,title\n" + f'1.rye,2026-99-99,true,"{"rye" * 99_999}"\n' * 20,
            ),
            ("posts/1.rye.html", "<div>" * 20_000 + WORDS),
        ),
    )
    yield _trap(
        "archives",
        "substack quotes.zip",
        lambda: _zip(("posts.csv", "post_id,title\n" + '"' * 100_001), ("posts/1.rye.html", f"<p>{WORDS}</p>")),
    )
    yield _trap(
        "archives",
        "medium.zip",
        lambda: _zip(
            *(
                (f"posts/2026-01-01_Rye-{i}.html", f"<article><h1>Rye</h1><p>{WORDS * 3}</p></article>")
                for i in range(200)
            )
        ),
    )
    yield _trap(
        "archives",
        "100,000 files.zip",
        lambda: _zip(*((f"{i}.md", b"") for i in range(100_000)), method=zipfile.ZIP_STORED),
        large=True,
    )
    yield _trap(
        "archives",
        "15,000 posts.zip",
        lambda: _zip(*((f"{i}.md", f"# Rye {i}\n\n{WORDS}") for i in range(15_000))),
        large=True,
    )
    yield _trap(
        "archives",
        "two gigabytes of posts.zip",
        lambda: _zip(*((f"{i}.txt", b"rye " * 6_000_000) for i in range(85))),
        large=True,
    )


def _docx(document: str, **more: str | bytes) -> bytes:
    types = '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    relations = '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>'
    return _zip(
        ("[Content_Types].xml", types), ("_rels/.rels", relations), ("word/document.xml", document), *more.items()
    )


_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def _word(body: str) -> str:
    return f"<w:document {_W}><w:body>{body}</w:body></w:document>"


def _epub(chapter: str | bytes, package: str = "", **more: str | bytes) -> bytes:
    container = '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="a.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    package = (
        package
        or '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Rye</dc:title></metadata><manifest><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>'
    )
    return _zip(
        ("mimetype", "application/epub+zip"),
        ("META-INF/container.xml", container),
        ("a.opf", package),
        ("c.xhtml", chapter),
        *more.items(),
    )


_STYLES = '<office:document-styles xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"><office:styles/></office:document-styles>'


def _odt(content: str) -> bytes:
    return _zip(
        ("mimetype", "application/vnd.oasis.opendocument.text"),
        (
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        ),
        ("content.xml", content),
        ("styles.xml", _STYLES),
    )


def _open(body: str) -> str:
    spaces = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    return f"<office:document-content {spaces}><office:body><office:text>{body}</office:text></office:body></office:document-content>"


def _books() -> Iterator[Trap]:
    paragraph = f"<w:p><w:r><w:t>{WORDS}</w:t></w:r></w:p>"
    page = f'<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>Rye</h1><p>{WORDS}</p>%s</body></html>'
    entity = _bomb("x", "").split("<x>")[0].replace("DOCTYPE x", "DOCTYPE %s")
    package = '<package xmlns="http://www.idpf.org/2007/opf"><metadata><title>&z;</title></metadata><manifest><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>'
    yield _trap(
        "books", "bomb.docx", lambda: _docx(entity % "w:document" + _word("<w:p><w:r><w:t>&z;</w:t></w:r></w:p>"))
    )
    yield _trap(
        "books",
        "outside.docx",
        lambda: _docx(
            '<!DOCTYPE a [<!ENTITY z SYSTEM "file:///etc/passwd">]>'
            + _word(paragraph + "<w:p><w:r><w:t>&z;</w:t></w:r></w:p>")
        ),
    )
    yield _trap("books", "expanded.docx", lambda: _docx(_word(paragraph), **{"word/media/a.xml": b" " * 300_000_000}))
    yield _trap("books", "expanded document.docx", lambda: _docx(_word(" " * 200_000_000 + paragraph)))
    yield _trap("books", "deep.docx", lambda: _docx(_word("<w:tbl><w:tr><w:tc>" * 3000 + paragraph)))
    yield _trap(
        "books",
        "closed deep.docx",
        lambda: _docx(_word("<w:tbl><w:tr><w:tc>" * 500 + paragraph + "</w:tc></w:tr></w:tbl>" * 500)),
    )
    yield _trap("books", "paragraphs.docx", lambda: _docx(_word(paragraph * 10_000)))
    yield _trap(
        "books",
        "spans.docx",
        lambda: _docx(
            _word(
                f'<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="99999999"/></w:tcPr>{paragraph}</w:tc></w:tr></w:tbl>'
            )
        ),
    )
    yield _trap(
        "books",
        "pictures.docx",
        lambda: _docx(
            _word(paragraph),
            **{
                "word/_rels/document.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" TargetMode="External" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" Target="file:///etc/passwd"/></Relationships>'
            },
        ),
    )
    yield _trap("books", "not a docx.docx", lambda: b"rye")
    yield _trap("books", "empty.docx", lambda: _zip())
    yield _trap("books", "old word.doc", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 5000)
    yield _trap("books", "bomb.epub", lambda: _epub(entity % "html" + page % "<p>&z;</p>"))
    yield _trap("books", "bomb in the package.epub", lambda: _epub(page % "", entity % "package" + package))
    yield _trap(
        "books",
        "outside.epub",
        lambda: _epub('<!DOCTYPE html [<!ENTITY z SYSTEM "file:///etc/passwd">]>' + page % "<p>&z;</p>"),
    )
    yield _trap(
        "books",
        "pictures.epub",
        lambda: _epub(page % '<img src="file:///etc/passwd"/><img src="../../../../etc/passwd"/>'),
    )
    yield _trap(
        "books",
        "traversal.epub",
        lambda: _epub(page % "", package.replace("&z;", "Rye").replace("c.xhtml", "../../../../../etc/passwd")),
    )
    yield _trap("books", "no chapters.epub", lambda: _epub(page % "", "<package/>"))
    yield _trap("books", "deep.epub", lambda: _epub(page % ("<div>" * 5000 + "rye" + "</div>" * 5000)))
    yield _trap(
        "books", "deep spans.epub", lambda: _epub(page % ("<blockquote>" * 2000 + "rye" + "</blockquote>" * 2000))
    )
    yield _trap("books", "expanded.epub", lambda: _epub(page % "", **{"a.css": b" " * 300_000_000}))
    yield _trap("books", "expanded chapter.epub", lambda: _epub(page % (" " * 200_000_000)))
    yield _trap("books", "long.epub", lambda: _epub(page % (f"<p>{WORDS}</p>" * 10_000)))
    yield _trap("books", "lying.epub", lambda: _lie(_epub(page % (f"<p>{WORDS}</p>" * 100_000))))
    yield _trap("books", "many pages.epub", lambda: _epub(page % "", **{f"c{i}.xhtml": page % "" for i in range(5000)}))
    yield _trap("books", "bomb.odt", lambda: _odt(entity % "office:document-content" + _open("<text:p>&z;</text:p>")))
    yield _trap(
        "books",
        "repeated.odt",
        lambda: _odt(
            _open(
                f'<text:p>{WORDS}</text:p><table:table><table:table-column table:number-columns-repeated="999999999"/><table:table-row table:number-rows-repeated="999999999"><table:table-cell table:number-columns-repeated="999999999"><text:p>rye</text:p></table:table-cell></table:table-row></table:table>'
            )
        ),
    )
    yield _trap("books", "spaces.odt", lambda: _odt(_open(f'<text:p>{WORDS}<text:s text:c="999999999"/></text:p>')))
    yield _trap(
        "books",
        "deep.odt",
        lambda: _odt(
            _open(
                "<text:list><text:list-item>" * 2000
                + f"<text:p>{WORDS}</text:p>"
                + "</text:list-item></text:list>" * 2000
            )
        ),
    )
    yield _trap("books", "expanded.odt", lambda: _odt(_open(" " * 200_000_000)))
    yield _trap("books", "not an odt.odt", lambda: _zip(("a", "b")))


def _lie(archive: bytes) -> bytes:
    """Return a zip all of whose members say that they have ten bytes."""
    made = bytearray(archive)
    at = made.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<I", made, at + 24, 10)
        at = made.find(b"PK\x01\x02", at + 4)
    return bytes(made)


def _pdf_of(*objects: bytes, root: int = 1) -> bytes:
    """Return a PDF of these objects, numbered from 1."""
    made = io.BytesIO()
    made.write(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(made.tell())
        made.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = made.tell()
    made.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    made.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    made.write(b"trailer\n<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, root, table))
    return made.getvalue()


def _stream(content: bytes, packed: bool = False) -> bytes:
    body = zlib.compress(content, 9) if packed else content
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(body), b"/Filter/FlateDecode" if packed else b"", body)


def _pages(count: int, content: bytes) -> bytes:
    """Return a PDF of `count` pages with the same content."""
    kids = b" ".join(b"%d 0 R" % number for number in range(5, 5 + count))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F 3 0 R>>>>/Contents 4 0 R>>"
    return _pdf_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        content,
        *[page] * count,
    )


def _pdf() -> Iterator[Trap]:
    line = b"BT /F 12 Tf 72 700 Td (%s) Tj ET\n" % WORDS.strip().encode()
    catalog = b"<</Type/Catalog/Pages 2 0 R>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %s]/Resources<</Font<</F 4 0 R>>>>/Contents 5 0 R>>"
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    one = b"<</Type/Pages/Count 1/Kids[3 0 R]>>"

    def single(content: bytes, size: bytes = b"612 792", pages: bytes = one) -> bytes:
        return _pdf_of(catalog, pages, page % size, font, content)

    yield _trap("pdf", "one page.pdf", lambda: single(_stream(line)))
    yield _trap("pdf", "no text.pdf", lambda: single(_stream(b"0 0 612 792 re f")))
    yield _trap("pdf", "cut off.pdf", lambda: single(_stream(line))[:-300])
    yield _trap("pdf", "only a start.pdf", lambda: b"%PDF-1.7\n")
    yield _trap("pdf", "not a pdf.pdf", lambda: b"rye " * 1000)
    yield _trap("pdf", "noise.pdf", lambda: b"%PDF-1.7\n" + random.Random(7).randbytes(200_000))
    yield _trap(
        "pdf",
        "pages of themselves.pdf",
        lambda: single(_stream(line), pages=b"<</Type/Pages/Count 9/Kids[2 0 R 2 0 R 3 0 R]>>"),
    )
    yield _trap(
        "pdf",
        "says many pages.pdf",
        lambda: single(_stream(line), pages=b"<</Type/Pages/Count 2000000000/Kids[3 0 R]>>"),
    )
    yield _trap(
        "pdf",
        "one page again and again.pdf",
        lambda: single(_stream(line), pages=b"<</Type/Pages/Count 5000/Kids[%s]>>" % (b"3 0 R " * 5000)),
    )
    yield _trap("pdf", "huge page.pdf", lambda: single(_stream(line), b"99999999999 99999999999"))
    yield _trap("pdf", "nested arrays.pdf", lambda: single(_stream(b"[" * 500_000 + line)))
    yield _trap("pdf", "nested dictionaries.pdf", lambda: _pdf_of(catalog, one, b"<</a" * 50_000))
    yield _trap("pdf", "nested states.pdf", lambda: single(_stream(b"q " * 500_000 + line)))
    yield _trap(
        "pdf",
        "overlapping letters.pdf",
        lambda: single(_stream(b"BT /F 12 Tf 72 700 Td " + b"(rye) Tj -20 0 Td " * 30_000 + b" ET")),
    )
    yield _trap(
        "pdf",
        "letters everywhere.pdf",
        lambda: single(
            _stream(
                b"BT /F 1 Tf "
                + b"".join(b"1 0 0 1 %d %d Tm (r) Tj " % (i * 37 % 612, i * 91 % 792) for i in range(30_000))
                + b"ET"
            )
        ),
    )
    yield _trap(
        "pdf",
        "bad filters.pdf",
        lambda: single(b"<</Length 5/Filter[%s]>>stream\nrye r\nendstream" % (b"/FlateDecode" * 3000)),
    )
    yield _trap("pdf", "bomb.pdf", lambda: single(_stream(b" " * 300_000_000 + line, packed=True)))
    yield _trap("pdf", "bomb of letters.pdf", lambda: single(_stream(line * 300_000, packed=True)))
    yield _trap("pdf", "bomb on many pages.pdf", lambda: _pages(300, _stream(b" " * 50_000_000 + line, packed=True)))
    yield _trap(
        "pdf",
        "encrypted.pdf",
        lambda: single(_stream(line)).replace(
            b"/Root 1 0 R", b"/Root 1 0 R/Encrypt<</Filter/Standard/V 5/R 6/O(a)/U(a)/P -1>>"
        ),
    )
    yield _trap(
        "pdf",
        "script.pdf",
        lambda: _pdf_of(
            catalog[:-2] + b"/OpenAction<</S/JavaScript/JS(app.alert\\(1\\))>>>>",
            one,
            page % b"612 792",
            font,
            _stream(line),
        ),
    )
    yield _trap("pdf", "10,000 pages.pdf", lambda: _pages(10_000, _stream(line)), large=True)
    yield _trap(
        "pdf",
        "10,000 full pages.pdf",
        lambda: _pages(10_000, _stream(b"BT /F 9 Tf 14 TL 72 750 Td " + b"(%s) ' " % WORDS.encode() * 45 + b"ET")),
        large=True,
    )


def _other() -> Iterator[Trap]:
    yield _trap(
        "other",
        "include.rst",
        lambda: (
            f"Rye\n===\n\n{WORDS}\n\n.. include:: SECRET\n\n.. literalinclude:: SECRET\n\n.. raw:: html\n   :file: SECRET\n\n.. csv-table:: a\n   :file: SECRET\n"
        ),
    )
    yield _trap(
        "other",
        "substitutions.rst",
        lambda: "|a0|\n\n" + "".join(f".. |a{i}| replace:: {f'|a{i + 1}| ' * 10}\n" for i in range(12)),
    )
    yield _trap("other", "substitution of itself.rst", lambda: f"{WORDS} |a|\n\n.. |a| replace:: |a| |a|\n")
    yield _trap(
        "other",
        "headings.rst",
        lambda: "".join(f"Rye {i}\n{c * 9}\n\n{WORDS}\n\n" for i in range(90) for c in "=-~^\"'`#*+:._"),
    )
    yield _trap("other", "roles.rst", lambda: ":a:`" * 5000 + WORDS)
    yield _trap("other", "stars.rst", lambda: "*a **b ``c `d_ |e " * 3000)
    yield _trap("other", "quotes.rst", lambda: "".join(" " * i + "a\n\n" for i in range(700)))
    yield _trap("other", "table.rst", lambda: "+-" * 2000 + "+\n" + ("| " * 2000 + "|\n") * 20 + "+-" * 2000 + "+\n")
    yield _trap(
        "other", "directives.rst", lambda: "".join(" " * (3 * i) + f".. note:: rye {i}\n\n" for i in range(300))
    )
    yield _trap("other", "24 MB.rst", lambda: ("Rye\n===\n\n" + WORDS + "\n\n") * 275_000, large=True)
    boundary = 'MIME-Version: 1.0\nContent-Type: multipart/related; boundary="b"; type="text/html"\nSubject: Rye\n\n'
    part = "--b\nContent-Type: text/html; charset={}\nContent-Transfer-Encoding: {}\nContent-Location: https://bread.example/\n\n{}\n"
    html = (
        f"<title>Rye</title><article><h1>Rye</h1><p>{WORDS * 9}</p><p>Oats do not rise.</p><p>Wheat does.</p></article>"
    )
    yield _trap("other", "page.mhtml", lambda: boundary + part.format("utf-8", "8bit", html) + "--b--\n")
    yield _trap(
        "other",
        "parts in parts.mhtml",
        lambda: "".join(f'Content-Type: multipart/mixed; boundary="b{i}"\n\n--b{i}\n' for i in range(5000)) + html,
    )
    yield _trap("other", "many parts.mhtml", lambda: boundary + part.format("utf-8", "8bit", html) * 5000 + "--b--\n")
    yield _trap(
        "other",
        "encodings.mhtml",
        lambda: (
            boundary
            + part.format("zip", "x-uuencode", "=" * 100_000)
            + part.format("rot13", "base64", "=A" * 99_999)
            + "--b--\n"
        ),
    )
    yield _trap("other", "no end.mhtml", lambda: boundary + part.format("utf-8", "quoted-printable", "=3D" * 300_000))
    yield _trap("other", "headers.mhtml", lambda: "X: a\n" * 50_000 + boundary + part.format("utf-8", "8bit", html))
    yield _trap(
        "other",
        "folded header.mhtml",
        lambda: "Subject: a\n" + " =?utf-8?q?=41?=\n" * 20_000 + boundary + part.format("utf-8", "8bit", html),
    )
    yield _trap("other", "no headers.mht", lambda: "\n" * 9000 + html)
    yield _trap("other", "gzip.md.gz", lambda: gzip.compress(WORDS.encode()))
    yield _trap("other", "gzip.md", lambda: gzip.compress(WORDS.encode() * 999))
    yield _trap("other", "picture.png", lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 1000)
    yield _trap("other", "no ending", lambda: WORDS)
    yield _trap("other", "strange ending.xyz", lambda: WORDS)


def _names() -> Iterator[Trap]:
    names = [
        "CON.md",
        "NUL.txt",
        "com1.html",
        "lpt1.md",
        "-rf.md",
        "--help.md",
        "a;touch escaped.md",
        "$(touch escaped).md",
        "%s%n.md",
        "a#b.md",
        "a?b.md",
        "a%2fb.md",
        " .md",
        "a .md",
        "'\".md",
        "<b>.md",
        "é.md",
        "e\u0301.md",
        "\u200b.md",
        "💥.md",
        "x" * 250 + ".md",
        "file:x.md",
        "http:x.md",
        "RYE.MD",
        "a.md.md",
        "..md",
    ]
    if os.name == "posix":
        names += [
            "new\nline.md",
            "\x1b[31mred\x1b]0;pwn\x07.md",
            "\u202edm.exe",
            "\u202etxt.md",
            "back\\slash.md",
            "tab\there.md",
            "star*.md",
            "b\udcffd.md",
        ]
    for name in names:
        yield _trap("names", name, lambda: f"# Rye\n\n{WORDS}\n")


def _special() -> Iterator[Trap]:
    yield Trap("special", "folder.md", lambda path: path.mkdir())
    yield Trap("special", "not there.md", lambda path: None)
    if os.name == "posix":
        yield Trap("special", "pipe.md", os.mkfifo)
        yield Trap("special", "endless.md", lambda path: path.symlink_to("/dev/zero"))
        yield Trap("special", "null.md", lambda path: path.symlink_to("/dev/null"))
        yield Trap("special", "terminal.md", lambda path: path.symlink_to("/dev/tty"))
        yield Trap("special", "link to itself.md", lambda path: path.symlink_to(path.name))
        yield Trap("special", "link to nothing.md", lambda path: path.symlink_to("nothing.md"))
        yield Trap("special", "socket.md", _listen)
        yield Trap("special", "hole.md", lambda path: path.touch() or os.truncate(path, 10_000_000_000))


def _listen(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    with listener, tempfile.TemporaryDirectory() as short:  # the name of a socket may be 107 bytes long
        listener.bind(f"{short}/socket")
        Path(f"{short}/socket").rename(path)
