"""Question + earlier turns -> a question that stands alone, without waiting for a language model.

A question that leans on what was said ("And in 2024?") takes the earlier turns' words and meaning along; one that
merely goes on with the subject takes a little of them; one about something else none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rag.errors import BadFile
from rag.ports import Embedder, Vectors
from rag.records import Turn
from rag.words import STOP_WORDS, sound, words_of

MEANING_CARRIED = 0.2
WORDS_CARRIED = 0.3
ANSWER_WORDS_CARRIED = 0.15
"""What the last question, the one that the subject began with and the last answer each count in the vector of a
question that leans on them, and what their words count. NDCG@10 on 2026-11-25, by two thirds cosine and one third BM25,
with the first question of all for the subject: the 187 questions of mtrag_half that have a history 0.819 without it,
0.912 with it, 0.934 if all were taken to lean on it; but questions of seed_posts, xquad_en and zoomcamp_faq after a
turn about something else would then fall from 0.916, 0.982, 0.900 to 0.787, 0.850, 0.847; as it is they have 0.912,
0.974, 0.900."""
GOING_ON = 0.35
"""Share of that for a question that stands alone and is near to the last turn: 0.25 and 0.5 give mtrag_half 0.900 and
0.923, seed_posts 0.912 and 0.908."""
NEAR = 0.2  # cosine to the last question or answer from which a question goes on with its subject

_SAID = 20_000  # characters of a turn that are read
_JOINED = 400  # characters of the last question that a leaning one is joined to
_NO_VECTOR: Vectors = np.zeros(0, dtype=np.float32)
_LEANS = re.compile(
    r"^\W*(?:and|but|or|so|then|also|what about|how about|what if|ok|okay|yes|no|sure|i see|i mean|i meant|sorry|oops"
    r"|thanks?|thank you|really|any other|any more|anything else|tell me more|more|go on)\b",
    re.IGNORECASE,
)
# "What is SQLite?"
_DEFINES = re.compile(r"^\W*(?:what|who)(?: is| are| was| were|['’]s)\b|^\W*define\b", re.IGNORECASE)
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|theirs|these|those|he|she|him|her|his|hers|this|that|the same|there)\b", re.IGNORECASE
)
_POINTS_NOWHERE = re.compile(  # "is it possible to", "there are", "that flour"
    r"\b(?:is|was|be|s|does|do|did|makes?|made|might|would|will|can) it (?:\w+ ){1,3}?(?:to|that|for|if|when)\b"
    r"|\b(?:is|are|was|were|be) there\b|\bthere (?:is|are|was|were|be|any|a)\b|\b(?:that|this|these|those) (?=\w)",
    re.IGNORECASE,
)


def turns_of(written: object) -> tuple[Turn, ...]:
    """Return the turns of a conversation, oldest first, from data: a list of {"question", "answer"}, of {"role",
    "content"}, or of lines "user: …" and "assistant: …". Raise BadFile for anything else."""
    said: list[Turn] = []
    for entry in written if isinstance(written, list) else [written]:
        for role, text in _lines_of(entry):
            if role in ("user", "question"):
                said.append(Turn(text))
            elif said and role in ("assistant", "agent", "answer"):
                said[-1] = Turn(said[-1].question, text)
    return tuple(said)


def _lines_of(entry: object) -> list[tuple[str, str]]:
    """Return (role, text) of an entry of a conversation."""
    if isinstance(entry, str) and ": " in entry:
        role, _, text = entry.partition(": ")
        return [(role, sound(text[:_SAID]))]
    if isinstance(entry, dict):
        own = [("question", entry.get("question")), ("answer", entry.get("answer", ""))]
        pairs = [(entry["role"], entry.get("content"))] if "role" in entry else own
        if all(isinstance(role, str) and isinstance(text, str) for role, text in pairs):
            return [(str(role), sound(str(text)[:_SAID])) for role, text in pairs]
    raise BadFile('This is no conversation. Write a list of {"question": "…", "answer": "…"}, oldest first.')


@dataclass(frozen=True)
class Asked:
    """A question as it is searched for: standing alone, its own words, those it carries along with what each counts,
    and its vector (empty where no model is asked)."""

    question: str
    words: tuple[str, ...]
    carried: Mapping[str, float]
    vector: Vectors


def asked(question: str, turns: Sequence[Turn], embedder: Embedder | None) -> Asked:
    """Make a question stand alone; `embedder` is None where only words are searched for."""
    own = tuple(words_of(question))
    if not turns:
        return Asked(question, own, {}, embedder.encode_queries([question])[0] if embedder else _NO_VECTOR)
    leaning = leans(question)
    last, first = turns[-1].question, turns[0].question
    if leaning:  # in a chain of them it leans on the last question that stood alone, not on another subject's before
        first = next((turn.question for turn in reversed(turns) if not leans(turn.question)), first)
        last = last if last == first else f"{first} {last}"
    texts = [last, first, turns[-1].answer or turns[-1].question]
    share, vector = float(leaning), _NO_VECTOR
    if embedder:
        alone, *earlier = embedder.encode_queries([question, *texts])
        if not leaning and max(float(alone @ earlier[0]), float(alone @ earlier[2])) > NEAR:
            share = GOING_ON
        mixed = alone + share * MEANING_CARRIED * np.sum(earlier, axis=0)
        vector = mixed / np.linalg.norm(mixed)
    carried: dict[str, float] = {}
    counts = (WORDS_CARRIED, WORDS_CARRIED, ANSWER_WORDS_CARRIED)
    for text, count in zip(texts, counts, strict=True) if share else ():
        for word in _telling(text):
            if word not in own:
                carried[word] = max(carried.get(word, 0.0), share * count)
    # from its end: one that was pasted must not fill the writer's prompt
    return Asked(f"{last[-_JOINED:]} {question}" if leaning else question, own, carried, vector)


def leans(question: str) -> bool:
    """Say whether a question makes no sense without what was said before it."""
    telling = len(_telling(question))
    if not telling or _LEANS.search(question) or (telling == 1 and not _DEFINES.search(question)):
        return True
    said = _POINTS_NOWHERE.sub(lambda found: " " * len(found.group()), question)
    found = _POINTS_BACK.search(said)  # the first has the fewest words before it
    # "how thin is it?" points back to another question, "how thin is a flatbread when it is done" to itself
    return found is not None and len(_telling(question[: found.start()])) < 2


def _telling(text: str) -> list[str]:
    return [word for word in words_of(text) if word not in STOP_WORDS]
