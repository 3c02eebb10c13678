"""How far each engine's step is from the equation in NumPy's longest float: every rule, odd shapes, many seeds.

``python -m ravine.bench.accuracy`` prints the worst error of a step for each rule and engine, in units of the last
place of the number if no sum in it had cancelled. Each step starts from the engine's own numbers, so that errors of one
step are counted, not those of a path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.bench.common import arguments, finish
from ravine.bench.lastplace import exactly, ulps
from ravine.emit.trace import trace
from ravine.engines import eager
from ravine.engines.kernel import KernelStep
from ravine.rules.rule import Rule, catalogue, hypers, name_of, needs_of, scalars_of, slots_of, values
from ravine.rules.spec import combinators

SHAPES: list[tuple[int, ...]] = [(3,), (0,), (1031,), (), (5, 7), (1, 129), (4, 3, 2, 2), (1,), (64,)]
BEGIN = (1, 2, 17, 1_000, 100_000)  # the step at which a seed begins
STEPS = 3
LIMIT = 4.0  # last places of a weight, in float32
SLOT_LIMIT = 10.0  # of a slot, whose squares of quotients round more often


@dataclass
class Worst:
    """The largest errors of a rule's steps by one engine."""

    rule: str
    engine: str
    weights: float = 0.0
    slots: float = 0.0


class Eager:
    """Plain torch behind the kernels' interface."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def step(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], slots: dict[str, list[Tensor]], given: Any
    ) -> dict[str, Any]:
        """One step in place; the new scalars."""
        state: dict[str, Any] = {}
        for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
            state = {name: column[i] for name, column in slots.items()}
            state |= {name: given[name] for name in scalars_of(self.rule)}
            facts = {"norm": given["norm"][i], "global_norm": given["global_norm"]}
            eager.apply(self.rule, w, g, state, given["t"], facts)
        return {name: state[name] for name in scalars_of(self.rule)}


def engines(names: Sequence[str]) -> dict[str, Any]:
    """The classes whose steps are measured."""
    found: dict[str, Any] = {"eager": Eager, "kernel": KernelStep}
    if "compile" in names:
        from ravine.engines.compiled import CompiledStep

        found["compile"] = CompiledStep
    return {name: found[name] for name in names}


def rules() -> Iterator[Rule]:
    """The catalogue's, and each combinator around the first of them that it can stand around."""
    known: list[Rule] = [kind() for kind in catalogue().values() if kind.scope == "entry"]
    yield from known
    outers: list[Any] = [outer for outer in combinators().values() if outer.scope == "entry"]
    for outer in outers:
        yield outer(next(rule for rule in known if not set(hypers(outer)) & set(hypers(rule))))


def label(rule: Rule) -> str:
    """The rule's name, inside its combinator's."""
    own = name_of(rule)
    return own if own == name_of(type(rule)) else f"{type(rule).__name__}({own})"


def measure(rule: Rule, engine: str, make: Any, seeds: int) -> Worst:
    """The largest errors of `STEPS` steps for each seed; gradients of a seed are of one size, from 1e-4 to 1e4."""
    worst, program, step = Worst(label(rule), engine), trace(rule), make(rule)
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        size = 10 ** (8 * torch.rand((), generator=generator).item() - 4)
        weights = [torch.randn(shape, generator=generator) for shape in SHAPES]
        begun = [rule.init(w) for w in weights]
        slots = {name: [state[name].clone() for state in begun] for name in slots_of(rule)}
        scalars: dict[str, Any] = scalars_of(rule)
        first = BEGIN[seed % len(BEGIN)]
        for t in range(first, first + STEPS):
            gradients = [size * torch.randn(shape, generator=generator) for shape in SHAPES]
            given = {**values(rule), **scalars, "t": t}
            given["norm"] = np.array([g.double().norm().item() for g in gradients])
            given["global_norm"] = float(np.linalg.norm(given["norm"]))
            before = _inputs(rule, weights, gradients, slots, given["norm"])
            scalars = {name: float(np.ravel(x)[0]) for name, x in step.step(weights, gradients, slots, given).items()}
            after = _inputs(rule, weights, gradients, slots, given["norm"])
            for inputs, found in zip(before, after, strict=True):
                right = exactly(program, {**given, **inputs})
                worst.weights = max(worst.weights, ulps(found["w"], right[program.weights]))
                for name, index in program.slots.items():
                    worst.slots = max(worst.slots, ulps(found[name], right[index]))
    return worst


def _inputs(
    rule: Rule, weights: list[Tensor], gradients: list[Tensor], slots: dict[str, list[Tensor]], norms: Any
) -> list[dict[str, Any]]:
    """What a step works on, as copies: all tensors in a row, or each with its norm where the rule needs that."""
    columns = {"w": weights, "g": gradients, **slots}
    if "norm" in needs_of(rule):
        each = [{name: column[i].clone() for name, column in columns.items()} for i in range(len(weights))]
        return [{**own, "norm": norm} for own, norm in zip(each, norms, strict=True)]
    return [{name: torch.cat([x.ravel() for x in column]) for name, column in columns.items()}]


def main() -> None:
    """Measure every rule and print a table; the exit code tells whether the limit holds."""
    given = arguments(__doc__ or "", seeds=50, compile=1)
    names = ["eager", "kernel", *["compile"] * bool(given.compile)]
    torch.set_num_threads(1)
    found: list[Worst] = []
    print(f"{'rule':36}" + "".join(f"{name + ' w':>11}{'slots':>7}" for name in names))
    for rule in rules():
        row = [measure(rule, name, make, given.seeds) for name, make in engines(names).items()]
        print(f"{row[0].rule:36}" + "".join(f"{each.weights:11.2f}{each.slots:7.2f}" for each in row), flush=True)
        found += row
    worst = max(found, key=lambda each: each.weights)
    print(f"worst of {len(found)}: {worst.weights:.2f} last places, {worst.rule} by {worst.engine}; limit {LIMIT:g}")
    over = [each for each in found if each.weights > LIMIT or each.slots > SLOT_LIMIT]
    for each in over:
        print(f"over the limit: {each.rule} by {each.engine}, weights {each.weights:.2f}, slots {each.slots:.2f}")
    finish({"seeds": given.seeds, "worst": found}, given.json)
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
