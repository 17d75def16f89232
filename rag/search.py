"""Question -> hits: full-text search and nearest vectors, fused.

Full-text finds names, code and numbers; vectors find other words for the same thing. BM25 means nothing across
questions, so it is scaled by the question's best; cosine does, so it stays as it is, and a sure leg outweighs an unsure
one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from snowballstemmer.english_stemmer import EnglishStemmer

from rag.errors import BadQuestion
from rag.ports import Embedder, Library, VectorIndex, Vectors
from rag.records import NO_FILTERS, Coverage, Filters, Found, Hit, Label, Passage, SearchMode

MAX_QUESTION = 4000  # characters; a longer one holds no question a search could use
CANDIDATES = 100  # best passages of each leg that are fused
MEANING = 2 / 3
"""Share of the cosine in a hit's score, the rest is BM25 scaled to 0..1. NDCG@10 on 2026-11-24, up to
400 questions a set (seed_posts, xquad_en, cranfield, zoomcamp_faq): this 0.931, 0.990, 0.436, 0.891; both legs scaled
from worst to best and added 0.929, 0.988, 0.427, 0.892; reciprocal rank fusion 0.888, 0.981, 0.434, 0.859."""
KNOWN_WORDS = 0.3
"""What the share of a question's words that one hit has counts beside the best cosine: see ENOUGH."""
ENOUGH = 0.45
"""Best cosine + KNOWN_WORDS x best share of words from which the posts cover a question. On 2026-11-24, 200 questions a
set put to their own and to each other's collection (seed_posts, xquad_en, zoomcamp_faq, clapnq_half, cranfield): AUROC
0.994 (cosine alone 0.989); refuses 2 % of those put to their own and keeps 7 % of those put to another's."""

STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be because been before being but by can could did do does "
    "doing for from get got had has have having he her here hers him his how i if in into is it its just know "
    "let like make me mean more most much my no nor not of off on one only or other our out over own please "
    "really same say she should so some such tell than that the their them then there these they thing things "
    "this those through to too under up us use used very was way we were what when where which while who whom "
    "whose why will with would you your".split()
)


def clean_question(question: str) -> str:
    """Return the question on one line. Raise BadQuestion if it is blank or too long to be one."""
    if len(question) > MAX_QUESTION:
        raise BadQuestion(
            f"This question has {len(question):,} characters; {MAX_QUESTION:,} is the limit. Ask a shorter one."
        )
    question = " ".join(question.encode("utf-8", "replace").decode("utf-8").split())
    if not any(character.isalnum() for character in question):
        raise BadQuestion("There is no question yet. Type one in plain words.")
    return question


def words_of(text: str) -> list[str]:
    """Return the distinct words that tell what a text is about, in order, lower case, stop words left out.

    A text of stop words alone keeps them all.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", text.lower())))
    return [word for word in words if word not in STOP_WORDS] or words


def stems_of(text: str) -> frozenset[str]:
    """Return the stems of the words that carry meaning: "writes", "writing" and "write" are one."""
    return frozenset(map(_stem, words_of(text)))


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(EnglishStemmer().stemWord(word))  # a new one each time: it is not safe between threads


def search(
    question: str,
    library: Library,
    index: VectorIndex,
    embedder: Embedder,
    mode: SearchMode,
    limit: int,
    filters: Filters = NO_FILTERS,
) -> Found:
    """Return the best passages for a question, at most `limit`, best first, and whether the posts cover it.

    "lexical" needs no model. "hybrid" and "dense" take what the index has; with none open, hybrid is lexical.
    """
    words = words_of(question)
    lexical = dict(library.lexical(words, CANDIDATES, filters)) if mode != "dense" else {}
    cosines: dict[int, float] = {}
    if mode != "lexical":
        vector = embedder.encode_queries([question])[0]
        among = library.within(filters) if filters != NO_FILTERS else None
        cosines = dict(index.nearest(vector, CANDIDATES, among))
    passages = {
        passage.id: passage for passage in library.passages([*lexical, *(i for i in cosines if i not in lexical)])
    }
    if mode == "hybrid":
        cosines |= _missing_cosines(passages, cosines, vector, library, embedder)
    hits = _fuse(passages, lexical, cosines, library, limit)
    coverage: Coverage = "covered" if covers(question, hits) else "not covered"
    return Found(question, tuple(hits), coverage, words=tuple(words), filters=filters)


def covers(question: str, hits: Sequence[Hit]) -> bool:
    """Say whether any hit is near enough to the question for an answer to be in the posts, or may be."""
    if not hits or any(hit.cosine is None for hit in hits):
        return bool(hits)
    asked = stems_of(question)
    known = max(len(asked & stems_of(hit.passage.embedded_text)) / max(1, len(asked)) for hit in hits)
    return max(hit.cosine or 0.0 for hit in hits) + KNOWN_WORDS * known >= ENOUGH


def _missing_cosines(
    passages: Mapping[int, Passage], cosines: Mapping[int, float], vector: Vectors, library: Library, embedder: Embedder
) -> dict[int, float]:
    """Return the cosines of passages that only full-text search found, from the vectors in the library."""
    missing = {id_: passage.hash for id_, passage in passages.items() if id_ not in cosines}
    stored = library.vectors(missing.values(), embedder.fingerprint)
    return {id_: float(stored[hash_] @ vector) for id_, hash_ in missing.items() if hash_ in stored}


def _fuse(
    passages: Mapping[int, Passage],
    lexical: Mapping[int, float],
    cosines: Mapping[int, float],
    library: Library,
    limit: int,
) -> list[Hit]:
    top = max(lexical.values(), default=0.0)
    words = {id_: score / top for id_, score in lexical.items()} if top > 0 else {}
    total = {id_: (1 - MEANING) * words.get(id_, 0.0) + MEANING * max(0.0, cosines.get(id_, 0.0)) for id_ in passages}
    best = sorted(total, key=lambda id_: (-total[id_], id_))[:limit]
    labels = library.labels({passages[id_].post_id for id_ in best})
    hits = []
    for id_ in best:
        label = labels.get(passages[id_].post_id, Label(""))
        words_, cosine = words.get(id_, 0.0), cosines.get(id_)
        hits.append(Hit(passages[id_], label.title, label.url, label.date, total[id_], cosine, words_, label.pages))
    return hits
