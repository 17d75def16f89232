"""As many cores are used as this process may use, and threads that wait for them sleep."""

from __future__ import annotations

import os
import sys

import pytest

from models.machine import share_cores, usable_cores


def test_a_space_says_how_many_cores_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPU_CORES", "3")
    assert usable_cores() == 3


@pytest.mark.parametrize("nonsense", ["", "0", "many", "-1", "2.5"])
def test_otherwise_those_that_this_process_may_use_are_counted(monkeypatch: pytest.MonkeyPatch, nonsense: str) -> None:
    monkeypatch.setenv("CPU_CORES", nonsense)
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_waiting_threads_sleep_unless_somebody_decided_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == ("active" if sys.platform == "linux" else "passive")
    assert os.environ["KMP_BLOCKTIME"] == "0"
    assert 0 < int(os.environ["GOMP_SPINCOUNT"]) < 20_000
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.delenv("KMP_BLOCKTIME")
