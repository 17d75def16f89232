"""The days that words name: "2023-03", "in March 2023", "since 2021", "last year", "between May and July 2024".

A module of its own: filters and questions about posts both speak of days. Weeks begin on Monday; a month without a year
is the last one that has begun."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta

from rag.errors import BadQuestion

_TYPED = re.compile(r"([0-9]{4})(?:[-/.]([0-9]{1,2})(?:[-/.]([0-9]{1,2}))?)?")
_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = "(?:19[89][0-9]|20[0-9][0-9])"  # no blog is older: an earlier year is what a post is about
_NTH = "[0-9]{1,2}(?:st|nd|rd|th)?"
_DATE = (
    rf"(?:{_YEAR}(?:-[0-9]{{1,2}}){{0,2}}"
    rf"|(?:(?:the )?{_NTH} (?:of )?)?{_MONTH}(?: {_NTH}(?![0-9]))?(?:,? (?:of )?{_YEAR})?)"
)
_PARTS = re.compile(rf"(?P<month>{_MONTH})|(?P<year>{_YEAR})|(?P<day>[0-9]{{1,2}})", re.IGNORECASE)
_COUNTS = {
    "couple of": 2,
    "few": 3,
    **{word: n for n, word in enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2)},
}
_UNITS = {"day": 1, "week": 7, "month": 30.44, "year": 365.25}
_POSTS = r"(?:posts|articles|entries)\b"
_SPOKEN = re.compile(
    r"(?:\band )?\b(?:"
    rf"(?:between|from) (?P<first>{_DATE}) (?:and|to|until|till|through) (?P<last>{_DATE})"
    rf"|(?:in |from )?(?P<first_year>{_YEAR}) ?[-–] ?(?P<last_year>{_YEAR})"
    rf"|from (?P<onward>{_DATE}) on(?:wards?)?|since (?P<since>{_DATE})"
    rf"|after (?P<later>{_DATE})|before (?P<earlier>{_DATE})|(?:until|till|up to) (?P<until>{_DATE})"
    rf"|(?:in|from|of|on|during|for) (?P<at>{_DATE})|(?P<adjective>{_DATE})(?= {_POSTS})"
    r"|(?:(?:in|from|over|within|during|for) )?(?:the )?"
    rf"(?:(?:last|past) (?P<count>[0-9]{{1,3}}|{'|'.join(_COUNTS)}) (?P<units>{'|'.join(_UNITS)})s"
    rf"|(?:past|(?<=the )last) (?P<unit>{'|'.join(_UNITS)}))"
    rf"|(?:(?:in|from|of|during) )?(?P<which>this|last) (?P<period>week|month|year|{_MONTH})(?:'?s(?= {_POSTS}))?"
    r"|(?:(?:from|of) )?(?P<word>today|yesterday))(?![\w-])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Days:
    """A text without the words that name days, and what they name: ISO days, both inclusive, None is open."""

    text: str
    after: str | None = None
    before: str | None = None


def days_of(typed: str) -> tuple[str, str]:
    """Return the first and the last day of a year, a month or a day (ISO). Raise BadQuestion if there is none such."""
    match = _TYPED.fullmatch(typed.strip())
    try:
        first, last = _span(*match.groups()) if match else _span("0")
    except ValueError:
        raise BadQuestion(
            f"“{typed[:40]}” is no date in the calendar. Type a year, a month or a day: 2023, 2023-03 or 2023-03-15."
        ) from None
    return first.isoformat(), last.isoformat()


def take_days(text: str, today: date) -> Days:
    """Take out of a text the words that name days, "in March 2023" say; a day that is none stays in it."""
    rest, after, before = text, None, None
    for match in reversed(list(_SPOKEN.finditer(text))):
        try:
            first, last = _stretch(match, today)
        except (KeyError, ValueError, OverflowError):
            continue
        rest = rest[: match.start()] + rest[match.end() :]
        after = max(filter(None, (after, first)), default=None)
        before = min(filter(None, (before, last)), default=None)
    iso = [day.isoformat() if day else None for day in (after, before)]
    return Days(" ".join(rest.split()), *iso)


def _stretch(match: re.Match[str], today: date) -> tuple[date | None, date | None]:
    """Return the first and the last day that words name. Raise ValueError if there is no such day."""
    said = {name: value.lower() for name, value in match.groupdict().items() if value}
    one_day = timedelta(days=1)
    if "first" in said or "first_year" in said:
        last_said = said.get("last") or said["last_year"]
        first_said = said.get("first") or said["first_year"]
        year = re.search(_YEAR, last_said)
        if year and not re.search(_YEAR, first_said):
            first_said += f" {year[0]}"  # between May and July 2024
        return _named(first_said, today)[0], _named(last_said, today)[1]
    if since := said.get("since") or said.get("onward"):
        return _named(since, today)[0], None
    if "later" in said:
        return _named(said["later"], today)[1] + one_day, None
    if "earlier" in said:
        return None, _named(said["earlier"], today)[0] - one_day
    if "until" in said:
        return None, _named(said["until"], today)[1]
    if at := said.get("at") or said.get("adjective"):
        return _named(at, today)
    if unit := said.get("unit") or said.get("units"):
        count = _COUNTS.get(said.get("count", ""), 0) or int(said.get("count", 1))
        return today - timedelta(days=round(count * _UNITS[unit])), today
    if "word" in said:
        day = today if said["word"] == "today" else today - one_day
        return day, day
    return _period(said["period"], said["which"] == "last", today)


def _period(period: str, last: bool, today: date) -> tuple[date, date]:
    """Return this or the last week, month or year, or the last time it was a month."""
    if period == "week":
        monday = today - timedelta(days=today.weekday() + 7 * last)
        return monday, monday + timedelta(days=6)
    if period == "year":
        return _span(str(today.year - last))
    if period == "month":
        day = today.replace(day=1) - timedelta(days=int(last))
        return _span(str(day.year), str(day.month))
    month = _MONTHS[period[:3]]
    year = today.year - (month >= today.month) if last else today.year
    return _span(str(year), str(month))


def _named(said: str, today: date) -> tuple[date, date]:
    """Return the first and the last day of "2023-03", "March 2023", "3rd of March" or "March"."""
    if match := _TYPED.fullmatch(said):
        return _span(*match.groups())
    parts = {found.lastgroup: found[0] for found in _PARTS.finditer(said)}
    month = _MONTHS[parts["month"][:3]]
    year = parts.get("year") or str(today.year - (month > today.month))
    return _span(year, str(month), parts.get("day"))


def _span(year: str, month: str | None = None, day: str | None = None) -> tuple[date, date]:
    """Return the first and the last day of a year, a month or a day. Raise ValueError if there is none such."""
    first = date(int(year), int(month or 1), int(day or 1))
    if day:
        return first, first
    last = first.replace(month=first.month if month else 12)
    return first, last.replace(day=calendar.monthrange(last.year, last.month)[1])
