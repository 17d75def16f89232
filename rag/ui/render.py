"""What the page shows, as HTML. Every word that Footnote did not write is escaped here, on the server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import PurePath

from rag.engine import Engine
from rag.jobs import Job
from rag.query import described, parse
from rag.records import ENDED, Answer, Citation, FileProgress, FileState, Hit, Post, Sentence, StoredPost

HEADER = "<h1>Footnote</h1><p>Answers from your own posts, each sentence with its source.</p>"
EMPTY = (
    "<div class='empty'><h2>There are no posts yet</h2><p>Add your blog: its address, a folder, an export, or single "
    "files, and ask it anything. Your posts stay on this machine.</p></div>"
)
_LISTED = 20  # posts of a list that are in sight before it is unfolded
_WINDOW = 20_000  # characters of a post shown around a quote; a book would make the page slow
_STATES = {
    "waiting": "Waiting",
    "reading": "Reading",
    "indexing": "Indexing",
    "added": "Added",
    "updated": "Updated",
    "unchanged": "Already there",
    "vanished": "Vanished",
    "removed": "Removed",
    "failed": "Not added",
    "stopped": "Cancelled",
}
_COUNTED: dict[FileState, str] = {
    "added": "added",
    "updated": "updated",
    "unchanged": "already there",
    "vanished": "vanished",
    "removed": "removed",
    "failed": "not added",
    "stopped": "cancelled",
}
_ORDER = {
    state: place
    for place, state in enumerate(
        "failed vanished removed reading indexing added updated waiting stopped unchanged opened".split()
    )
}
_FORMED = re.compile(
    r"(?m)^(```+|~~~+)[^\n]*\n(?:(?!\1)[^\n]*\n){0,2000}\1[`~]*[ \t]*$|(?:^\|[^\n]*\|[ \t]*(?:\n|\Z)){2,}"
)
_ROWS = 200  # of an import that are shown: those that need a look first


def activity(engine: Engine) -> str:
    """Render what goes on in the background, or nothing."""
    if engine.trouble:
        return trouble(engine.trouble)
    running = next((job for job in engine.jobs.known if not job.ended), None)
    if running and running.rows:
        what = f"{running.title}: {running.done:,} of {len(running.rows):,}. Answers use what is there so far."
        return waiting(what)
    return waiting(engine.activity) if engine.activity else ""


def waiting(message: str) -> str:
    """Render a line that says what is being waited for."""
    return f"<p class='status' role='status'><span class='dot'></span>{escape(message)}</p>"


def trouble(message: str) -> str:
    """Render an error as a sentence."""
    return f"<p class='trouble' role='alert'>{escape(message)}</p>"


def done(message: str) -> str:
    """Render a sentence that says that something was done."""
    return f"<p class='note' role='status'>{escape(message)}</p>"


def example(title: str) -> str:
    """Make an example question of a post's title."""
    return f"What is “{title if len(title) <= 60 else title[:59] + '…'}” about?"


def answer(found: Answer) -> str:
    """Render an answer as far as it is written, its footnotes as links to the sources below."""
    parts = [waiting(found.status)] if found.status else []
    if found.refused:
        parts.append(f"<div class='written refused'>{escape(found.text)}</div>")
    elif found.text:
        parts.append(f"<div class='written' aria-live='polite'>{_prose(found)}</div>")
    if found.done and any(sentence.citation is None for sentence in found.sentences):
        parts.append(
            "<p class='note'><span class='unproven'>Dotted</span>: nothing in your posts was found to say this.</p>"
        )
    if found.note:
        parts.append(f"<p class='note'>{escape(found.note)}</p>")
    if found.done and not found.posts and (narrowed := described(parse(found.question).filters)):
        advice = " Leave that out to search them all." if found.refused else ""
        parts.append(f"<p class='note'>Only passages {escape(narrowed)} were searched.{advice}</p>")
    return f"<div data-answered='{escape(found.question) if found.done else ''}'>{''.join(parts)}</div>"


def sources(found: Answer, texts: Mapping[str, str]) -> str:
    """Render a card a footnote: closed, its quote; open, the quote inside its post."""
    return "".join(_source(citation, found, texts.get(citation.post_id, "")) for citation in found.citations)


def posts(found: Answer) -> str:
    """Render the posts that a question about posts found: closed, title and day; one that is opened is fetched."""
    cards = [_listed(post) for post in found.posts]
    rest = "".join(cards[_LISTED:])
    more = f"<details class='more'><summary>and {len(cards) - _LISTED:,} more</summary>{rest}</details>" if rest else ""
    return "".join(cards[:_LISTED]) + more


def hits(found: Answer) -> str:
    """Render every passage found, best first, with its scores."""
    return "<ol class='hits'>" + "".join(_hit(hit) for hit in found.hits) + "</ol>"


def post(shown: Post) -> str:
    """Render a post whole."""
    rest = "…" if len(shown.text) > _WINDOW else ""
    return (
        f"<h3>{escape(shown.title)}</h3><p class='meta'>{_date_and_link(shown.date, shown.url)}</p>"
        f"<div class='post' tabindex='0'>{marked_up(escape(shown.text[:_WINDOW]))}{rest}</div>"
    )


def jobs(known: Sequence[Job]) -> str:
    """Render each import: how far it is, and a row for each file or page, as many as one can look at."""
    return "".join(_job(job) for job in known)


def moment(iso: str | None) -> str:
    """Return a moment as one reads it; the list's time is UTC."""
    return f"{iso[:16].replace('T', ' ')} UTC" if iso else "not yet"


def counts(posts: int, passages: int) -> str:
    """Render how much there is."""
    return f"<p class='note'>{posts:,} post{'s' * (posts != 1)}, {passages:,} passage{'s' * (passages != 1)}</p>"


def short_source(source: str) -> str:
    """Return the last two parts of a path, enough to know a file by; an address whole."""
    if source.startswith(("upload:", "http://", "https://")):
        return source.removeprefix("upload:").partition("://")[2] or source.removeprefix("upload:")
    return str(PurePath(*PurePath(source).parts[-2:]))


def _prose(found: Answer) -> str:
    parts, position = [], 0
    for sentence in found.sentences:
        parts.append(_lines(found.text[position : sentence.start]))
        parts.append(_sentence(sentence))
        position = sentence.end
    parts.append(_lines(found.text[position:]))
    return "".join(parts)


def _sentence(sentence: Sentence) -> str:
    if sentence.citation is None:
        return f"<span class='unproven' title='not in your posts'>{_lines(sentence.text)}</span>"
    number = sentence.citation
    link = f"<a class='footnote' href='#footnote-{number}' aria-label='footnote {number}'>{number}</a>"
    return f"{_lines(sentence.text)}<sup>{link}</sup>"


def _source(citation: Citation, found: Answer, text: str) -> str:
    passage = next((hit.passage for hit in found.hits if hit.passage.id == citation.passage_id), None)
    span = (passage.start, passage.end) if passage else (citation.start, citation.end)
    return (
        f"<details class='source' id='footnote-{citation.number}'><summary>"
        f"<span class='number'>{citation.number}</span><span class='title'>{escape(citation.title)}</span>"
        f"<q>{marked_up(escape(short(citation.quote, 280)))}</q></summary>"
        f"<p class='meta'>{_date_and_link(citation.date, citation.url, citation.page)}</p>"
        f"<div class='post' tabindex='0'>{_highlighted(text, span, (citation.start, citation.end))}</div></details>"
    )


def _listed(post: StoredPost) -> str:
    day = f"<span class='meta'>{escape(post.date or '')}</span>"
    return (
        f"<details class='source' id='post-{escape(post.id)}' data-post='{escape(post.id)}'><summary>"
        f"<span class='title'>{escape(post.title)}</span> {day}</summary><div class='opened'></div></details>"
    )


def _highlighted(text: str, passage: tuple[int, int], quote: tuple[int, int]) -> str:
    """Return a post's text with the passage set apart and the quote marked."""
    first = max(0, passage[0] - _WINDOW // 2)
    last = min(len(text), passage[1] + _WINDOW // 2)
    cuts = [first, passage[0], quote[0], quote[1], passage[1], last]
    before, lead, marked, tail, after = (marked_up(escape(text[a:b])) for a, b in pairwise(cuts))
    return (
        f"{'…' * (first > 0)}{before}<span class='passage'>{lead}<mark>{marked}</mark>{tail}</span>{after}"
        f"{'…' * (last < len(text))}"
    )


def _hit(hit: Hit) -> str:
    cosine = f", meaning {hit.cosine:.2f}" if hit.cosine is not None else ""
    return (
        f"<li><strong>{escape(hit.passage.heading or hit.title)}</strong> "
        f"<span class='meta'>score {hit.score:.2f} (words {hit.lexical:.2f}{cosine})</span>"
        f"<div>{marked_up(escape(short(hit.passage.text, 600)))}</div></li>"
    )


def _job(job: Job) -> str:
    rows = list(job.rows.values())
    ended = job.done
    trouble_ = trouble(str(job.failure)) if job.failure else ""
    bar = f"<progress max='{len(rows)}' value='{ended}' aria-label='done'></progress>" if rows and not job.ended else ""
    places = {row.source: -at if row.state in ENDED else at for at, row in enumerate(rows)}  # last ended on top
    shown = sorted(rows, key=lambda row: (_ORDER[row.state], places[row.source]))[:_ROWS]
    more = f"<li class='meta'>and {len(rows) - len(shown):,} more</li>" if len(rows) > len(shown) else ""
    listed = "".join(_row(row) for row in shown) + more
    return (
        f"<section class='job'><p class='note' role='status'><strong>{escape(job.title)}</strong> · {_pace(job)}</p>"
        f"{bar}{trouble_}<ul class='rows'>{listed}</ul></section>"
    )


def _pace(job: Job) -> str:
    """Say how far a job is: what has come of its rows, how fast it goes, how long it will take."""
    rows = list(job.rows.values())
    if not rows:
        return "waiting" if not job.ended else "nothing to do"
    states = Counter(row.state for row in rows)
    parts = [f"{job.done - states['stopped']:,} of {len(rows):,} done"]
    parts += [f"{states[state]:,} {word}" for state, word in _COUNTED.items() if states[state]]
    if not job.ended and job.rate >= 1:
        parts.append(f"{job.rate:.0f} passages a second")
    if job.stop.is_set() and not job.ended:
        parts.append("stopping")
    elif (left := job.seconds_left) is not None:
        parts.append(f"about {_duration(left)} left")
    elif job.ended:
        parts.append(f"took {_duration(job.seconds)}")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _row(row: FileProgress) -> str:
    name = _name(row.source)
    detail = row.error.removeprefix(f"{row.source}: ").removeprefix(f"{name}: ") or (
        f"{row.title} · {row.passages} passage{'s' * (row.passages != 1)}" if row.passages else row.title
    )
    detail += f" · the same post as “{row.same_as}”" if row.same_as else ""
    return (
        f"<li class='{row.state}'><span class='state'>{_STATES[row.state]}</span>"
        f"<span class='file'>{escape(name)}</span><span class='detail'>{escape(detail)}</span></li>"
    )


def _name(source: str) -> str:
    """Return what to call a file or a page in a row."""
    if source.startswith(("http://", "https://")):
        host, slash, path = source.partition("://")[2].partition("/")
        return slash + path if path else host
    whole, _, part = source.removeprefix("upload:").partition("#")
    return f"{PurePath(whole).name} › {part}" if part else PurePath(whole).name


def _date_and_link(date: str | None, url: str | None, page: int | None = None) -> str:
    safe = escape(url) if url and url.startswith(("https://", "http://")) else ""
    link = f"<a href='{safe}' target='_blank' rel='noopener noreferrer'>{safe}</a>" if safe else ""
    return " · ".join(part for part in (escape(date or ""), f"page {page}" if page else "", link) if part)


def marked_up(escaped: str) -> str:
    """Make Markdown pleasant to read without moving a word: only its marks change, and only on escaped text."""
    escaped = _FORMED.sub(r"<code class='block'>\g<0></code>", escaped)
    escaped = re.sub(r"!\[([^\]\n]{0,300})\]\([^)\s]{0,2000}\)", r"[\1]", escaped)
    escaped = re.sub(r"\[([^\]\n]{1,300})\]\([^)\s]{0,2000}\)", r"\1", escaped)
    escaped = re.sub(r"(?m)^#{1,6} +(.+)$", r"<strong class='heading'>\1</strong>", escaped)
    escaped = re.sub(r"\*\*([^*\n]{1,300})\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`([^`\n]{1,300})`", r"<code>\1</code>", escaped)


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def short(text: str, limit: int) -> str:
    """Return a text on one line, cut to `limit` characters."""
    line = " ".join(
        re.sub(r"(?m)^(?:#{1,6} +|\s*```.*$)", "", text).split()
    )  # on one line, a heading's mark would make all of it one
    return line if len(line) <= limit else line[: limit - 1] + "…"
