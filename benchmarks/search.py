"""Search quality, three kinds side by side: `python -m benchmarks.search [set...]`.

"dense" alone is what most apps of this kind do by default: vectors of a small embedder and nothing else. With `--scale
100000` it is speed that is measured, among so many passages and beside others: see scale.py."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from benchmarks import scale
from benchmarks.common import RIVAL_VENV, datasets, fresh_engine, print_table
from rag.evaluate import evaluate
from rag.records import SearchMode

SETS = ("seed_posts", "xquad_en", "cranfield", "scifact")
COLUMNS = ("documents", "queries", "ndcg@10", "accuracy@1", "accuracy@10", "recall@10", "mrr@10", "search_ms_p50")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("sets", nargs="*", default=SETS, help=f"judged sets ({' '.join(SETS)})")
    parser.add_argument("--scale", type=int, metavar="PASSAGES", help="measure speed among so many passages instead")
    parser.add_argument("--cache", type=Path, default=scale.CACHE, help="where their vectors are kept")
    parser.add_argument("--rival-venv", type=Path, default=RIVAL_VENV, help="LangChain's environment")
    chosen = parser.parse_args()
    if chosen.scale:
        scale.run(chosen.scale, chosen.cache, chosen.rival_venv)
        return
    rows = []
    for name in chosen.sets:
        with fresh_engine() as engine:
            for mode in get_args(SearchMode):  # the second and third find their vectors kept
                found = evaluate(engine, datasets() / "retrieval" / name, mode)
                rows.append([name, mode, *(found[column] for column in COLUMNS)])
    print_table(["set", "search", *COLUMNS], rows)


if __name__ == "__main__":
    main()
