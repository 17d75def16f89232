"""Where the passage of a pair stands: in which post, and in how many.

On its own because a passage that came from elsewhere is never cut, marked up or spaced as the library has it: it is
known by its runs of words, and it stands where most of them do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rag.errors import NotFound
from rag.ports import Library
from rag.records import Passage
from rag.words import stems_in_order

RUN = 4  # words that must follow each other
STANDS = 0.6
"""Share of a passage's runs that a post must have. On 2026-11-25: of the 100 passages that LangChain cut from the
seed's two pages, each has 0.85 or more in the posts that Footnote read from them; of the 240 of xquad_en none has more
than 0.02 there, and of 3,140 of one blog none more than 0.44 in another."""
OVERLAP = 0.5  # share of the shorter one's runs from which two passages are of the same stretch of a post
EVERYWHERE = 3  # posts that have it: what stands in so many is furniture of the site

_SAMPLED = 64  # runs of a passage that are looked for, evenly spread
_LOOKED_AT = 2_000  # posts that are looked at for passages whose post is known, to find those that stand in many
_LINK_TARGET = re.compile(r"\]\([^)\s]{0,2000}[^)]{0,300}\)|https?://\S+|<[^<>]{1,300}>")

Run = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """The post that a passage stands in, "" if none, and how many posts it stands in."""

    post_id: str = ""
    posts: int = 0


def runs_of(text: str) -> list[Run]:
    """Return the runs of words of a text, stems in order, addresses of links left out; a shorter text is one run."""
    stems = stems_in_order(_LINK_TARGET.sub(" ", text))
    if len(stems) < RUN:
        return [tuple(stems)] if stems else []
    return list(zip(*(stems[at:] for at in range(RUN)), strict=False))


def same_stretch(first: str, second: str) -> bool:
    """Say whether two texts are, for the most part, of the same stretch of a post."""
    one, other = set(runs_of(first)), set(runs_of(second))
    return bool(one and other) and len(one & other) >= OVERLAP * min(len(one), len(other))


def places(passages: Mapping[str, str], library: Library) -> dict[str, Place]:
    """Say of each passage (text -> id of its post, "" if unknown) where it stands.

    Every post is read once, one after the other; where each passage names its post, some posts beside those are enough.
    """
    wanted = _Wanted(passages)
    found: dict[str, dict[str, float]] = {text: {} for text in passages}
    for post_id in _to_read(passages, library):
        try:
            post = library.post(post_id)
        except NotFound:  # removed meanwhile
            continue
        for text, share in wanted.shares(f"{post.title}\n\n{post.text}"):
            found[text][post_id] = share
    return {text: _place(named, found[text]) for text, named in passages.items()}


def found_among(passage: str, post_id: str, hits: Iterable[Passage]) -> bool:
    """Say whether one of these hits is of the stretch that a pair's passage is of."""
    return any(hit.post_id == post_id and same_stretch(passage, hit.embedded_text) for hit in hits)


def _place(named: str, shares: Mapping[str, float]) -> Place:
    if named:
        return Place(named if named in shares else "", len(shares))
    best = max(shares, key=lambda id_: shares[id_], default="")
    return Place(best, len(shares))


def _to_read(passages: Mapping[str, str], library: Library) -> Sequence[str]:
    known = [post.id for post in library.posts()]
    named = set(passages.values())
    if "" in named:
        return known
    others = (id_ for id_ in sorted(known) if id_ not in named)
    return [*(id_ for id_ in known if id_ in named), *(id_ for id_, _ in zip(others, range(_LOOKED_AT), strict=False))]


class _Wanted:
    """The passages that are looked for, by their runs."""

    def __init__(self, passages: Iterable[str]) -> None:
        """Take up to _SAMPLED runs of each: of the whole, and of what follows its first line, perhaps a heading."""
        self._by_run: dict[Run, list[tuple[str, int]]] = {}
        self._sizes: dict[tuple[str, int], int] = {}
        for text in passages:
            _, _, below = text.partition("\n")
            for variant, part in enumerate((text, below)):
                runs = list(dict.fromkeys(runs_of(part)))
                runs = runs[:: max(1, len(runs) // _SAMPLED)]
                self._sizes[text, variant] = len(runs)
                for run in runs:
                    self._by_run.setdefault(run, []).append((text, variant))

    def shares(self, post: str) -> list[tuple[str, float]]:
        """Return (passage, share of its runs) of the passages that stand in a post."""
        counted: dict[tuple[str, int], int] = {}
        for run in self._by_run.keys() & set(runs_of(post)):
            for key in self._by_run[run]:
                counted[key] = counted.get(key, 0) + 1
        best: dict[str, float] = {}
        for (text, variant), count in counted.items():
            share = count / self._sizes[text, variant]
            if share >= STANDS:
                best[text] = max(share, best.get(text, 0.0))
        return list(best.items())
