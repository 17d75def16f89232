"""Where sentences begin and end. Passages break at them, footnotes point at them."""

from __future__ import annotations

import re
from collections.abc import Iterator

# a full stop after these ends no sentence
_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof sr jr st v vs etc e.g i.e eg ie cf al fig no vol pp c ca approx inc ltd co corp dept est gen "
    "gov rep sen hon rev col capt lt sgt mt ft jan feb mar apr jun jul aug sep sept oct nov dec u.s u.k a.m p.m".split()
)
_END = re.compile(
    r"(?<![.!?…])[.!?…]+[\"'”’)\]*_`]{0,4}(?=\s)|[。！？]+[」』”’）]{0,2}|\n[ \t]*\n\s*"
    r"|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)]|#{1,6}|\|)[ \t])"
)
_LAST_WORD = re.compile(r"([\w.]+)\.$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence, surrounding white space left out. List items stand alone."""
    return [span for span in _trimmed(text, _cuts(text)) if span[0] < span[1]]


def _cuts(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        if text[match.start()] in ".!?…" and _goes_on(text, match):
            continue
        yield match.end()
    yield len(text)


def _goes_on(text: str, match: re.Match[str]) -> bool:
    """Whether the sentence goes on behind what looks like its end."""
    after = re.compile(r"\s*[\"'“‘(\[*_`]*").match(text, match.end())
    following = text[after.end() : after.end() + 1] if after else ""
    if following.islower():
        return True
    if match.group().rstrip("\"'”’)]*_`") != ".":
        return False
    word = _LAST_WORD.search(text, max(0, match.start() - 24), match.start() + 1)
    if not word:
        return False
    stem = word.group(1)
    numbered = (
        stem.isdigit()
        and len(stem) <= 3
        and not text[text.rfind("\n", 0, word.start()) + 1 : word.start()].strip(" \t-*+")
    )
    initial = len(stem) == 1 and stem.isalpha() and stem.isupper()
    return numbered or initial or stem.lower() in _ABBREVIATIONS


def _trimmed(text: str, cuts: Iterator[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for cut in cuts:
        piece = text[start:cut]
        lead = len(piece) - len(piece.lstrip())
        yield start + lead, start + max(lead, len(piece.rstrip()))
        start = cut
