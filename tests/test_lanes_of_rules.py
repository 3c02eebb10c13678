"""K lanes of one rule with K different hyperparameters are K single runs, and no lane touches another."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ravine.engines.column import Column
from ravine.rules.adam import Adam
from ravine.rules.rule import Rule, hypers, with_values
from tests.driving import RULES, Noisy, Tensors, combinators, drive, elsewhere

LANES, STEPS = 4, 30
SHAPES: tuple[tuple[int, ...], ...] = ((7,), (3, 5), ())
POSITIONS = [0.2 + 0.6 * k / (LANES - 1) for k in range(LANES)]


def settings(rule: Rule) -> dict[str, list[float]]:
    """Each hyperparameter's K values, all different."""
    return {field: [elsewhere(declared, u) for u in POSITIONS] for field, declared in hypers(rule).items()}


def in_lanes(rule: Rule, noise: Noisy, dtype: torch.dtype, spoil: int | None = None) -> Tensors:
    """The final weights [K, ...] of all lanes in one program; the gradient of one lane may be NaN."""

    def slope(t: int, points: Tensors) -> Tensors:
        found = noise.tensors(t, points)
        if spoil is not None and t == 3:
            for g in found:
                g[spoil] = torch.nan
        return found

    lanes = with_values(rule, {field: Column(values) for field, values in settings(rule).items()})
    start = [torch.ones(LANES, *shape, dtype=dtype) for shape in SHAPES]
    return drive(lanes, slope, start, STEPS, lanes=True)[-1]


def alone(rule: Rule, noise: Noisy, dtype: torch.dtype, lane: int) -> Tensors:
    """The final weights of one lane run by itself."""
    single = with_values(rule, {field: values[lane] for field, values in settings(rule).items()})
    own = Noisy([[n[lane] for n in tensors] for tensors in noise.noise])
    return drive(single, own.tensors, [torch.ones(shape, dtype=dtype) for shape in SHAPES], STEPS)[-1]


def noise_of(seed: str) -> Noisy:
    return Noisy.of(seed, [(LANES, *shape) for shape in SHAPES], STEPS)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_lanes_are_single_runs(name: str, rule: type[Rule], dtype: torch.dtype, tolerance: float) -> None:
    assert_lanes(rule(), noise_of(name), dtype, tolerance * rule.magnifies)


@pytest.mark.parametrize("combinator", combinators())
def test_lanes_of_a_combinator_are_single_runs(combinator: Any) -> None:
    assert_lanes(combinator(Adam()), noise_of(combinator.__name__), torch.float64, 1e-12)


def assert_lanes(rule: Rule, noise: Noisy, dtype: torch.dtype, tolerance: float) -> None:
    together = in_lanes(rule, noise, dtype)
    for lane in range(LANES):
        for got, want in zip(together, alone(rule, noise, dtype, lane), strict=True):
            assert got.dtype == dtype
            assert float((got[lane] - want).norm() / want.norm()) <= tolerance


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_nan_in_one_lane_leaves_the_others_bit_equal(name: str, rule: type[Rule]) -> None:
    assert_others_stay(rule(), noise_of(name))


@pytest.mark.parametrize("combinator", combinators())
def test_nan_in_one_lane_of_a_combinator_leaves_the_others_bit_equal(combinator: Any) -> None:
    assert_others_stay(combinator(Adam()), noise_of(combinator.__name__))


def assert_others_stay(rule: Rule, noise: Noisy) -> None:
    clean, spoiled = in_lanes(rule, noise, torch.float32), in_lanes(rule, noise, torch.float32, spoil=1)
    others = [0, 2, 3]
    for whole, hurt in zip(clean, spoiled, strict=True):
        assert torch.equal(whole[others], hurt[others])
        assert bool(torch.isnan(hurt[1]).all())
