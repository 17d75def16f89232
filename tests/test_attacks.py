"""Inputs that once froze the page, took other files with them, or reached a terminal raw."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.passages import split
from rag.records import Post
from rag.sentences import sentence_spans
from tests.house import House, outcomes
from tests.reading import read_bytes

pytestmark = pytest.mark.slow


def read(content: str, name: str = "post.md") -> Post:
    """Read a file of this content."""
    return read_bytes(content.encode(), source=name, name=name, max_bytes=10_000_000)


def words(texts: list[str]) -> list[int]:
    """Count words, as a tokenizer that knows the script would."""
    return [len(text.split()) for text in texts]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        "# x" + " " * 20_000 + "y\n\nBread rises.",
        "# a" + "\t" * 9000 + "#" * 9000 + "b\n\nBread rises.",
        "# " + "word " * 20_000 + "\n\n" + "Bread rises.\n\n" * 1000,
        "Bread\n\n" + "\u200b\n\n" * 20_000,
        "Bread " + "a" + "\u0301\u0316" * 200_000,
    ],
    ids=["blanks", "hashes", "long heading", "nothing to see", "piled accents"],
)
def test_a_small_file_is_read_and_split_in_seconds(content: str) -> None:
    post = read(content)
    assert list(split(post, words, 250))


@pytest.mark.timeout(20)
def test_a_long_line_of_numbered_sentences_is_read_in_seconds() -> None:
    assert sentence_spans("1. A " * 100_000)


@pytest.mark.parametrize(
    "line",
    ['title: "a\\ud800b"', "date: !!timestamp abc", "title: !!int ''", "draft: !!bool maybe", "title: 0x" + "f" * 4000],
)
def test_odd_front_matter_harms_no_file_beside_it(house: House, tmp_path: Path, line: str) -> None:
    for name, content in (("a", "Rye rises."), ("b", f"---\n{line}\n---\nOats rise."), ("c", "Wheat rises.")):
        (tmp_path / f"{name}.md").write_text(content, encoding="utf-8")
    outcomes = [progress.state for progress in house.engine.add([str(tmp_path)])]
    assert outcomes.count("added") == 3


def test_a_title_reaches_a_terminal_without_its_control_characters() -> None:
    post = read('---\ntitle: "\\e]0;pwn\\a\\e[31mred"\ntags: ["\\e[2J"]\n---\nBread rises.')
    assert "\x1b" not in post.title + "".join(post.tags)
    assert "red" in post.title


def test_a_script_that_the_tokenizer_does_not_know_still_gets_small_passages() -> None:
    post = read("อาหารไทยต้องใช้พริก" * 400)
    passages = list(split(post, lambda texts: [1 for _ in texts], 250))
    assert len(passages) > 3
    assert all(post.text[p.start : p.end] == p.text for p in passages)


def test_an_empty_path_adds_nothing(house: House) -> None:
    [outcome] = house.engine.add([""])
    assert outcome.state == "failed"
    assert "empty path" in outcome.error


def test_an_upload_that_another_tab_took_away_fails_alone(house: House, tmp_path: Path) -> None:
    there = tmp_path / "there.md"
    there.write_text("Bread rises.", encoding="utf-8")
    states = [p.state for p in house.engine.add_uploads([(tmp_path / "gone.md", "gone.md"), (there, "there.md")])]
    assert states.count("failed") == 1
    assert states.count("added") == 1


def test_files_of_one_name_dropped_together_are_all_kept(house: House, tmp_path: Path) -> None:
    files = []
    for folder, content in (("rye", "# Rye\n\nRye rises."), ("oats", "# Oats\n\nOats rise."), ("none", " ")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "index.md").write_text(content, encoding="utf-8")
        files.append((tmp_path / folder / "index.md", "index.md"))
    ended = {p.source: p.state for p in outcomes(house.engine.add_uploads(files))}
    assert sorted(ended.values()) == ["added", "added", "failed"]
    assert sorted(post.title for post in house.engine.posts()) == ["Oats", "Rye"]
