"""What both models need to know of the machine, and to tell it."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may use: what a Space says, else the affinity mask."""
    told = os.environ.get("CPU_CORES", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores() -> None:
    """Let waiting threads sleep, not spin; call it before torch or llama.cpp is imported.

    OpenMP threads that spin while another program has the core stall each other: an answer beside two busy processes
    on two cores took 91 s spinning and 3.6 s sleeping. OpenMP reads this once, when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
