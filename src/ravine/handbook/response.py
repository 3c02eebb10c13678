"""What a rule does with a simple signal of gradients: where dialects of one family part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ravine.engines.column import Column
from ravine.rules.rule import Rule, filled, scalars_of, values
from ravine.types import State


@dataclass(frozen=True)
class Phase:
    """Some steps of one slope at one share of the learning rate."""

    steps: int
    slope: float
    rate: float
    words: str


PHASES = (
    Phase(30, 1.0, 1.0, "slope 1"),
    Phase(25, 1.0, 0.1, "rate ÷ 10"),
    Phase(25, -1.0, 1.0, "slope −1"),
    Phase(20, 0.0, 1.0, "slope 0"),
)


def answers(kind: type[Rule]) -> bool:
    """Whether the rule can be asked: one number at a time, with a rate, from gradients alone."""
    rule = kind()
    alone = rule.scope == "entry" and not kind.sums
    return alone and "lr" in values(rule) and rule.needs <= {"gradient_ahead"}


def response(kind: type[Rule]) -> NDArray[np.float64]:
    """The step downhill over the learning rate, -u / lr, after each gradient; the weight moves along from 0."""
    own = values(kind())
    w = torch.zeros(1, 1, dtype=torch.float64)
    state: State = {**kind().init(w), **{name: Column([start]) for name, start in scalars_of(kind()).items()}}
    found: list[float] = []
    for phase in PHASES:
        now = {**own, "lr": own["lr"] * phase.rate}
        rule = filled(kind(), {name: Column([value]) for name, value in now.items()})
        for _ in range(phase.steps):
            g = torch.full_like(w, phase.slope)
            u, state = rule.update(g, state, w, len(found) + 1)
            w = w + u
            found.append(-u.item() / own["lr"])
    return np.array(found)


def first_step(kind: type[Rule], slope: float) -> float:
    """The first step downhill over the learning rate at a slope."""
    rule, w = kind(), torch.zeros(1, dtype=torch.float64)
    u, _ = rule.update(torch.full_like(w, slope), {**rule.init(w), **scalars_of(rule)}, w, 1)
    return -u.item() / values(rule)["lr"]
