"""Every rule's path on every test surface, at many learning rates at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.engines.column import Column
from ravine.rules.rule import Rule, filled, hypers, name_of, needs_of, scalars_of, slots_of, values
from ravine.surfaces import SURFACES, Surface
from ravine.types import State

Floats = NDArray[np.float64]

STEPS = 150
RATES = 25  # tried on a logarithmic scale: the range that a race searches, and a decade beyond either end
FLOOR = 1e-4  # of the height at the start: what lies lower counts as arrived
CLIMB = 4  # times the height at the start: a rate that goes higher is taken only where all do
ARRIVED = 0.01  # of the height at the start
ASIDE = ((0.0, 0.0), (1.0, 0.5), (-0.5, 1.0), (-1.0, -0.5), (0.5, -1.0))  # starts; no lucky jump serves them all
SPREAD = 0.04  # of the width of the surface
SUPPLIED = frozenset({"norm", "global_norm", "gradient_ahead"})
TOGETHER = 8  # rules walked at once


@dataclass(frozen=True)
class Path:
    """A rule's walk on a surface at the best of the rates tried."""

    rule: str
    surface: str
    rate: float | None  # None: the rule has no learning rate
    points: Floats  # [STEPS + 1, 2], from the surface's own start
    score: float  # mean over starts and steps of log10 of the height as a share of the first one, floored
    arrival: float  # median over the starts of the steps after which a hundredth of the first height is left; inf


def walkable(kind: type[Rule]) -> bool:
    """Whether a gradient is all that the rule needs to move."""
    return needs_of(kind()) <= SUPPLIED


def walk(kinds: Sequence[type[Rule]], surfaces: Sequence[Surface] | None = None) -> dict[tuple[str, str], Path]:
    """The best path of each rule on each surface, by their names; rules that need more than a gradient are left out."""
    over = list(SURFACES.values()) if surfaces is None else list(surfaces)
    found: dict[tuple[str, str], Path] = {}
    able = [kind for kind in kinds if walkable(kind)]
    for first in range(0, len(able), TOGETHER):
        walkers = [Walker(kind, over) for kind in able[first : first + TOGETHER]]
        trails = _trails(walkers, over)
        for walker, trail in zip(walkers, trails, strict=True):
            for row, surface in enumerate(over):
                path = _best(walker, surface, trail[:, row])
                found[path.rule, surface.name] = path
    return found


def _trails(walkers: Sequence[Walker], over: Sequence[Surface]) -> list[Floats]:
    """Where each walker is after each step: [STEPS + 1, surfaces, starts, rates, 2]."""
    trails = [[walker.answer().numpy().copy()] for walker in walkers]
    for step in range(1, STEPS + 1):
        points = [walker.looking() for walker in walkers]
        every = torch.cat(points, dim=2)
        slopes = torch.stack([_gradient(s.f, at) for s, at in zip(over, every, strict=True)])
        parts = slopes.split([p.shape[2] for p in points], dim=2)
        for walker, g, trail in zip(walkers, parts, trails, strict=True):
            walker.step(g, step)
            trail.append(walker.answer().numpy().copy())
    return [np.stack(trail) for trail in trails]


def _gradient(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    point = at.clone().requires_grad_()
    return torch.autograd.grad(f(point).sum(), point)[0]


def _best(walker: Walker, surface: Surface, trail: Floats) -> Path:
    lowest = float(surface.f(torch.tensor(surface.minima[0], dtype=torch.float64)))
    heights = (surface.f(torch.from_numpy(trail)) - lowest).numpy()  # [STEPS + 1, starts, rates]
    with np.errstate(all="ignore"):
        shares = np.where(np.isfinite(heights), heights / heights[0], 1e9)
    scores = np.log10(np.maximum(shares, FLOOR)).mean(axis=(0, 1))
    calm = shares.max(axis=(0, 1)) <= CLIMB
    best = int(np.where(calm | ~calm.any(), scores, np.inf).argmin())
    rate = walker.rates[best] if walker.rates else None
    arrival = float(np.median([_arrival(shares[:, start, best]) for start in range(len(ASIDE))]))
    return Path(name_of(walker.kind), surface.name, rate, trail[:, 0, best], float(scores[best]), arrival)


def _arrival(shares: Floats) -> float:
    """The first step from which the height stays low; infinite where it does not."""
    above = np.flatnonzero(shares >= ARRIVED)
    return math.inf if above[-1] == STEPS else above[-1] + 1


@dataclass
class Walker:
    """One rule at every rate on every surface: lanes beside each other, hyperparameters as columns.

    Each lane's point is a matrix of one row, so that rules which see whole matrices have one to see.
    """

    kind: type[Rule]
    over: Sequence[Surface]
    rates: list[float] = field(init=False)
    rule: Rule = field(init=False)
    w: Tensor = field(init=False)  # [surfaces, starts, rates, 2]
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.rates = rates_of(self.kind)
        count = max(len(self.rates), 1)
        own = {name: np.full(count, value) for name, value in values(self.kind()).items()}
        if self.rates:
            own["lr"] = np.array(self.rates)
        lanes = count * len(ASIDE) * len(self.over)
        self.rule = filled(self.kind(), {name: Column(np.tile(row, lanes // count)) for name, row in own.items()})
        starts = torch.tensor([_starts(surface) for surface in self.over], dtype=torch.float64)
        self.w = starts.unsqueeze(2).repeat(1, 1, count, 1)
        first = [self.kind().init(start.unsqueeze(0)) for start in starts.flatten(0, 1)]
        self.state = {
            slot: torch.cat([each[slot].unsqueeze(0).repeat(count, *[1] * each[slot].dim()) for each in first])
            for slot in slots_of(self.rule)
        }
        self.state |= {name: Column(np.full(lanes, begin)) for name, begin in scalars_of(self.rule).items()}

    def looking(self) -> Tensor:
        """Where the rule wants its gradient: [surfaces, starts, rates, 2]."""
        if "gradient_ahead" not in needs_of(self.rule):
            return self.w
        return self.rule.ahead(self.state, self._lanes(self.w)).view_as(self.w)

    def answer(self) -> Tensor:
        """Where the rule would have the model evaluated: at the weights, unless it says otherwise."""
        return self.rule.readout(self.state, self._lanes(self.w)).view_as(self.w)

    def step(self, g: Tensor, t: int) -> None:
        """Move every lane by the rule."""
        g, w = self._lanes(g), self._lanes(self.w)
        norm = torch.linalg.vector_norm(g, dim=(1, 2), keepdim=True)
        known = {**self.state, **{need: norm for need in needs_of(self.rule) & {"norm", "global_norm"}}}
        if self.kind.sums:
            terms = self.rule.terms(g, known, w, t)
            known |= {name: Column(term.reshape(len(w), -1).sum(dim=1).numpy()) for name, term in terms.items()}
        u, self.state = self.rule.update(g, known, w, t)
        self.w = (w + u).view_as(self.w)

    def _lanes(self, points: Tensor) -> Tensor:
        """Points [surfaces, starts, rates, 2] as matrices [lanes, 1, 2]."""
        return points.flatten(0, 2).unsqueeze(1)


def _starts(surface: Surface) -> list[tuple[float, float]]:
    (left, right), (low, high) = surface.bounds
    x, y = surface.start
    return [(x + SPREAD * (right - left) * dx, y + SPREAD * (high - low) * dy) for dx, dy in ASIDE]


def rates_of(kind: type[Rule]) -> list[float]:
    """The learning rates that are tried; none where the rule has none, its default where no range is declared."""
    rate = hypers(kind).get("lr")
    if rate is None:
        return []
    if rate.search is None:
        return [rate.default]
    low, high = math.log10(rate.search.low) - 1, math.log10(rate.search.high) + 1
    return [float(f"{10**x:.3g}") for x in np.linspace(low, high, RATES)]
