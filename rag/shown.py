"""What commands show: results as text for a person, and as the JSON that programs read.

Apart from commands.py, which says what can be typed and does it; nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rag.amounts import counted
from rag.answering.growing import NEAREST
from rag.markup import plain
from rag.records import Answer, Check, Citation, FileProgress, Found, Hit, StoredPost


def answer_json(answer: Answer) -> dict[str, Any]:
    """Return a finished answer as `ask --json` prints it."""
    keys = ("number", "post_id", "title", "url", "page", "quote", "start", "end")
    return {
        "question": answer.question,
        "answer": answer.text,
        "refused": answer.refused,
        **coverage_json(answer),
        "note": answer.note,
        "quotes": [
            {"text": quote.quote, "post_id": quote.post_id, "start": quote.start, "end": quote.end}
            for quote in answer.quotes
        ],
        "citations": [{key: getattr(citation, key) for key in keys} for citation in answer.citations],
        "sentences": [asdict(sentence) for sentence in answer.sentences],
        "hits": [hit_json(hit) for hit in answer.hits],
        "posts": [{key: getattr(post, key) for key in ("id", "title", "date", "url")} for post in answer.posts],
        "timings": asdict(answer.timings),
    }


def hit_json(hit: Hit) -> dict[str, Any]:
    """Return a hit as `search --json` prints it."""
    return {
        "passage_id": hit.passage.id,
        "post_id": hit.passage.post_id,
        "title": hit.title,
        "text": hit.passage.text,
        "start": hit.passage.start,
        "end": hit.passage.end,
        "score": round(hit.score, 4),
    }


def legs_json(hit: Hit) -> dict[str, dict[str, Any]]:
    """Return where each leg put a hit, and with what score."""
    cosine = None if hit.cosine is None else round(hit.cosine, 4)
    return {
        "lexical": {"rank": hit.lexical_rank, "score": round(hit.lexical, 4)},
        "dense": {"rank": hit.dense_rank, "score": cosine},
    }


def coverage_json(found: Found | Answer) -> dict[str, Any]:
    """Return whether the posts cover a question, and how likely that is (0..1)."""
    probable = found.probability
    return {"coverage": found.coverage, "probability": None if probable is None else round(probable, 4)}


def post_json(post: StoredPost) -> dict[str, Any]:
    """Return a post as `posts --json` lists it."""
    keys = ("id", "title", "source", "url", "date", "passages")
    return {key: getattr(post, key) for key in keys}


def progress_json(progress: FileProgress) -> dict[str, Any]:
    """Return what became of a file or page, as `add --json` prints it."""
    if progress.state == "failed":
        return {"source": progress.source, "error": progress.error}
    if progress.state == "unchanged":
        same = {"same_as": progress.same_as} if progress.same_as else {}
        return {"id": progress.post_id, "source": progress.source, **same}
    return {"id": progress.post_id, "title": progress.title, "source": progress.source, "passages": progress.passages}


def progress_line(progress: FileProgress) -> str:
    """Return what became of a file or page, in a line."""
    detail = progress.error.removeprefix(f"{progress.source}: ") or progress.title
    if progress.passages:
        detail += f" ({counted(progress.passages, 'passage')})"
    if progress.same_as:
        detail += f" (the same as “{progress.same_as}”)"
    return f"{progress.state:9}  {progress.source}: {detail}"


def tally(outcome: Mapping[str, list[Any]]) -> str:
    """Return how many rows there are of each state, in a line."""
    return ", ".join(f"{len(rows)} {name}" for name, rows in outcome.items()) + "\n"


def hit_lines(hit: Hit, explain: bool) -> str:
    """Return a hit in a few lines for a person; `explain`: with the rank and the score that each leg gave it."""
    legs = legs_json(hit)
    why = [f"{name} #{leg['rank'] or '-'} {leg['score']}" for name, leg in legs.items()] if explain else []
    return "\n       ".join([f"{hit.score:.3f}  {hit.title}", *why, _short(hit.passage.text)])


def best_quotes(answer: Answer) -> str:
    """Return the sentences that answer best, a line each: what stands above an answer."""
    return "".join(f"“{_short(plain(quote.quote))}” ({_named(quote)})\n" for quote in answer.quotes) + "\n"


def footnotes(answer: Answer) -> str:
    """Return what stands below an answer: its footnotes, the posts it lists, and what of it is not borne out."""
    lines = [f"\n[{c.number}] {_named(c)}: “{_short(c.quote)}”" for c in answer.citations]
    if answer.refused and answer.quotes:
        lines.append(f"\n{NEAREST}\n{best_quotes(answer).rstrip()}")
    lines += [f"\n{post.date or '          '}  {post.title}" for post in answer.posts]
    said = {"no": "Not in your posts", "partly": "Only partly in that footnote"}
    lines += [f"\n{said[s.support]}: {s.text}" for s in answer.sentences if s.support in said]
    return "".join(["\n", *lines, f"\n{answer.note}" if answer.note and not answer.failed else "", "\n"])


def diagnosis(checks: Sequence[Check]) -> dict[str, Any]:
    """Return what `doctor` says of checks, as an event of commands.py."""
    well = all(check.ok for check in checks)
    lines = [f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}" for check in checks]
    result = {"ok": well, "checks": [asdict(check) for check in checks]}
    return {"text": "\n".join([*lines, ""]), "result": result, "exit": int(not well)}


def _named(citation: Citation) -> str:
    page = f"page {citation.page}" if citation.page else None
    return ", ".join(part for part in (citation.title, citation.date, page) if part)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:199] + "…"
