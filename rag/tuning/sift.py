"""What of the pairs is fit to train on: each that is not is put aside for a reason a person can read.

On its own because it judges pairs wherever they came from, and trains nothing: the original of this project was tuned
on 152 pairs that were never questions, and nothing looked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rag.ports import Library
from rag.records import Pair
from rag.tuning.furniture import is_furniture
from rag.tuning.junk import (
    ABOUT_NOTHING,
    CHAT,
    CUT_OFF,
    EMPTY,
    GARBLED,
    NO_QUESTION,
    SEVERAL,
    SHORT,
    TEMPLATE,
    WHOLE_TEXT,
    asks,
    is_statement,
    size,
    why_no_question,
)
from rag.tuning.language import in_another_language
from rag.tuning.places import EVERYWHERE, Place, places, runs_of
from rag.tuning.roundtrip import Finds
from rag.words import STOP_WORDS, stem, stems_in_order

SWAPPED = "question and passage changed places"
COPY = "copied from its passage"
SHARED = "the same question for several passages"
TWICE = "there twice"
BARE = "its passage says too little"
FURNITURE = "its passage is furniture of a page"
NOWHERE = "its passage stands in no post"
LANGUAGE = "in another language than its passage"
NOT_FOUND = "does not find its passage"

REASONS = (
    EMPTY,
    TEMPLATE,
    CHAT,
    GARBLED,
    SHORT,
    WHOLE_TEXT,
    SEVERAL,
    NO_QUESTION,
    CUT_OFF,
    ABOUT_NOTHING,
    SWAPPED,
    COPY,
    SHARED,
    TWICE,
    BARE,
    FURNITURE,
    NOWHERE,
    LANGUAGE,
    NOT_FOUND,
)
"""Every reason, in the order in which they are looked for; the first that fits is told."""

COPIED_WORDS = 5  # words of a question that stand in its passage in a row, all of them, from which it is a copy
COPIED_RUNS = 0.8  # share of its runs of four words that stand there, from which it is nearly one
COPIED_STRETCH = 16  # words in a row out of the passage, whatever stands beside them
FEWEST = 5  # words of a passage
LOOKED_AT = 20_000  # characters of one: no embedder reads more
"""Kept on 2026-11-25, without a round trip: all 770 real pairs of seed_posts, 1,174 of xquad_en's 1,190 (11 are copies,
5 are there twice), 2,187 of the 2,228 of zoomcamp_faq that ask something (35 passages are an address or four words),
142 of clapnq_half's 143, and 7 of scifact's 300 claims, which ask nothing. Of the 189 pairs of seed/junk_pairs none. Of
100 pairs of seed_posts, each broken in 43 ways, with the round trip through full text (which 82 of the whole ones
make): none in 33 of the ways, 2 to 10 in six (another's passage, letters turned round), 20 to 32 in three (half the
question gone, words mixed up, "What does this mean:" before a sentence), and all 82 where nothing but tags of HTML
stood around the passage."""
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")


@dataclass(frozen=True)
class Sifted:
    """The pairs that are fit to train on, each with its post, and by reason those that are not."""

    kept: tuple[Pair, ...] = ()
    refused: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)

    @property
    def made(self) -> int:
        """Return how many pairs were looked at."""
        return len(self.kept) + sum(map(len, self.refused.values()))

    @property
    def counts(self) -> dict[str, int]:
        """Return how many were refused by reason, most first."""
        sizes = {reason: len(pairs) for reason, pairs in self.refused.items()}
        return dict(sorted(sizes.items(), key=lambda item: -item[1]))

    def examples(self, most: int = 3) -> dict[str, list[str]]:
        """Return up to `most` questions for each reason, each on a line of its own and cut to a readable length."""
        return {
            reason: [shown(pair.question) for pair in list(dict.fromkeys(self.refused[reason]))[:most]]
            for reason in self.counts
        }


def sift(pairs: Sequence[Pair], library: Library, finds: Finds | None = None) -> Sifted:
    """Put aside the pairs that would teach a model nothing, or something wrong, and say why.

    `finds` is the round trip, made last, and not by pairs made of a text: see roundtrip.py. Whole sentences that ask
    nothing are refused, because junk looks like that too. The kept ones have the id of the post that their passage
    stands in.
    """
    reasons = [why_no_pair(pair) for pair in pairs]
    _refuse(reasons, _repeated(pairs, reasons))
    pairs, of_passages = _placed(pairs, reasons, library)
    _refuse(reasons, of_passages)
    if finds:
        asked = [at for at, pair in enumerate(pairs) if not reasons[at] and pair.origin != "text"]
        for at, found in zip(asked, finds([pairs[at] for at in asked]), strict=True):
            reasons[at] = "" if found else NOT_FOUND
    return _sorted(pairs, reasons)


def why_no_pair(pair: Pair) -> str:
    """Say why a pair is none, whatever else there is and wherever its passage stands; "" if it may be one."""
    if not _has_words(pair.question):
        return EMPTY
    if not _has_words(pair.passage):
        return NOWHERE if pair.post_id else EMPTY
    if pair.origin != "text" and _changed_places(pair):
        return SWAPPED
    if reason := why_no_question(pair.question, pair.origin):
        return reason
    if pair.origin in ("writer", "file"):
        if _is_copy(pair):
            return COPY
        if _ends_within_a_word(pair):
            return CUT_OFF
        if is_statement(pair.question):
            return NO_QUESTION
    if size(_ADDRESS.sub(" ", pair.passage)) < FEWEST:
        return BARE
    if pair.origin == "text":
        return ""
    if is_furniture(pair.passage[:LOOKED_AT]):
        return FURNITURE
    return LANGUAGE if in_another_language(pair.question, pair.passage[:LOOKED_AT]) else ""


def shown(question: str, most: int = 120) -> str:
    """Return a question on one line, cut to a length that can be read in a list."""
    line = " ".join(question.split())
    return line if len(line) <= most else f"{line[:most].rstrip()}…"


def _sorted(pairs: Sequence[Pair], reasons: Sequence[str]) -> Sifted:
    refused: dict[str, list[Pair]] = {}
    for pair, reason in zip(pairs, reasons, strict=True):
        if reason:
            refused.setdefault(reason, []).append(pair)
    kept = tuple(pair for pair, reason in zip(pairs, reasons, strict=True) if not reason)
    return Sifted(kept, {reason: tuple(refused[reason]) for reason in REASONS if reason in refused})


def _refuse(reasons: list[str], more: Mapping[int, str]) -> None:
    for at, reason in more.items():
        reasons[at] = reasons[at] or reason


def _repeated(pairs: Sequence[Pair], reasons: Sequence[str]) -> dict[int, str]:
    """Say which questions stand for several passages, and which pairs are there twice."""
    alive = [at for at, reason in enumerate(reasons) if not reason]
    asked: dict[str, list[int]] = {}
    for at in alive:
        asked.setdefault(_folded(pairs[at].question), []).append(at)
    found: dict[int, str] = {}
    for same in asked.values():
        if len(same) > 1:
            found.update(_shared(pairs, same))
    by_form: dict[str, list[int]] = {}
    for at in alive:
        if at not in found and pairs[at].origin != "text" and re.search(r"\d", pairs[at].question):
            by_form.setdefault(re.sub(r"\d+", "#", _folded(pairs[at].question)), []).append(at)
    for same in by_form.values():
        found.update(_numbered(pairs, same))
    return found


def _shared(pairs: Sequence[Pair], same: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the pairs to refuse of those that ask the same: all if it is for several passages, else all but one."""
    stretches: list[tuple[str, set[tuple[str, ...]]]] = []
    for text in dict.fromkeys(pairs[at].passage for at in same):
        runs = set(runs_of(text))
        if not any(len(runs & known) * 2 >= min(len(runs), len(known)) for _, known in stretches):
            stretches.append((text, runs))
        if len(stretches) > 1:
            yield from ((at, SHARED) for at in same)
            return
    yield from ((at, TWICE) for at in same[1:])


def _numbered(pairs: Sequence[Pair], same: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the pairs whose questions differ by a number alone, if most have one that their passages do not have."""
    odd = [at for at in same if not _numbers(pairs[at].question) & _numbers(pairs[at].passage)]
    if len({pairs[at].passage for at in odd}) > 1 and len(odd) * 2 > len(same):
        yield from ((at, SHARED) for at in same)


def _placed(pairs: Sequence[Pair], reasons: Sequence[str], library: Library) -> tuple[Sequence[Pair], dict[int, str]]:
    """Return the pairs with the post of each, and which to refuse because of where their passages stand."""
    wanted: dict[str, str] = {}
    for pair, reason in zip(pairs, reasons, strict=True):
        if not reason:
            wanted.setdefault(pair.passage, pair.post_id)
    found = places(wanted, library)
    posts = library.count()[0]
    placed, refused = [], {}
    for at, pair in enumerate(pairs):
        place = found.get(pair.passage, Place())
        if not reasons[at] and not place.post_id:
            refused[at] = NOWHERE
        elif not reasons[at] and place.posts >= EVERYWHERE and place.posts * 100 >= posts:
            refused[at] = FURNITURE
        placed.append(replace(pair, post_id=place.post_id) if place.post_id and not pair.post_id else pair)
    return placed, refused


def _changed_places(pair: Pair) -> bool:
    """Say whether the passage asks and the question tells: what is longer is the passage."""
    asked, told = size(pair.question), size(pair.passage)
    return asked > 2 * told and told <= 40 and pair.passage.rstrip().endswith(("?", "？", "؟"))


def _is_copy(pair: Pair) -> bool:
    """Say whether a question stands in its passage, word for word or nearly, or has a long stretch of it."""
    asked, told = stems_in_order(pair.question), stems_in_order(pair.passage[:LOOKED_AT])
    if not asked:
        return False
    line, text = f" {' '.join(asked)} ", f" {' '.join(told)} "
    if line in text and (len(asked) >= COPIED_WORDS or not asks(pair.question)):
        return True
    stretches = (asked[at : at + COPIED_STRETCH] for at in range(len(asked) - COPIED_STRETCH + 1))
    if any(f" {' '.join(stretch)} " in text for stretch in stretches):
        return True
    runs = set(runs_of(pair.question))
    return len(asked) >= 2 * COPIED_WORDS and len(runs & set(runs_of(pair.passage))) >= COPIED_RUNS * len(runs)


def _ends_within_a_word(pair: Pair) -> bool:
    """Say whether a question ends without a mark, and in the middle of a word that its passage has whole."""
    last = re.search(r"[^\W\d_]+$", pair.question.strip())
    if not last or not asks(pair.question):
        return False
    words = set(re.findall(r"[^\W\d_]+", pair.passage[:LOOKED_AT].casefold()))
    begun = last.group().casefold()
    whole = any(stem(word) == stem(begun) for word in words) or begun in STOP_WORDS
    return not whole and any(word.startswith(begun) and len(word) > len(begun) + 1 for word in words)


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", text))


def _folded(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
