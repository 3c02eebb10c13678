"""Drives a rule by itself, without an engine: what the tests of equations share."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import isabstract
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ravine.engines.column import Column
from ravine.rules.rule import (
    Combinator,
    Hyper,
    Rule,
    catalogue,
    filled,
    hypers,
    needs_of,
    scalars_of,
    slots_of,
    sums_of,
    values,
    with_values,
)
from ravine.rules.sharpness import ascent_of, footing
from ravine.types import State

Tensors: TypeAlias = list[Tensor]
Slope: TypeAlias = Callable[[int, Tensors], Tensors]  # (t, points) -> the gradient at those points, tensor by tensor
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (7,), (3, 5), (0,))
RULES = tuple(catalogue().items())
NAMES = tuple(catalogue())


def combinators() -> list[type[Combinator]]:
    """Every combinator that exists."""
    return sorted((one for one in _below(Combinator) if not isabstract(one)), key=lambda found: found.__name__)


def _below(of: type[Combinator]) -> Iterator[type[Combinator]]:
    for found in of.__subclasses__():
        yield found
        yield from _below(found)


def facts(rule: Rule, gradients: Tensors, lanes: bool = False) -> list[State]:
    """The facts that the rule needs, for each tensor: numbers, or tensors [K, 1, ...] where the first axis is lanes."""
    squares = [(g.reshape(len(g), -1) if lanes else g.reshape(-1)).double().square().sum(-1) for g in gradients]
    total = torch.stack(squares).sum(0).sqrt()
    known = [{"norm": square.sqrt(), "global_norm": total} for square in squares]
    found = [
        {need: _fact(own[need], g, lanes) for need in own if need in needs_of(rule)}
        for g, own in zip(gradients, known, strict=True)
    ]
    noise = [{"noise": noise_like(g)} if "noise" in needs_of(rule) else {} for g in gradients]
    return [{**numbers, **arrays} for numbers, arrays in zip(found, noise, strict=True)]


def noise_like(g: Any) -> Any:
    """What stands for noise here: numbers of the gradient's shape that an oracle and a lane alone can make too."""
    return (3 * g).sin() if isinstance(g, Tensor) else np.sin(3 * g)


def aheads(rule: Rule, slope: Slope, weights: Tensors, states: list[State], t: int, lanes: bool = False) -> Tensors:
    """Where the rule takes its gradient; one that climbs first is told the gradient from where it starts."""
    part = ascent_of(rule)
    if part is None:
        return [rule.ahead(s, w) for s, w in zip(states, weights, strict=True)]
    firsts = slope(t, [footing(rule).ahead(s, w) for s, w in zip(states, weights, strict=True)])
    climbed = [part.climbed(g, w) for g, w in zip(firsts, weights, strict=True)]
    squares = [(x.reshape(len(x), -1) if lanes else x.reshape(-1)).double().square().sum(-1) for x in climbed]
    total = torch.stack(squares).sum(0).sqrt()
    return [
        rule.ahead({**s, "first_gradient": g, "first_norm": _fact(total, g, lanes)}, w)
        for s, g, w in zip(states, firsts, weights, strict=True)
    ]


def _fact(number: Tensor, g: Tensor, lanes: bool) -> Any:
    return number.to(g).reshape(-1, *[1] * (g.dim() - 1)) if lanes else number.item()


def starts(rule: Rule, weights: Tensors, lanes: bool = False) -> list[State]:
    """Slots and scalars before the first step; each lane's own where the first axis is lanes."""
    if not lanes:
        return [{**rule.init(w), **scalars_of(rule)} for w in weights]
    alone = [
        filled(rule, {name: column.numbers[k] for name, column in values(rule).items()}) for k in range(len(weights[0]))
    ]
    begun = [[own.init(lane) for own, lane in zip(alone, w, strict=True)] for w in weights]
    return [
        {**{slot: torch.stack([own[slot] for own in many]) for slot in slots_of(rule)}, **scalars_of(rule)}
        for many in begun
    ]


def totals(rule: Rule, gradients: Tensors, states: list[State], weights: Tensors, t: int, lanes: bool) -> State:
    """The sums over all tensors that the rule needs: numbers, or columns where the first axis is lanes."""
    found: dict[str, Any] = dict.fromkeys(sums_of(rule), 0.0)
    for g, s, w in zip(gradients, states, weights, strict=True):
        terms = rule.terms(g, s, w, t) if found else {}
        for name in found:
            own = terms[name].double()
            found[name] = found[name] + (own.reshape(len(own), -1).sum(1).numpy() if lanes else own.sum().item())
    return {name: Column(total) if lanes else total for name, total in found.items()}


def step(
    rule: Rule, slope: Slope, weights: Tensors, states: list[State], t: int, lanes: bool = False
) -> tuple[Tensors, list[State]]:
    """One step: the updates and the new states."""
    gradients = slope(t, aheads(rule, slope, weights, states, t, lanes))
    known = facts(rule, gradients, lanes)
    told = [{**s, **fact} for s, fact in zip(states, known, strict=True)]
    sums = totals(rule, gradients, told, weights, t, lanes)
    both = [rule.update(g, {**s, **sums}, w, t) for g, s, w in zip(gradients, told, weights, strict=True)]
    return [u for u, _ in both], [new for _, new in both]


def drive(rule: Rule, slope: Slope, weights: Tensors, steps: int, lanes: bool = False) -> list[Tensors]:
    """The weights after each step, the start first."""
    path, states = [weights], starts(rule, weights, lanes)
    for t in range(1, steps + 1):
        updates, states = step(rule, slope, path[-1], states, t, lanes)
        path.append([w + u for w, u in zip(path[-1], updates, strict=True)])
    return path


def descend(rule: Rule, slope: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """The path of one tensor under a gradient that is a function of the point alone: [steps + 1, ...]."""
    return torch.stack([w for (w,) in drive(rule, lambda _, points: [slope(points[0])], [start], steps)])


def constant(*gradients: Tensor) -> Slope:
    """The same gradient at every step and point."""
    return lambda t, points: list(gradients)


@dataclass(frozen=True)
class Noisy:
    """A gradient that is noise plus a weak pull, so that it depends on the step and on the point.

    >>> Noisy.of("adam", [(3,)], steps=2).noise[0][0].shape
    (3,)
    """

    noise: list[list[Any]]  # [steps][tensors], NumPy
    pull: float = 0.1

    @classmethod
    def of(cls, seed: str, shapes: list[tuple[int, ...]], steps: int) -> Noisy:
        """The same noise for the same word."""
        draw = generator(seed)
        return cls([[np.asarray(draw.standard_normal(shape)) for shape in shapes] for _ in range(steps)])

    def tensors(self, t: int, points: Tensors) -> Tensors:
        """The gradient for a rule."""
        return [torch.as_tensor(n).to(w) + self.pull * w for n, w in zip(self.noise[t - 1], points, strict=True)]

    def vectors(self, t: int, points: list[Any]) -> list[Any]:
        """The gradient for an oracle, flat."""
        pull = np.longdouble(self.pull)
        return [n.reshape(-1) + pull * w for n, w in zip(self.noise[t - 1], points, strict=True)]


def generator(seed: str) -> np.random.Generator:
    """A stream of random numbers that belongs to a word."""
    return np.random.default_rng(zlib.crc32(seed.encode()))


def normal(seed: str, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random weights that belong to a word."""
    return torch.as_tensor(np.asarray(generator(seed).standard_normal(shape))).to(dtype)


def elsewhere(declared: Hyper, u: float) -> float:
    """A value that is not the default: at u of the search range, else a little up, else the middle of the bounds."""
    if declared.search:
        return declared.search.at(u)
    up = 1.5 * declared.default + 0.05 * u
    low, high = (float(end) for end in declared.bounds.text[1:-1].split(","))
    return up if up in declared.bounds else (low + high) / 2


def varied(rule: type[Rule], u: float) -> Rule:
    """The rule with every hyperparameter away from its default."""
    return with_values(rule(), {name: elsewhere(declared, u) for name, declared in hypers(rule).items()})


def code_names(rule: type[Rule]) -> str:
    """The name as an identifier: "adam/eps-inside" -> "adam_eps_inside", ClipNorm -> "clip_norm"."""
    if issubclass(rule, Combinator):
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", rule.__name__).lower()
    return "_".join(word for word in (*rule.family.split("-"), *rule.dialect.split("-")) if word)
