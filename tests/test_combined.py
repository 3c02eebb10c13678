"""What surrounds a rule in use: options of every optimizer, closures that are called twice, lanes in company."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ravine import optim
from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.problems.problem import Part
from ravine.rules import combine
from ravine.rules.adam import Adam
from ravine.rules.descent import SGD, NesterovAhead
from ravine.rules.rule import Rule, chain, check
from tests.optimizing import drive, flat, weights

OPTIONS: dict[str, Any] = {
    "clip_global_norm": 1.0,
    "centralize": True,
    "gradient_noise": 0.1,
    "weight_decay": 0.1,
    "cautious": True,
    "lookahead": 2,
    "sam": 0.1,
    "ema": 0.9,
}


def test_all_options_together_make_a_chain_that_stands_in_order() -> None:
    optimizer = optim.Adam(weights((3, 2)), **OPTIONS)
    (rule,) = optimizer.rules()
    kinds = [type(part).__name__ for part in chain(check(rule))]
    outer = ["Averaged", "SAM", "Lookahead", "ClipGlobalNorm", "Centralized"]
    assert kinds == [*outer, "GradientNoise", "CoupledDecay", "Cautious", "Adam"]
    before = flat(params := optimizer.param_groups[0]["params"]).clone()
    drive(optimizer, 4)
    assert flat(params).isfinite().all() and not flat(params).equal(before)


@pytest.mark.parametrize("name", ["centralize", "gradient_noise", "cautious", "lookahead", "sam", "asam"])
def test_each_option_changes_the_path_and_off_is_as_if_not_given(name: str) -> None:
    def path(**options: Any) -> Tensor:
        params = weights((4, 3), (3,))
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
        optimizer = optim.SGD(params, lr=0.1, **options)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = torch.tanh(x @ params[0] + params[1]).pow(4).sum()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
        return flat(params)

    assert not path().equal(path(**{name: OPTIONS.get(name, 0.5)}))
    assert path().equal(path(**{name: None}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cautious": 2}, "cautious=2: give True or False"),
        ({"sam": 0.1, "asam": 0.1}, "sam and asam given together: choose one"),
        ({"lookahead": 0}, r"k must lie in \[1, inf\), got 0"),
        ({"sam": -1.0}, r"rho must lie in \[0, inf\), got -1.0"),
    ],
)
def test_a_slip_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        optim.Adam(weights((2,)), **options)


def test_what_changes_the_gradient_stands_inside_of_what_climbs_by_it() -> None:
    with pytest.raises(UserError, match="SAM inside CoupledDecay would climb by the gradient from before it"):
        check(combine.CoupledDecay(combine.SAM(SGD())))
    assert check(combine.SAM(combine.ClipNorm(combine.CoupledDecay(SGD()))))
    assert check(combine.Averaged(combine.SAM(combine.Lookahead(SGD()))))


class Climb:
    """Two parameters under f = a^4 + b^4, and a closure that counts its calls."""

    def __init__(self, sign: float = 1.0) -> None:
        self.a, self.b = (nn.Parameter(torch.tensor([x], dtype=torch.float64)) for x in (1.0, -2.0))
        self.calls, self.sign = 0, sign

    def closure(self) -> float:
        self.calls += 1
        self.a.grad = self.b.grad = None
        loss = self.sign * (self.a**4 + self.b**4).sum()
        loss.backward()
        return float(loss.detach())


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("engine", ["eager", "kernel"])
def test_sam_steps_by_the_gradient_uphill_and_gives_the_loss_at_the_weights(engine: Any, maximize: bool) -> None:
    f = Climb(-1.0 if maximize else 1.0)
    optimizer = optim.SGD([f.a, f.b], lr=0.01, sam=0.3, engine=engine, maximize=maximize)
    assert optimizer.step(f.closure) == (-17.0 if maximize else 17.0) and f.calls == 2
    first = torch.tensor([4.0, -32.0], dtype=torch.float64)
    point = torch.tensor([1.0, -2.0], dtype=torch.float64) + 0.3 * first / first.norm()
    wanted = torch.tensor([1.0, -2.0], dtype=torch.float64) - 0.01 * 4 * point**3
    torch.testing.assert_close(flat([f.a, f.b]), wanted, rtol=1e-12, atol=0.0)


def test_only_the_group_that_asks_for_it_climbs() -> None:
    f = Climb()
    optimizer = optim.SGD([{"params": [f.a], "sam": 0.3}, {"params": [f.b]}], lr=0.01)
    optimizer.step(f.closure)
    assert f.a.item() == pytest.approx(1 - 0.01 * 4 * 1.3**3) and f.b.item() == pytest.approx(-2 + 0.01 * 32)


def test_sam_around_a_rule_that_looks_ahead_climbs_from_there() -> None:
    f = Climb()
    optimizer = optim.FromRule([f.a, f.b], combine.SAM(NesterovAhead(lr=0.01), 0.3))
    a, v = 1.0, 0.0
    for _ in range(3):
        f.b.data.zero_()
        optimizer.state[f.b].clear()
        optimizer.step(f.closure)
        point = a - 0.9 * v
        v = 0.9 * v + 0.01 * 4 * (point + 0.3) ** 3
        a -= v
        assert f.a.item() == pytest.approx(a, rel=1e-9)


def test_sam_without_a_closure_and_after_an_error_leaves_the_weights() -> None:
    f = Climb()
    optimizer = optim.SGD([f.a, f.b], lr=0.01, sam=0.3)
    with pytest.raises(UserError, match="call step\\(closure\\)"):
        f.closure()
        optimizer.step()

    def broken() -> float:
        if f.calls == 2:
            raise ZeroDivisionError
        return f.closure()

    with pytest.raises(ZeroDivisionError):
        optimizer.step(broken)
    assert flat([f.a, f.b]).tolist() == [1.0, -2.0]


def noisy(seed: int, steps: int = 6, resume: bool = False) -> Tensor:
    params = weights((3, 2), (4,))
    optimizer = optim.Adam(params, gradient_noise=0.5, noise_seed=seed)
    drive(optimizer, 3)
    if resume:
        saved = optimizer.state_dict()
        optimizer = optim.Adam(params, gradient_noise=0.5, noise_seed=seed)
        optimizer.load_state_dict(saved)
    torch.manual_seed(resume)  # the noise is none of the global generator's
    drive(optimizer, steps - 3, seed=1)
    return flat(params)


def test_noise_belongs_to_seed_step_and_parameter() -> None:
    assert noisy(1).equal(noisy(1, resume=True)) and not noisy(1).equal(noisy(2))
    two = weights((3,), (3,))
    two[1].data.copy_(two[0].data)
    optimizer = optim.SGD(two, lr=1.0, gradient_noise=1.0)
    two[0].grad, two[1].grad = torch.zeros(3), torch.zeros(3)
    optimizer.step()
    assert not two[0].equal(two[1])


def test_noise_has_the_variance_that_was_asked_for() -> None:
    w = nn.Parameter(torch.zeros(40_000))
    optimizer = optim.SGD([w], lr=1.0, gradient_noise=0.25)
    for t in (1, 2):
        before = w.detach().clone()
        w.grad = torch.zeros_like(w)
        optimizer.step()
        drawn = w.detach() - before
        assert abs(drawn.mean().item()) < 0.01
        assert drawn.var().item() == pytest.approx(0.25 / t**0.55, rel=0.03)


def test_a_cautious_step_never_goes_up_the_newest_gradient() -> None:
    w = nn.Parameter(torch.zeros(50))
    optimizer = optim.Adam([w], lr=0.1, cautious=True)
    generator, rested = torch.Generator().manual_seed(0), 0
    for _ in range(20):
        before, w.grad = w.detach().clone(), torch.randn(50, generator=generator)
        optimizer.step()
        moved = w.detach() - before
        assert bool((moved * w.grad <= 0).all())
        rested += int((moved == 0).sum())
    assert rested > 100


RULES: list[Rule] = [
    Adam(0.01),
    combine.SAM(SGD(0.1), 0.1),
    combine.SAM(SGD(0.1), 0.4),
    combine.ASAM(Adam(0.02), 0.5),
    combine.GradientNoise(SGD(0.1), 0.1),
    combine.Lookahead(Adam(0.02), 3.0),
    combine.Lookahead(Adam(0.02), 2.0),
    combine.Cautious(Adam(0.02)),
    combine.Centralized(SGD(0.1)),
]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.3), nn.Linear(6, 1))


def run(rules: list[Rule], steps: int = 6) -> list[Lane]:
    generator = torch.Generator().manual_seed(5)
    part = Part(torch.randn(40, 4, generator=generator).double(), torch.randn(40, 1, generator=generator).double())
    model = Model(lambda: network().double())
    lanes = Lanes(model, nn.functional.mse_loss, [model.lane(rule, {}, 3) for rule in rules])
    for step in range(steps):
        lanes.step(part, torch.arange(step, step + 16).unsqueeze(0), float(step))
    return lanes.export()


def test_lanes_of_every_combinator_in_company_are_the_runs_alone() -> None:
    together = run(RULES)
    for rule, lane in zip(RULES, together, strict=True):
        (alone,) = run([rule])
        torch.testing.assert_close(lane.weights, alone.weights, rtol=1e-10, atol=1e-12)
        for name, kept in alone.buffers.items():
            torch.testing.assert_close(lane.buffers[name], kept, rtol=1e-10, atol=1e-12)
    assert len({tuple(lane.weights.tolist()) for lane in together}) == len(RULES)


def test_a_lane_in_the_company_of_one_that_climbs_is_the_same_to_the_bit() -> None:
    calm, near = run([Adam(0.01), Adam(0.02)])[0], run([Adam(0.01), combine.SAM(Adam(0.02))])[0]
    assert near.weights.equal(calm.weights)


def test_a_lane_and_an_optimizer_of_one_seed_draw_the_same_noise() -> None:
    model = Model(lambda: nn.Linear(3, 1))
    rule = combine.GradientNoise(SGD(1.0), 0.5)
    lane = model.lane(rule, {}, 7)
    part = Part(torch.zeros(4, 3), torch.zeros(4, 1))
    lanes = Lanes(model, lambda out, y: (out * 0).sum(), [copy.deepcopy(lane)])
    net = model.load(lane)
    optimizer = optim.FromRule(net.parameters(), rule, noise_seed=7)
    for step in range(3):
        lanes.step(part, torch.arange(4).unsqueeze(0), float(step))
        optimizer.zero_grad()
        (net(part.x) * 0).sum().backward()
        optimizer.step()
    torch.testing.assert_close(flat(list(net.parameters())), lanes.export()[0].weights)
