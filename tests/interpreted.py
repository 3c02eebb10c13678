"""Runs Triton's kernels in its interpreter and prints, as JSON, how far they are off: for tests/test_triton.py.

A program of its own, because Triton reads TRITON_INTERPRET when it is imported.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ravine.optim
from ravine.bench.lastplace import exactly, ulps
from ravine.emit.trace import trace
from ravine.engines.gpu import TritonStep
from ravine.engines.kernel import KernelStep
from ravine.optim import stepper
from ravine.rules.adam import Adam
from ravine.rules.amsgrad import AMSGrad
from ravine.rules.clip import ClipGlobalNorm, ClipNorm
from ravine.rules.maxnorm import MaxNorm
from ravine.rules.nadam import NAdam
from ravine.rules.rule import Rule, catalogue, hypers, name_of, scalars_of, slots_of, sums_of, values
from ravine.rules.spec import combinators
from tests.optimizing import drive, flat, weights

SIZES = [(3,), (0,), (5001,), (), (43, 3), (1,), (129,)]
ROWS = [0, 1, 0, 1, 1, 0, 2]


def randoms(seed: int, shapes: list[Any], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def errors(rule: Rule) -> dict[str, float]:
    """The largest errors of three steps of tensors in three groups, in units of the last place."""
    kernel, program = TritonStep(rule), trace(rule)
    weights = randoms(0, SIZES)
    begun = [rule.init(w) for w in weights]
    slots = {name: [s[name].clone() for s in begun] for name in slots_of(rule)}
    columns = {name: value * np.array([1.0, 0.7, 0.4]) for name, value in values(rule).items()}
    scalars: dict[str, Any] = {name: np.full(3, start) for name, start in scalars_of(rule).items()}
    sums = {name: 1.5 + i for i, name in enumerate(sums_of(rule))}
    worst = {"weights": 0.0, "slots": 0.0}
    for t in (1, 2, 3):
        gradients = randoms(t, SIZES)
        whole = torch.cat([g.double().ravel() for g in gradients]).norm().item()
        states: list[dict[str, Any]] = []
        for i, (w, g, row) in enumerate(zip(weights, gradients, ROWS, strict=True)):
            numbers = {name: float(column[row]) for name, column in {**columns, **scalars}.items()}
            facts = {"g": g, "w": w.clone(), "norm": g.double().norm().item(), "global_norm": whole, **sums, "t": t}
            states.append({**numbers, **facts, **{name: column[i].clone() for name, column in slots.items()}})
        scalars = kernel.step(weights, gradients, slots, {**columns, **scalars, **sums, "t": t}, rows=ROWS) or {}
        for i, state in enumerate(states):
            right = exactly(program, state)
            worst["weights"] = max(worst["weights"], ulps(weights[i], right[program.weights]))
            for name, index in program.slots.items():
                worst["slots"] = max(worst["slots"], ulps(slots[name][i], right[index]))
    return worst


def every_rule() -> list[Rule]:
    """The catalogue's, and each combinator around some of them: all that see one number at a time."""
    rules: list[Rule] = [rule() for rule in catalogue().values() if rule.scope == "entry"]
    around: list[Any] = [outer for outer in combinators().values() if outer.scope == "entry"]
    pairs = [outer(rule) for outer in around for rule in rules[::17] if not set(hypers(outer)) & set(hypers(rule))]
    return [*rules, *pairs]


def label(rule: Rule) -> str:
    """A rule's name in the printed measurements."""
    return f"{type(rule).__name__}-{name_of(rule)}"


def unlike_numba(
    rule: Rule, weights: list[Tensor], kept: torch.dtype = torch.float32, lanes: int = 0, spoil: float = 0.0
) -> float:
    """The largest difference from the CPU's kernel after three steps, relative to the numbers' size; NaN is NaN."""
    ends: list[list[Tensor]] = []
    for engine in (KernelStep, TritonStep):
        kernel, own = engine(rule), [w.clone() for w in weights]
        begun = [rule.init(w.to(kept)) for w in own]
        slots = {name: [s[name].clone() for s in begun] for name in slots_of(rule)}
        scalars: dict[str, Any] = scalars_of(rule)
        for t in (1, 2, 3):
            gradients = [g.to(w.dtype) for g, w in zip(randoms(t, [w.shape for w in own]), own, strict=True)]
            gradients[0].view(-1)[0] += spoil
            scalars = kernel.step(own, gradients, slots, {**values(rule), **scalars, "t": t}, lanes=lanes) or {}
        ends.append([*own, *(x for column in slots.values() for x in column)])
    gaps = [
        (a.double() - b.double()).abs().nan_to_num(0.0) / (a.double().abs().nan_to_num(1.0) + 0.1)
        for a, b in zip(*ends, strict=True)
    ]
    alike = all(bool((a.isnan() == b.isnan()).all()) for a, b in zip(*ends, strict=True))
    return max(gap.max().item() for gap in gaps if gap.numel()) if alike else float("inf")


def by_classes() -> float:
    """The largest relative difference of optimizers that step by these kernels from those by plain torch."""
    stepper.kernel_for = lambda engine, device: TritonStep
    worst = 0.0
    cases: list[tuple[str, dict[str, Any]]] = [
        ("AdamW", {"clip_global_norm": 0.5, "ema": 0.9}),
        ("NAdam", {"weight_decay": 0.1}),
        ("Adam", {"state_dtype": torch.bfloat16}),
    ]
    for name, options in cases:
        ends: list[Tensor] = []
        for engine in ("kernel", "auto", "eager"):
            ps = weights((4, 5), (5,), (), (3, 3), (0,))
            groups: Any = [{"params": ps[:2], "lr": 0.01}, {"params": ps[2:]}]
            optimizer = getattr(ravine.optim, name)(groups, engine=engine, **options)
            drive(optimizer, 5)
            ends.append(flat(ps).double())
            assert engine == "eager" or isinstance(optimizer_kernel(optimizer), TritonStep)
        worst = max(worst, *((end - ends[-1]).abs().max().item() for end in ends[:-1]))
    return worst


def optimizer_kernel(optimizer: Any) -> Any:
    """What its stepper has chosen."""
    (chosen,) = vars(vars(optimizer)["_stepper"])["_kernels"].values()
    return chosen


def main() -> None:
    """Measure everything."""
    found: dict[str, Any] = {"rules": {label(rule): errors(rule) for rule in every_rule()}}
    found["float64"] = unlike_numba(Adam(), randoms(0, SIZES, torch.float64), torch.float64)
    found["float16"] = unlike_numba(Adam(), randoms(0, SIZES, torch.float16))
    found["bfloat16"] = unlike_numba(Adam(), randoms(0, SIZES, torch.bfloat16))
    found["bfloat16 state"] = unlike_numba(AMSGrad(), randoms(0, SIZES), torch.bfloat16)
    found["max-norm"] = unlike_numba(MaxNorm(Adam(lr=0.3), 1.0), randoms(0, SIZES))
    found["not a number"] = unlike_numba(Adam(), randoms(0, SIZES), spoil=float("nan"))
    lanes = [(3, 5), (3, 7, 2), (3,)]
    for outer in (ClipNorm, ClipGlobalNorm):
        found[f"lanes of {outer.__name__}"] = unlike_numba(outer(NAdam()), randoms(0, lanes), lanes=3)
    found["classes"] = by_classes()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
