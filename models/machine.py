"""What both models need to know of the machine, and to tell it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from pathlib import Path


def usable_cores() -> int:
    """Return how many cores this process may use: what a Space says, else the affinity mask."""
    told = os.environ.get("CPU_CORES", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> tuple[int, int]:
    """Return how many bytes of memory this process may have, and how many of them are free; 0 for what is not known."""
    with contextlib.suppress(OSError, ValueError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        known = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
        total, free = known.get("MemTotal", 0), known.get("MemAvailable", 0)
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no bound
            bound = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
            used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
            total, free = min(total, bound), min(free, max(bound - used, 0))
        return total, free
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 0
    return 0, 0


_SPIN = "2000"  # turns of GNU's OpenMP, some microseconds; 20,000 is no faster


_KEPT_SHAPES = "64"


def share_cores() -> None:
    """Let waiting threads sleep, not spin, and keep little by shape; call it before torch or llama.cpp is imported.

    OpenMP threads that spin while another program has the core stall each other: an answer beside two busy processes
    on two cores took 91 s spinning and 3.6 s sleeping. But to sleep at once costs more than it saves: the threads meet
    hundreds of times a token. With a short spin before it a token takes 6.4 ms, not 21, and beside two busy processes
    no longer than without (2026-11-25). OpenMP reads this once, when it is loaded. Each thread that asks a model gets
    OpenMP threads of its own; with more of these than cores GNU's only spins where the policy is "active": 9.8 ms a
    token, else 15 (2026-11-26). LLVM's would then spin without end, and is told not to; it sleeps at once.

    torch and oneDNN each keep what they prepared for the last 1,024 shapes of numbers, and every text has another: 600
    answers held 2.4 GB. With 64 of them, and what is freed given back, 1.11 GB, the first hundred 1.08 GB (2026-11-25).
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, _KEPT_SHAPES)
    if "OMP_WAIT_POLICY" not in os.environ:
        policy = "active" if sys.platform == "linux" else "passive"
        os.environ.update(OMP_WAIT_POLICY=policy, GOMP_SPINCOUNT=_SPIN, KMP_BLOCKTIME="0")


def give_back_memory() -> None:
    """Let the system have what was freed: glibc keeps it, in a heap a thread, and cannot use the half of it again.

    Embedding scifact held 2.2 GB without this. Other systems see to it themselves, and nothing is done there.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def processor() -> str:
    """Name the processor and the vector features it has, as the kernel lists them; as far as they can be known."""
    return f"{_described().get('model name') or platform.processor() or platform.machine()} ({vector_features()})"


def vector_features() -> str:
    """Name what makes models fast here, as the kernel lists it."""
    words = set(" ".join(_described().values()).split())
    return " ".join(name for name in _FEATURES if name in words) or "no vector features known"


def fast_bfloat16() -> bool:
    """Say whether 16-bit numbers may be faster than 32-bit ones here: on x86, AVX512-BF16 or AMX must be there.

    Elsewhere they are worth a trial. Without these, torch widens and narrows every number, at many times the cost.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "x86", "i386", "i686"):
        return True
    # imported here: it takes seconds; it knows the features on every system, the kernel's list is Linux's alone
    import torch

    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not in every torch
    return any(getattr(torch.cpu, name, bool)() for name in asked)


_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm", "bf16")


def _described() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo; empty on systems that have none."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
