"""Bugs that users of other libraries reported, each a test of ours; the numbers are those of the project's list.

Two of the 28 are of a whole run, not of an optimizer (24 and 28): tests/test_bugs_training.py.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

import ravine.optim
from ravine.errors import UserError
from ravine.optim import RuleOptimizer
from ravine.rules.rule import catalogue, values
from ravine.schedules import Cosine, Exponential, MultiStep, Sequence
from tests.optimizing import ENTRYWISE, LIGHT, drive, parameter

RULES = list(catalogue())
TORCH = ENTRYWISE
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def rate(optimizer: RuleOptimizer, step: int) -> float:
    return values(optimizer.rule_of(optimizer.param_groups[0], step))["lr"]


@pytest.mark.parametrize("rule", RULES)
def test_u01_permuted_parameters_find_their_own_state(rule: str) -> None:
    """pytorch#1489, #6031; fairscale#380."""
    first, second = [[("a", parameter(1.0)), ("b", parameter(1.0))] for _ in range(2)]
    optimizer = ravine.optim.of(rule)(first)
    drive(optimizer, 3)
    permuted = ravine.optim.of(rule)(second[::-1])
    permuted.load_state_dict(optimizer.state_dict())
    for (_, p), (_, q) in zip(first, second, strict=True):
        mine, theirs = (
            {k: torch.as_tensor(v).tolist() for k, v in s.items()} for s in (optimizer.state[p], permuted.state[q])
        )
        assert mine == theirs
    renamed = ravine.optim.of(rule)([("a", parameter(1.0)), ("c", parameter(1.0))])
    with pytest.raises(UserError, match="'c'"):
        renamed.load_state_dict(optimizer.state_dict())


def test_u02_no_order_of_construction_and_loading_changes_the_rate() -> None:
    """pytorch#119168, #65342; torch-points3d#630; nanotron#256."""
    cosine = Cosine(20)
    source = ravine.optim.Adam([parameter(1.0)], lr=0.1, schedules={"lr": cosine})
    drive(source, 5)
    saved = source.state_dict()

    def attach(optimizer: RuleOptimizer) -> None:
        optimizer.param_groups[0]["schedules"] = {"lr": cosine}

    def load(optimizer: RuleOptimizer) -> None:
        optimizer.load_state_dict(saved)

    def copied(optimizer: RuleOptimizer) -> None:
        optimizer.load_state_dict(copy.deepcopy(optimizer).state_dict())

    for order in itertools.permutations((attach, load, copied)):
        optimizer = ravine.optim.Adam([parameter(1.0)], lr=0.7)
        for action in order:
            action(optimizer)
        step = optimizer.state[optimizer.param_groups[0]["params"][0]]["step"]
        assert [rate(optimizer, step + k) for k in range(1, 9)] == [0.1 * cosine(t) for t in range(5, 13)]


@pytest.mark.parametrize("schedule", [MultiStep((3, 6)), Cosine(10)], ids=str)
def test_u03_rates_after_a_resume_at_any_step_are_the_same(schedule: Callable[[float], float]) -> None:
    """pytorch#29697, #60265."""
    for t in range(10):
        p = parameter(1.0)
        optimizer = ravine.optim.SGD([p], lr=0.3, schedules={"lr": schedule})
        drive(optimizer, t)
        resumed = ravine.optim.SGD([q := parameter(1.0)], lr=0.3, schedules={"lr": schedule})
        resumed.load_state_dict(optimizer.state_dict())
        with torch.no_grad():
            q.copy_(p)
        drive(optimizer, 10 - t, seed=1)
        drive(resumed, 10 - t, seed=1)
        assert torch.equal(p, q)


def test_u04_a_sequence_of_schedules_begins_and_turns_where_it_says() -> None:
    """pytorch#72874, #162591, #185872."""
    for milestone in (0, 1, 4):
        parts = (Exponential(0.5), Exponential(0.9))
        optimizer = ravine.optim.SGD([parameter(1.0)], lr=1.0, schedules={"lr": Sequence(parts, (milestone,))})
        closed = [0.5**t if t < milestone else 0.9 ** (t - milestone) for t in range(8)]
        assert [rate(optimizer, t + 1) for t in range(8)] == pytest.approx(closed, rel=1e-15)


def test_u05_a_tensor_rate_is_nobody_else_s() -> None:
    """pytorch#126854, #162359, #163103, #195984."""
    given = torch.tensor(0.5, dtype=torch.float64)
    histories: list[list[list[float]]] = []
    for lr in (given, 0.5):
        optimizer = ravine.optim.SGD([{"params": [parameter(1.0)]}, {"params": [parameter(1.0)]}], lr=lr)
        schedule = lr_scheduler.LambdaLR(optimizer, [lambda t: 1 / (t + 1), lambda t: 0.5**t])
        history: list[list[float]] = []
        for _ in range(5):
            history.append([float(group["lr"]) for group in optimizer.param_groups])
            drive(optimizer, 1)
            schedule.step()
        histories.append(history)
    assert histories[0] == histories[1] == [[0.5 / (t + 1), 0.5 * 0.5**t] for t in range(5)]
    assert given.item() == 0.5


def test_u06_what_a_schedule_says_now_holds_after_a_load() -> None:
    """pytorch#52911."""
    saved = ravine.optim.SGD([parameter(1.0)], lr=1.0, schedules={"lr": Exponential(0.5)}).state_dict()
    optimizer = ravine.optim.SGD([parameter(1.0)], lr=1.0, schedules={"lr": Exponential(0.9)})
    optimizer.load_state_dict(saved)
    assert rate(optimizer, 3) == 0.9**2


@pytest.mark.parametrize("rule", RULES)
def test_u07_a_group_added_late_is_an_optimizer_of_its_own(rule: str) -> None:
    """pytorch#53712, #20997, #79888, #62475."""
    if catalogue()[rule].sums:
        return  # declared: its step depends on all of a model's parameters
    kind = ravine.optim.of(rule)
    schedules = {"lr": Exponential(0.9)}
    early, late, alone = parameter(1.0, 2.0), parameter(3.0, 4.0), parameter(3.0, 4.0)
    optimizer = kind([early], schedules=schedules)
    drive(optimizer, 3)
    optimizer.add_param_group({"params": [late]})
    own = kind([alone], schedules=schedules)
    generator = torch.Generator().manual_seed(4)
    for _ in range(4):
        grad = torch.randn(2, generator=generator)

        def closure(grad: Tensor = grad) -> float:
            early.grad = late.grad = alone.grad = grad
            return 0.0

        optimizer.step(closure)
        own.step(closure)
    assert torch.equal(late, alone)


@pytest.mark.parametrize("name", TORCH)
def test_u08_a_load_keeps_the_state_s_type(name: str) -> None:
    """pytorch#43706, #173901; fairscale#50; torchtitan#4615."""
    for source, target in itertools.product(DTYPES, DTYPES):
        first, second = (getattr(ravine.optim, name)([parameter(1.0, 2.0, dtype=d)]) for d in (source, target))
        drive(first, 3)
        second.load_state_dict(first.state_dict())
        mine, theirs = (next(iter(o.state.values())) for o in (first, second))
        wanted = torch.float64 if target == torch.float64 else torch.float32
        for key, value in mine.items():
            if isinstance(value, Tensor):
                assert theirs[key].dtype == wanted and torch.equal(theirs[key], value.to(wanted))
            else:
                assert theirs[key] == value


@pytest.mark.parametrize("rule", RULES)
def test_u09_a_checkpoint_shares_no_memory(rule: str) -> None:
    """pytorch#196083."""
    kind = ravine.optim.of(rule)
    first, second = kind([parameter(1.0, 2.0)]), kind([parameter(1.0, 2.0)])
    drive(first, 3)
    saved = first.state_dict()
    second.load_state_dict(saved)
    kept = copy.deepcopy(saved)
    drive(first, 3)
    drive(second, 3, seed=9)
    for key, value in kept["state"].get(0, {}).items():
        assert torch.equal(torch.as_tensor(saved["state"][0][key]), torch.as_tensor(value))
    third = kind([parameter(1.0, 2.0)])
    third.load_state_dict(saved)
    assert str(third.state_dict()) == str(kept)


@pytest.mark.parametrize("engine", LIGHT)
@pytest.mark.parametrize("name", TORCH)
def test_u10_an_empty_tensor_at_any_place_changes_nothing_else(name: str, engine: Any) -> None:
    """pytorch#100701; TransformerEngine#3207, #3202."""
    ends: list[Tensor] = []
    for place in (None, 0, 1, 2):
        full = [parameter(1.0, 2.0), parameter(3.0)]
        params = list(full) if place is None else [*full[:place], nn.Parameter(torch.empty(0, 3)), *full[place:]]
        drive(getattr(ravine.optim, name)(params, engine=engine, clip_global_norm=0.5), 4)
        ends.append(torch.cat([p.detach() for p in full]))
    assert all(torch.equal(end, ends[0]) for end in ends)


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_u11_a_sparse_gradient_without_entries(name: str) -> None:
    """pytorch#82486."""
    p = nn.Parameter(torch.ones(3, 2))
    optimizer = getattr(ravine.optim, name)([p])
    p.grad = torch.zeros(3, 2).to_sparse(1)
    optimizer.step()
    assert torch.equal(p, torch.ones(3, 2))


@pytest.mark.parametrize("rule", RULES)
def test_u12_a_complex_parameter_is_two_real_ones(rule: str) -> None:
    """pytorch#59998, #100707."""
    z = nn.Parameter(torch.tensor([1 + 2j, -3 + 0.5j]))
    x = nn.Parameter(torch.view_as_real(z.detach()).clone())
    generator = torch.Generator().manual_seed(0)
    options = {} if "weight_decay" in values(catalogue()[rule]()) else {"weight_decay": 0.1}
    optimizers = [ravine.optim.of(rule)([p], **options) for p in (z, x)]
    for _ in range(5):
        grad = torch.randn(2, 2, generator=generator)

        def closure(grad: Tensor = grad) -> float:
            z.grad, x.grad = torch.view_as_complex(grad), grad
            return 0.0

        for optimizer in optimizers:
            optimizer.step(closure)
    assert torch.equal(torch.view_as_real(z.detach()), x)


@pytest.mark.parametrize("step", [3, 3.0, torch.tensor(3.0), torch.tensor(3), torch.tensor(3.0, dtype=torch.float64)])
def test_u13_a_step_count_of_any_kind_is_read(step: Any) -> None:
    """pytorch#80809, #81700, #103256."""
    optimizer = ravine.optim.Adam([p := parameter(1.0, 2.0)])
    drive(optimizer, 3)
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = step
    for option in ("maximize", "foreach", "capturable", "differentiable", "fused", "rule", "format"):
        del saved["param_groups"][0][option]  # as a checkpoint of years ago
    optimizer.load_state_dict(saved)
    assert optimizer.state[p]["step"] == 3 and type(optimizer.state[p]["step"]) is int
    drive(optimizer, 1)
