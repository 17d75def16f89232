"""Does the number that nobody judged tell the truth? `python -m benchmarks.quality [--cut DIMENSION] [set...]`.

Beside each other: how often the right document comes first for questions that were judged, and the right passage for
questions made of the posts (rag/measuring/questions.py). With --cut the embedder is made worse: only so many of its
dimensions are kept, and the number must fall as the truth does."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.common import datasets, fresh_engine, print_table
from models.embedder import SentenceTransformerEmbedder
from rag.evaluate import evaluate
from rag.measuring.quality import MODES, certainty

COLUMNS = ("set", "search", "judged first", "made first", "95 %", "difference", "judged in 10", "made in 8")
Shares = dict[str, tuple[float, float]]
"""By search: the share of questions whose right passage is first, and among those shown."""


class Cut(SentenceTransformerEmbedder):
    """The embedder that ships, all but its first dimensions blanked."""

    kept = 384

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint[:12]}{self.kept:04d}"

    def encode_queries(self, texts: Any) -> Any:
        return self._cut(super().encode_queries(texts))

    def encode_documents(self, texts: Any) -> Any:
        return self._cut(super().encode_documents(texts))

    def _cut(self, vectors: Any) -> Any:
        blanked = np.where(np.arange(vectors.shape[1]) < self.kept, vectors, np.float32(0))
        return blanked / np.linalg.norm(blanked, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cut", type=int, default=384)
    parser.add_argument("--limit", type=int, default=400)
    parser.add_argument("sets", nargs="*", default=["seed_posts", "xquad_en", "scifact"])
    chosen = parser.parse_args()
    Cut.kept = chosen.cut
    rows, compared = [], []
    for name in chosen.sets:
        judged, made, count = compare(datasets() / "retrieval" / name, chosen.limit)
        compared.append((judged, made))
        for mode in MODES:
            (first, ten), (mine, shown) = judged[mode], made[mode]
            low, high = certainty(round(mine * count), count)
            rows.append([name, mode, first, mine, f"{low}-{high}", f"{mine - first:+.3f}", ten, shown])
    print_table(COLUMNS, rows)
    print_table(["what", "value"], summary(compared))


def compare(folder: Path, limit: int) -> tuple[Shares, Shares, int]:
    """Return the shares for judged questions, those for made ones, and how many were made."""
    judged: Shares = {}
    with patch("app.SentenceTransformerEmbedder", Cut), fresh_engine() as engine:
        for mode in MODES:  # the second and third find their vectors kept
            found = evaluate(engine, folder, mode, limit)
            judged[mode] = (found["accuracy@1"], found["accuracy@10"])
        measured = engine.quality.measure(Event())
    assert measured
    count = measured.questions
    return judged, {mode: (s.first / count, s.shown / count) for mode, s in measured.scores.items()}, count


def summary(compared: list[tuple[Shares, Shares]]) -> list[tuple[str, object]]:
    """Say how near the made numbers are to the judged ones, and how often they tell the better of two searches."""
    first = [made[mode][0] - judged[mode][0] for judged, made in compared for mode in MODES]
    pairs = [
        (judged[a][0] - judged[b][0], made[a][0] - made[b][0])
        for judged, made in compared
        for a, b in combinations(MODES, 2)
    ]
    return [
        ("mean difference", float(np.mean(first))),
        ("mean difference without its sign", float(np.mean(np.abs(first)))),
        ("mean error in the difference of two searches", float(np.mean([abs(a - b) for a, b in pairs]))),
        ("better of two searches told", f"{sum(a * b > 0 for a, b in pairs)} of {len(pairs)}"),
        ("rank agreement (Spearman)", rank_agreement(compared)),
    ]


def rank_agreement(compared: list[tuple[Shares, Shares]]) -> float:
    ranks = [
        np.argsort(np.argsort([shares[which][mode][0] for shares in compared for mode in MODES])) for which in (0, 1)
    ]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
