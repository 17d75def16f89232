"""What the page shows, as HTML. Every word that Footnote did not write is escaped here, on the server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from rag.amounts import counted
from rag.answering.growing import NEAREST
from rag.engine import Engine
from rag.finding.query import described, parse
from rag.jobs import Job
from rag.markup import plain
from rag.records import ENDED, REMOVED, Answer, Citation, FileProgress, FileState, Hit, Post, Sentence, StoredPost
from rag.ui import deeds
from rag.ui.conversation import Exchange, unfiltered
from rag.words import same_words

HEADER = "<h1>Footnote</h1><p>Answers from your own posts, each sentence with its source.</p>"
EMPTY = (
    "<div class='empty'><h2>There are no posts yet</h2><p>Add your blog: its address, a folder, an export, or single "
    "files, and ask it anything. Your posts stay on this machine.</p></div>"
)
QUIET: dict[str, Any] = {"show_progress": "hidden"}
"""For an event that is over at once: nothing is dimmed meanwhile."""
CLICKS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest && event.target.closest("button[data-act]");
  if (button) trigger("click", {...button.dataset});
});
"""
"""What tells the server which of the buttons in a piece of HTML was clicked."""
Span = tuple[int, int]
"""Where something begins and ends in a text, in characters."""

CHANGED = "This post has changed since, and says this no more:"
UNSURE = "Your posts may not really answer this; check the footnotes."
_SUPPORTS = {
    "no": "<p class='note'><span class='unproven'>Dotted</span>: nothing in your posts was found to say this.</p>",
    "partly": "<p class='note'><span class='partly'>Dashed</span>: the footnote says a part of it; see the rest of its "
    "passage.</p>",
}
_LEAD = 600  # characters of the best quote that stand above an answer
_QUOTE = 280  # of a quote in the line of its card
_LISTED = 20  # posts of a list that are in sight before it is unfolded
_NEAREST = 5  # posts that are named where none covers a question
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
    stage = engine.tuning.stage
    if stage.step:
        return waiting(f"Tuning search: step {stage.done:,} of {stage.total:,}. Questions are answered meanwhile.")
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
    """Make an example question of a post's title, in marks that are no filter's."""
    return f"What is ‘{title if len(title) <= 60 else title[:59] + '…'}’ about?"


def conversation(earlier: Sequence[Exchange]) -> str:
    """Render the way to a new topic and, folded, what was asked before the question that is shown."""
    heading = "<h2>Earlier</h2>" if earlier else ""
    folded = "".join(_exchange(exchange) for exchange in earlier)
    return f"<div class='topic'>{heading}<button class='quiet' type='button'>New topic</button></div>{folded}"


def preface(found: Answer) -> str:
    """Render what to know before an answer is read: how the question was understood, and whether posts cover it."""
    return _understood(found, " <button class='quiet' type='button'>Ask it on its own</button>") + _unsure(found)


def answer(found: Answer, number: int = 0) -> str:
    """Render an answer as far as it is written, its footnotes as links to the sources below.

    `number` tells its footnotes from those of the other answers on the page.
    """
    parts = [waiting(found.status)] if found.status else []
    if lead := _lead(found):
        quote = escape(short(plain(lead.quote), _LEAD))
        parts.append(f"<blockquote class='lead'>{quote}{_mark(number, lead.number)}</blockquote>")
    if found.refused:
        parts.append(f"<div class='written' aria-live='polite'>{escape(found.text)}</div>")
    elif found.text:
        parts.append(f"<div class='written' aria-live='polite'>{_prose(found, number)}</div>")
    if found.done:
        parts += [note for support, note in _SUPPORTS.items() if support in {s.support for s in found.sentences}]
    if found.note:
        parts.append(f"<p class='note'>{escape(found.note)}</p>")
    if found.done and not found.posts and (narrowed := described(parse(found.question).filters)):
        advice = " Leave that out to search them all." if found.refused else ""
        parts.append(f"<p class='note'>Only passages {escape(narrowed)} were searched.{advice}</p>")
    return f"<div data-answered='{escape(found.question) if found.done else ''}'>{''.join(parts)}</div>"


def sources(found: Answer, texts: Mapping[str, str], number: int = 0) -> str:
    """Render a card a footnote: closed, its quote; open, the quote inside its post."""
    return "".join(_source(cited, found, texts.get(cited.post_id, ""), number) for cited in footnotes(found))


def footnotes(found: Answer) -> tuple[Citation, ...]:
    """Return the footnotes of an answer's text, and behind them those of the quotes that it does not cite.

    Where no post covers the question there are none: what comes nearest proves nothing.
    """
    if found.refused:
        return ()
    places = {(cited.post_id, cited.start, cited.end) for cited in found.citations}
    others = [quote for quote in found.quotes if (quote.post_id, quote.start, quote.end) not in places]
    first = len(found.citations) + 1
    return found.citations + tuple(replace(quote, number=number) for number, quote in enumerate(others, start=first))


def posts(found: Answer, number: int = 0) -> str:
    """Render the posts that an answer names, closed: those that a question about posts found, or, where none covers
    the question, those that come nearest."""
    cards = [_listed(post, number) for post in found.posts]
    rest = "".join(cards[_LISTED:])
    more = f"<details class='more'><summary>and {len(cards) - _LISTED:,} more</summary>{rest}</details>" if rest else ""
    return "".join(cards[:_LISTED]) + more + _nearest(found, number)


def hits(found: Answer, number: int = 0) -> str:
    """Render every passage found, best first, with its scores."""
    # with nothing proven, the passages themselves are the best there is to read
    unfolded = " open" if found.done and not found.citations and not found.refused else ""
    listed = "".join(map(_hit, found.hits))
    return (
        f"<details class='more' id='passages-{number}'{unfolded}><summary>All passages found</summary>"
        f"<ol class='hits'>{listed}</ol></details>"
        if listed
        else ""
    )


def post(shown: Post) -> str:
    """Render a post whole."""
    rest = "…" if len(shown.text) > _WINDOW else ""
    return _about(shown) + _box(f"{marked_up(escape(shown.text[:_WINDOW]))}{rest}")


def opened(shown: Post, passage: Span, quote: Span, said: str = "") -> str:
    """Render a post at a passage of it, the quote in that marked; `said` is what stood there when it was quoted."""
    return _about(shown) + _marked(shown.text, passage, quote, said)


def jobs(known: Sequence[Job]) -> str:
    """Render each import: how far it is, and a row for each file or page, as many as one can look at."""
    return "".join(_job(job) for job in known)


def moment(iso: str | None) -> str:
    """Return a moment as one reads it; the list's time is UTC."""
    return f"{iso[:16].replace('T', ' ')} UTC" if iso else "not yet"


def counts(posts: int, passages: int) -> str:
    """Render how much there is."""
    return f"<p class='note'>{counted(posts, 'post')}, {counted(passages, 'passage')}</p>"


def short_source(source: str) -> str:
    """Return the last two parts of a path, enough to know a file by; an address whole."""
    if source.startswith(("upload:", "http://", "https://")):
        return source.removeprefix("upload:").partition("://")[2] or source.removeprefix("upload:")
    return str(PurePath(*PurePath(source).parts[-2:]))


def _prose(found: Answer, number: int) -> str:
    parts, position = [], 0
    for sentence in found.sentences:
        parts.append(_lines(found.text[position : sentence.start]))
        parts.append(_sentence(sentence, number))
        position = sentence.end
    parts.append(_lines(found.text[position:]))
    return "".join(parts)


def _sentence(sentence: Sentence, number: int) -> str:
    said = _lines(sentence.text)
    if sentence.citation is None:
        return f"<span class='unproven' title='not in your posts'>{said}</span>"
    if sentence.support == "partly":
        said = f"<span class='partly' title='partly in your posts'>{said}</span>"
    return said + _mark(number, sentence.citation)


def _mark(number: int, cited: int) -> str:
    """Render a footnote's number as a link to its card."""
    return f"<sup><a class='footnote' href='#footnote-{number}-{cited}' aria-label='footnote {cited}'>{cited}</a></sup>"


def _lead(found: Answer) -> Citation | None:
    """Return the best quote, with its number, unless the text says the same or no post covers the question."""
    if found.refused or not found.quotes or same_words(found.text, plain(found.quotes[0].quote)):
        return None
    best = found.quotes[0]
    return next(c for c in footnotes(found) if (c.post_id, c.start, c.end) == (best.post_id, best.start, best.end))


def _source(cited: Citation, found: Answer, text: str, number: int) -> str:
    return (
        f"<details class='source' id='footnote-{number}-{cited.number}'>{_cited(cited)}"
        f"<p class='meta'>{_date_and_link(cited.date, cited.url, cited.page)}</p>"
        f"{_marked(text, _passage_of(cited, found), (cited.start, cited.end), cited.quote)}</details>"
    )


def _cited(cited: Citation) -> str:
    return (
        f"<summary><span class='number'>{cited.number}</span><span class='title'>{escape(cited.title)}</span>"
        f"<q>{escape(short(plain(cited.quote), _QUOTE))}</q></summary>"
    )


def _passage_of(cited: Citation, found: Answer) -> Span:
    passage = next((hit.passage for hit in found.hits if hit.passage.id == cited.passage_id), None)
    return (passage.start, passage.end) if passage else (cited.start, cited.end)


def _exchange(exchange: Exchange) -> str:
    found, number = exchange.answer, exchange.number
    written = answer(found, number) if found.text or found.note else done("Nothing was written.")
    cards = [
        _card(
            f"footnote-{number}-{cited.number}",
            _cited(cited),
            cited.post_id,
            _passage_of(cited, found),
            cited,
        )
        for cited in footnotes(found)
    ]
    return (
        f"<details class='exchange' id='exchange-{number}'><summary>{escape(found.question)}</summary>"
        f"{_understood(found)}{_unsure(found)}{written}{''.join(cards)}{posts(found, number)}"
        f"{deeds.earlier(exchange)}</details>"
    )


def _understood(found: Answer, way_out: str = "") -> str:
    last = found.asked.removesuffix(unfiltered(found.question)).strip()
    return f"<p class='note'>Taken together with what you asked before: “{escape(last)}”{way_out}</p>" if last else ""


def _unsure(found: Answer) -> str:
    return f"<p class='unsure' role='status'>{UNSURE}</p>" if found.coverage == "maybe" else ""


def _nearest(found: Answer, number: int) -> str:
    """Render the posts that come nearest to a question that none covers, each opening at its best sentence or passage.

    A post whose sentence comes nearest is named first, with that sentence: the judgement may be wrong, and it is read
    at a glance.
    """
    if not found.refused:
        return ""
    cards: dict[str, str] = {}
    for cited in found.quotes:
        summary, passage = _dated(cited.title, cited.date, cited.quote), _passage_of(cited, found)
        card = _card(f"near-{number}-{cited.post_id}", summary, cited.post_id, passage, cited)
        cards.setdefault(cited.post_id, card)
    for hit in found.hits:
        id_, place = hit.passage.post_id, (hit.passage.start, hit.passage.end)
        cards.setdefault(id_, _card(f"near-{number}-{id_}", _dated(hit.title, hit.date), id_, place))
    return f"<p class='note'>{NEAREST}</p>{''.join(list(cards.values())[:_NEAREST])}" if cards else ""


def _listed(post: StoredPost, number: int) -> str:
    return _card(f"post-{number}-{post.id}", _dated(post.title, post.date), post.id)


def _dated(title: str, date: str | None, quote: str = "") -> str:
    day = f"<span class='meta'>{escape(date or '')}</span>"
    said = f"<q>{escape(short(plain(quote), _QUOTE))}</q>" if quote else ""
    return f"<summary><span class='title'>{escape(title)}</span> {day}{said}</summary>"


def _card(id_: str, summary: str, post_id: str, passage: Span = (0, 0), cited: Citation | None = None) -> str:
    """Render a post that is fetched when its card is opened: the page would be too large with all of them in it."""
    start, end, said = (cited.start, cited.end, cited.quote) if cited else (0, 0, "")
    places = " ".join(map(str, (*passage, start, end)))
    return (
        f"<details class='source' id='{escape(id_)}' data-post='{escape(post_id)}' data-places='{places}' "
        f"data-said='{escape(said)}'>{summary}<div class='opened'></div></details>"
    )


def _about(shown: Post) -> str:
    return f"<h3>{escape(shown.title)}</h3><p class='meta'>{_date_and_link(shown.date, shown.url)}</p>"


def _box(marked: str) -> str:
    return f"<div class='post' tabindex='0'>{marked}</div>"


def _marked(text: str, passage: Span, quote: Span, said: str) -> str:
    """Render a post's text at a quote, wherever that stands now; or say that it stands there no more."""
    if not text:
        return f"<p class='note'>{REMOVED}</p>"
    moved = 0
    if said and text[quote[0] : quote[1]] != said:
        found = text.find(said)
        if found < 0:
            return f"<p class='note'>{CHANGED}</p>{_box(marked_up(escape(said)))}"
        moved = found - quote[0]
    first, last, start, end = (max(0, place + moved) for place in (*passage, *quote))
    return _box(_highlighted(text, (first, last), (start, end)))


def _highlighted(text: str, passage: Span, quote: Span) -> str:
    """Return a post's text with the passage set apart and the quote in it, if there is one, marked."""
    quote = quote if quote[1] > quote[0] else (passage[1], passage[1])
    first = max(0, passage[0] - _WINDOW // 2)
    last = min(len(text), passage[1] + _WINDOW // 2)
    cuts = [first, passage[0], quote[0], quote[1], passage[1], last]
    before, lead, marked, tail, after = (marked_up(escape(text[a:b])) for a, b in pairwise(cuts))
    marked = f"<mark>{marked}</mark>" if marked else ""
    return (
        f"{'…' * (first > 0)}{before}<span class='passage'>{lead}{marked}{tail}</span>{after}{'…' * (last < len(text))}"
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
        parts.append(f"about {duration(left)} left")
    elif job.ended:
        parts.append(f"took {duration(job.seconds)}")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as one reads it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _row(row: FileProgress) -> str:
    name = _name(row.source)
    detail = row.error.removeprefix(f"{row.source}: ").removeprefix(f"{name}: ") or (
        f"{row.title} · {counted(row.passages, 'passage')}" if row.passages else row.title
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
