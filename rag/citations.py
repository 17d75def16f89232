"""Answer text + hits -> verified footnotes.

A small model forgets to cite, or cites what it made up. So nothing it says about sources is believed: each sentence
is held against the sentences of the hits, and gets a footnote only to one that says the same, numbers included."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag.markup import plain
from rag.ports import Embedder, Vectors
from rag.records import Citation, Hit, Sentence
from rag.search import words_of
from rag.sentences import sentence_spans

SUPPORTED = 0.62
"""Support (mean of cosine and shared words, 0..1) from which a sentence gets a footnote."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class _Evidence:
    """One or two neighbouring sentences of a hit, at `start:end` of its post."""

    hit: Hit
    start: int
    end: int
    quote: str
    words: frozenset[str]
    numbers: frozenset[str]


class Verifier:
    """Holds the sentences of one answer against the hits it was written from."""

    def __init__(self, hits: Sequence[Hit], embedder: Embedder) -> None:
        """Prepare the hits' sentences; they are embedded at the first use."""
        self._embedder = embedder
        self._evidence = [evidence for hit in hits for evidence in _evidence(hit)]
        self._vectors: Vectors | None = None
        self._known: dict[str, _Evidence | None] = {}

    def verify(self, text: str, *, done: bool) -> tuple[tuple[Sentence, ...], tuple[Citation, ...]]:
        """Return the sentences of an answer and its footnotes, numbered in the order of the text.

        While the answer grows (`done` false), its last sentence may still change and is left out.
        """
        spans = sentence_spans(text)
        sentences: list[Sentence] = []
        citations: dict[tuple[int, int, int], Citation] = {}
        for start, end in spans if done else spans[:-1]:
            found = self._support(text[start:end])
            if found:
                place = (found.hit.passage.id, found.start, found.end)
                citation = citations.setdefault(place, _citation(found, len(citations) + 1))
                sentences.append(Sentence(text[start:end], start, end, citation.number))
            else:
                sentences.append(Sentence(text[start:end], start, end, None))
        return tuple(sentences), tuple(citations.values())

    def _support(self, sentence: str) -> _Evidence | None:
        if sentence not in self._known:
            self._known[sentence] = self._best(plain(sentence))
        return self._known[sentence]

    def _best(self, sentence: str) -> _Evidence | None:
        words, numbers = _stems(sentence), frozenset(_NUMBER.findall(sentence))
        candidates = [i for i, e in enumerate(self._evidence) if numbers <= e.numbers]
        if not words or not candidates:
            return None
        if self._vectors is None:
            self._vectors = self._embedder.encode_documents([evidence.quote for evidence in self._evidence])
        cosines = self._vectors @ self._embedder.encode_documents([sentence])[0]
        support = {i: (float(cosines[i]) + len(words & self._evidence[i].words) / len(words)) / 2 for i in candidates}
        best = max(support, key=lambda i: (round(support[i], 3), -len(self._evidence[i].quote)))
        return self._evidence[best] if support[best] >= SUPPORTED else None


def _evidence(hit: Hit) -> list[_Evidence]:
    text, offset = hit.passage.text, hit.passage.start
    spans = sentence_spans(text)
    spans += [(first[0], second[1]) for first, second in pairwise(spans)]
    found = []
    for start, end in spans:
        quote = text[start:end]
        words = _stems(f"{hit.passage.heading} {plain(quote)}")
        numbers = frozenset(_NUMBER.findall(f"{hit.passage.heading} {quote}"))
        found.append(_Evidence(hit, offset + start, offset + end, quote, words, numbers))
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
    )


def _stems(text: str) -> frozenset[str]:
    """Return the words that carry meaning, cut so that "writes", "writing" and "write" meet."""
    return frozenset(re.sub(r"(?:ing|ed|es|s|e|ly)$", "", word) if len(word) > 4 else word for word in words_of(text))
