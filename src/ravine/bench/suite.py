"""The cases of `ravine bench`, in order, each with the figures that it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ravine.bench import first, gpu, lane_step, steps, whole
from ravine.bench.figure import Figure
from ravine.errors import unknown

Case: TypeAlias = Callable[[int, float], Iterator[Figure]]  # rounds, sgemm peak in GFLOP/s

CASES: dict[str, Case] = {
    "C1": lambda rounds, peak: steps.looped(rounds),
    "C2": lambda rounds, peak: steps.fused(rounds),
    "C3": lambda rounds, peak: whole.clip_step_average(rounds),
    "C4": lambda rounds, peak: whole.half_state(rounds),
    "C5": lambda rounds, peak: steps.small(rounds),
    "C6": lambda rounds, peak: first.first_steps(),
    "C7": lambda rounds, peak: first.recompilations(),
    "C8": lambda rounds, peak: first.memory(),
    "C9": lambda rounds, peak: lane_step.figures(rounds, peak),
    "G1": lambda rounds, peak: gpu.foreach(rounds),
    "G2": lambda rounds, peak: gpu.fused(rounds),
    "G3": lambda rounds, peak: gpu.small(rounds),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The cases of those names, all where none is given.

    Raises:
        UserError: on a name that no case has.
    """
    found = [name.upper() for name in names] or list(CASES)
    for name in found:
        if name not in CASES:
            raise unknown("benchmark", name, CASES)
    return found


def measure(names: Sequence[str], rounds: int, machine: dict[str, Any]) -> Iterator[Figure]:
    """Every figure of the cases, as soon as it is known."""
    for name in names:
        yield from CASES[name](rounds, machine["sgemm GFLOP/s"])
