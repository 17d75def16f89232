"""What is typed -> the question and the filters in it: `tag:`, `after:`, `before:`, `post:`, "exact phrase", -word.

A module of its own, because every way to ask reads what is typed alike. Whatever is not surely a filter is text: a
hyphen, a colon, a quotation mark or a command's option in an ordinary question must not change what is searched for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rag.finding.days import days_of
from rag.records import NO_FILTERS, Filters

_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»＂", '"'))
_CLOSED = r"(?=[\s.,;:!?)]|$)"
_TYPED = re.compile(
    r"`[^`]*`"  # code holds no filters
    r"|(?<!\S)(?:"
    r'(?P<key>(?i:tag|after|before|post)):(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]\S*))'
    rf'|"(?P<phrase>[^\s"](?:[^"]*[^\s"])?)"{_CLOSED}'
    # one or two small letters are a command's option: ls -la
    rf"|-(?P<word>(?![a-z]{{1,2}}(?!\w))[^\W\d_]\w+(?:['’-]\w+)*){_CLOSED})"
)
_LIKE_A_DATE = re.compile(r"[0-9][0-9/.-]*")
_SAYING = re.compile(r"[^\W_]")  # a letter or a digit: without one there is nothing to look for
_ASKS = re.compile(
    r"\W*(?:how|what|when|where|which|who|whom|whose|why|is|are|was|were|do|does|did|can|could|should|would|will)\b",
    re.IGNORECASE,
)
_LONG = 8  # words; more of them in quotation marks, and nothing beside them, are a question that was pasted


@dataclass(frozen=True)
class Query:
    """What is searched for, in words, and where. `text` is empty where only filters were typed."""

    text: str
    filters: Filters = NO_FILTERS


def parse(typed: str) -> Query:
    """Take the filters out of what was typed; the words of a phrase stay in the text, too.

    Raise BadQuestion for a date that is none. Anything else is accepted, and is text where it is no filter.
    """
    found = _filters_in(typed.translate(_QUOTES))
    if not found:
        return Query(typed)
    text = _without(found, typed, keep_phrases=True)
    return Query(text if _SAYING.search(text) else "", _filters(found))


def narrowing(tag: str, after: str, before: str) -> str:
    """Return chosen filters as they would be typed, "" for none. Raise BadQuestion for a date that is none."""
    plain = " ".join(tag.translate(_QUOTES).replace('"', " ").split())
    parts = [f'tag:"{plain}"'] if plain else []
    for key, day in (("after", after.strip()), ("before", before.strip())):
        if day:
            days_of(day)
            parts.append(f"{key}:{day}")
    return " ".join(parts)


def described(filters: Filters) -> str:
    """Say in words what filters let through, "" for none: 'tagged “bread”, from 2023-03-01 on'."""
    parts = [f"tagged “{tag}”" for tag in filters.tags]
    parts += [f"called “{title}”" for title in filters.posts]
    parts += [_days(filters.after, filters.before)] if filters.after or filters.before else []
    parts += [f"with the words “{phrase}”" for phrase in filters.phrases]
    parts += [f"without “{word}”" for word in filters.without]
    return ", ".join(parts)


def _days(after: str | None, before: str | None) -> str:
    if after and before:
        return f"from {after} to {before}" if after != before else f"of {after}"
    return f"from {after} on" if after else f"until {before}"


def _asks(text: str) -> bool:
    """Say whether a text is a question, or a sentence of one."""
    return bool(_ASKS.match(text)) or text.rstrip(" \t\n\"'”’).!…").endswith("?")


def _filters_in(typed: str) -> list[re.Match[str]]:
    """Return what is surely a filter in what was typed, straight quotation marks in it."""
    found = [match for match in _TYPED.finditer(typed) if _may_filter(match)]
    rest = _without(found, typed)
    if len(found) == 1 and found[0]["phrase"] and not _SAYING.search(rest):
        whole = found[0]["phrase"]
        return [] if _asks(whole) or len(whole.split()) > _LONG else found
    if not _asks(rest):
        return found
    # in a sentence a dash is one, and an option is code: a word is left out only where the sentence has ended
    end = len(typed)
    for match in reversed(found):
        end = match.start() if not _SAYING.search(typed, match.end(), end) else end
    return [match for match in found if not match["word"] or match.start() >= end]


def _may_filter(match: re.Match[str]) -> bool:
    if match["key"] and match["key"].lower() in ("after", "before"):
        return bool(_LIKE_A_DATE.fullmatch(_value(match)))
    said = match["word"] or match["phrase"] or (_value(match) if match["key"] else "")
    return bool(_SAYING.search(said)) and not (match["phrase"] or "").endswith(("…", "..."))  # a title cut short


def _value(match: re.Match[str]) -> str:
    return " ".join((match["quoted"] or "").split()) or (match["bare"] or "").rstrip(".,;:!?)")


def _without(found: Sequence[re.Match[str]], typed: str, *, keep_phrases: bool = False) -> str:
    """Return what was typed without its filters, in one line."""
    kept, position = [], 0
    for match in found:
        kept += [typed[position : match.start()], match["phrase"] if keep_phrases and match["phrase"] else ""]
        position = match.end()
    return " ".join(" ".join([*kept, typed[position:]]).split())


def _filters(found: Sequence[re.Match[str]]) -> Filters:
    values = [(match["key"].lower(), _value(match)) for match in found if match["key"]]
    after = [days_of(value)[0] for key, value in values if key == "after"]
    before = [days_of(value)[1] for key, value in values if key == "before"]
    return Filters(
        tags=_each_once(value.lstrip("#") for key, value in values if key == "tag"),
        after=max(after, default=None),
        before=min(before, default=None),
        posts=_each_once(value for key, value in values if key == "post"),
        phrases=_each_once(" ".join(match["phrase"].split()) for match in found if match["phrase"]),
        without=_each_once(match["word"] for match in found if match["word"]),
    )


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
