"""The axes of a figure: logarithmic ones with few labels, and those of a loss."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from ravine.report.numbers import plain


def log_axis(low: float, high: float, most: int) -> dict[str, Any]:
    """A logarithmic axis with at most about ``most`` labels: at 1, 2 and 5, at decades, or at every second one."""
    ends = (math.log10(low), math.log10(high))
    decades = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    for steps, every in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
        marks = [step * 10.0**k for k in decades if k % every == 0 for step in steps]
        marks = [mark for mark in marks if low <= mark <= high]
        if len(marks) <= most:
            break
    return {"type": "log", "range": list(ends), "tickvals": marks, "ticktext": [_power(mark) for mark in marks]}


def _power(mark: float) -> str:
    return plain(mark) if 1e-2 <= mark < 1e4 else f"10<sup>{round(math.log10(mark))}</sup>"


def loss_axis(losses: list[float]) -> dict[str, Any]:
    """The axis of a loss: logarithmic where losses differ by more than four times; it ends at 100 times the best.

    A loss of exactly zero, which has no logarithm, stands at the lower end.
    """
    above = [loss for loss in losses if loss > 0]
    low, high = min(losses), max(losses)
    if low < 0 or not above or high < 4 * min(above):
        pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        return {"type": "linear", "range": [low - pad, high + pad], "nticks": 6}
    best = min(above) if low > 0 else max(min(above), median(above) / 100)
    return log_axis(0.85 * best, 1.25 * min(high, 100 * best), 7)


def ceiling(axis: dict[str, Any]) -> float:
    """The loss at which an axis draws what has none: just under its upper end."""
    return _inside(axis, 0.96)


def _inside(axis: dict[str, Any], share: float) -> float:
    low, high = axis["range"]
    place = low + share * (high - low)
    return 10.0**place if axis["type"] == "log" else place


def held(loss: float, axis: dict[str, Any]) -> float:
    """A loss where the axis can draw it: one beyond an end stands there."""
    return min(max(loss, _inside(axis, 0.0)), ceiling(axis))
