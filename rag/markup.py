"""What Markdown looks like to Footnote: plain words for titles and quotes, and the blocks a post is made of.

On its own so that readers, passages and the page share one parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LINE_END = re.compile(r"\r\n?|\n")  # what the parser takes for one


@dataclass(frozen=True)
class Block:
    """A top-level block of Markdown at `start:end` of its text; `level` is 1 to 6 for headings, else 0."""

    start: int
    end: int
    level: int
    title: str


def plain(markup: str) -> str:
    """Return the words of a piece of inline Markdown on one line, without its marks, images and HTML tags."""
    tokens = _inline_parser().parseInline(markup)
    return " ".join("".join(_words(tokens)).split())


def blocks(text: str) -> list[Block]:
    """List the top-level blocks of a Markdown text, in order; what no block covers is blank."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(text)), len(text)]
    found = []
    tokens = _block_parser().parse(text)
    for number, token in enumerate(tokens):
        if token.level == 0 and token.map and token.nesting >= 0:
            start, end = (starts[min(line, len(starts) - 1)] for line in token.map)
            level = int(token.tag[1]) if token.type == "heading_open" else 0
            title = plain(tokens[number + 1].content[:300]) if level else ""
            found.append(Block(start, start + len(text[start:end].rstrip()), level, title))
    return [block for block in found if block.end > block.start]


def _words(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.type == "inline" and token.children:
            yield from _words(token.children)


@cache
def _inline_parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


@cache
def _block_parser() -> MarkdownIt:
    # passages need only where blocks begin and end; link references stay in the text
    return MarkdownIt("commonmark").enable("table").disable(["inline", "reference", "text_join"])
