"""Where a model is evaluated when that is not where it trains: Schedule-Free's x and ASGD's mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ravine import optim
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.optim.average import averaged, swapped
from ravine.problems.problem import Part
from ravine.rules.asgd import ASGD
from ravine.rules.descent import SGD
from ravine.rules.rule import Rule
from ravine.rules.schedulefree import ScheduleFreeAdamW, ScheduleFreeSGD


def gradients(steps: int = 6) -> Tensor:
    return torch.randn(steps, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def walked(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.Parameter, Any]:
    """A parameter after six steps, and its optimizer."""
    w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=dtype))
    optimizer = getattr(optim, name)([("w", w)], **options)
    for g in gradients():
        w.grad = g.to(dtype)
        optimizer.step()
    return w, optimizer


def schedule_free(lr: float, beta: float) -> tuple[Any, Any]:
    """The x and y of Schedule-Free SGD, each of the three sequences kept."""
    x = z = y = np.array([1.0, -2.0, 0.5])
    for t, g in enumerate(gradients().numpy(), start=1):
        z = z - lr * g
        x = (1 - 1 / t) * x + z / t
        y = (1 - beta) * z + beta * x
    return x, y


@pytest.mark.parametrize("engine", ["eager", "kernel"])
def test_schedule_free_trains_at_y_and_is_read_at_x(engine: str) -> None:
    w, optimizer = walked("ScheduleFreeSGD", lr=0.3, beta=0.8, engine=engine)
    x, y = schedule_free(0.3, 0.8)
    np.testing.assert_allclose(w.detach().numpy(), y, rtol=1e-12)
    np.testing.assert_allclose(averaged(optimizer)["w"].numpy(), x, rtol=1e-12)
    before = w.detach().clone()
    with swapped(optimizer):
        np.testing.assert_allclose(w.detach().numpy(), x, rtol=1e-12)
    assert w.equal(before)


def test_schedule_free_in_half_precision_is_read_close_to_x() -> None:
    w, optimizer = walked("ScheduleFreeSGD", torch.bfloat16, lr=0.3, beta=0.8)
    with swapped(optimizer):
        np.testing.assert_allclose(w.detach().double().numpy(), schedule_free(0.3, 0.8)[0], atol=2e-2)


def test_an_average_that_is_asked_for_goes_before_the_rules_own() -> None:
    w, optimizer = walked("ScheduleFreeSGD", lr=0.3, ema=0.0)
    assert averaged(optimizer)["w"].equal(w)


@pytest.mark.parametrize("t0", [0.0, 3.0])
def test_asgd_is_read_at_torchs_mean(t0: float) -> None:
    _, ours = walked("ASGD", lr=0.1, t0=t0)
    w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    theirs = torch.optim.ASGD([w], lr=0.1, t0=t0)
    for g in gradients():
        w.grad = g
        theirs.step()
    torch.testing.assert_close(averaged(ours)["w"], theirs.state[w]["ax"], rtol=1e-6, atol=1e-7)


RULES: list[Rule] = [ScheduleFreeSGD(0.1), ScheduleFreeAdamW(0.05), ASGD(0.1, t0=0.0), SGD(0.1)]


def lanes_of(rules: list[Rule]) -> tuple[Lanes, Part]:
    generator = torch.Generator().manual_seed(5)
    part = Part(torch.randn(32, 4, generator=generator), torch.randn(32, 1, generator=generator))
    model = Model(lambda: nn.Linear(4, 1))
    return Lanes(model, nn.functional.mse_loss, [model.lane(rule, {}, 0) for rule in rules]), part


def test_lanes_are_evaluated_where_their_rules_say() -> None:
    together, part = lanes_of(RULES)
    for step in range(5):
        together.step(part, torch.arange(step, step + 16).unsqueeze(0), float(step))
    outputs = together.predict(part.x)
    for row, (rule, lane) in enumerate(zip(RULES, together.export(), strict=True)):
        point = rule.readout({**lane.slots, **lane.scalars}, lane.weights)
        weight, bias = point[:4], point[4]
        torch.testing.assert_close(outputs[row], (part.x @ weight + bias).unsqueeze(1))
        assert point.equal(lane.weights) == isinstance(rule, SGD)
        torch.testing.assert_close(together.snapshot(row).weights, point)
        torch.testing.assert_close(together.model.load(together.snapshot(row))(part.x), outputs[row])


def test_evaluating_changes_no_later_step() -> None:
    looked, left = lanes_of(RULES)[0], lanes_of(RULES)[0]
    _, part = lanes_of(RULES)
    for step in range(3):
        for each in (looked, left):
            each.step(part, torch.arange(16).unsqueeze(0), float(step))
        looked.predict(part.x)
        looked.snapshot(0)
    assert looked.weights.equal(left.weights)
