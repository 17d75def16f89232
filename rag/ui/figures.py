"""What the tab Quality shows, as HTML: how search does, how one question is searched, what was judged.

As in render.py, every word that Footnote did not write is escaped here."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape

from rag.amounts import counted
from rag.markup import plain
from rag.measuring.gold import Placed
from rag.measuring.quality import MODES, Measured, certainty
from rag.records import Coverage, Found, Hit, SearchMode
from rag.search import SHOWN
from rag.ui.render import short
from rag.words import stem, stems_of

EMPTY = (
    "<div class='empty'><h2>There are no posts yet</h2><p>How well search does is measured on your own posts. Add "
    "some first.</p></div>"
)
UNMEASURED = (
    "<p class='note'>Nothing was measured yet. Footnote makes questions of your own posts, puts them to its search, "
    "and counts how often the right passage comes up. It takes about a minute.</p>"
)
EXPLAINED = (
    "<p class='note'>The questions are made by rules, not by people: a sentence of a passage, its rarest word left "
    "out, most others replaced. On five collections that people have judged, this number was off by 7 of 100 (at most "
    "by 19), and told the better of two searches 14 times of 15. So read it as a comparison with those before. A "
    "weaker search model makes odder questions, too, which exaggerates the difference.</p>"
)
_KINDS: dict[SearchMode, str] = {"hybrid": "Both together", "dense": "Meaning alone", "lexical": "Words alone"}
_COVERAGE: dict[Coverage, str] = {"covered": "Covered", "maybe": "Perhaps covered", "not covered": "Not covered"}
_LEG = 110  # characters of a passage shown in a leg
_WORDS = 40  # of a question that are shown
_BOTH = 420  # and in the order of both
_LEAD = 30  # characters of it before the first word looked for
_READ = 6_000  # characters of a passage that are read for that
_HEADING = re.compile(r"(?m)^#{1,6} .*\n?")
_TOKEN = re.compile(r"&#?\w+;|[^\W_]+")  # an entity, which stays as it is, or a word


def reading(measured: Measured) -> str:
    """Say in plain words what was measured."""
    score, count = measured.scores["hybrid"], measured.questions
    low, high = certainty(score.first, count)
    first = (
        f"Of {count:,} questions made from your posts, the right passage is first for {score.first:,} and among the "
        f"{SHOWN} shown for {score.shown:,}."
    )
    if count != 100:
        first += f" That is {_share(score.first, count)} and {_share(score.shown, count)} of 100."
    sure = f"sample of {count:,}, {day(measured.moment)}; between {low} and {high} of 100 first with 95 % certainty"
    return f"{first} ({sure})"


def day(moment: str) -> str:
    """Return the day of a moment as one reads it."""
    when = datetime.fromisoformat(moment)
    return f"{when.day} {when:%B %Y}"


def number(measured: Measured | None) -> str:
    """Render the last measurement: a sentence, and each search by itself."""
    if measured is None:
        return UNMEASURED
    said, _, sure = reading(measured).partition(" (")
    rows = "".join(_mode(measured, mode) for mode in MODES)
    return (
        f"<p class='reading'>{escape(said)}</p><p class='note'>({escape(sure)}; search model "
        f"{escape(measured.embedder)}, {measured.passages:,} passages)</p>"
        f"{table(['Of 100 questions', 'first', f'among {SHOWN}', 'MRR@10'], rows)}{_judged(measured)}{EXPLAINED}"
    )


def progress(what: str, done: int, total: int) -> str:
    """Render how far a measurement is."""
    counted = f": {done:,} of {total:,}" if total else "…"
    bar = f"<progress max='{total}' value='{done}' aria-label='done'></progress>" if total else ""
    return f"<p class='status' role='status'><span class='dot'></span>{escape(what)}{counted}</p>{bar}"


def history(known: Sequence[Measured]) -> str:
    """Render the measurements that are remembered, newest first."""
    head = ["When (UTC)", "Questions", "First", f"Among {SHOWN}", "Yours first", "Passages", "Model"]
    return table(head, "".join(map(_earlier, known)))


def inspected(found: Found, words: Found, meaning: Found, judged: Placed) -> str:
    """Render how a question is searched: the order of both together, and each leg beside the other."""
    stems = frozenset(map(stem, found.words)) or stems_of(found.question)
    answers = frozenset(judged.marks)
    both = "".join(_fused(hit, stems, answers) for hit in found.hits)
    return (
        f"{_searched(found)}<h3>Both together</h3>{_listed(both, 'fused')}{_denial(judged)}"
        f"<div class='legs'>{_leg('Words alone', words, stems, answers, lambda hit: f'{hit.lexical:.2f} of the best')}"
        f"{_leg('Meaning alone', meaning, stems, answers, lambda hit: f'cosine {hit.cosine or 0:.2f}')}</div>"
    )


def gold(placed: Sequence[Placed]) -> str:
    """Render what was judged, and the way to take it along."""
    if not placed:
        return (
            "<p class='note'>Type a question above and mark the passages that answer it. The questions you judge are "
            "measured too, and are yours to take along.</p>"
        )
    rows = "".join(map(_gold_row, placed))
    return (
        f"<ul class='gold'>{rows}</ul><p class='note'><a href='footnote/gold-set.zip' download>Download them</a> with "
        "your passages, as a collection in BEIR layout (a zip).</p>"
    )


def _earlier(measured: Measured) -> str:
    score, count = measured.scores["hybrid"], measured.questions
    yours = f"{measured.gold['hybrid']['accuracy@1']:.0%} of {measured.judged:,}" if measured.gold else "–"
    cells = (
        escape(measured.moment[:16].replace("T", " ")),
        f"{count:,}",
        f"{_share(score.first, count)}%",
        f"{_share(score.shown, count)}%",
        yours,
        f"{measured.passages:,}",
        escape(measured.embedder),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _mode(measured: Measured, mode: SearchMode) -> str:
    score, count = measured.scores[mode], measured.questions
    low, high = certainty(score.first, count)
    return (
        f"<tr><th>{_KINDS[mode]}</th><td>{_share(score.first, count)} <span class='meta'>({low} to {high})</span></td>"
        f"<td>{_share(score.shown, count)}</td><td>{score.mrr:.3f}</td></tr>"
    )


def _judged(measured: Measured) -> str:
    """Render how the gold set did."""
    said = ""
    if measured.gold:
        rows = "".join(
            f"<tr><th>{_KINDS[mode]}</th>"
            + "".join(f"<td>{measured.gold[mode][name]:.3f}</td>" for name in ("accuracy@1", "accuracy@10", "ndcg@10"))
            + "</tr>"
            for mode in MODES
        )
        said = table(
            [f"{counted(measured.judged, 'question')} you judged", "accuracy@1", "accuracy@10", "NDCG@10"], rows
        )
    if measured.denied:
        said += (
            f"<p class='note'>Of {counted(measured.denied, 'question')} that you say no passage answers, Footnote says "
            f"so too for {measured.refused:,}.</p>"
        )
    return said


def table(head: Sequence[str], rows: str) -> str:
    """Render a table of rows that are HTML; wider than the page, it can be moved."""
    heads = "".join(f"<th>{name}</th>" for name in head)
    return (
        f"<div class='wide' tabindex='0'><table class='figures'><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _searched(found: Found) -> str:
    sure = "" if found.probability is None else f" {found.probability:.2f}"
    words = " ".join(f"<mark>{escape(word)}</mark>" for word in found.words[:_WORDS])
    return (
        f"<p class='reading' data-inspected='{escape(found.question)}'>{_COVERAGE[found.coverage]}{sure}</p>"
        f"<p class='note'>Searched for “{escape(short(found.question, _BOTH))}”"
        f"{' by the words ' if words else ''}{words}</p>"
    )


def _fused(hit: Hit, stems: frozenset[str], answers: frozenset[int]) -> str:
    words = f"words {_place(hit.lexical_rank)}" + (f" ({hit.lexical:.2f} of the best)" if hit.lexical_rank else "")
    meaning = f"meaning {_place(hit.dense_rank)}" + (f" (cosine {hit.cosine:.2f})" if hit.cosine is not None else "")
    return (
        f"<li>{_title(hit, stems)}<div class='meta'>score {hit.score:.2f} · {words} · {meaning}</div>"
        f"<div>{_excerpt(hit.passage.text, stems, _BOTH)}</div>{_button(hit, answers)}</li>"
    )


def _leg(title: str, found: Found, stems: frozenset[str], answers: frozenset[int], score: Callable[[Hit], str]) -> str:
    rows = "".join(
        f"<li>{_title(hit, stems)}<div>{_excerpt(hit.passage.text, stems, _LEG)}</div>"
        f"<div class='meta'>{score(hit)} {_button(hit, answers)}</div></li>"
        for hit in found.hits
    )
    return f"<section><h3>{title}</h3>{_listed(rows, 'leg')}</section>"


def _listed(rows: str, kind: str) -> str:
    return f"<ol class='hits {kind}'>{rows}</ol>" if rows else "<p class='note'>Nothing was found.</p>"


def _title(hit: Hit, stems: frozenset[str]) -> str:
    return f"<strong>{_with_marks(hit.passage.heading or hit.title, stems)}</strong>"


def _place(rank: int | None) -> str:
    return f"#{rank}" if rank else "not found"


def _button(hit: Hit, answers: frozenset[int]) -> str:
    marked = hit.passage.id in answers
    act, said = ("unmark", "✓ Answers it · undo") if marked else ("mark", "This answers it")
    return f"<button class='judge {act}' data-act='{act}' data-passage='{hit.passage.id}'>{said}</button>"


def _denial(judged: Placed) -> str:
    if judged.denied:
        return "<p><button class='judge unmark' data-act='forget'>✓ No passage answers this · undo</button></p>"
    return "<p><button class='judge mark' data-act='deny'>No passage answers this</button></p>"


def _gold_row(placed: Placed) -> str:
    count = len(placed.marks)
    said = "no passage answers it" if placed.denied else counted(count, "passage")
    lost = "".join(
        f"<div class='meta'>No longer found in its post: “{escape(short(mark.quote, _LEG))}”</div>"
        for mark in placed.lost
    )
    asked = escape(placed.question)
    return (
        f"<li><button class='judge show' data-act='show' data-question='{asked}'>{asked}</button> "
        f"<span class='meta'>{said}</span> "
        f"<button class='judge mark' data-act='forget' data-question='{asked}' "
        f"aria-label='Forget the question {asked}'>Forget</button>{lost}</li>"
    )


def _excerpt(text: str, stems: frozenset[str], limit: int) -> str:
    """Render the part of a passage that has most of the words looked for, its headings left out."""
    line = plain(short(_HEADING.sub("", text[:_READ]) or text[:_READ], _READ))
    return _with_marks(_around(line, stems, limit), stems)


def _with_marks(text: str, stems: frozenset[str]) -> str:
    """Escape a text and mark the words that have one of these stems."""

    def mark(match: re.Match[str]) -> str:
        word = match.group()
        return f"<mark>{word}</mark>" if word[0] != "&" and stem(word.lower()) in stems else word

    return _TOKEN.sub(mark, escape(text))


def _around(line: str, stems: frozenset[str], limit: int) -> str:
    if len(line) <= limit:
        return line
    places = [match.start() for match in _TOKEN.finditer(line) if stem(match.group().lower()) in stems]
    near = [(sum(0 <= at - place < limit - _LEAD for at in places), -place) for place in places]
    start = max(0, -max(near, default=(0, 0))[1] - _LEAD)
    start = line.rfind(" ", 0, start) + 1 if start else 0
    return f"{'…' * bool(start)}{short(line[start:], limit)}"


def _share(part: int, whole: int) -> int:
    return round(100 * part / whole)
