"""A traced rule computes what the rule computes, to the bit, for every rule and combinator that exists."""

from __future__ import annotations

import cProfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from ravine.emit.split import split
from ravine.emit.symbol import Symbol
from ravine.emit.trace import reach, trace
from ravine.errors import UserError
from ravine.rules import combine
from ravine.rules.adam import AdamW
from ravine.rules.math import sign, where
from ravine.rules.rule import (
    Rule,
    catalogue,
    chain,
    hyper,
    hypers,
    name_of,
    needs_of,
    resolve,
    scalars_of,
    slots_of,
    sums_of,
    values,
    with_values,
)
from ravine.rules.spec import combinators
from ravine.types import Array, Scalar, State
from tests.driving import normal

COMBINATORS: list[Any] = list(combinators().values())


def clash(outer: Any, rule: Rule) -> bool:
    """Whether a combinator names a hyperparameter as the rule inside does: two numbers cannot share a name."""
    return bool(set(hypers(outer)) & set(hypers(rule)))


RULES: list[Rule] = [rule() for rule in catalogue().values()]
EVERY_RULE = [
    *RULES,
    *(outer(rule) for outer in COMBINATORS for rule in RULES[::11] if not clash(outer, rule)),
    combine.ClipGlobalNorm(combine.DecoupledDecay(RULES[0])),
]


def label(rule: Rule) -> str:
    return f"{type(rule).__name__}-{name_of(rule)}"


def inputs_of(rule: Rule, t: int) -> dict[str, Any]:
    """Plain numbers for everything that a rule reads, none of them special; a rule of whole tensors gets a matrix."""
    given = {name: value * 0.7 + 0.01 for name, value in values(rule).items()}
    given |= {slot: 0.3 + 0.1 * i for i, slot in enumerate(slots_of(rule))}
    given |= {name: start * 0.9 for name, start in scalars_of(rule).items()}
    given |= {str(name): 1.7 for name in (*needs_of(rule) - {"gradient_ahead"}, "first_norm")}
    given |= {name: 1.3 + i for i, name in enumerate(sums_of(rule))}
    given |= {"g": -0.37, "w": 0.81, "t": t}
    if any(part.scope == "tensor" for part in chain(rule)):
        shapes = {slot: x.shape for slot, x in rule.init(torch.zeros(3, 2, dtype=torch.float64)).items()}
        given |= {slot: normal(slot, *shape).abs() for slot, shape in {**shapes, "g": (3, 2), "w": (3, 2)}.items()}
    return given


@pytest.mark.parametrize("rule", EVERY_RULE, ids=label)
@pytest.mark.parametrize("t", [1, 7])
def test_the_program_equals_the_rule_to_the_bit(rule: Rule, t: int) -> None:
    inputs = inputs_of(rule, t)
    concrete = with_values(rule, {name: inputs[name] for name in hypers(rule)})
    state = {k: x for k, x in inputs.items() if k not in ("g", "w", "t")}
    u, new = concrete.update(inputs["g"], dict(state), inputs["w"], t)
    program = trace(rule)
    outputs = {name: i for name, i in {**program.slots, **program.scalars}.items() if np.asarray(inputs[name]).size}
    traced = program.evaluate(inputs, (program.update, program.weights, program.ahead, *outputs.values()))
    ahead = concrete.ahead(dict(state), inputs["w"])
    for found, right in zip(traced, (u, inputs["w"] + u, ahead, *(new[name] for name in outputs)), strict=True):
        assert np.array_equal(found, right)


@pytest.mark.parametrize("rule", EVERY_RULE, ids=label)
def test_only_what_depends_on_an_entry_is_computed_per_entry(rule: Rule) -> None:
    program = trace(rule)
    for index, op in enumerate(program.ops):
        below = {program.ops[i].kind for i in reach(program.ops, (index,))}
        assert op.host == (not below & {"g", "w", "slot", "array"})


@pytest.mark.parametrize("rule", EVERY_RULE, ids=label)
def test_no_operation_occurs_twice_and_each_follows_those_it_uses(rule: Rule) -> None:
    ops = trace(rule).ops
    assert len({(op.kind, op.args, op.name, repr(op.number)) for op in ops}) == len(ops)
    assert all(arg < index for index, op in enumerate(ops) for arg in op.args)


@dataclass(frozen=True)
class Whole(Rule):
    """Not in the catalogue: a rule without a family is no contender."""

    scope = "tensor"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return g, {}


@dataclass(frozen=True)
class Branching(Rule):
    """Branches on a value, which no trace can follow."""

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return (g if t > 1 else -g), {}


M: Any = hyper(0.1, "[0, 1]", "x", symbol="m")


@dataclass(frozen=True)
class Ambiguous(Rule):
    """Its slot and its hyperparameter share a name."""

    slots = ("m",)
    m: Scalar = M

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return g, {"m": g}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Whole(), "engine='eager'"),
        (Branching(), "where"),
        (Ambiguous(), "m names two things"),
        (combine.CoupledDecay(AdamW()), "weight_decay names two"),
    ],
)
def test_a_rule_that_has_no_equation_for_an_entry_is_refused_in_one_sentence(rule: Rule, words: str) -> None:
    with pytest.raises(UserError, match=words):
        split(trace(rule))


@dataclass(frozen=True)
class Choosing(Rule):
    """Chooses entry by entry, and returns a number where others return a symbol."""

    slots = ("m",)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        chosen = where(g > s["m"], g, s["m"]) + where(g <= w, 1.0, 2.0) * sign(w)
        assert isinstance(chosen, Symbol | float)
        return chosen, {"m": 0.0}


@pytest.mark.parametrize(("g", "expected"), [(0.5, 1.5), (-0.5, 1.1), (0.9, 2.9)])
def test_comparisons_choose_entry_by_entry(g: float, expected: float) -> None:
    program = trace(Choosing())
    u, m = program.evaluate({"g": g, "w": 0.8, "t": 1, "m": 0.1}, (program.update, program.slots["m"]))
    assert (u, m) == (pytest.approx(expected), 0.0)


def test_a_profiler_of_the_caller_does_not_break_a_first_step() -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        program = trace(resolve("nadam")())
    finally:
        profiler.disable()
    assert {"mu", "mu_next"} <= set(program.names.values())
