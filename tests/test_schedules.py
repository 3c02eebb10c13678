"""Schedules against torch's schedulers, the closed forms of the lectures, and properties over the whole catalogue."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as tl

import ravine.schedules as rs

N = 60
BASE = 0.3
HALF_COSINE = rs.Cosine(duration=N, end=0.01)


def sgd(lr: float = BASE) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)


def played(make: Callable[[Any], Any], n: int = N, key: str = "lr") -> list[float]:
    """What torch sets for steps 0 to n, one step after another."""
    values: list[float] = []
    optimizer = sgd()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR warns of its own calls, and no optimizer steps here
        scheduler = make(optimizer)
        for t in range(n + 1):
            values.append(optimizer.param_groups[0][key])
            if t < n:
                scheduler.step()
    return values


def ours(schedule: rs.Schedule, base: float = BASE, n: int = N) -> list[float]:
    return [base * rs.check(schedule)(t) for t in range(n + 1)]


def same(mine: list[float], torchs: list[float]) -> None:
    assert mine == pytest.approx(torchs, rel=1e-12, abs=1e-300)


TWINS: list[tuple[str, Callable[[Any], Any], rs.Schedule]] = [
    ("step", lambda o: tl.StepLR(o, 7, 0.3), rs.Step(7, 0.3)),
    ("step, lectures", lambda o: tl.StepLR(o, 30), rs.Step(30)),
    ("multi-step", lambda o: tl.MultiStepLR(o, [5, 5, 20], 0.2), rs.MultiStep((5, 5, 20), 0.2)),
    ("multi-step at 1", lambda o: tl.MultiStepLR(o, [1], 0.2), rs.MultiStep((1,), 0.2)),
    ("exponential", lambda o: tl.ExponentialLR(o, 0.9), rs.Exponential(0.9)),
    ("growing", lambda o: tl.ExponentialLR(o, 1.1), rs.Exponential(1.1)),
    ("linear", lambda o: tl.LinearLR(o, 0.25, 0.8, 33), rs.Linear(0.25, 0.8, 33)),
    ("constant", lambda o: tl.ConstantLR(o, 0.4, 9), rs.Sequence((rs.Constant(0.4), rs.Constant()), (9,))),
    ("polynomial", lambda o: tl.PolynomialLR(o, N, 1.0), rs.Polynomial(N)),
    ("polynomial 2.5", lambda o: tl.PolynomialLR(o, 40, 2.5), rs.Polynomial(40, 2.5)),
    ("cosine", lambda o: tl.CosineAnnealingLR(o, N, 0.01 * BASE), HALF_COSINE),
    ("restarts", lambda o: tl.CosineAnnealingWarmRestarts(o, 7), rs.CosineRestarts(7, 1)),
    ("restarts x2", lambda o: tl.CosineAnnealingWarmRestarts(o, 4, 2, 0.003), rs.CosineRestarts(4, 2, 0.01)),
    ("restarts x3", lambda o: tl.CosineAnnealingWarmRestarts(o, 1, 3, 0.003), rs.CosineRestarts(1, 3, 0.01)),
    ("lambda", lambda o: tl.LambdaLR(o, lambda t: 1 / (1 + 0.1 * t)), rs.InverseTime(0.1)),
    (
        "sequential",
        lambda o: tl.SequentialLR(o, [tl.ConstantLR(o, 0.1, 20), tl.ExponentialLR(o, 0.9)], [20]),
        rs.Sequence((rs.Constant(0.1), rs.Exponential(0.9)), (20,)),
    ),
    (
        "sequential of three",
        lambda o: tl.SequentialLR(
            o, [tl.LinearLR(o, 0.1, 1.0, 8), tl.StepLR(o, 6, 0.5), tl.ExponentialLR(o, 0.9)], [8, 30]
        ),
        rs.Sequence((rs.Linear(0.1, 1.0, 8), rs.Step(6, 0.5), rs.Exponential(0.9)), (8, 30)),
    ),
    (
        "warm-up, then",
        lambda o: tl.SequentialLR(o, [tl.LinearLR(o, 0.1, 1.0, 8), tl.StepLR(o, 6, 0.5)], [8]),
        rs.WarmUp(rs.Step(6, 0.5), 8, 0.1),
    ),
    (
        "warm-up over",
        lambda o: tl.ChainedScheduler([tl.LinearLR(o, 0.1, 1.0, 8), tl.StepLR(o, 6, 0.5)]),
        rs.WarmUp(rs.Step(6, 0.5), 8, 0.1, overlay=True),
    ),
    (
        "chained",
        lambda o: tl.ChainedScheduler([tl.ConstantLR(o, 0.1, 20), tl.ExponentialLR(o, 0.9)]),
        rs.Sequence((rs.Constant(0.1), rs.Constant()), (20,)) * rs.Exponential(0.9),
    ),
]


@pytest.mark.parametrize(("scheduler", "schedule"), [twin[1:] for twin in TWINS], ids=[twin[0] for twin in TWINS])
def test_equals_torch(scheduler: Callable[[Any], Any], schedule: rs.Schedule) -> None:
    same(ours(schedule), played(scheduler))


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize("down", [None, 11])
def test_equals_torch_cyclic(mode: Any, down: int | None) -> None:
    base, high = 0.01, 0.3

    def torchs(optimizer: Any) -> Any:
        return tl.CyclicLR(optimizer, base, high, 7, down, mode, gamma=0.97, base_momentum=0.8, max_momentum=0.9)

    kinds: dict[str, Callable[..., rs.Schedule]] = {
        "triangular": rs.Triangular,
        "triangular2": rs.Triangular2,
        "exp_range": lambda *a: rs.ExpRange(*a, gamma=0.97),
    }
    same(ours(kinds[mode](*rs.between(base, high, base), 7, down), base), played(torchs))
    same(ours(kinds[mode](*rs.between(0.9, 0.8, 0.9), 7, down), 0.9), played(torchs, key="momentum"))


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("three_phase", "rise"), [(False, 0.3), (True, 0.3), (True, 0.45), (False, 0.0), (False, 1.0)])
def test_equals_torch_one_cycle(anneal: Any, three_phase: bool, rise: float) -> None:
    def torchs(optimizer: Any) -> Any:
        return tl.OneCycleLR(optimizer, BASE, N + 1, pct_start=rise, anneal_strategy=anneal, three_phase=three_phase)

    lr = rs.OneCycle(N + 1, rise, three_phase=three_phase, anneal=anneal, tick=1)
    momentum = rs.OneCycleMomentum(N + 1, 0.85 / 0.95, rise, three_phase, anneal, 1)
    # torch's linear descent ends in a difference of numbers 1e5 times larger than the last learning rate.
    assert ours(lr) == pytest.approx(played(torchs), rel=1e-12, abs=1e-16)
    same(ours(momentum, 0.95), played(torchs, key="momentum"))


def test_one_cycle_in_epochs_peaks_where_it_says_and_ends_at_the_end() -> None:
    lr, momentum = rs.OneCycle(duration=10), rs.OneCycleMomentum(duration=10, low=0.9)
    assert (lr(0), lr(3), lr(10), lr(99)) == pytest.approx((1 / 25, 1, 1 / 25e4, 1 / 25e4), rel=1e-12)
    assert (momentum(0), momentum(3), momentum(10), momentum(99)) == pytest.approx((1, 0.9, 1, 1))


# --- The lectures: rows O5, L1, L2, L3 -------------------------------------------------------------------------------


def test_row_o5_a_schedule_is_the_function_that_torch_lambda_lr_wants() -> None:
    schedule = rs.WarmUp(HALF_COSINE, 5)
    mine = [BASE * schedule(t) for t in range(N + 1)]
    assert mine == played(lambda optimizer: tl.LambdaLR(optimizer, schedule))  # to the bit


def test_row_l1_step_decay_and_half_cosine_with_warm_up() -> None:
    table = {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001, 90: 0.0001}
    assert {t: 0.1 * rs.MultiStep((30, 60, 90))(t) for t in table} == pytest.approx(table, rel=1e-12)
    cosine = rs.WarmUp(rs.Cosine(), 10, start=0.0).over(100)
    lectures = {t: t / 10 if t < 10 else (1 + math.cos(math.pi * (t - 10) / 90)) / 2 for t in range(101)}
    assert {t: cosine(t) for t in lectures} == pytest.approx(lectures, rel=1e-12, abs=1e-15)


def test_row_l2_keras_decay() -> None:
    keras = rs.InverseTime(1e-6)
    assert [0.01 * keras(t) for t in (0, 10**6, 3 * 10**6)] == pytest.approx([0.01, 0.005, 0.0025], rel=1e-12)


def test_row_l3_restarts_begin_exactly_at_every_restart() -> None:
    # The logarithm of the closed form is one off at some of these: log(243, 3) < 5.
    for growth in (2, 3, 5, 7):
        begins = [(growth**i - 1) / (growth - 1) for i in range(12)]
        assert [rs.CosineRestarts(1, growth)(t) for t in begins] == [1.0] * 12
        assert all(rs.CosineRestarts(1, growth)(math.nextafter(t, 0)) < 1e-6 for t in begins[1:])


# --- Bugs of others: U3 (resume), U4 (SequentialLR), U5, U6 ----------------------------------------------------------


def everything() -> list[rs.Schedule]:
    """One of each in the catalogue at its defaults, and nested ones, bound to a run of N."""
    nested = [
        rs.WarmUp(rs.Cosine() * rs.Exponential(0.99)),
        rs.WarmUp(rs.WarmUp(rs.CosineRestarts(), overlay=True)),
        rs.Sequence((rs.WarmUp(rs.Linear()), rs.Polynomial(), rs.OneCycle()), (10, 30)),
    ]
    return [schedule.over(N) for schedule in [kind() for kind in rs.catalogue().values()] + nested]


@pytest.mark.parametrize("schedule", everything(), ids=repr)
def test_any_time_in_any_order_gives_the_same_to_the_bit(schedule: rs.Schedule) -> None:
    line = [schedule(t) for t in range(N + 1)]
    for start in range(N + 1):  # U3: resumed at every t, from its recipe
        resumed = rs.from_spec(rs.to_spec(schedule))
        assert resumed(start) == line[start]
    shuffled = random.Random(0).sample(range(N + 1), N + 1)
    assert {t: schedule(t) for t in shuffled} == dict(enumerate(line))
    assert all(math.isfinite(value) and value >= 0 for value in line)
    assert math.isfinite(schedule(1e7)) and math.isfinite(schedule(N / 7))


@pytest.mark.parametrize("first", [0, 1, 7])
def test_u4_a_sequence_begins_each_part_at_its_own_zero(first: int) -> None:
    parts = (rs.Constant(0.1), rs.Exponential(0.9), rs.Cosine(20))
    oracle = [
        0.1 if t < first else 0.9 ** (t - first) if t < 30 else (1 + math.cos(math.pi * min((t - 30) / 20, 1))) / 2
        for t in range(N + 1)
    ]
    assert [rs.Sequence(parts, (first, 30))(t) for t in range(N + 1)] == pytest.approx(oracle, rel=1e-12)
