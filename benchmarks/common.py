"""What the measurements share: where the collections are, an engine of their own, and a table."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from app import build_engine
from rag.engine import Engine
from rag.settings import read_settings


def datasets() -> Path:
    """Return the folder of the collections, or leave with a sentence."""
    folder = os.environ.get("FOOTNOTE_DATASETS", "")
    if not folder:
        sys.exit("Set FOOTNOTE_DATASETS to the folder that holds the collections, and start again.")
    return Path(folder)


@contextmanager
def fresh_engine() -> Iterator[Engine]:
    """Yield an engine over an empty library, with its models loaded."""
    with tempfile.TemporaryDirectory(prefix="footnote-benchmark-") as home:
        engine = build_engine(replace(read_settings(os.environ), home=Path(home)))
        engine.prepare()
        yield engine
        engine.close()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
