"""Tuning: an embedder learns from questions and the texts that answer them. It trains only; measure.py says what it
is worth then.

This is who asks for a training: it starts the process (training.py), reads what that says, and understands why it
ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

from models.batches import same_passages
from models.training import SETTLING, TRIED
from rag.errors import Busy, ModelError
from rag.records import Pace, Pair, Recipe, Step

_LEAST_BATCH = 2  # one pair has nothing to be told from
_COMMAND = (sys.executable, "-m", "models.training")
_CHECKOUT = Path(__file__).resolve().parent.parent
_POLL = 0.1  # seconds; how soon a stop is noticed


def train(base: Path, pairs: Sequence[Pair], recipe: Recipe, folder: Path, stop: Event) -> Iterator[Step]:
    """Tune the model in `base`; yield how far it is after each step. The finished model is `folder / MODEL`.

    It comes into being in one step, as the last thing. When `stop` is set, or the iterator is closed, the training ends
    within a moment: the iterator returns, and there is no finished model unless that was its very end. The same call
    again goes on after the last whole epoch; another base, recipe or pairs begin anew. Where memory does not suffice,
    it begins anew with half the batch. Raise ModelError or Busy, with nothing finished.
    """
    _require(base, pairs, recipe)
    batch = recipe.batch
    while True:
        job = {"task": "train", "folder": str(folder.absolute()), "batch": batch}
        kills = _memory_kills()
        short = False
        with contextlib.closing(_ask(job, base, pairs, recipe, stop)) as answers:
            for answer in answers:
                if "step" in answer:
                    yield Step(**answer["step"])
                elif "memory" in answer or (answer["ended"] == -signal.SIGKILL and _memory_kills() > kills):
                    short = True
                else:
                    _explain_end(answer["ended"])
        if not short:
            return
        batch = _halved(batch)


def pace(base: Path, pairs: Sequence[Pair], recipe: Recipe, stop: Event) -> Pace | None:
    """Try a few steps, for about ten seconds, and say what training costs; None if `stop` is set. Raise ModelError."""
    _require(base, pairs, recipe)
    began = time.monotonic()
    few = random.Random(recipe.seed).sample(list(pairs), min(len(pairs), (SETTLING + TRIED) * min(recipe.batch, 32)))
    told: dict[str, Any] = {}
    for answer in _ask({"task": "pace", "batch": recipe.batch}, base, few, recipe, stop):
        told.update(answer)
    if stop.is_set():
        return None
    if "memory" in told:  # it will train with smaller batches, about as fast
        return pace(base, pairs, replace(recipe, batch=_halved(recipe.batch)), stop)
    if "pace" not in told:
        _explain_end(told["ended"])
    trial = Pace(**told["pace"])
    return replace(trial, start=max(0.0, time.monotonic() - began - trial.start))


def _halved(batch: int) -> int:
    """Return the batch to try next. Raise ModelError if there is none."""
    if batch <= _LEAST_BATCH:
        raise ModelError(
            "There is not enough memory to train this model, not even on two pairs at a time. Close other programs, or "
            "tune a smaller model."
        )
    return max(_LEAST_BATCH, batch // 2)


def fitted(recipe: Recipe, pairs: Sequence[Pair], cost: Pace, seconds: float) -> tuple[Recipe, tuple[Pair, ...]]:
    """Fit a training into `seconds`: fewer epochs, then fewer pairs. Raise ModelError if that is too little time."""
    for epochs in range(recipe.epochs, 0, -1):
        if cost.seconds(len(pairs), epochs) <= seconds:
            return replace(recipe, epochs=epochs), tuple(pairs)
    room = int((seconds - cost.seconds(0, 1)) / cost.pair) if cost.pair else len(pairs)
    if room < 2 * recipe.batch:
        least = math.ceil(cost.seconds(min(len(pairs), 2 * recipe.batch), 1) / 60)
        raise ModelError(f"Tuning takes at least {least} minutes here. Give it --minutes {least} or more.")
    chosen = sorted(random.Random(recipe.seed).sample(range(len(pairs)), min(room, len(pairs))))
    return replace(recipe, epochs=1), tuple(pairs[at] for at in chosen)


def _require(base: Path, pairs: Sequence[Pair], recipe: Recipe) -> None:
    """Raise ModelError unless these can be trained with at all."""
    if not base.is_dir():
        raise ModelError(f"The model {base} is not there. Give the folder of a sentence-transformers model.")
    if not (base / "modules.json").is_file():
        raise ModelError(
            f"{base.name} is no sentence-transformers model: it has no modules.json. Choose another with --base."
        )
    for name, value, right in (
        ("--epochs", recipe.epochs, recipe.epochs >= 1),
        ("--batch", recipe.batch, recipe.batch >= _LEAST_BATCH),
        ("--lr", recipe.learning_rate, math.isfinite(recipe.learning_rate) and recipe.learning_rate > 0),
        ("--seed", recipe.seed, 0 <= recipe.seed < 2**32),
    ):
        if not right:
            raise ModelError(f"{name} {value} cannot be used. Leave it out, or take {_RIGHT[name]}.")
    if any(not pair.question.strip() or not pair.passage.strip() for pair in pairs):
        raise ModelError("A pair has no question or no passage. Leave it out.")
    if not any(same_passages([pairs[0].passage, pair.passage])[1] for pair in pairs):
        raise ModelError("Tuning needs questions about two passages at least. Add posts, or give more pairs.")


_RIGHT = {
    "--epochs": "1 or more",
    "--batch": f"{_LEAST_BATCH} or more",
    "--lr": "a small number above 0, such as 5e-5",
    "--seed": "0 or more",
}


def _ask(
    job: Mapping[str, Any], base: Path, pairs: Sequence[Pair], recipe: Recipe, stop: Event
) -> Generator[dict[str, Any], None, None]:
    """Yield what the training process says; last how it ended, if it did not say so itself. Raise what it raised."""
    whole = {**job, "base": str(base.absolute()), "recipe": asdict(recipe), "pairs": [asdict(pair) for pair in pairs]}
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    with _started(whole) as process:
        threading.Thread(target=_listen, args=(process, told), daemon=True).start()
        while not stop.is_set():
            try:
                answer = told.get(timeout=_POLL)
            except queue.Empty:
                continue
            if "error" in answer:
                raise (Busy if answer.get("busy") else ModelError)(answer["error"])
            if answer.get("done"):
                return
            yield answer
            if "ended" in answer or "memory" in answer:
                return


@contextlib.contextmanager
def _started(job: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process and give it its job; end it, whatever it does."""
    try:
        process = subprocess.Popen(  # noqa: S603  # this file, by this Python
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=_CHECKOUT,
            env=_environment(),
        )
    except OSError as error:
        raise ModelError(
            f"The training cannot be started ({error.strerror or error}). Close other programs and try again."
        ) from error
    try:
        assert process.stdin
        with contextlib.suppress(OSError):  # it died already: that will be seen
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe and pipe.close()


def _environment() -> dict[str, str]:
    """Return the variables of the process: nothing is asked of the Hub, nothing told to anyone, one GPU is enough."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ACCELERATE_", "WANDB_")) and name not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    }
    quiet = dict.fromkeys(
        ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"), "1"
    )
    one = {"CUDA_VISIBLE_DEVICES": kept.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0], "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **quiet, **one, "TOKENIZERS_PARALLELISM": "false"}


def _listen(process: subprocess.Popen[bytes], told: queue.Queue[dict[str, Any]]) -> None:
    """Pass on what the process says, then how it ended."""
    assert process.stdout
    try:
        for line in process.stdout:
            told.put(json.loads(line))
    except (OSError, ValueError):  # it was ended and its pipe closed, or it makes no sense
        process.kill()
    told.put({"ended": process.wait()})


def _explain_end(code: int) -> NoReturn:
    raise ModelError(
        f"The training was ended from outside ({_signal(code)}). Start it again: it goes on after its last whole epoch."
    )


def _signal(code: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def _memory_kills() -> int:
    """Return how many processes the system has ended for want of memory, as far as it tells."""
    kills = 0
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            lines = Path(file).read_text(encoding="utf-8").splitlines()
            kills += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return kills
