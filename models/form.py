"""The form an embedder runs in: what this processor computes fastest without changing the vectors.

A room of its own, because it is about processors and not about texts. A form changes how the transformer's numbers are
kept and multiplied; tokenizing, pooling and normalizing stay the library's own, in float32. Which form is taken is
tried once, by the clock and against float32, and remembered."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.machine import fast_bfloat16

FLOAT32 = "float32"
"""The model as its authors compute it."""
PACKED = "float32, packed weights"
"""The same numbers, multiplied by oneDNN with the weights laid out for it beforehand. Where torch's own way is slow
(MKL on a processor that is not Intel's) it multiplies 2.2 times as fast; the sums differ in the last digit."""
BFLOAT16 = "bfloat16"
"""Weights and layers in 16 bits, sums in 32. Multiplies 4.4 times as fast as MKL's float32 on an AMD EPYC with
AVX512-BF16; NDCG@10 of scifact and seed_posts moves by less than 0.001 (benchmarks/RESULTS.md)."""

Undo = list[Callable[[], None]]

_LEAST_COSINE = 0.9995  # to float32, in the mean; all-MiniLM-L6-v2 in bfloat16 has 0.99996
_LEAST_SPEEDUP = 1.15  # for less, the plain form is kept
_ROUNDS = 3  # the fastest counts: whatever else the machine does only slows
_TRIAL_TEXTS = (
    "Keeping a sourdough starter\nA starter is flour and water that wild yeast has moved into. Feed it every day with "
    "50 g of flour and 50 g of water, and throw away what does not fit into the jar. It smells of apples when it is "
    "well, of vinegar when it is hungry, and of nail polish when it was forgotten for a week.",
    "A winter with my bicycle\nSalt eats chains. Wipe the chain after every ride, oil it on Sundays, and look at the "
    "brake pads once a month: grit sits in them and grinds the rims away. Studded tyres are slow, loud and worth every "
    "cent on the first morning with black ice.",
    "How we moved to a static site › Measurements\nThe old pages took 2.4 s on a phone, the new ones 0.3 s. Most of it "
    "came from leaving out three trackers and a font; the rest from `Cache-Control: max-age=31536000, immutable` on "
    "everything with a hash in its name.",
    "for name, price in sorted(prices.items()):\n    print(f'{name:<20} {price:8.2f}')\n\nThe colon opens the format, "
    "`<20` fills the name up to twenty characters, and `.2f` rounds to cents. Nothing else in the script had to change "
    "when the currency did, which is why I keep such tables at the end.",
    "What the survey says\nOf 412 people who answered, 61 % work from home on most days; in 2019 it were 9 %. Nobody "
    "asked them whether they like it, so we did: two thirds do, most of those who do not have small children, and the "
    "remaining few miss the canteen. The full table is in the appendix.",
    "Ein Brot ohne Kneten\nMehl, Wasser, Salz und sehr wenig Hefe werden am Abend verrührt und bleiben über Nacht "
    "stehen. Am Morgen kommt der Teig in einen heißen Topf mit Deckel; nach vierzig Minuten ist er ein Brot mit "
    "dicker Kruste.",
)


@dataclass(frozen=True)
class Form:
    """A form, how many times as fast as float32 it was in the trial, and how near its vectors came."""

    name: str = FLOAT32
    speedup: float = 1.0
    cosine: float = 1.0

    def __str__(self) -> str:
        if self.name == FLOAT32:
            return self.name
        return f"{self.name} ({self.speedup:.1f} times as fast as float32, cosine {self.cosine:.5f})"


def settle(model: Any, notes: Path | None, key: str) -> Form:
    """Bring a SentenceTransformer into its fastest form: the one in the notes under `key`, or what a trial finds."""
    parts = [part for part in model if getattr(part, "auto_model", None) is not None]
    if model.device.type != "cpu" or not parts:
        return Form()
    for part in parts:
        part.auto_model.float()
        part.register_forward_hook(_in_float32)
    known = _recall(notes, key)
    if known and _shape(known.name, parts) is not None:
        return known
    try:
        form = _trial(model, parts)
    except Exception:  # it cannot encode as it is; whoever asks it to will be told
        return Form()
    _remember(notes, key, form)
    return form


def _trial(model: Any, parts: list[Any]) -> Form:
    """Try each form on a few texts; leave the model in the fastest one that keeps its vectors."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a thread's own clock then says what a form costs, whatever else the machine does
    try:
        exact, exact_s = _clock(model, limit_s=float("inf"))
        best = Form()
        for name in (PACKED, BFLOAT16) if fast_bfloat16() else (PACKED,):
            undo = _shape(name, parts)
            if undo is None:
                continue
            tried = None
            with contextlib.suppress(Exception):  # whatever a model or a build of torch cannot do, float32 can
                vectors, seconds = _clock(model, limit_s=exact_s)
                tried = Form(name, exact_s / seconds, float((vectors * exact).sum(axis=1).mean()))
            _take_back(undo)
            if tried and tried.cosine >= _LEAST_COSINE and tried.speedup > max(_LEAST_SPEEDUP, best.speedup):
                best = tried
        _shape(best.name, parts)
    finally:
        torch.set_num_threads(threads)
    return best


def _clock(model: Any, limit_s: float) -> tuple[Any, float]:
    """Return the trial texts' vectors and the seconds they took; after one that took longer than `limit_s` it stops."""
    encode = partial(model.encode_document, show_progress_bar=False, normalize_embeddings=True)
    vectors = encode(list(_TRIAL_TEXTS))  # the first run also prepares what the later ones find ready
    fastest = float("inf")
    for _ in range(_ROUNDS):
        started = time.thread_time()
        vectors = encode(list(_TRIAL_TEXTS))
        fastest = min(fastest, time.thread_time() - started)
        if fastest > limit_s:
            break
    return np.asarray(vectors, dtype=np.float32), max(fastest, 1e-6)


def _shape(name: str, parts: list[Any]) -> Undo | None:
    """Bring the transformers into a form; return how to take it back, or None if it cannot be done here."""
    undo: Undo = []
    try:
        for part in parts:
            _SHAPERS[name](part.auto_model, undo)
    except (
        Exception
    ):  # an operation that this build of torch lacks, a layer out of the ordinary: float32 is always there
        _take_back(undo)
        return None
    return undo


def _take_back(undo: Undo) -> None:
    for step in reversed(undo):
        step()


def _as_it_is(transformer: Any, undo: Undo) -> None:
    """Change nothing."""


def _to_bfloat16(transformer: Any, undo: Undo) -> None:
    """Keep the weights in 16 bits; buffers (the angles of positions, say) stay as exact as they are."""
    import torch

    for parameter in transformer.parameters():
        if parameter.dtype == torch.float32:
            undo.append(partial(setattr, parameter, "data", parameter.data))
            parameter.data = parameter.data.to(torch.bfloat16)


def _pack(transformer: Any, undo: Undo) -> None:
    """Lay each linear layer's weights out for oneDNN, and let go of the others, so that no memory is lost."""
    import torch

    for layer in transformer.modules():
        if type(layer) is not torch.nn.Linear or layer.weight.dtype != torch.float32:
            continue
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().contiguous(), _PACKED_FOR)
        undo += [partial(setattr, layer.weight, "data", layer.weight.data), partial(delattr, layer, "forward")]
        layer.forward = partial(_packed_linear, packed, layer.bias)
        layer.weight.data = torch.empty(0)


_PACKED_FOR = 1024  # rows; another number of rows is right as well
_SHAPERS: dict[str, Callable[[Any, Undo], None]] = {FLOAT32: _as_it_is, PACKED: _pack, BFLOAT16: _to_bfloat16}


def _packed_linear(weight: Any, bias: Any, rows: Any) -> Any:
    import torch

    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def _in_float32(_part: Any, _given: Any, features: Any) -> Any:
    """Hand the transformer's 16-bit numbers on in 32 bits, so that pooling and all behind it lose nothing."""
    import torch

    low = (torch.bfloat16, torch.float16)
    return {name: x.float() if getattr(x, "dtype", None) in low else x for name, x in features.items()}


def _recall(notes: Path | None, key: str) -> Form | None:
    try:
        form = Form(**_read(notes)[key])
        return form if form.name in _SHAPERS and str(form) else None
    except (KeyError, TypeError, ValueError):
        return None


def _remember(notes: Path | None, key: str, form: Form) -> None:
    if notes is None:
        return
    new = notes.with_name(f"{notes.name}.{os.getpid()}.new")
    try:  # a trial more at the next start is no harm
        notes.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({**_read(notes), key: asdict(form)}, indent=1), encoding="utf-8")
        os.replace(new, notes)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _read(notes: Path | None) -> dict[str, Any]:
    try:
        read = json.loads(notes.read_text(encoding="utf-8")) if notes else {}
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
