"""A hundred thousand passages out of a thousand posts: the real blogs, again and again with some words exchanged.

On its own, for it only makes what is measured. The same posts come each time. Embedding 100,000 passages takes two
cores a quarter of an hour, so vectors are kept."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.common import datasets, say
from rag import passages as splitting
from rag.ports import Embedder, Vectors
from rag.readers import find_files, read
from rag.records import Document, Passage, Post

_SHARD = 5_000  # passages whose vectors are kept in one file
_WORD = re.compile(r"(?<![\w/.@:-])[a-z]{4,}(?![\w/@:-])")  # whole words of prose: not those of addresses and names
_EXCHANGED = 0.3  # share of a post's words that are exchanged
_ALIKE = 50  # places up and down the ranks at which a word for another is looked for
_DAYS = 29  # days between a post and its next repetition


def posts() -> Iterator[Post]:
    """Yield the real posts, then repeat them for ever, each time with other words."""
    real = [post for path in find_files(datasets() / "blogs") for post in _read(path)]
    words = Counter(word for post in real for word in set(_WORD.findall(post.text)))
    ranked = sorted(
        (word for word, posts in words.items() if 3 <= posts <= len(real) // 10), key=lambda w: (-words[w], w)
    )
    places = {word: place for place, word in enumerate(ranked)}
    yield from real
    for turn in count(1):
        yield from (_altered(post, turn, ranked, places) for post in real)


def first(size: int, embedder: Embedder) -> Iterator[tuple[Post, list[Passage]]]:
    """Yield posts with their passages, `size` passages in all."""
    left = size
    for post in posts():
        passages = list(splitting.split(post, embedder.count_tokens, embedder.max_tokens))[:left]
        if passages:
            yield post, passages
        left -= len(passages)
        if not left:
            return


def vectors_of(passages: Sequence[Passage], embedder: Embedder, cache: Path) -> Vectors:
    """Return the passages' vectors, those that `cache` has not embedded and kept there."""
    cache.mkdir(parents=True, exist_ok=True)
    shards = [passages[start : start + _SHARD] for start in range(0, len(passages), _SHARD)]
    return np.concatenate([_shard(part, embedder, cache / f"{number}.npz") for number, part in enumerate(shards)])


def _shard(passages: Sequence[Passage], embedder: Embedder, path: Path) -> Vectors:
    hashes = np.array([passage.hash for passage in passages])
    if path.exists():
        with np.load(path) as kept:
            if np.array_equal(kept["hashes"][: len(hashes)], hashes):
                return np.asarray(kept["vectors"][: len(hashes)])
    say(f"embedding {len(passages)} passages for {path.name}")
    vectors = embedder.encode_documents([passage.embedded_text for passage in passages])
    np.savez(path, hashes=hashes, vectors=vectors)
    return vectors


def _read(path: Path) -> list[Post]:
    return [post for post in read(Document(str(path), path.name, path=str(path))) if isinstance(post, Post)]


def _altered(post: Post, turn: int, ranked: Sequence[str], places: Mapping[str, int]) -> Post:
    """Return the post with some of its words exchanged for others of the blogs that are about as common."""
    chance = random.Random(f"{turn} {post.source}")
    exchanged: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        word = match.group()
        if word not in exchanged:
            place = places.get(word)
            exchanged[word] = word
            if place is not None and chance.random() < _EXCHANGED:
                exchanged[word] = chance.choice(ranked[max(0, place - _ALIKE) : place + _ALIKE])
        return exchanged[word]

    text, title = _WORD.sub(other, post.text), _WORD.sub(other, post.title)
    day = post.date and (date.fromisoformat(post.date[:10]) + timedelta(days=_DAYS * turn)).isoformat()
    return replace(post, source=f"{post.source}#{turn}", title=title, text=text, date=day)
