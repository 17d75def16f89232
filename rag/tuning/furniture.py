"""Whether a passage is furniture of a page: menus, lists of links, tag counts, footers.

On its own because it is told by the look of its lines alone, which neither questions nor posts come into."""

from __future__ import annotations

import re

SAID = 0.4
"""Share of a passage's words that must stand in sentences, where its other lines look like a menu's, a tag cloud's or a
footer's. On 2026-11-25: all 11 passages of
seed_posts that are furniture are found and none of the other 100, nor one of the 6,967 of xquad_en, zoomcamp_faq,
clapnq_half and scifact; of the 9,049 of two blogs 23, which are lists of links, addresses and printed calendars."""
_LINKED = 0.7  # share of the words that are links, from which what has hardly a sentence beside them is a list of links
_LINKS = 3
_SIGNS = 2  # lines or phrases of a menu or a footer
_LONG_LINE, _SHORT_LINE = 30, 5  # words of a line from which it is prose, without and with a full stop
_BARE = 0.4  # share of the lines that are numbers, days or tags alone

_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^)\s]{0,2000}[^)]{0,300}\)|<https?://[^>]*>|https?://\S+")
_FENCED = re.compile(r"(?ms)^(```+|~~~+).*?(?:^\1[`~]*$|\Z)")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MARKS = re.compile(r"^[\s>#*+•|\d.)-]+|[*_`]+")
_WRAPPED = re.compile(r"(.{45})\n(?=[(\"'“‘*_`\[]?[a-z\u00df-\u024f])")  # a paragraph's line and its next one
_ENDED = re.compile(r"(?<![ap]\.m)[.!?:;…。！？]['\"”’)\]]*$")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SIGNS_IN = re.compile(  # phrases of a menu or a footer
    r"(?i)\b(?:subscribe (?:to|via|now|here)|follow (?:me|us) on|share (?:on|this|via)|tweet this|unsubscribe|permalink"
    r"|(?:more )?recent (?:articles|posts|comments|entries)|related (?:posts|articles|stories|content)"
    r"|you (?:may|might) also like|read (?:more|next)|continue reading|posted (?:in|by|on|under|\d)|filed under"
    r"|(?:next|previous|older|newer) (?:post|article|entry|page|story)s?|skip to (?:main )?content|back to (?:the )?top"
    r"|all rights reserved|privacy (?:policy|notice)|terms (?:of (?:service|use)|and conditions)|powered by|site ?map"
    r"|cookie (?:policy|settings|notice)|(?:accept|use) (?:all )?cookies|leave a (?:comment|reply)|post a comment"
    r"|tagged (?:with|as|in)|part of series|toggle navigation|min(?:ute)?s? read)\b|©|\bcopyright \d"
)
_SIGN_ALONE = re.compile(  # lines of one
    r"(?i)^\W*(?:subscribe|sign (?:in|up)|log ?(?:in|out)|register|(?:next|previous|prev)\b.*|tags?(?::.*)?|menu|search"
    r"|categories(?::.*)?|main menu|home|archives?|share|about(?: us)?|contact(?: us)?|colophon|\d+ comments?|comments?"
    r"|table of contents|advertisement|sponsored|rss(?: feed)?|newsletter|copy link|twitter|facebook|linkedin|mastodon"
    r"|github|youtube|instagram|email|print|reply|like|copyright\b.*)\W*$"
)
_ONLY = re.compile(  # a line of a number, a day or a time alone
    r"(?i)^\W*(?:\d[\d\s.,:/-]*|(?:\d{1,2}(?:st|nd|rd|th)?\s+)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
    r"\s*(?:\d{1,2}(?:st|nd|rd|th)?)?,?\s*(?:\d{4})?(?:,?\s*\d{1,2}:\d\d\s*(?:[ap]\.?m\.?)?)?)\W*$"
)


def is_furniture(passage: str) -> bool:
    """Say whether a passage, in Markdown or plain, is furniture of a page and no part of what somebody wrote."""
    text = _FENCED.sub("\n", passage)
    text = _WRAPPED.sub(r"\1 ", text)
    raw = [line.strip() for line in text.splitlines() if line.strip()]
    if not _WORD.search(text):
        return not _WORD.search(passage)
    if _UNSPACED.search(text) and not _LINK.search(text):
        return False  # where words are not told apart, their number tells nothing
    plain = [_LINK.sub(lambda match: match[1] or "", _MARKS.sub("", line)).strip() for line in raw]
    if not any(map(_WORD.search, plain)):  # pictures and addresses alone
        return True
    prose = [_is_prose(line) for line in plain]
    said = _share(plain, prose)
    if _lists_links(raw, plain):
        return True
    bare = sum(1 for line in raw if _ONLY.match(line.strip("*_#> \t")))
    signs = sum(1 for line, told in zip(plain, prose, strict=True) if not told for _ in _SIGNS_IN.finditer(line)) + sum(
        1 for line in plain if _SIGN_ALONE.match(line)
    )
    return said < SAID and ((len(raw) >= _LINKS and bare >= _BARE * len(raw)) or signs >= _SIGNS)


def _lists_links(raw: list[str], plain: list[str]) -> bool:
    """Say whether nearly all words are links, and those beside them say nothing."""
    links = [match[1] or "" for line in raw for match in _LINK.finditer(line)]
    words = sum(len(_WORD.findall(line)) for line in plain)
    if len(links) < _LINKS or sum(len(_WORD.findall(link)) for link in links) < _LINKED * words:
        return False
    beside = [_LINK.sub(" ", _MARKS.sub("", line)).strip() for line in raw]
    return _share(beside, [_is_prose(line) for line in beside]) < SAID


def _share(lines: list[str], prose: list[bool]) -> float:
    """Return the share of the words that stand in sentences."""
    counts = [len(_WORD.findall(line)) for line in lines]
    return sum(count for count, told in zip(counts, prose, strict=True) if told) / max(1, sum(counts))


def _is_prose(line: str) -> bool:
    """Say whether a line looks like a sentence or a part of a paragraph."""
    count = len(_WORD.findall(line))
    return count >= _LONG_LINE or (count >= _SHORT_LINE and _ENDED.search(line) is not None)
