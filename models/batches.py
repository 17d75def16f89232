"""Which pairs are trained together: no passage twice in a batch, for each is the wrong answer to the others' questions.

Apart from training.py, because nothing here needs a model."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rag.records import Pair, Recipe

_SAME = 0.5  # share of a text's runs of words that another has; from here they are the same passage
_RUN = 5  # words
_NEGATIVES = 1  # of each pair; each costs as much as its passage: see training.py


class Batches:
    """Which pairs are trained together: shared out evenly in each epoch, no passage twice in a batch.

    The library's own sampler (NO_DUPLICATES) compares whole texts, so that a passage with and without a sentence may
    meet; and where few passages have many questions it makes more batches than it says, which are not trained on then.
    """

    drop_last = False

    def __init__(self, keys: Sequence[set[str]], recipe: Recipe) -> None:
        """`keys` names for each pair what must not meet: its question, its passage, its negatives."""
        self.batch_size = recipe.batch
        self.epoch = 0
        counted = Counter(key for own in keys for key in own)
        largest = max(counted.values())
        # a passage with more questions than all others have: alone in a batch they teach nothing, some sit out
        count = max(math.ceil(len(keys) / recipe.batch), min(largest, len(keys) - largest))
        self._epochs = [
            _dealt(keys, counted, count, random.Random(f"{recipe.seed} {epoch}")) for epoch in range(recipe.epochs)
        ]

    def __len__(self) -> int:
        return len(self._epochs[0])

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._epochs[self.epoch % len(self._epochs)]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; the trainer calls it."""
        self.epoch = epoch


def _dealt(keys: Sequence[set[str]], counted: Mapping[str, int], count: int, chance: random.Random) -> list[list[int]]:
    """Deal pairs to `count` batches, each to the emptiest that has none of its keys; what fits nowhere is left out."""
    order = list(range(len(keys)))
    chance.shuffle(order)
    order.sort(key=lambda at: -max(counted[key] for key in keys[at]))  # those with the fewest places first
    batches: list[list[int]] = [[] for _ in range(count)]
    held: list[set[str]] = [set() for _ in range(count)]
    emptiest = [(0, chance.random(), number) for number in range(count)]
    heapq.heapify(emptiest)
    for at in order:
        passed = []
        while emptiest and not held[emptiest[0][2]].isdisjoint(keys[at]):
            passed.append(heapq.heappop(emptiest))
        if emptiest:
            size, _, number = heapq.heappop(emptiest)
            batches[number].append(at)
            held[number] |= keys[at]
            passed.append((size + 1, chance.random(), number))
        for entry in passed:
            heapq.heappush(emptiest, entry)
    chance.shuffle(batches)
    return batches


def table_of(pairs: Sequence[Pair], seed: int) -> tuple[dict[str, list[str]], list[set[str]]]:
    """Return the columns that are trained on, and for each pair what must not meet in a batch.

    All pairs have as many negatives, where any has some: what is missing is another pair's passage.
    """
    numbers = same_passages([pair.passage for pair in pairs] + [text for pair in pairs for text in pair.negatives])
    own = numbers[: len(pairs)]
    of_negatives = iter(numbers[len(pairs) :])
    chance = random.Random(seed)
    rows = {"question": [pair.question for pair in pairs], "passage": [pair.passage for pair in pairs]}
    keys = [
        {f"? {' '.join(pair.question.casefold().split())}", str(number)}
        for pair, number in zip(pairs, own, strict=True)
    ]
    columns = min(_NEGATIVES, max(len(pair.negatives) for pair in pairs))
    rows.update({f"negative_{column}": [] for column in range(1, columns + 1)})
    for at, pair in enumerate(pairs):
        wrong = [(text, number) for text in pair.negatives if (number := next(of_negatives)) != own[at]][:columns]
        while len(wrong) < columns:
            other = chance.randrange(len(pairs))
            if own[other] != own[at]:
                wrong.append((pairs[other].passage, own[other]))
        for column, (text, number) in enumerate(wrong, 1):
            rows[f"negative_{column}"].append(text)
            keys[at].add(str(number))
    return rows, keys


def same_passages(texts: Sequence[str]) -> list[int]:
    """Number the texts, so that those which are one passage have one number: copies, and parts of each other.

    A passage whose sentence became its question is still the same passage, and one would be taught to be wrong for the
    other's question if both stood in a batch.
    """
    first_with: dict[str, list[int]] = {}  # run of words -> numbers of the passages that have it
    sizes: list[int] = []
    numbers = []
    for text in texts:
        words = text.casefold().split()
        runs = {" ".join(words[at : at + _RUN]) for at in range(max(1, len(words) - _RUN + 1))}
        shared = Counter(number for run in runs for number in first_with.get(run, ()))
        number, most = max(shared.items(), key=lambda item: (item[1], -item[0]), default=(-1, 0))
        if number < 0 or most < _SAME * min(len(runs), sizes[number]):
            number = len(sizes)
            sizes.append(len(runs))
            for run in runs:
                first_with.setdefault(run, []).append(number)
        numbers.append(number)
    return numbers
