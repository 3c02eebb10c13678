"""F13: every schedule at every step up to 1,000: its closed form, resumed anywhere, in lanes as alone, to the bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim as ro
import ravine.schedules as rs
from ravine.engines.lane import Model
from ravine.engines.updates import grouped
from ravine.errors import UserError
from ravine.rules.rule import make
from tests.oracles.schedules import ORACLES, value
from tests.test_schedules import BASE, TWINS, ours, played

N = 1000
RUN = 840  # its third, seventh, eighth and twentieth are whole, so that no rounding moves where a part begins
NAMES = tuple(rs.catalogue())


def drawn(name: str, draw: random.Random, depth: int = 2) -> rs.Schedule:
    """A schedule with settings that are allowed, from their declarations alone; eighths, which no rounding moves."""
    kind = rs.catalogue()[name]
    while True:
        made = kind(**{field: _setting(declared, draw, depth) for field, declared in rs.settings(kind).items()})
        if made.flaw() is None:
            return rs.check(made)


def _setting(declared: rs.Setting, draw: random.Random, depth: int) -> Any:
    if (declared.share is not None or declared.optional) and draw.random() < 0.4:
        return None
    if declared.kind in ("choice", "flag"):
        return draw.choice(declared.options or (True, False))
    if declared.kind in ("schedule", "schedules"):
        made = [drawn(draw.choice(NAMES), draw, depth - 1) if depth else rs.Constant(0.5) for _ in range(2)]
        return made[0] if declared.kind == "schedule" else tuple(made)
    low, high = (float(end) for end in declared.bounds[1:-1].split(","))
    largest = min(high, draw.choice((2.0, 40.0, 700.0)))
    numbers = [draw.randint(int(8 * max(low, 0)) + 1, int(8 * largest)) / 8 for _ in range(draw.randint(1, 2))]
    return numbers[0] if declared.kind == "number" else tuple(sorted(numbers))


def bound(schedule: rs.Schedule) -> rs.Schedule | None:
    """The schedule over the whole run; None where something in it is left no time."""
    try:
        return schedule.over(RUN)
    except UserError:
        return None


def of(name: str, count: int = 4) -> Iterator[rs.Schedule]:
    """One at its defaults, each combination of it, and drawn ones."""
    own = rs.catalogue()[name]()
    yield from (own.over(RUN), rs.WarmUp(own).over(RUN), rs.WarmUp(own, 42, overlay=True).over(RUN))
    yield from ((own * rs.Exponential(0.999)).over(RUN), rs.Sequence((rs.Constant(0.5), own), (42,)).over(RUN))
    draw = random.Random(f"schedule {name}")
    made = (bound(drawn(name, draw)) for _ in range(10 * count))
    yield from [one for one in made if one is not None][:count]


def test_every_schedule_has_an_oracle() -> None:
    assert set(ORACLES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_is_its_closed_form_at_every_step(name: str) -> None:
    found = list(of(name))
    assert len(found) == 9
    for schedule in found:
        spec = rs.to_spec(schedule)
        want = [value(spec, Fraction(t)) for t in range(N + 1)]
        assert [schedule(t) for t in range(N + 1)] == pytest.approx(want, rel=1e-9, abs=1e-12, nan_ok=True), schedule


@pytest.mark.parametrize("twin", [twin for twin in TWINS if twin[0] != "cosine"], ids=lambda twin: twin[0])
def test_equals_torch_up_to_1000(twin: tuple[str, Callable[[Any], Any], rs.Schedule]) -> None:
    _, scheduler, schedule = twin  # torch's cosine rises again after its end
    assert ours(schedule, n=N) == pytest.approx(played(scheduler, N), rel=1e-9, abs=1e-300)


# --- Resumed at every step -------------------------------------------------------------------------------------------


def stepping(schedule: rs.Schedule, as_tensor: bool = False, in_group: bool = False) -> tuple[Tensor, ro.SGD]:
    """A weight whose step is the learning rate, and its optimizer, made in one of the ways in which it can be."""
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    lr: Any = torch.tensor(BASE, dtype=torch.float64) if as_tensor else BASE
    schedules: Any = {"lr": schedule}
    if in_group:
        return weight, ro.SGD([{"params": [weight], "lr": lr, "schedules": schedules}])
    return weight, ro.SGD([weight], lr=lr, schedules=schedules)


def step(weight: Tensor, optimizer: ro.SGD) -> float:
    """One step from zero; the learning rate that was taken."""
    with torch.no_grad():
        weight.zero_()
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    return -weight.item()


def resumed(name: str, every: int) -> None:
    place = NAMES.index(name)
    schedule = rs.WarmUp(rs.catalogue()[name](), 7.5).over(N)
    weight, optimizer = stepping(schedule)
    rates: list[float] = []
    kept: dict[int, Any] = {}
    for t in range(N + 1):
        if t % every == place % every:
            kept[t] = deepcopy(optimizer.state_dict())
        rates.append(step(weight, optimizer))
    assert rates == [BASE * schedule(t) for t in range(N + 1)]  # to the bit
    again = rs.from_spec(rs.to_spec(schedule))
    for t, state in kept.items():
        for way in range(4) if every > 1 else (t % 4,):
            other, fresh = stepping(again, as_tensor=bool(way & 1), in_group=bool(way & 2))
            fresh.load_state_dict(state)
            assert [step(other, fresh) for _ in range(min(3, N + 1 - t))] == rates[t : t + 3], (t, way)


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_that_is_resumed_goes_on_to_the_bit(name: str) -> None:
    resumed(name, every=97)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_that_is_resumed_at_any_step_goes_on_to_the_bit(name: str) -> None:
    resumed(name, every=1)


def test_lanes_have_at_every_step_what_each_has_alone() -> None:
    model = Model(lambda: nn.Linear(2, 1))
    every = [schedule for name in NAMES for schedule in list(of(name))[:6]]
    base = [0.3 / (1 + place) for place in range(len(every))]
    lanes = [
        model.lane(make("momentum", {"lr": lr, "momentum": 0.8}), {"lr": one, "momentum": rs.Constant(0.5)}, seed)
        for seed, (lr, one) in enumerate(zip(base, every, strict=True))
    ]
    (group,) = grouped(lanes, model)
    for t in range(N + 1):
        now = group.at(t)
        assert now["lr"].tolist() == [lr * one(t) for lr, one in zip(base, every, strict=True)]
        assert set(now["momentum"]) == {0.5 * 0.8}
