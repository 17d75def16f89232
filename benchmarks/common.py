"""What the measurements share: where the collections are, an engine of their own, other processes, and a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app import build_engine
from rag.engine import Engine
from rag.settings import read_settings

RIVAL_VENV = Path(tempfile.gettempdir()) / "footnote-langchain"
RIVAL_PACKAGES = (
    ("torch==2.13.0",),  # first and alone: an open range takes gigabytes of CUDA
    ("langchain-huggingface", "langchain-chroma", "langchain-text-splitters", "langchain-community"),
    ("langchain-classic", "rank-bm25"),
    ("sentence-transformers",),
)
"""What LangChain's environment holds: older releases than Footnote's own, and so an environment of its own, of 2 GB."""


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


def ran(command: Sequence[str]) -> dict[str, Any]:
    """Run one row in a process of its own and return what it printed last."""
    own = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "FOOTNOTE_HOME")  # what Footnote sets is not another's
    environment = {name: value for name, value in os.environ.items() if name not in own}
    environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    printed: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed


def rival_python(folder: Path) -> str:
    """Return the Python of LangChain's environment, made if it is not there or lacks a package."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    mark, wanted = folder / "complete", repr(RIVAL_PACKAGES)
    if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
        say(f"making an environment for LangChain in {folder}; this takes minutes")
        if not python.exists():
            venv.create(folder, with_pip=True)
        for packages in RIVAL_PACKAGES:
            subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        mark.write_text(wanted, encoding="utf-8")
    return str(python)


def say(line: str) -> None:
    """Tell whoever waits how far it is."""
    print(line, file=sys.stderr, flush=True)
