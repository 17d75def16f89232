"""Markdown as Footnote sees it: the plain words of a line, and the blocks of a post."""

from __future__ import annotations

import pytest

from rag.markup import blocks, plain


@pytest.mark.parametrize(
    ("markup", "words"),
    [
        ("*Very* **hot** `pan`", "Very hot pan"),
        ("[the mill](https://example.com/mill 'Mill')", "the mill"),
        ("![a loaf](loaf.png) Bread", "Bread"),
        ("Bread <script>alert(1)</script>", "Bread alert(1)"),
        ("~~white~~ rye", "white rye"),
        ("water\nand\\\nflour", "water and flour"),
        ("50 &lt; 60 &amp; more", "50 < 60 & more"),
        ("2 \\* 3", "2 * 3"),
        ("snake_case_name", "snake_case_name"),
        ("", ""),
    ],
)
def test_plain_keeps_the_words_and_drops_the_marks(markup: str, words: str) -> None:
    assert plain(markup) == words


def test_a_post_falls_into_its_blocks() -> None:
    text = "\n".join(
        [
            "# A *hot* oven",
            "",
            "It is old,",
            "and it smokes.",
            "",
            "- flour",
            "- water",
            "",
            "```",
            "# not a heading",
            "```",
            "Setext",
            "------",
            "> quoted",
            "",
            "| a | b |",
            "|---|---|",
            "| 1 | 2 |",
        ]
    )
    found = [(text[block.start : block.end], block.level, block.title) for block in blocks(text)]
    assert found == [
        ("# A *hot* oven", 1, "A hot oven"),
        ("It is old,\nand it smokes.", 0, ""),
        ("- flour\n- water", 0, ""),
        ("```\n# not a heading\n```", 0, ""),
        ("Setext\n------", 2, "Setext"),
        ("> quoted", 0, ""),
        ("| a | b |\n|---|---|\n| 1 | 2 |", 0, ""),
    ]


def test_what_is_in_no_block_is_blank() -> None:
    text = "\n\n  Bread.\n\n[mill]: https://example.com/mill\n\n<!-- a comment -->\n\n***\n\n&nbsp;\n\n\t\n"
    rest, position = "", 0
    for block in blocks(text):
        rest += text[position : block.start]
        position = block.end
    assert (rest + text[position:]).strip() == ""


@pytest.mark.parametrize("text", ["", "\n", "   \n \n"])
def test_a_blank_text_has_no_blocks(text: str) -> None:
    assert blocks(text) == []


@pytest.mark.parametrize("text", ["Rye\rWheat", "Rye\r\nWheat\r\n\r\nSpelt", "Rye\x00\x0c\x1c\u2028Wheat\n\nSpelt"])
def test_odd_line_ends_do_not_shift_the_blocks(text: str) -> None:
    found = [text[block.start : block.end] for block in blocks(text)]
    assert "".join("".join(found).split()) == "".join(text.split())
    assert found[-1].endswith(text.rstrip()[-5:])


def test_ten_thousand_brackets_or_quotes_are_read_in_time() -> None:
    for hostile in ("[" * 10_000, ">" * 10_000, "*a_ " * 5_000, "- " * 5_000, "`" * 10_000, "<" * 10_000):
        assert len(blocks(hostile)) == 1
