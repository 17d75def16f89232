"""Questions made of the posts' own text, by rules: they measure search where nobody has judged anything.

Each asks for a passage as someone would who has read it once: the sentence that says most of what the passage says, its
rarest word forgotten, most others put into other words. A sentence that another passage holds as well asks for neither.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rag.markup import plain
from rag.ports import Embedder, Library, Vectors
from rag.records import Passage
from rag.sentences import sentence_spans
from rag.words import STOP_WORDS, stem, stems_of, words_in, words_of

SHORTEST, LONGEST = 5, 24  # words of a question; a longer sentence is cut where it pauses
FEWEST = 4  # words that carry meaning
OTHER_WORDS = 0.7  # share of them that are put into other words, where there are any near enough
NEAR = 0.55  # cosine from which a word can stand for another
COPIED = 0.8  # share of them that may be the passage's own; what is above is left out
SHARED = 0.8
"""Share of a sentence's weight from which another passage holds it, too.

All of these were chosen on seed_posts, xquad_en, scifact and zoomcamp_faq, so that what comes out is near the number
from judged questions, for each search and in the differences between them. On 2026-11-25 (benchmarks/quality.py) it
was off by 0.073 in the mean on these and clapnq_half (both legs together: 0.066), and told the better of two searches
14 times of 15. Changed by a tenth, none of them changes that by more than 0.02.
Questions that people put have 4 to 10 words that carry meaning, 59 to 76 % of them their passage's own."""
SEED = 7
_READ = 5_000  # passages that the other words are taken from
_KNOWN = 8_000  # other words, the most frequent ones; embedding them takes six seconds
_TWICE = 3  # times that a word must stand in the posts: what stands there once may be a slip
_RIVALS = 10  # passages that are looked at for the same sentence
_LONG = 30  # words; what is longer and asks nothing is a text

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_PAUSE = re.compile(r"[,;:()\[\]“”\"—–]|\s-\s|\.\.\.")
CODE = re.compile(r"(?ms)^(```+|~~~+).*?(?:^\1[`~]*$|\Z)|^(?: {4}|\t|\|).*?$")
NO_PROSE = re.compile(r"https?://|[{}<>=\\|]")
LEFTOVER = re.compile(
    r"(?im)^\W*(?:question|query|prompt|answer|context|passage|instructions?)\s*(?:(?:#|no\.?)?\s*\d+\b|:|\\n|$)|\\n\\n"
    r"|additional_kwargs|response_metadata|<\|\w+\|>|\{+\s*(?:context|question|query|passage|text|input|topic)\b"
)
ASKS = re.compile(
    r"(?i)\?|\b(?:who|whom|whose|what|when|where|which|why|how)\b"
    r"|^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|shall|should|may|might|must)\b"
)


@dataclass(frozen=True)
class MadeQuestion:
    """A question and the passage that it was made of."""

    text: str
    passage: Passage


def make_questions(
    library: Library, embedder: Embedder, count: int, among: Sequence[int] | None = None
) -> Iterator[MadeQuestion]:
    """Yield up to `count` questions, each of another passage, the same ones for the same posts.

    `among` are the ids of the passages to ask about, None for all.
    """
    # by hashes: when posts come, most questions stay, and two measurements can be compared
    read = library.passages(sorted(library.passage_ids(), key=lambda id_: _number(str(id_)))[:_READ])
    known = _OtherWords(read, embedder)
    made = 0
    asked = read if among is None else library.passages(among)
    for passage in sorted(asked, key=lambda passage: _number(passage.hash)):
        if made < count and (text := _question(passage, library, known)):
            made += 1
            yield MadeQuestion(text, passage)


def check_questions(questions: Sequence[tuple[str, str]]) -> list[str]:
    """Say of each (question, name of what answers it) why it is none, or "" if it may be one."""
    asked = Counter(_folded(text) for text, _ in questions)
    answers: dict[str, set[str]] = {}
    for text, answer in questions:
        answers.setdefault(_folded(text), set()).add(answer)
    seen: set[str] = set()
    reasons = []
    for text, _ in questions:
        folded = _folded(text)
        if len(answers[folded]) > 1:
            reason = f"The same question stands for {len(answers[folded]):,} passages."
        elif asked[folded] > 1 and folded in seen:
            reason = "It is asked twice."
        else:
            reason = _no_question(text)
        seen.add(folded)
        reasons.append(reason)
    return reasons


def _no_question(text: str) -> str:
    """Say why a text is no question, whatever else is asked."""
    words = _WORD.findall(text)
    if LEFTOVER.search(text):
        return "It is what was left of a template."
    if len(words) < 3 or not any(map(_telling, words)):
        return "It is too short to ask for anything."
    if not ASKS.search(text):
        return "It asks nothing: it has no question word and no question mark."
    if len(words) > _LONG and "?" not in text:
        return f"It asks nothing: it has {len(words):,} words and no question mark."
    return ""


class _OtherWords:
    """The words of the posts, to find those that mean much the same."""

    def __init__(self, passages: Sequence[Passage], embedder: Embedder) -> None:
        """Embed the words that the posts use most."""
        counted = Counter(word for passage in passages for word in _WORD.findall(passage.text) if _common(word))
        self._words = [word for word, times in counted.most_common(_KNOWN) if times >= _TWICE]
        self._vectors = embedder.encode_documents(self._words)
        self._embedder = embedder

    def like(self, words: Sequence[str]) -> list[list[str]]:
        """Return for each word those near enough to it, nearest first."""
        if not words or not self._words:
            return [[] for _ in words]
        near: Vectors = self._embedder.encode_documents([word.lower() for word in words]) @ self._vectors.T
        best = np.argsort(-near, axis=1)[:, :_RIVALS]
        return [
            [self._words[at] for at in row if cosines[at] >= NEAR and stem(self._words[at]) != stem(word.lower())]
            for word, row, cosines in zip(words, best, near, strict=True)
        ]


def _question(passage: Passage, library: Library, known: _OtherWords) -> str:
    """Make a question of a passage; return "" if it has no sentence for one, or another passage has the same."""
    clauses = [clause for sentence in _sentences(passage.text) if (clause := _clause(sentence))]
    weights = library.weights(words_of(" ".join(word for clause in clauses for word in clause)))
    clause = _most_telling(clauses, passage, weights)
    if not clause or _held_elsewhere(clause, passage, library, weights):
        return ""
    return _reworded(clause, passage, known, weights, random.Random(_number(passage.hash)))


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a passage in plain words; code, tables and addresses are none."""
    text = CODE.sub("\n\n", text)
    for start, end in sentence_spans(text):
        sentence = plain(text[start:end])
        if not NO_PROSE.search(sentence):
            yield sentence


def _clause(sentence: str) -> list[str]:
    """Return the longest run of a sentence's parts that is short enough for a question; none if it says too little."""
    parts = [_WORD.findall(part) for part in _PAUSE.split(sentence)]
    best: list[str] = []
    for first in range(len(parts)):
        run = parts[first][:LONGEST]
        for part in parts[first + 1 :]:
            if len(run) + len(part) > LONGEST:
                break
            run = run + part
        best = max(best, run, key=len)
    return best if len(best) >= SHORTEST and len(_stems(best)) >= FEWEST else []


def _most_telling(clauses: Sequence[list[str]], passage: Passage, weights: Mapping[str, float]) -> list[str]:
    """Return the clause whose words come back most in its passage and its heading."""
    told = Counter(word for clause in clauses for word in _stems(clause))
    told.update(stems_of(passage.heading))
    by_stem = _by_stem(weights)

    def centre(clause: list[str]) -> float:
        stems = _stems(clause)
        return sum((told[word] - 1) * by_stem.get(word, 0.0) for word in stems) / float(np.sqrt(len(stems) + 3))

    return max(clauses, key=centre, default=[])


def _held_elsewhere(clause: list[str], passage: Passage, library: Library, weights: Mapping[str, float]) -> bool:
    """Say whether another passage has nearly all that a clause says."""
    own = _stems(clause)
    by_stem = _by_stem(weights)
    rivals = [id_ for id_, _ in library.lexical(words_of(" ".join(clause)), _RIVALS) if id_ != passage.id]
    most = SHARED * sum(by_stem.get(word, 0.0) for word in own)
    shared = (own & stems_of(rival.embedded_text) for rival in library.passages(rivals))
    return any(sum(by_stem.get(word, 0.0) for word in held) >= most for held in shared)


def _reworded(
    clause: list[str], passage: Passage, known: _OtherWords, weights: Mapping[str, float], chance: random.Random
) -> str:
    """Forget the rarest word of a clause, and put others into other words."""
    words: list[str] = list(clause)
    telling = [at for at, word in enumerate(words) if _telling(word)]
    rarest = max(telling, key=lambda at: _weight(words[at], weights))
    words[rarest] = _asking(words[rarest])
    telling.remove(rarest)
    chosen = [at for at in telling if not words[at][0].isupper() and not words[at][0].isdigit()]
    chosen = sorted(chance.sample(chosen, min(len(chosen), round(OTHER_WORDS * len(telling)))))
    own = stems_of(passage.embedded_text)
    kept = len(telling)
    for at, others in zip(chosen, known.like([words[at] for at in chosen]), strict=True):
        other = next((word for word in others if stem(word) not in own), "")
        if other:
            words[at], kept = other, kept - 1
    for at in sorted(
        telling, key=lambda at: -_weight(clause[at], weights)
    ):  # where nothing is near enough, the rarest are left out
        if kept > COPIED * len(telling) and words[at] == clause[at]:
            words[at], kept = "", kept - 1
    return " ".join(word for word in words if word) + "?"


def _weight(word: str, weights: Mapping[str, float]) -> float:
    return max((weights.get(part, 0.0) for part in words_in(word)), default=0.0)


def _asking(word: str) -> str:
    """Return what asks for a word."""
    return "how much" if word[0].isdigit() else "what"


def _telling(word: str) -> bool:
    return len(word) > 1 and word.lower() not in STOP_WORDS


def _common(word: str) -> bool:
    return len(word) > 2 and word.isalpha() and word.islower() and word not in STOP_WORDS


def _stems(words: Sequence[str]) -> frozenset[str]:
    return stems_of(" ".join(words))


def _by_stem(weights: Mapping[str, float]) -> dict[str, float]:
    return {stem(word): weight for word, weight in weights.items()}


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _number(hash_: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{SEED} {hash_}".encode(), digest_size=8).digest(), "big")
