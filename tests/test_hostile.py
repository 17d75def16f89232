"""Hostile files, read as the app reads them: each ends as posts or as one clear sentence, and harms nothing else.

`python -m benchmarks.hostile` reads them all, large ones too, and measures."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from benchmarks.hostile import Case, data_set_cases, document_at, fate_of, judge, look, nothing_is_written
from rag.readers.room import ReadingRoom
from rag.records import Document, Post, Refused
from tests.hostile import CANARY, Trap, make, traps

pytestmark = pytest.mark.slow

AT_ONCE = ("names", "special")
"""The families that are read in the blink of an eye; of the others, the fast tests read these."""
FAST = {
    "quotes.md", "brackets.md", "mixed stars.md", "shortcodes.md", "liquid.md", "nested mdx.mdx",
    "deep div.html", "very deep b.html", "same attribute.html", "bomb.xml", "bomb in wordpress.xml",
    "outside.rss", "wrong encoding.rss", "nested.ipynb", "nested ghost.json", "nested feed.json",
    "wrong types.ghost.json", "wide and deep.zip", "deep.zip", "traversal.zip", "odd names.zip", "link.zip",
    "encrypted.zip", "says ten bytes.zip", "says four gigabytes.zip", "bad among good.zip", "bomb.docx",
    "bomb.epub", "lying.epub", "bomb.odt", "cut off.pdf", "pages of themselves.pdf", "encrypted.pdf",
    "include.rst", "page.mhtml", "aliases.md", "objects.md", "dates.md", "nested.toml.md", "noise.md",
    "broken utf-8.md", "surrogates.txt", "nulls.txt", "escape codes.txt",
}  # fmt: skip
SAMPLE = 15
"""Documents of each data set; all of them are for the benchmark."""


@pytest.fixture(scope="module")
def room() -> Iterator[ReadingRoom]:
    made = ReadingRoom()
    yield made
    made.close()


def is_fast(trap: Trap) -> bool:
    return trap.family in AT_ONCE or trap.name in FAST


def wrong(remarks: list[str]) -> list[str]:
    """Leave out what is only slow: how fast a machine is, is no business of a test."""
    return [remark for remark in remarks if not remark.startswith("slow: ")]


def remarks(room: ReadingRoom, trap: Trap, folder: Path) -> list[str]:
    """Read a trap and return what is wrong with that; being stopped for its time or its memory is not."""
    outcome = judge(room, document_at(make(trap, folder)))
    return [] if outcome.fate in ("timed out", "memory") else wrong(outcome.remarks)


@pytest.mark.parametrize("family", sorted({trap.family for trap in traps()}))
def test_a_hostile_file_ends_as_posts_or_as_a_sentence(room: ReadingRoom, tmp_path: Path, family: str) -> None:
    found = {}
    with nothing_is_written(tmp_path) as folder:
        for trap in traps():
            if trap.family == family and is_fast(trap) and not trap.large:
                found[trap.name] = remarks(room, trap, folder)
    assert found
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({trap.family for trap in traps()} - set(AT_ONCE)))
def test_so_do_all_the_others(room: ReadingRoom, tmp_path: Path, family: str) -> None:
    found = {}
    with nothing_is_written(tmp_path) as folder:
        for trap in traps():
            if trap.family == family and not is_fast(trap) and not trap.large:
                found[trap.name] = remarks(room, trap, folder)
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.slow
def test_so_does_a_sample_of_every_data_set(room: ReadingRoom, datasets: Path) -> None:
    cases = sorted(data_set_cases(datasets / "hostile"), key=lambda case: case[0])
    found = {}
    for family, members in groupby(cases, key=lambda case: case[0]):
        known: list[Case] = list(members)
        for _, name, document in random.Random(7).sample(known, min(SAMPLE, len(known))):
            outcome = judge(room, document)
            assert outcome.fate in ("read", "refused"), (family, name, outcome)
            found[f"{family}/{name}"] = wrong(outcome.remarks)
    assert {name: said for name, said in found.items() if said} == {}


def test_the_posts_beside_a_bad_one_are_read(room: ReadingRoom, tmp_path: Path) -> None:
    trap = next(trap for trap in traps() if trap.name == "bad among good.zip")
    parts = list(room.read(document_at(make(trap, tmp_path))))
    assert sorted(part.title for part in parts if isinstance(part, Post)) == ["Oats", "Rye"]
    assert len([part for part in parts if isinstance(part, Refused)]) == 4


def test_what_a_site_answers_with_is_looked_at_as_safely(room: ReadingRoom, tmp_path: Path) -> None:
    names = {"bomb.xml", "outside.rss", "sitemap of itself.xml", "nested feed.json", "very deep div.html"}
    for trap in traps():
        if trap.name in names:
            assert wrong(look(room, document_at(make(trap, tmp_path)))) == [], trap.name


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such links.")
def test_a_link_leads_nowhere_that_a_post_does_not(room: ReadingRoom, tmp_path: Path) -> None:
    trap = next(trap for trap in traps() if trap.name == "link.zip")
    parts = list(room.read(document_at(make(trap, tmp_path))))
    assert not [part for part in parts if isinstance(part, Post) and CANARY in part.text]


def test_a_crash_would_be_noticed() -> None:
    assert fate_of([Refused("a.md", "a.md: reading this file ended its reader (SIGSEGV). Leave it out.")]) == "crashed"
    assert fate_of([]) == "silent"
    broken = Document("a.md", "a.md", data=b"Rye rises.")

    class Mute(ReadingRoom):
        def read(self, document: Document) -> Iterator[Post | Refused]:
            yield Post(document.source, "A\nB", CANARY)
            yield Post(document.source, "A", "\x1b[31m")
            yield Refused(document.source, "no")

    said = " ".join(judge(Mute(), broken).remarks)
    for remark in ("the same source", "title", "beside it", "control characters", "no clear sentence"):
        assert remark in said
