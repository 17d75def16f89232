"""What Markdown looks like to Footnote: plain words for titles and quotes, and the blocks a post is made of.

On its own so that readers, passages and the page share one parser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token


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
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = []
    tokens = _block_parser().parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.level == 0 and token.map and token.nesting >= 0:
            start, end = starts[token.map[0]], min(starts[token.map[1]] - 1, len(text))
            level = int(token.tag[1]) if token.type == "heading_open" else 0
            title = plain(following.content) if level and following else ""
            end = start + len(text[start:end].rstrip())
            found.append(Block(start, end, level, title))
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
