"""Curvature by a second gradient: what Sophia is told, in torch code and in lanes, and what it leaves as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ravine import optim
from ravine.engines.curvature import estimate, signs
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.problems.problem import Part
from ravine.rules.adam import Adam
from ravine.rules.combine import SAM
from ravine.rules.sophia import Sophia
from tests.optimizing import flat

F64 = torch.float64


def bowl(bent: Tensor, w: nn.Parameter, calls: list[Tensor]) -> Callable[[], Tensor]:
    """A closure of w . (bent * w) / 2, whose Hessian is diagonal, and the points where it was called."""

    def closure() -> Tensor:
        calls.append(w.detach().clone())
        w.grad = None
        loss = (bent * w * w).sum() / 2
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("maximize", [False, True])
def test_a_diagonal_hessian_is_measured_exactly_every_period_steps(maximize: bool) -> None:
    bent, calls = torch.tensor([0.5, 3.0, -2.0], dtype=F64), list[Tensor]()
    w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=F64))
    optimizer = optim.of("sophia")([w], period=3, beta2=0.9, maximize=maximize)
    seen = [optimizer.state[w]["h"].clone() for _ in range(7) if optimizer.step(bowl(bent, w, calls)) is not None]
    right = -bent if maximize else bent
    for t, h in enumerate(seen, 1):
        measured = (t + 2) // 3
        torch.testing.assert_close(h, (1 - 0.9**measured) * right, rtol=1e-9, atol=0)
    assert len(calls) == 7 + 3  # a second call at steps 1, 4 and 7


def test_the_estimate_is_the_diagonal_in_the_mean_over_signs() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=generator, dtype=F64)
    hessian, w = root @ root.T, torch.randn(5, generator=generator, dtype=F64)
    offsets = [1e-3 * signs(seed, 1, 0, w) for seed in range(2000)]
    found = torch.stack([estimate(hessian @ w, hessian @ (w + offset), offset) for offset in offsets])
    error = found.std(0) / 2000**0.5
    assert bool(((found.mean(0) - hessian.diagonal()).abs() <= 4 * error).all())
    assert bool((found.std(0) > 0.1).all())


def test_signs_belong_to_seed_step_and_place() -> None:
    like = torch.empty(64)
    first = signs(3, 5, 1, like)
    assert set(first.tolist()) == {-1.0, 1.0}
    torch.manual_seed(0)
    assert torch.equal(first, signs(3, 5, 1, like))
    assert all(not torch.equal(first, signs(*other, like)) for other in [(4, 5, 1), (3, 6, 1), (3, 5, 2)])


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_and_weights_are_those_of_the_first_call(to_none: bool) -> None:
    torch.manual_seed(1)
    net = nn.Linear(3, 2).double()
    x = torch.randn(5, 3, dtype=F64)
    groups = [{"params": [net.weight]}, {"params": [net.bias], "lr": 0.0}]
    optimizer = optim.of("sophia")(groups, lr=0.01)

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=to_none)
        loss = net(x).pow(4).mean()
        loss.backward()
        return loss

    net(x).pow(4).mean().backward()
    want = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    before = net.bias.detach().clone()
    optimizer.step(closure)
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), want, strict=True) if p.grad is not None)
    assert torch.equal(net.bias, before)


def test_curvature_is_measured_where_sam_takes_its_gradient() -> None:
    w, calls = nn.Parameter(torch.tensor([1.0, 2.0], dtype=F64)), list[Tensor]()
    optimizer = optim.of("sophia")([w], sam=0.1, radius=1e-3)
    optimizer.step(bowl(torch.ones(2, dtype=F64), w, calls))
    at, uphill, off = calls
    assert float((uphill - at).norm()) == pytest.approx(0.1)
    torch.testing.assert_close((off - uphill).abs(), torch.full((2,), 1e-3, dtype=F64))


def test_without_a_closure_it_is_one_sentence() -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    with pytest.raises(UserError, match=r"sophia measures curvature too: call step\(closure\)"):
        optim.of("sophia")([w]).step()
    assert w.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("policy", ["raise", "skip", "zero"])
def test_a_curvature_that_is_not_finite_is_treated_as_a_gradient_is(policy: str) -> None:
    w, calls = nn.Parameter(torch.ones(2)), list[int]()
    optimizer = optim.of("sophia")([w], lr=0.5, nonfinite=policy)

    def closure() -> float:
        calls.append(0)
        w.grad = torch.tensor([torch.nan if len(calls) == 2 else 1.0, 1.0])
        return 0.0

    if policy == "raise":
        with pytest.raises(UserError, match="parameter 0 of group 0, displaced to measure curvature, has a gradient"):
            optimizer.step(closure)
    else:
        optimizer.step(closure)
    assert w.tolist() == ([0.5, 0.5] if policy == "zero" else [1.0, 1.0])
    assert all(bool(x.isfinite().all()) for x in optimizer.state[w].values() if isinstance(x, Tensor))


def lanes_of(model: Model, *rules: Adam | Sophia | SAM) -> Lanes:
    return Lanes(model, nn.functional.mse_loss, [model.lane(rule, {}, seed) for seed, rule in enumerate(rules, 7)])


PART = Part(torch.randn(8, 3, generator=torch.Generator().manual_seed(2)), torch.ones(8, 1))


def test_a_lane_and_an_optimizer_of_one_seed_measure_the_same_curvature() -> None:
    model = Model(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)))
    lanes = lanes_of(model, Sophia(0.01, 2.0), Adam(), Sophia(0.01, 3.0))
    start = lanes.export()
    for step in range(5):
        lanes.step(PART, torch.arange(8).repeat(3, 1), float(step))
    for lane, begin in zip(lanes.export(), start, strict=True):
        net = model.load(copy.deepcopy(begin))
        optimizer = optim.FromRule(net.parameters(), lane.rule, noise_seed=lane.seed)  # type: ignore[arg-type]

        def closure(net: nn.Module = net, optimizer: optim.FromRule = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(PART.x), PART.y)
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
        torch.testing.assert_close(flat(list(net.parameters())), lane.weights, rtol=2e-4, atol=2e-6)


def test_a_neighbour_that_measures_changes_no_bit_of_a_lane() -> None:
    model = Model(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1)))
    ends: list[Tensor] = []
    for neighbour in (Sophia(), Adam()):
        lanes = lanes_of(model, Adam(), neighbour)
        for step in range(3):
            lanes.step(PART, torch.arange(8).repeat(2, 1), float(step))
        lane = lanes.export()[0]
        ends.append(torch.cat([lane.weights, lane.buffers["1.running_mean"], lane.buffers["1.running_var"]]))
    assert torch.equal(*ends)
