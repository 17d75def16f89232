"""What the page shows, as HTML. Every word that Footnote did not write is escaped here, on the server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from pathlib import PurePath

from rag.engine import Engine
from rag.records import Answer, Citation, FileProgress, Hit, Post, Sentence

HEADER = "<h1>Footnote</h1><p>Answers from your own posts, each sentence with its source.</p>"
EMPTY = (
    "<div class='empty'><h2>There are no posts yet</h2><p>Add some of your blog posts, as Markdown, saved web pages or "
    "plain text, and ask them anything. They stay on this machine.</p></div>"
)
_WINDOW = 20_000  # characters of a post shown around a quote; a book would make the page slow
_STATES = {
    "waiting": "Waiting",
    "reading": "Reading",
    "indexing": "Indexing",
    "added": "Added",
    "updated": "Updated",
    "unchanged": "Already there",
    "failed": "Not added",
}


def activity(engine: Engine) -> str:
    """Render what goes on in the background, or nothing."""
    if engine.trouble:
        return trouble(engine.trouble)
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
    return f"<div data-answered='{escape(found.question) if found.done else ''}'>{''.join(parts)}</div>"


def sources(found: Answer, texts: Mapping[str, str]) -> str:
    """Render a card a footnote: closed, its quote; open, the quote inside its post."""
    return "".join(_source(citation, found, texts.get(citation.post_id, "")) for citation in found.citations)


def hits(found: Answer) -> str:
    """Render every passage found, best first, with its scores."""
    return "<ol class='hits'>" + "".join(_hit(hit) for hit in found.hits) + "</ol>"


def post(shown: Post) -> str:
    """Render a post whole."""
    rest = "…" if len(shown.text) > _WINDOW else ""
    return (
        f"<h3>{escape(shown.title)}</h3><p class='meta'>{_date_and_link(shown.date, shown.url)}</p>"
        f"<div class='post' tabindex='0'>{_marked_up(escape(shown.text[:_WINDOW]))}{rest}</div>"
    )


def outcome(rows: Mapping[str, FileProgress]) -> str:
    """Render a progress bar and a row a file."""
    if not rows:
        return ""
    ended = sum(row.state in ("added", "updated", "unchanged", "failed") for row in rows.values())
    bar = (
        f"<progress max='{len(rows)}' value='{ended}' aria-label='files done'></progress>" if ended < len(rows) else ""
    )
    summary = f"<p class='note' role='status'>{ended} of {len(rows)} files done</p>"
    return f"{bar}{summary}<ul class='rows'>{''.join(_row(row) for row in rows.values())}</ul>"


def counts(posts: int, passages: int) -> str:
    """Render how much there is."""
    return f"<p class='note'>{posts:,} post{'s' * (posts != 1)}, {passages:,} passage{'s' * (passages != 1)}</p>"


def short_source(source: str) -> str:
    """Return the last two parts of a path, enough to know a file by."""
    return source if source.startswith("upload:") else str(PurePath(*PurePath(source).parts[-2:]))


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
        f"<q>{_marked_up(escape(_short(citation.quote, 280)))}</q></summary>"
        f"<p class='meta'>{_date_and_link(citation.date, citation.url)}</p>"
        f"<div class='post' tabindex='0'>{_highlighted(text, span, (citation.start, citation.end))}</div></details>"
    )


def _highlighted(text: str, passage: tuple[int, int], quote: tuple[int, int]) -> str:
    """Return a post's text with the passage set apart and the quote marked."""
    first = max(0, passage[0] - _WINDOW // 2)
    last = min(len(text), passage[1] + _WINDOW // 2)
    cuts = [first, passage[0], quote[0], quote[1], passage[1], last]
    before, lead, marked, tail, after = (_marked_up(escape(text[a:b])) for a, b in pairwise(cuts))
    return (
        f"{'…' * (first > 0)}{before}<span class='passage'>{lead}<mark>{marked}</mark>{tail}</span>{after}"
        f"{'…' * (last < len(text))}"
    )


def _hit(hit: Hit) -> str:
    cosine = f", meaning {hit.cosine:.2f}" if hit.cosine is not None else ""
    return (
        f"<li><strong>{escape(hit.passage.heading or hit.title)}</strong> "
        f"<span class='meta'>score {hit.score:.2f} (words {hit.lexical:.2f}{cosine})</span>"
        f"<div>{_marked_up(escape(_short(hit.passage.text, 600)))}</div></li>"
    )


def _row(row: FileProgress) -> str:
    name = PurePath(row.source).name
    detail = row.error.removeprefix(f"{name}: ") or (
        f"{row.title} · {row.passages} passages" if row.passages else row.title
    )
    return (
        f"<li class='{row.state}'><span class='state'>{_STATES[row.state]}</span>"
        f"<span class='file'>{escape(name)}</span><span class='detail'>{escape(detail)}</span></li>"
    )


def _date_and_link(date: str | None, url: str | None) -> str:
    safe = escape(url) if url and url.startswith(("https://", "http://")) else ""
    link = f"<a href='{safe}' target='_blank' rel='noopener noreferrer'>{safe}</a>" if safe else ""
    return " · ".join(part for part in (escape(date or ""), link) if part)


def _marked_up(escaped: str) -> str:
    """Make Markdown pleasant to read without moving a word: only its marks change, and only on escaped text."""
    escaped = re.sub(r"!\[([^\]\n]{0,300})\]\([^)\s]{0,2000}\)", r"[\1]", escaped)
    escaped = re.sub(r"\[([^\]\n]{1,300})\]\([^)\s]{0,2000}\)", r"\1", escaped)
    escaped = re.sub(r"(?m)^#{1,6} +(.+)$", r"<strong class='heading'>\1</strong>", escaped)
    escaped = re.sub(r"\*\*([^*\n]{1,300})\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"`([^`\n]{1,300})`", r"<code>\1</code>", escaped)


def _lines(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _short(text: str, limit: int) -> str:
    line = " ".join(
        re.sub(r"(?m)^#{1,6} +", "", text).split()
    )  # on one line, a heading's mark would make all of it one
    return line if len(line) <= limit else line[: limit - 1] + "…"
