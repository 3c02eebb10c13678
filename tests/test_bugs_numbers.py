"""Bugs that users of other libraries reported, continued: those of the numbers that a step works with."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ravine.optim
from ravine.engines import native
from ravine.errors import UserError
from ravine.rules.rule import catalogue, values
from ravine.schedules import Exponential
from tests.optimizing import ENTRYWISE, LIGHT, drive, parameter

RULES = list(catalogue())
TORCH = ENTRYWISE
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="2^31 elements at once want a GPU's memory")
def test_u14_more_elements_than_an_int32_counts() -> None:
    """pytorch#101449."""
    p = nn.Parameter(torch.zeros(2**31 + 8, dtype=torch.bfloat16, device="cuda"))
    p.grad = torch.ones_like(p)
    ravine.optim.SGD([p], lr=1.0).step()
    assert p[-1].item() == -1.0 and p[0].item() == -1.0


@pytest.mark.parametrize(
    ("engine", "differentiable"), [*((engine, False) for engine in LIGHT), ("eager", True), ("auto", True)]
)
def test_u15_nadam_is_its_paper_s_equation_on_every_path(engine: Any, differentiable: bool) -> None:
    """pytorch#92699, #106615."""
    w, m, v, product = 1.0, 0.0, 0.0, 1.0
    p = parameter(1.0, dtype=torch.float64).detach() if differentiable else parameter(1.0, dtype=torch.float64)
    optimizer = ravine.optim.NAdam([p], lr=0.1, differentiable=differentiable, engine=engine)
    for t in range(1, 21):
        g = math.cos(t)
        p.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        mu, following = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
        product *= mu
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        ahead = (1 - mu) * g / (1 - product) + following * m / (1 - product * following)
        w -= 0.1 * ahead / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert p.item() == pytest.approx(w, rel=1e-13)


VARIANTS: dict[str, Callable[[float, float], float]] = {  # the first step over lr, of gradient g with epsilon e
    "": lambda g, e: g / (abs(g) + e),
    "eps-inside": lambda g, e: g / math.sqrt(g * g + e),
    "eps-hat": lambda g, e: math.sqrt(0.001) * g / (math.sqrt(0.001) * abs(g) + e),
    "uncorrected": lambda g, e: 0.1 * g / (math.sqrt(0.001) * abs(g) + e),
    "uncorrected-inside": lambda g, e: 0.1 * g / math.sqrt(0.001 * g * g + e),
}


@pytest.mark.parametrize("dialect", VARIANTS)
def test_u16_where_epsilon_stands_is_declared(dialect: str) -> None:
    """keras#17391, #15710; tensorflow#35102; mxnet#8925."""
    for g, e in ((0.5, 1e-3), (1e-3, 1e-3), (1e-6, 1e-4)):
        p = parameter(0.0, dtype=torch.float64)
        optimizer = ravine.optim.Adam([p], lr=1.0, eps=e, dialect=dialect)
        p.grad = torch.tensor([g], dtype=torch.float64)
        optimizer.step()
        assert p.item() == pytest.approx(-VARIANTS[dialect](g, e), rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_u17_zero_gradients_are_finite_steps_in_every_type(rule: str, dtype: torch.dtype) -> None:
    """optax#1789, #1755."""
    p = parameter(1.0, -2.0, dtype=dtype)
    optimizer = ravine.optim.of(rule)([p])
    drive(optimizer, 3, scale=0.0)
    assert p.isfinite().all()


@pytest.mark.parametrize("engine", LIGHT)
def test_u18_a_thousand_steps_are_counted_in_bfloat16(engine: Any) -> None:
    """pytorch/ao#4915."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        p = parameter(1.0, dtype=torch.bfloat16)
        optimizer = ravine.optim.Adam([p], engine=engine)
        for _ in range(1000):
            p.grad = torch.ones(1)
            optimizer.step()
    finally:
        torch.set_default_dtype(torch.float32)
    assert optimizer.state[p]["step"] == 1000 and optimizer.state[p]["m"].dtype == torch.float32


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_u19_centred_rmsprop_takes_no_root_of_a_negative_number(momentum: float) -> None:
    """FastNN#12."""
    p = parameter(1.0, 1.0)
    optimizer = ravine.optim.RMSprop([p], centered=True, momentum=momentum, eps=1e-3)
    for t in range(500):
        p.grad = torch.tensor([1e4 + 1e-3 * (t % 2), 12345.678])
        optimizer.step()
    assert p.isfinite().all() and (optimizer.state[p]["c"] >= 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_u20_one_nan_does_not_poison_the_rest(rule: str) -> None:
    """habitat-lab#2226; TorchSpec#150."""
    kind = ravine.optim.of(rule)
    optimizer = kind([("p", p := parameter(1.0, 2.0))], nonfinite="skip", clip_global_norm=1.0)
    drive(optimizer, 2)
    before, state = p.detach().clone(), copy.deepcopy(optimizer.state_dict())
    drive(optimizer, 2, scale=math.nan)
    assert torch.equal(p, before) and str(optimizer.state_dict()) == str(state)
    optimizer.nonfinite = "raise"
    with pytest.raises(UserError, match="parameter 'p'"):
        drive(optimizer, 1, scale=math.inf)
    assert torch.equal(p, before) and str(optimizer.state_dict()) == str(state)
    drive(optimizer, 3)
    assert p.isfinite().all() and not torch.equal(p, before)


@pytest.mark.parametrize("name", TORCH)
def test_u21_a_hyperparameter_as_a_tensor_gives_the_same_bits(name: str) -> None:
    """optax#1532."""
    ends: list[Tensor] = []
    for lr in (0.01, torch.tensor(0.01, dtype=torch.float64)):
        drive(getattr(ravine.optim, name)([p := parameter(1.0, 2.0)], lr=lr), 5)
        ends.append(p.detach())
    assert torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("rule", RULES)
def test_u22_u23_ten_steps_after_a_load_equal_ten_steps_without_one(rule: str) -> None:
    """keras#13027; tensorflow#44670, #48947, #53064; flashoptim#3; Lightning#16815."""
    kind = ravine.optim.of(rule)
    first = kind([p := parameter(1.0, 2.0)])
    drive(first, 5)
    second = kind([q := nn.Parameter(p.detach().clone())])
    second.load_state_dict(first.state_dict())
    for seed in range(10):
        drive(first, 1, seed=seed)
        drive(second, 1, seed=seed)
        assert torch.equal(p, q)


def test_u25_reduce_on_plateau_goes_on_where_it_was() -> None:
    """fairseq#4071."""
    losses = [1.0, 0.9, 0.95, 0.96, 0.97, 0.8, 0.85, 0.86, 0.87, 0.88]
    for cut in range(len(losses)):
        rates: list[list[float]] = []
        for split in (None, cut):
            optimizer = ravine.optim.SGD([parameter(1.0)], lr=1.0)
            schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
            seen: list[float] = []
            for t, loss in enumerate(losses):
                if t == split:
                    saved = optimizer.state_dict(), schedule.state_dict()
                    optimizer = ravine.optim.SGD([parameter(1.0)], lr=1.0)
                    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
                    optimizer.load_state_dict(saved[0])
                    schedule.load_state_dict(saved[1])
                drive(optimizer, 1)
                schedule.step(loss)
                seen.append(optimizer.param_groups[0]["lr"])
            rates.append(seen)
        assert rates[0] == rates[1]


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_u26_a_changed_rate_or_group_makes_no_new_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytorch#120934, #130467, #163093, #133898; every hyperparameter scheduled, a group added, a shape changed."""
    made: list[str] = []
    compiled = native.kernel
    monkeypatch.setattr("ravine.engines.launch.kernel", lambda source: made.append(source) or compiled(source))
    first, second, third = (nn.Parameter(torch.ones(n)) for n in (3, 4, 5))
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    optimizer = getattr(ravine.optim, name)([first], weight_decay=0.1, engine="kernel", **momentum)
    schedules = dict.fromkeys(values(optimizer.rules()[0]), Exponential(0.9999))
    optimizer.param_groups[0]["schedules"] = schedules
    drive(optimizer, 2)
    sources = set(made)
    optimizer.add_param_group({"params": [second], "lr": 0.2})
    drive(optimizer, 500)
    optimizer.add_param_group({"params": [third], "lr": 0.3})
    drive(optimizer, 500)
    assert set(made) == sources and len(made) <= 3  # a table of other shapes asks for the same kernel again


@pytest.mark.parametrize("engine", LIGHT)
@pytest.mark.parametrize("name", TORCH)
def test_u27_a_step_borrows_memory_of_one_tensor_not_of_all(name: str, engine: Any) -> None:
    """pytorch#97712."""
    params = [nn.Parameter(torch.ones(1000)) for _ in range(20)]
    optimizer = getattr(ravine.optim, name)(params, engine=engine)
    drive(optimizer, 1)

    class Peak(TorchDispatchMode):
        live = most = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            known = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
            out = func(*args, **(kwargs or {}))
            for x in tree_leaves(out):
                if isinstance(x, Tensor) and id(x.untyped_storage()) not in known:
                    self.live += x.nbytes
                    self.most = max(self.most, self.live)
                    weakref.finalize(x, self.release, x.nbytes)
            return out

        def release(self, size: int) -> None:
            self.live -= size

    with Peak() as peak:
        optimizer.step()
    most = 12 if engine == "eager" else 1
    assert peak.most <= most * params[0].nbytes and (peak.most > 0 or engine != "eager")
