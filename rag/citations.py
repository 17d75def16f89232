"""Answer text + hits -> verified footnotes.

A small model forgets to cite, or cites what it made up. So nothing it says about sources is believed: each sentence
is held against the sentences of the hits, and gets a footnote only to one that says the same, numbers included."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.answering.agreement import contradicts, names_in, new_words, numbers_in, swaps, turns_round
from rag.answering.memory import Memory
from rag.markup import plain
from rag.ports import Embedder, Nli, Vectors
from rag.records import Citation, Hit, Sentence, Support
from rag.sentences import sentence_spans
from rag.words import same_words, stems_of

SUPPORTED = 0.55
"""Support, the smaller of cosine and share of common words, from which a sentence gets a footnote. benchmarks.proof,
2026-11-26: of people's own sentences (clapnq_half) 82 % get one and 13 % more are partly proven; of the same with a
number, date, name or negation changed 97 to 100 % get none, of those held against another passage all; with a verb
changed 2 % pass as proven, with two numbers exchanged 3 %, with two names 42 %."""
PARTLY_KNOWN, PARTLY_NEAR = 0.7, 0.35
"""Share of its words that the whole passage has, and cosine of its best sentence, from which it is partly proven."""

PASSAGE, AROUND, LENGTH, OPEN = 2.0, 0.5, 0.1, 0.3
"""What counts in a quote beside its cosine and its share of the question's words: its passage's score; the share that
only its neighbours have; the logarithm of its length; and, against it, that it is no sentence with an end, but a
question, the line above a list, or a link alone. See Verifier.quotes."""
ASKS = 0.5
"""What counts against a sentence that is a question, beside that. 472 questions of chunking_eval: the first right in
59.5 % without it, in 60.0 with it, the three in 78.6 either way; of 300 of seed_posts none is answered with a question,
5 without it; xquad_en has no such sentences (2026-11-26)."""
ALIKE, SAME = 0.3, 0.97
"""What likeness to a quote before it takes from the next (none has three right in 95.7 %, 0.1 in 95.9, 0.2 in 96.0),
and from where on it is a copy."""
READ = 10
"""Sentences that are compared with the question by meaning, those that fit best without it: each costs 10 ms on a slow
machine. All of them (30) and 10: the first quote right in 81.0 and 81.0 %, the three in 95.9 and 95.9, the very same
three in 98.6; on seed_posts in 96.5 (8: 93.9, 6: 82.6; 300 questions of xquad_en, 120 of seed_posts, 2026-11-26)."""
QUOTES = 3
_CLAIMS = 3  # words of their own; with fewer, nearly any passage has them all
_LOOKED_AT = 12  # places with the most shared words; only these are compared by meaning
_INFERRED = 3  # of those, the most like it, are read by an NLI model: each takes it a while
_YES_OR_NO = re.compile(r"^(?:yes|no)\b[,.:;!]?\s*", re.IGNORECASE)  # answers the question; the claim comes after it
_ENDED = re.compile(r"[.!…。！][\"'”’»)\]]*$")
_QUESTION = re.compile(r"[?？][\"'”’»)\]]*$")
_LIST_MARK = re.compile(r"(?:[-*+•>]|\d{1,3}[.)])\s+")


@dataclass(frozen=True)
class _Passage:
    """What the passage around a sentence says, its heading included."""

    text: str
    stems: frozenset[str]
    numbers: frozenset[str]


@dataclass(frozen=True)
class _Evidence:
    """A sentence of a hit, at `start:end` of its post; `said` is it in plain words, below its heading."""

    hit: Hit
    start: int
    end: int
    quote: str
    said: str
    stems: frozenset[str]
    numbers: frozenset[str]
    passage: _Passage


@dataclass(frozen=True)
class _Claim:
    """A sentence that wants proof."""

    text: str
    stems: frozenset[str]
    numbers: frozenset[str]
    names: frozenset[str]

    def share(self, known: frozenset[str]) -> float:
        """Return the share of its words that are known."""
        return len(self.stems & known) / len(self.stems)


@dataclass(frozen=True)
class _Support:
    evidence: _Evidence
    support: Support


class Verifier:
    """Holds the sentences of one answer against the hits."""

    def __init__(
        self,
        question: str,
        hits: Sequence[Hit],
        embedder: Embedder,
        nli: Nli | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Prepare the hits' sentences; they are read when they are needed, unless the memory has them. With `nli`, its
        word is what proves."""
        self._embedder = embedder
        self._memory = memory or Memory()
        self._nli = nli
        self._question = question
        self._asked = stems_of(question)
        self._evidence = [evidence for hit in hits for evidence in _evidence(hit)]
        self._vectors: dict[int, Vectors] = {}
        self._known: dict[str, _Support | None] = {}

    def verify(self, text: str, *, done: bool) -> tuple[tuple[Sentence, ...], tuple[Citation, ...]]:
        """Return the sentences of an answer and its footnotes, numbered in the order of the text.

        While the answer grows (`done` false), its last sentence may still change and is left out.
        """
        spans = sentence_spans(text)
        sentences: list[Sentence] = []
        citations: dict[tuple[str, int, int], Citation] = {}
        for start, end in spans if done else spans[:-1]:
            found = self._support(text[start:end])
            number = None
            if found:
                place = (found.evidence.hit.passage.post_id, found.evidence.start, found.evidence.end)
                number = citations.setdefault(place, _citation(found.evidence, len(citations) + 1)).number
            sentences.append(Sentence(text[start:end], start, end, number, found.support if found else "no"))
        return tuple(sentences), tuple(citations.values())

    def quotes(self, count: int = QUOTES) -> tuple[Citation, ...]:
        """Return the sentences of the posts that answer the question best, best first, each a footnote of its own.

        On the 1,190 questions of xquad_en the first holds the known answer in 82.0 %, the first three in 96.1 %; by
        cosine alone in 70.7 and 89.6, by cosine, words and score alike 81.6 and 94.8 (2026-11-25).
        """
        telling = [i for i, evidence in enumerate(self._evidence) if not evidence.quote.startswith(("#", "|", "```"))]
        if not telling:
            return ()
        read = sorted(telling, key=lambda i: -self._fit(i))[:READ]
        self._embed([i for i in read if i not in self._vectors])
        asked = self._embedder.encode_queries([self._question])[0]
        fit = {i: float(self._vectors[i] @ asked) + self._fit(i) for i in read}
        picked: list[int] = []
        while fit and len(picked) < count:
            best = max(fit, key=lambda i: fit[i])
            picked.append(best)
            alike = {i: float(self._vectors[i] @ self._vectors[best]) for i in fit if i != best}
            fit = {i: fit[i] - ALIKE * max(near, 0.0) for i, near in alike.items() if near < SAME}
        return tuple(_citation(self._evidence[i], number) for number, i in enumerate(picked, start=1))

    def _fit(self, i: int) -> float:
        """Return how well a sentence answers as far as it tells without a model: its words, its passage and length, and
        its neighbours' words."""
        evidence = self._evidence[i]
        beside = (self._evidence[j] for j in (i - 1, i + 1) if 0 <= j < len(self._evidence))
        around = frozenset().union(*(near.stems for near in beside if near.hit is evidence.hit))
        lacking = self._asked - evidence.stems
        total = max(1, len(self._asked))
        return (
            len(self._asked & evidence.stems) / total
            + PASSAGE * evidence.hit.score
            + AROUND * len(lacking & around) / total
            + LENGTH * math.log(1 + len(evidence.said.split()))
            - OPEN * (not _ENDED.search(evidence.said))
            - ASKS * bool(_QUESTION.search(evidence.said))
        )

    def _support(self, sentence: str) -> _Support | None:
        if sentence not in self._known:
            self._known[sentence] = self._best(_YES_OR_NO.sub("", plain(sentence)))
        return self._known[sentence]

    def _best(self, sentence: str) -> _Support | None:
        """Return the evidence that says what the sentence says and how far it does, or None."""
        claim = _Claim(sentence, stems_of(sentence), numbers_in(sentence), names_in(sentence))
        if not claim.stems or (sentence.endswith(":") and len(claim.stems) <= _CLAIMS) or sentence.endswith("?"):
            return None  # "18F hiring practices:" says nothing yet, and a question never does
        for evidence in self._evidence:
            if same_words(evidence.said, sentence):
                return _Support(evidence, "yes")  # word for word: no model need be asked
        shared = {i: claim.share(evidence.stems) for i, evidence in enumerate(self._evidence)}
        likely = sorted((i for i in shared if shared[i]), key=lambda i: -shared[i])[:_LOOKED_AT]
        if not likely:
            return None
        self._embed([i for i in likely if i not in self._vectors])
        vector = self._embedder.encode_documents([sentence])[0]
        near = {i: float(self._vectors[i] @ vector) for i in likely}
        fit = {i: min(near[i], shared[i]) for i in likely}
        if self._nli:
            return self._inferred(claim, sorted(likely, key=lambda i: -fit[i])[:_INFERRED], self._nli)
        whole = [i for i in likely if fit[i] >= SUPPORTED and self._proves(claim, self._evidence[i])]
        if whole:
            said = {i: _says(claim, self._evidence[i]) for i in whole}
            best = max(whole, key=lambda i: (said[i], round(fit[i], 2), -len(self._evidence[i].quote)))
            return _Support(self._evidence[best], "yes" if said[best] else "partly")
        best = max(likely, key=lambda i: fit[i])
        partly = near[best] >= PARTLY_NEAR and self._proves_partly(claim, self._evidence[best])
        return _Support(self._evidence[best], "partly") if partly else None

    def _inferred(self, claim: _Claim, likely: Sequence[int], nli: Nli) -> _Support | None:
        """Return the first of the likely sentences from which the claim follows, or else, partly, its passage."""
        for support in ("yes", "partly"):
            evidence = [self._evidence[i] for i in likely]
            texts = [one.said if support == "yes" else one.passage.text for one in evidence]
            proving = [one for one, follows in zip(evidence, nli.entails(texts, claim.text), strict=True) if follows]
            if proving:
                return _Support(proving[0], support)
        return None

    def _proves(self, claim: _Claim, evidence: _Evidence) -> bool:
        """Say whether the evidence has the claim's numbers and names, and does not deny it.

        A name the question gave need only stand in the same passage: posts say "he" and "it" after the first time.
        Beside a number that will not do: "rye rests for 12 hours, wheat for 4" does not prove that rye rests for 4.
        """
        around = evidence.passage.stems
        elsewhere = (claim.stems - evidence.stems) & around
        if not claim.numbers <= evidence.numbers or (claim.numbers and elsewhere):
            return False
        if not claim.names <= evidence.stems | (self._asked & around):
            return False
        return not contradicts(claim.text, evidence.said) and not swaps(claim.text, evidence.said)

    def _proves_partly(self, claim: _Claim, evidence: _Evidence) -> bool:
        """Say whether the rest of the claim stands elsewhere in the passage, and nothing speaks against it."""
        passage = evidence.passage
        return (
            len(claim.stems) >= _CLAIMS
            and claim.share(passage.stems | self._asked) >= PARTLY_KNOWN
            and claim.numbers <= passage.numbers
            and claim.names <= passage.stems | self._asked
            and not contradicts(claim.text, evidence.said, passage.text)
        )

    def _embed(self, indexes: Sequence[int]) -> None:
        if not indexes:
            return
        vectors = self._memory.vectors([self._evidence[i].said for i in indexes], self._embedder)
        self._vectors.update(zip(indexes, vectors, strict=True))


def _says(claim: _Claim, evidence: _Evidence) -> bool:
    """Say whether a claim has no word that the passage has not, for it may be the verb, and leaves names in their
    places. A word of the question does not count: "When did Ben sell it?" proves no sale.
    """
    return not new_words(claim.text, evidence.passage.stems) and not turns_round(claim.text, evidence.said)


def _evidence(hit: Hit) -> list[_Evidence]:
    text, offset, heading = hit.passage.text, hit.passage.start, hit.passage.heading
    whole = f"{heading} {plain(text)}"
    passage = _Passage(whole, stems_of(whole), numbers_in(whole))
    found = []
    for start, end in sentence_spans(text):
        mark = _LIST_MARK.match(text, start, end)
        start = mark.end() if mark else start
        quote = text[start:end]
        said = f"{heading} {plain(quote)}"
        found.append(
            _Evidence(hit, offset + start, offset + end, quote, plain(quote), stems_of(said), numbers_in(said), passage)
        )
    return found


def _citation(evidence: _Evidence, number: int) -> Citation:
    hit = evidence.hit
    return Citation(
        number=number,
        passage_id=hit.passage.id,
        post_id=hit.passage.post_id,
        title=hit.title,
        url=hit.url,
        date=hit.date,
        quote=evidence.quote,
        start=evidence.start,
        end=evidence.end,
        page=hit.page_of(evidence.start),
    )
