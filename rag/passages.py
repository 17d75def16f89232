"""Post -> passages: pieces that follow the post's own structure and fit the embedder.

A passage starts at a heading where it can and keeps paragraphs, lists and code blocks whole where they fit. Sizes
are counted by the embedder's own tokenizer, so that no passage is ever cut short by it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rag.markup import Block, blocks
from rag.records import Passage, Post
from rag.sentences import sentence_spans

CountTokens = Callable[[Sequence[str]], list[int]]
Span = tuple[int, int]

TARGET_TOKENS = 150
"""A passage is closed before it grows past this, unless the rest of its section still fits into `WHOLE_TOKENS`."""
WHOLE_TOKENS = 200
"""A paragraph, a list, a code block and a short section are left whole up to this.

Recall, precision and IoU of five passages on chunking_eval (benchmarks/chunking.py) by target: 100 0.701, 0.095, 0.092;
150 0.772, 0.074, 0.073; 200 0.757, 0.058, 0.058. NDCG@10 at 150 and at 200: seed_posts 0.917 and 0.917, xquad_en 0.981
and 0.982, blog_summary_18f 0.951 and 0.955 (by vectors alone 0.886 and 0.873)."""
SPLITTER = f"structure-3 target={TARGET_TOKENS} whole={WHOLE_TOKENS}"
"""Names the rules here; change it with them, and stored passages are split anew."""

_STRETCH = 500_000  # characters that are split together
_MANY = 5_000  # blocks of one stretch, a hundred characters each: a post has longer ones
_TINY = 300  # characters up to which blocks are joined then
_SMALL = 50  # a section shorter than this shares a passage with the next
_HEADING_SHARE = 4  # the heading path may take one token in four


@dataclass(frozen=True)
class _Unit:
    """A block, or a part of one: its place, its tokens, and the headings above it."""

    start: int
    end: int
    tokens: int
    level: int
    path: tuple[str, ...]


def split(
    post: Post, count_tokens: CountTokens, max_tokens: int, target: int = TARGET_TOKENS, whole: int = WHOLE_TOKENS
) -> Iterator[Passage]:
    """Yield the passages of a post, each of at most `max_tokens` with its heading path, in the order of the text.

    A book is split chapter by chapter, so that whoever reads them can stop between two.
    """
    count_tokens = _at_least_one_in_ten(count_tokens)
    whole = min(whole, max_tokens - max_tokens // _HEADING_SHARE)
    target = min(target, whole)
    path: list[tuple[int, str]] = []
    for stretch in _stretches(post.text):
        units = list(_units(post.text, stretch, path, count_tokens, target, whole))
        groups = list(_pack(units, target, whole))
        headings = _headings(post.title, groups, count_tokens, max_tokens // _HEADING_SHARE)
        spans = [(group[0].start, group[-1].end) for group in groups]
        yield from _fit(post, _cut(post, spans, headings), count_tokens, max_tokens)


def _stretches(text: str) -> Iterator[Span]:
    """Cut a long text at blank lines, so that a book takes no more memory than a chapter."""
    start = 0
    while len(text) - start > _STRETCH:
        seam = text.rfind("\n\n", start + _STRETCH // 2, start + _STRETCH)
        end = seam + 2 if seam > 0 else start + _STRETCH
        yield start, end
        start = end
    yield start, len(text)


def _cut(post: Post, spans: Iterable[Span], headings: Iterable[str]) -> list[Passage]:
    id_ = post.id
    pairs = zip(spans, headings, strict=True)
    return [Passage(id_, start, end, post.text[start:end], heading) for (start, end), heading in pairs]


def _at_least_one_in_ten(count_tokens: CountTokens) -> CountTokens:
    """Count a token for ten characters at least: a tokenizer that does not know a script takes a whole line for one."""
    return lambda texts: [max(t, len(x) // 10, 1) for t, x in zip(count_tokens(texts), texts, strict=True)]


def _units(
    text: str, stretch: Span, path: list[tuple[int, str]], count_tokens: CountTokens, target: int, whole: int
) -> Iterator[_Unit]:
    """Yield the blocks of a stretch; those that are too long to be whole in parts. `path` is kept up to date."""
    found = [
        replace(block, start=stretch[0] + block.start, end=stretch[0] + block.end)
        for block in _fewer(blocks(text[slice(*stretch)]))
    ]
    counts = count_tokens([text[block.start : block.end] for block in found]) if found else []
    for block, tokens in zip(found, counts, strict=True):
        if block.level:
            path[:] = [(level, title) for level, title in path if level < block.level]
        names = tuple(title for _, title in path)
        if tokens <= whole:
            yield _Unit(block.start, block.end, tokens, block.level, names)
        else:
            parts = list(_parts(text, (block.start, block.end), count_tokens, target))
            sizes = count_tokens([text[start:end] for start, end in parts])
            for (start, end), size in zip(parts, sizes, strict=True):
                yield _Unit(start, end, size, 0, names)
        if block.level:
            path.append((block.level, block.title))


def _fewer(found: list[Block]) -> list[Block]:
    """Join tiny blocks where there are so many that counting the tokens of each would take minutes."""
    if len(found) <= _MANY:
        return found
    joined: list[Block] = []
    for block in found:
        last = joined[-1] if joined else None
        if last and not last.level and not block.level and block.end - last.start <= _TINY:
            joined[-1] = replace(last, end=block.end)
        else:
            joined.append(block)
    return joined


def _pack(units: Sequence[_Unit], target: int, whole: int) -> Iterator[list[_Unit]]:
    """Group units: a heading opens a new group, and none grows past its size; a heading never ends one."""
    group: list[_Unit] = []
    size = 0
    for unit, rest in zip(units, _rests(units), strict=True):
        full = size + unit.tokens > target and size + rest > whole
        if group and (full or (unit.level and size >= _SMALL)):
            headings = _trailing_headings(group)
            if len(headings) < len(group):
                yield group[: len(group) - len(headings)]
                group = headings if sum(h.tokens for h in headings) + unit.tokens <= whole else []
                if headings and not group:
                    yield headings
            else:
                yield group
                group = []
            size = sum(member.tokens for member in group)
        group.append(unit)
        size += unit.tokens
    if group:
        yield group


def _rests(units: Sequence[_Unit]) -> list[int]:
    """Return for each unit the tokens from there to the end of its section."""
    rests: list[int] = []
    rest = 0
    for at in range(len(units) - 1, -1, -1):
        ends = at + 1 == len(units) or units[at + 1].level
        rest = units[at].tokens + (0 if ends else rest)
        rests.append(rest)
    return rests[::-1]


def _trailing_headings(group: list[_Unit]) -> list[_Unit]:
    count = 0
    while count < len(group) and group[-1 - count].level:
        count += 1
    return group[len(group) - count :]


def _headings(title: str, groups: Sequence[Sequence[_Unit]], count_tokens: CountTokens, limit: int) -> list[str]:
    """Return the heading path of each group, counted all at once: a call of the tokenizer takes as long as 20 words."""
    paths = [_names(title, group[0].path) for group in groups]
    known = list(dict.fromkeys(paths))
    counts = count_tokens([" › ".join(names) for names in known]) if known else []
    headings = {
        names: " › ".join(names) if tokens <= limit else _short_heading([*names], count_tokens, limit)
        for names, tokens in zip(known, counts, strict=True)
    }
    return [headings[names] for names in paths]


def _names(title: str, path: Sequence[str]) -> tuple[str, ...]:
    """Return a title and the headings below it, without a first heading that repeats the title."""
    repeated = bool(path) and path[0].casefold() == title.casefold()
    return tuple(name for name in (title, *path[repeated:]) if name)


def _short_heading(names: list[str], count_tokens: CountTokens, limit: int) -> str:
    """Join the heading path, dropping from its middle and then its end what does not fit."""
    while names and count_tokens([" › ".join(names)])[0] > limit:
        if len(names) > 1:
            names = [names[0], *names[2:]]
        else:
            words = names[0].split()
            names = [" ".join(words[: len(words) // 2])] if len(words) > 1 else []
    return " › ".join(names)


def _fit(post: Post, passages: list[Passage], count_tokens: CountTokens, max_tokens: int) -> Iterator[Passage]:
    """Yield the passages, and smaller ones where the tokenizer counts the whole higher than its parts."""
    totals = count_tokens([passage.embedded_text for passage in passages]) if passages else []
    for passage, total in zip(passages, totals, strict=True):
        if total <= max_tokens or passage.end - passage.start <= 1:
            yield passage
            continue
        tokens = count_tokens([passage.text])[0]
        room = min(tokens - 1, max_tokens - (total - tokens))
        parts = list(_parts(post.text, (passage.start, passage.end), count_tokens, room))
        while len(parts) == 1 and room > 1:  # its parts are small; what lies between them makes it long
            room //= 2
            parts = list(_parts(post.text, (passage.start, passage.end), count_tokens, room))
        yield from _fit(post, _cut(post, parts, [passage.heading] * len(parts)), count_tokens, max_tokens)


def _parts(text: str, span: Span, count_tokens: CountTokens, limit: int, depth: int = 0) -> Iterator[Span]:
    """Cut a span into parts of at most `limit` tokens, at the coarsest seams that do."""
    while depth < len(_SEAMS):
        pieces = _SEAMS[depth](text, span)
        if len(pieces) > 1:
            break
        depth += 1
    else:
        yield from _halves(text, span, count_tokens, limit)
        return
    counts = count_tokens([text[start:end] for start, end in pieces])
    current: list[tuple[Span, int]] = []
    for piece, tokens in zip(pieces, counts, strict=True):
        if tokens <= limit:
            current.append((piece, tokens))
            continue
        yield from _even(current, limit)
        current = []
        yield from _parts(text, piece, count_tokens, limit, depth + 1)
    yield from _even(current, limit)


def _even(pieces: Sequence[tuple[Span, int]], limit: int) -> Iterator[Span]:
    """Join pieces into as few parts of at most `limit` as can be, of about the same size: no part is a mere rest."""
    total = sum(tokens for _, tokens in pieces)
    wanted = -(-total // limit)  # parts
    at = done = 0
    while at < len(pieces):
        (start, end), size = pieces[at]
        at += 1
        share = (total - done) / max(wanted, 1)
        while at < len(pieces) and size + pieces[at][1] <= limit and size + pieces[at][1] / 2 <= share:
            (_, end), tokens = pieces[at]
            size += tokens
            at += 1
        yield start, end
        done += size
        wanted -= 1


def _halves(text: str, span: Span, count_tokens: CountTokens, limit: int) -> Iterator[Span]:
    """Cut a stretch without any seam by length alone."""
    start, end = span
    step = max(1, min(end - start, 4 * limit))
    while step > 1 and max(count_tokens([text[at : min(at + step, end)] for at in range(start, end, step)])) > limit:
        step //= 2
    yield from ((at, min(at + step, end)) for at in range(start, end, step))


def _by(pattern: str) -> Callable[[str, Span], list[Span]]:
    seam = re.compile(pattern)

    def cut(text: str, span: Span) -> list[Span]:
        edges = [span[0], *(m.start() for m in seam.finditer(text, *span)), span[1]]
        return _trim(text, pairwise(edges))

    return cut


def _by_sentence(text: str, span: Span) -> list[Span]:
    return [(span[0] + start, span[0] + end) for start, end in sentence_spans(text[span[0] : span[1]])]


def _trim(text: str, spans: Iterable[Span]) -> list[Span]:
    trimmed = []
    for start, end in spans:
        piece = text[start:end]
        lead = len(piece) - len(piece.lstrip())
        if piece.strip():
            trimmed.append((start + lead, start + len(piece.rstrip())))
    return trimmed


_SEAMS = (_by(r"\n[ \t]*\n"), _by(r"\n(?=\S)"), _by(r"\n"), _by_sentence, _by(r"\s+"))
"""Paragraphs, outermost lines, lines, sentences, words: the coarsest that fits is used."""
