"""The plots of the Tune section, as SVG: a loss that falls, and how well a model finds at each width of its vectors.

On its own because it knows numbers and places on a page, and nothing of tuning. Colours come from the style sheet; what
a plot shows is said in words too, for those who do not see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

from rag.amounts import size

_WIDE, _HIGH = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 62, 34, 190
_STEPS = (1, 2, 2.5, 5, 10)  # a tick is one of these, times a power of ten
_TICKS = 5
_DRAWN = 400  # points of a curve; a screen shows no more
_SMOOTH = 12  # parts of a curve that are each averaged over
Point = tuple[float, float]


def losses(values: Sequence[float], first: int, total: int) -> str:
    """Draw the loss after each step from `first` on (the first is 1), of `total` that there will be."""
    most = _nice(max(values), 0)[-1]
    every = max(1, len(values) // _DRAWN)
    part = max(1, len(values) // _SMOOTH)
    means = [sum(values[max(0, at + 1 - part) : at + 1]) / min(part, at + 1) for at in range(len(values))]

    def placed(losses: Sequence[float]) -> list[Point]:
        places = range(0, len(losses), every)
        return [(_across(first + at, 1, max(total, 2)), _up(losses[at], 0, most)) for at in places]

    said = f"The loss after each step: {values[0]:.2f} at first, {means[-1]:.2f} now, step {first + len(values) - 1}."
    ticks = "".join(
        _text(_across(step, 1, max(total, 2)), _BOTTOM + 16, f"{step:,}", "middle")
        for step in sorted({1, max(1, total // 2), total})
    )
    x, y = _across(first + len(values) - 1, 1, max(total, 2)), _up(means[-1], 0, most)
    drawn = (
        f"<path class='each' d='{_path(placed(values))}'/><path class='tuned' d='{_path(placed(means))}'/>"
        f"<circle class='tuned' r='3.5' cx='{x:.1f}' cy='{y:.1f}'/>"
    )
    return _plot(said, "Loss", _grid(0, most) + ticks + drawn + _text(_middle(), _HIGH - 6, "step", "middle"))


def by_width(before: Mapping[int, float], after: Mapping[int, float], bytes_a_number: int) -> str:
    """Draw NDCG@10 before and after at each width, and behind them how large the index is then."""
    widths = sorted({*before, *after})
    ticks = _nice(max(*before.values(), *after.values()), min(*before.values(), *after.values()))
    low, high = ticks[0], ticks[-1]
    slot = (_WIDE - _RIGHT - _LEFT) / len(widths)
    at = {width: _LEFT + slot * (place + 0.5) for place, width in enumerate(widths)}
    sizes = _nice(widths[-1] * bytes_a_number / 1e3, 0)  # kilobytes
    bars = "".join(
        f"<rect class='size' x='{at[width] - slot / 4:.1f}' width='{slot / 2:.1f}' y='{top:.1f}' "
        f"height='{_BOTTOM - top:.1f}'><title>{width} numbers: {size(width * bytes_a_number)}</title></rect>"
        + _text(at[width], _BOTTOM + 16, str(width), "middle")
        for width in widths
        for top in [_up(width * bytes_a_number / 1e3, 0, sizes[-1])]
    )
    right = "".join(_text(_WIDE - _RIGHT + 6, _up(tick, 0, sizes[-1]) + 4, size(1e3 * tick)) for tick in sizes[1:])
    lines = "".join(
        f"<path class='{kind}' d='{_path([(at[w], _up(values[w], low, high)) for w in widths if w in values])}'/>"
        + "".join(
            f"<circle class='{kind}' r='3.5' cx='{at[w]:.1f}' cy='{_up(values[w], low, high):.1f}'>"
            f"<title>{name}, {w} numbers: {values[w]:.3f}</title></circle>"
            for w in widths
            if w in values
        )
        for kind, name, values in (("base", "before", before), ("tuned", "tuned", after))
    )
    legend = (
        f"<path class='base' d='M{_LEFT + 70},12h22'/>{_text(_LEFT + 97, 16, 'before')}"
        f"<path class='tuned' d='M{_LEFT + 152},12h22'/>{_text(_LEFT + 179, 16, 'tuned')}"
        f"<rect class='size' x='{_LEFT + 228}' y='6' width='12' height='12'/>"
        f"{_text(_LEFT + 245, 16, 'size of the index')}"
    )
    names = _text(_middle(), _HIGH - 6, "numbers of a vector", "middle")
    said = "NDCG@10 at each width: " + "; ".join(
        f"{width} numbers, {size(width * bytes_a_number)}, "
        + ", ".join(
            f"{values[width]:.3f} {name}" for name, values in (("before", before), ("tuned", after)) if width in values
        )
        for width in widths
    )
    return _plot(f"{said}.", "NDCG@10", bars + _grid(low, high, ticks) + right + lines + legend + names)


def _plot(said: str, axis: str, drawn: str) -> str:
    return (
        f"<svg class='plot' viewBox='0 0 {_WIDE} {_HIGH}' role='img' aria-label='{said}'>"
        f"{drawn}{_text(4, 16, axis)}</svg>"
    )


def _grid(low: float, high: float, ticks: Sequence[float] = ()) -> str:
    """Draw a line across for each tick, and its number."""
    return "".join(
        f"<path class='grid' d='M{_LEFT},{_up(tick, low, high):.1f}H{_WIDE - _RIGHT}'/>"
        + _text(_LEFT - 6, _up(tick, low, high) + 4, f"{tick:g}", "end")
        for tick in ticks or _nice(high, low)
    )


def _nice(most: float, least: float) -> list[float]:
    """Return round numbers from just below the least to just above the most."""
    span = max(most - least, 1e-3) / (_TICKS - 1)
    power = 10.0 ** floor(log10(span))
    step = next(times * power for times in _STEPS if times * power >= span * 0.999)
    first, last = floor(least / step + 1e-9), max(ceil(most / step - 1e-9), floor(least / step + 1e-9) + 1)
    return [round(place * step, 6) for place in range(first, last + 1)]


def _across(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDE - _RIGHT - _LEFT)


def _up(value: float, low: float, high: float) -> float:
    return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)


def _middle() -> float:
    return (_LEFT + _WIDE - _RIGHT) / 2


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{words}</text>"
