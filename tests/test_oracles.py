"""Every rule and every combinator against its oracle: NumPy written from the paper, one coordinate at a time."""

from __future__ import annotations

import importlib
import inspect
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ravine.rules.rule import Combinator, Rule, chain, hypers, values
from tests.driving import RULES, Noisy, code_names, combinators, drive, elsewhere, normal, starts, step, varied
from tests.oracles.loop import Memory, Oracle, Settings, Slope, Vectors, walk

SHAPES: list[tuple[int, ...]] = [(7,), (2, 3), ()]


def oracle_of(rule: type[Rule]) -> Any:
    """The function of that name in tests/oracles/<family>.py; its absence fails the test."""
    module = "combine" if issubclass(rule, Combinator) else rule.family.replace("-", "_")
    found = getattr(importlib.import_module(f"tests.oracles.{module}"), code_names(rule))
    return partial(found, shapes=shapes_of(rule)) if sees_whole(rule) else found


def sees_whole(rule: type[Rule]) -> bool:
    return rule.scope == "tensor" and not issubclass(rule, Combinator)


def shapes_of(rule: type[Rule]) -> list[tuple[int, ...]]:
    """Rules of whole tensors are shown a tall matrix and a convolution too."""
    return [*SHAPES, (4, 3), (3, 2, 1)] if sees_whole(rule) else SHAPES


def assert_same_path(rule: Rule, oracle: Oracle, settings: Settings, seed: str, steps: int) -> None:
    """The rule in float64 and its oracle take the same steps, to 1e-12 of the longest weight so far.

    A rule of whole tensors may be off by 1e-5 of the longest tensor: its products and roots are taken in other orders.
    One that finds its rate may be off by 1e-10: the rate grows, and what was rounded with it.
    """
    *_, kind = (type(part) for part in chain(rule))
    shapes, worst_allowed = shapes_of(kind), 1e-5 if sees_whole(kind) else 1e-10 if kind.grows else 1e-12
    slope = Noisy.of(seed, shapes, steps)
    start = [normal(f"{seed}{shape}", *shape) for shape in shapes]
    ours = drive(rule, slope.tensors, start, steps)
    theirs = walk(oracle, slope.vectors, [w.numpy().reshape(-1) for w in start], steps, settings)
    for k, shape in enumerate(shapes):
        got = torch.stack([point[k] for point in ours]).numpy().reshape(steps + 1, -1)
        want = np.stack([point[k] for point in theirs])
        scale = np.maximum.accumulate(np.abs(want), axis=0)
        scale = scale.max(axis=1, keepdims=True) if sees_whole(kind) else scale
        worst = float((np.abs(got - want) / scale).max())
        assert worst <= worst_allowed, f"{seed}, shape {shape}: off by {worst:.1e}"


@pytest.mark.parametrize("u", [None, 0.3, 0.7], ids=["defaults", "lower", "upper"])
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_rule_is_its_oracle_over_200_steps(name: str, rule: type[Rule], u: float | None) -> None:
    made = rule() if u is None else varied(rule, u)
    assert_same_path(made, oracle_of(rule), values(made), name, 200)


def around(combinator: type[Combinator], rule: type[Rule], own: dict[str, float], kept: Memory) -> Oracle:
    """The combinator's oracle around the rule's; it gets the shapes, a memory or the time where it asks for them."""
    wrapped, inner = oracle_of(combinator), oracle_of(rule)
    outer: dict[str, Any] = {name: np.longdouble(value) for name, value in own.items()}
    asked = inspect.signature(wrapped).parameters

    def whole(slope: Slope, weights: Vectors, t: int, memory: Memory, h: Settings) -> Vectors:
        offered: dict[str, Any] = {"shapes": shapes_of(rule), "memory": kept, "t": t}
        extra = {name: value for name, value in offered.items() if name in asked}
        return wrapped(lambda at, w: inner(at, w, t, memory, h), slope, weights, {**h, **outer}, **extra)

    return whole


@pytest.mark.parametrize("combinator", combinators())
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_combinator_is_its_oracle_around_every_rule(name: str, rule: type[Rule], combinator: type[Combinator]) -> None:
    u = 0.15 if len(name) % 2 else 0.6  # each combinator is tried low and high
    own = {field: elsewhere(declared, u) for field, declared in hypers(combinator).items()}
    made: Any = combinator
    inside, whole = rule(), around(combinator, rule, own, {})
    assert_same_path(made(inside, **own), whole, values(inside), f"{combinator.__name__} {name}", 20)


@pytest.mark.parametrize("combinator", [found for found in combinators() if found.slots])
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_what_a_combinator_keeps_is_what_its_oracle_keeps(
    name: str, rule: type[Rule], combinator: type[Combinator]
) -> None:
    own = {field: elsewhere(declared, 0.6) for field, declared in hypers(combinator).items()}
    shapes, kept = shapes_of(rule), Memory()
    slope = Noisy.of(name, shapes, 10)
    weights = [normal(f"{name}{shape}", *shape) for shape in shapes]
    made: Any = combinator
    walk(
        around(combinator, rule, own, kept), slope.vectors, [w.numpy().reshape(-1) for w in weights], 10, values(rule())
    )
    states = starts(made(rule(), **own), weights)
    for t in range(1, 11):
        updates, states = step(made(rule(), **own), slope.tensors, weights, states, t)
        weights = [w + u for w, u in zip(weights, updates, strict=True)]
    for slot in combinator.slots:
        for state, want in zip(states, kept[slot], strict=True):
            assert state[slot].reshape(-1).tolist() == pytest.approx([float(x) for x in want], rel=1e-12, abs=1e-14)


def test_an_oracle_notices_a_wrong_equation() -> None:
    from ravine.rules.adam import Adam

    with pytest.raises(AssertionError, match="off by"):
        assert_same_path(Adam(), oracle_of(Adam), {**values(Adam()), "eps": 1e-7}, "wrong", 20)
