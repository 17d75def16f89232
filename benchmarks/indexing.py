"""How fast posts are added: `python -m benchmarks.indexing FOLDER...`. Loading the model is left out."""

from __future__ import annotations

import sys
import time

from benchmarks.common import fresh_engine, print_table


def main() -> None:
    rows = []
    for folder in sys.argv[1:]:
        with fresh_engine() as engine:
            started = time.perf_counter()
            failed = sum(outcome.state == "failed" for outcome in engine.add([folder]))
            seconds = time.perf_counter() - started
            posts, passages = engine.count()
            rows.append([folder.rpartition("/")[2], posts, failed, passages, round(seconds, 1), passages / seconds])
    print_table(["folder", "posts", "failed", "passages", "seconds", "passages/s"], rows)


if __name__ == "__main__":
    main()
