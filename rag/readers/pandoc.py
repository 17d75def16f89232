"""Pandoc as a reader: a program of its own, which turns a dozen formats into Markdown, without disk and network.

`pandoc.lua` beside this file says what is kept. One call takes 10 to 25 ms; 1 MB of HTML takes 2 s."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from rag.errors import BadFile
from rag.readers.decode import tidy
from rag.readers.dialects import outside_code
from rag.readers.facts import author_of, iso_day, line, tags_of

SECONDS = 15  # less than a post may take in all, so that the sentence here is the one that is read
TOGETHER = 300_000
"""Characters of HTML that are converted together; they take half a second."""
TOGETHER_SECONDS = 5  # what takes longer is tried again post by post, and both must fit into the time of one
MEMORY = "512M"
_FILTER = Path(__file__).with_name("pandoc.lua")
_TO = "gfm-raw_html-tex_math_dollars-tex_math_gfm"
_FACTS = re.compile(r"\A`{3,} ?facts\n(.*)\n`{3,}\n*")
_ESCAPED = re.compile(r"\\([\[$~'\"]|\](?![(\[:])|<(?=[\s\d=])|(?<=\S \\)[>*_](?=\s))")
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


@dataclass(frozen=True)
class Converted:
    """A document as Markdown, and what it says about itself: "" and () where it says nothing."""

    text: str
    title: str = ""
    author: str | None = None
    date: str | None = None
    tags: tuple[str, ...] = ()


def convert(data: bytes, form: str, name: str, seconds: int = SECONDS) -> Converted:
    """Convert a document of pandoc's input format `form`. Raise BadFile if pandoc cannot read it."""
    # imported here: most posts do without it
    import pypandoc

    command = [pypandoc.get_pandoc_path(), "--sandbox", "--quiet", "-s", "-f", form, "-t", _TO, "--wrap=none"]
    command += [f"--lua-filter={_FILTER}", "+RTS", f"-M{MEMORY}", "-RTS"]
    try:
        ran = subprocess.run(command, input=data, capture_output=True, timeout=seconds, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise BadFile(
            f"{name}: this document took longer than {seconds} s to read. Split it, or save it as plain text."
        ) from error
    except OSError as error:
        raise BadFile(
            f"{name}: pandoc, which reads this format, cannot be started ({error.strerror}). Run install.py again."
        ) from error
    if ran.returncode:
        raise BadFile(
            f"{name}: this document cannot be read; it is damaged or too large. Open it in the program that made it "
            "and save it again."
        )
    return _converted(ran.stdout.decode("utf-8", "replace"))


def fragment_to_markdown(html: str, base: str = "") -> str:
    """Turn the HTML of a post into Markdown: scripts and styles gone, images as their alt text, links kept.

    Links are made whole by `base` where it is given. Raise BadFile if the HTML is more than pandoc can take.
    """
    return _together([_closed(html, base)])[0]


def fragments_to_markdown(fragments: Sequence[tuple[str, str]]) -> list[str | None]:
    """Turn many (HTML, base address of its links) into Markdown with one start of pandoc; None for what is too much."""
    parts = [_closed(html, base) for html, base in fragments]
    with suppress(BadFile):
        return [*_together(parts)] if parts else []
    texts: list[str | None] = [None] * len(parts)
    for number, part in enumerate(parts if len(parts) > 1 else ()):
        with suppress(BadFile):
            texts[number] = _together([part])[0]
    return texts


def html_tree(html: str) -> Any:
    """Parse a page or a part of one, however broken; None if there is nothing in it, or if it is nested too deeply."""
    # imported here: most formats do without it
    from lxml import etree  # type: ignore[import-untyped,unused-ignore]
    from lxml.html import HTMLParser, document_fromstring  # type: ignore[import-untyped,unused-ignore]

    # its own declaration is no longer true of text that has been decoded
    parser = HTMLParser(encoding="utf-8", huge_tree=True)
    try:
        tree = document_fromstring(html.encode("utf-8", "replace"), parser=parser)
    except (etree.LxmlError, ValueError, AssertionError):
        return None
    last = parser.error_log.last_error
    return None if last is not None and "depth" in last.message else tree  # what is deeper it has left out


def _closed(html: str, base: str) -> str:
    """Return HTML with every element in it closed and its links whole; of what is nested too deeply the words."""
    from lxml.html import tostring

    tree = html_tree(f"<body>{html}")
    if tree is None:
        return f"<p>{escape(unescape(re.sub('<[^<>]*>', ' ', html)))}</p>"
    for link in tree.iter("a") if base else ():
        if (target := link.get("href")) and not target.startswith("#"):
            with suppress(ValueError):
                link.set("href", urljoin(base, target.strip()))
    for body in tree.iterchildren("body"):
        body.tag = "div"
    # a stray "</body>" leaves some beside the body
    return "".join(str(tostring(part, encoding="unicode")) for part in tree)


def _together(parts: Sequence[str]) -> list[str]:
    mark = secrets.token_hex(12)  # which nobody can know, and so none can pass words of one post off as another's
    joined = "".join(f"<p>{mark}</p>{part}" for part in parts)
    seconds = TOGETHER_SECONDS if len(joined) < 2 * TOGETHER else SECONDS
    found = convert(joined.encode("utf-8", "replace"), "html-native_divs-native_spans", "HTML", seconds)
    texts = [text.strip("\n").rstrip() for text in found.text.split(mark)[1:]]
    if len(texts) != len(parts):
        raise BadFile("HTML: this text cannot be told apart from what stands beside it. Save it as plain text.")
    return texts


def _converted(output: str) -> Converted:
    known: dict[str, Any] = {}
    if match := _FACTS.match(output):
        known, output = json.loads(match.group(1)), output[match.end() :]
    # pandoc escapes more than Markdown asks for, and each backslash would be read by the embedder
    text = outside_code(tidy(_COLOURS.sub("", output)), lambda prose: _ESCAPED.sub(r"\1", prose))
    return Converted(
        text=text.strip("\n").rstrip(),
        title=line(known.get("title")),
        author=author_of(known.get("author")),
        date=iso_day(known.get("date")),
        tags=tags_of(list(known.get("tags") or [])),
    )
