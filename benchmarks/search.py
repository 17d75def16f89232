"""Search quality, three kinds side by side: `python -m benchmarks.search [set...]`.

"dense" alone is what most apps of this kind do by default: vectors of a small embedder and nothing else."""

from __future__ import annotations

import sys
from typing import get_args

from benchmarks.common import datasets, fresh_engine, print_table
from rag.evaluate import evaluate
from rag.records import SearchMode

COLUMNS = ("documents", "queries", "ndcg@10", "accuracy@1", "accuracy@10", "recall@10", "mrr@10", "search_ms_p50")


def main() -> None:
    names = sys.argv[1:] or ["seed_posts", "xquad_en", "cranfield", "scifact"]
    rows = []
    for name in names:
        with fresh_engine() as engine:
            for mode in get_args(SearchMode):  # the second and third find their vectors kept
                found = evaluate(engine, datasets() / "retrieval" / name, mode)
                rows.append([name, mode, *(found[column] for column in COLUMNS)])
    print_table(["set", "search", *COLUMNS], rows)


if __name__ == "__main__":
    main()
