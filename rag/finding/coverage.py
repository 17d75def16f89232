"""How likely it is that the posts answer a question, told by how near the best passages come to it.

Nothing is asked of a language model: a small one never refuses. What is near depends on the embedder and on the posts,
so both ends of the scale are measured on each index: how near the posts come to questions about anything else, and to
sentences of their own."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import exp

import numpy as np

from rag.ports import Embedder, Library, VectorIndex, Vectors
from rag.records import Coverage, Passage
from rag.sentences import sentence_spans

NEARNESS = 3.8
KNOWN = 1.7
IN_A_SENTENCE = 3.0
LEAST = -4.3
"""Logistic regression on nearness (0 as near as an unrelated question, 1 as near as a sentence of the posts), the share
of the question's words that the best three passages have together, and the share that one sentence has. Fitted on
2026-11-25 on eight sets, answerable and not alike: seed_posts, xquad_en, cranfield, zoomcamp_faq, scifact and
blog_summary_18f with questions of the others, clapnq_half, mtrag_half with its earlier turns. AUROC of each set when
fitted on the others: 0.985 to 1.000, questions of xquad_en put to blog_summary_18f and the reverse 0.998; clapnq_half
0.872, mtrag_half 0.908 (the best cosine alone 0.863 and 0.888). With the best cosine of a sentence besides, 0.892 and
0.911: embedding some twenty sentences would make a search take five times as long."""
REFUSED = 0.18
"""Below this the posts do not cover a question: 0 to 5 % of the answerable ones in each of the eight sets (fitted on
the others); of those put to another's collection 0 to 5 % are let through, 22 % of those put to blog_summary_18f."""
COVERED = 0.5
"""From this on they do, without a warning: of the questions between the two 43 % were answerable, of those above 93 %
(fitted on all eight sets)."""

_SAMPLE = 64  # passages whose sentences tell how near the posts come to themselves
_GROWN = 1.5  # factor by which posts may become more, or fewer, until the scale is measured anew
_NARROWEST = 0.1  # cosine between the two ends; a library of one sentence has none


@dataclass(frozen=True)
class Scale:
    """How near an index comes, in cosines, to questions about something else (`low`) and to sentences of its own
    (`high`), when it had so many `passages`."""

    low: float = 0.25
    high: float = 0.65
    passages: float = 0

    def fits(self, passages: int) -> bool:
        """Say whether it still holds for an index of so many passages."""
        return 0 < self.passages <= passages * _GROWN and passages <= self.passages * _GROWN


UNMEASURED = Scale()


def measured(library: Library, index: VectorIndex, embedder: Embedder) -> Scale:
    """Measure the scale of an index: 104 short texts are embedded, a second's work."""
    ids = sorted(library.passage_ids())
    if not ids:
        return UNMEASURED
    # seeded: the same posts have the same scale
    sample = library.passages(random.Random(len(ids)).sample(ids, min(_SAMPLE, len(ids))))
    low = _median_nearest(embedder.encode_queries(UNRELATED), index)
    high = _median_nearest(embedder.encode_queries([_middle_sentence(passage) for passage in sample]), index)
    return Scale(low, max(high, low + _NARROWEST), len(ids))


def probability(scale: Scale, cosine: float, known: float, in_a_sentence: float) -> float:
    """Return how likely the posts answer a question (0..1).

    `cosine`: that of the passage nearest to it; `known`: the share of its words, by their weight, that the best hits
    have; `in_a_sentence`: the share that one sentence of the nearest has.
    """
    nearness = (cosine - scale.low) / (scale.high - scale.low)
    return 1 / (1 + exp(-(NEARNESS * nearness + KNOWN * known + IN_A_SENTENCE * in_a_sentence + LEAST)))


def coverage_of(probable: float) -> Coverage:
    """Return what a person is told of a probability."""
    return "not covered" if probable < REFUSED else "maybe" if probable < COVERED else "covered"


def _median_nearest(vectors: Vectors, index: VectorIndex) -> float:
    found = [index.nearest(vector, 1) for vector in vectors]
    return float(np.median([best[0][1] for best in found if best] or [0.0]))


def _middle_sentence(passage: Passage) -> str:
    sentences = (passage.text[start:end] for start, end in sentence_spans(passage.text))
    whole = [sentence for sentence in sentences if 5 <= len(sentence.split()) <= 40]
    return whole[len(whole) // 2] if whole else passage.text[:200]


UNRELATED = (
    "How many moons does the planet Neptune have?",
    "What is the boiling point of liquid nitrogen?",
    "Who composed the opera about the barber of Seville?",
    "How do I change the spark plugs of a lawn mower?",
    "Which vaccines does a puppy need in its first year?",
    "What were the causes of the Thirty Years' War?",
    "How long should lamb shoulder roast at a low heat?",
    "Which muscles does a dead lift train?",
    "How do glaciers carve a valley?",
    "What is the offside rule in football?",
    "Who painted the ceiling of the Sistine Chapel?",
    "How is the exchange rate of a currency fixed?",
    "What does a violin maker use for varnish?",
    "Which enzyme breaks down lactose?",
    "How do bees choose a new queen?",
    "What is the capital of Kyrgyzstan?",
    "How do I remove red wine from a wool carpet?",
    "When was the Treaty of Westphalia signed?",
    "Why do leaves turn yellow in autumn?",
    "What is the penalty for late payment of property tax?",
    "How do you tie a bowline knot?",
    "Which scale measures the strength of earthquakes?",
    "What is the difference between a crocodile and an alligator?",
    "How do contact lenses correct astigmatism?",
    "Who was the first woman to fly across the Atlantic?",
    "How do I prune an old apple tree?",
    "What is the plot of the play about the Danish prince?",
    "Which alloy is used for the hulls of submarines?",
    "How many players are in a volleyball team?",
    "What causes hiccups in newborn babies?",
    "How is parchment made from animal skin?",
    "Which saint is celebrated in the middle of March?",
    "How do I file for divorce without a lawyer?",
    "What are the symptoms of a magnesium deficiency?",
    "How does a steam turbine drive a generator?",
    "Which knots are used to weave a Persian rug?",
    "What is the tallest waterfall in South America?",
    "How do you train a falcon to return?",
    "What is the proof that the square root of two is irrational?",
    "How old must one be to rent a car in Portugal?",
)
"""Questions that few blogs answer, each about something else."""
