"""The command `tune`, killed wherever something new lies on the disk: one whole pair of embedder and index is in use,
and the next goes on.

With a small real model, real stores and real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import build_engine
from rag.settings import read_settings
from tests.house import ROOT
from tests.test_tune import base, trains  # noqa: F401  (base is a fixture)
from tests.test_tuning import FOODS, story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), trains]

STAGES = ("Training: step", "Measuring what it is now", "Putting it")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, str]:  # noqa: F811
    """A library of forty-eight posts, and the environment that names it."""
    posts, home = tmp_path_factory.mktemp("posts"), tmp_path_factory.mktemp("home")
    for number, food in enumerate(FOODS):
        (posts / f"{food}.md").write_text(story(food, number), encoding="utf-8")
    environment = {**os.environ, "FOOTNOTE_HOME": str(home), "FOOTNOTE_EMBEDDER": str(base), "FOOTNOTE_OFFLINE": "1"}
    said(environment, "add", str(posts))
    return environment


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "app.py"), *arguments]


def said(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run a command and return what it printed."""
    done = subprocess.run(command(*arguments, "--json"), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def killed_at(environment: dict[str, str], stage: str) -> None:
    """Tune, whatever the gate says, and kill the process when it tells of a stage."""
    tuning = command("tune", "--force", "--epochs", "2", "--json")
    with subprocess.Popen(tuning, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        assert run.stderr
        told = []
        for line in run.stderr:
            told.append(line)
            if line.startswith(stage):
                run.kill()
                return
        pytest.fail(f"It never came to {stage!r}: {''.join(told)[-2000:]}")


def embedder_in_use(environment: dict[str, str]) -> str:
    """Return what the embedder is, after every part was found well and the index tested with it."""
    engine = build_engine(read_settings(environment))  # in this process: starting another takes seconds
    try:
        checks = engine.checks()
    finally:
        engine.close()
    assert [check.name for check in checks if not check.ok] == []
    return checks[0].detail


def test_whenever_it_is_killed_one_whole_pair_is_in_use(kitchen: dict[str, str]) -> None:
    before = embedder_in_use(kitchen)
    for stage in STAGES:
        killed_at(kitchen, stage)
        after = embedder_in_use(kitchen)
        assert after == before or stage == STAGES[-1], stage
    assert said(kitchen, "tune", "--force", "--epochs", "2")["installed"]
    assert embedder_in_use(kitchen) != before
    engine = build_engine(read_settings(kitchen))
    try:
        engine.tuning.rollback()
        assert engine.search(f"How long does {FOODS[0]} keep?").hits
    finally:
        engine.close()
    assert embedder_in_use(kitchen) == before
