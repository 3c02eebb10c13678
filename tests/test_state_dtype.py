"""State in half the memory: the same bits from every engine, through groups, checkpoints and copies."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from ravine.errors import UserError
from ravine.optim import RuleOptimizer
from tests.optimizing import ENTRYWISE, drive, flat, parameter, weights

HALF = torch.bfloat16


def made(name: str, params: Any, **options: Any) -> RuleOptimizer:
    momentum = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(ravine.optim, name)(params, state_dtype=HALF, **momentum, **options)


def parameters() -> list[nn.Parameter]:
    ps = weights((2000,), (30, 40), (2, 3, 4, 5), (0,))
    ps[2].data = ps[2].data.to(memory_format=torch.channels_last)
    return ps


def slots(optimizer: RuleOptimizer) -> dict[str, Tensor]:
    first, *_ = states = list(optimizer.state.values())
    names = [name for name, value in first.items() if isinstance(value, Tensor)]
    return {name: torch.cat([state[name].flatten() for state in states]) for name in names}


@pytest.mark.parametrize("name", ENTRYWISE)
def test_kernel_and_plain_torch_round_to_the_same_bits(name: str) -> None:
    ends = [made(name, parameters(), engine=engine) for engine in ("kernel", "eager")]
    for optimizer in ends:
        drive(optimizer, 4)
    kernel, eager = map(slots, ends)
    for slot in kernel:
        assert kernel[slot].dtype == eager[slot].dtype == HALF
        assert (kernel[slot] == eager[slot]).double().mean() > 0.999  # what float32 rounds otherwise may fall otherwise
    ps, qs = (optimizer.param_groups[0]["params"] for optimizer in ends)
    torch.testing.assert_close(flat(ps), flat(qs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, HALF], ids=str)
def test_weights_of_any_type_may_have_it(dtype: torch.dtype) -> None:
    ends: list[tuple[Tensor, Tensor]] = []
    for engine in ("kernel", "eager"):
        ps = weights((500,), (3, 4), dtype=dtype)
        optimizer = made("Adam", ps, engine=engine, amsgrad=True)
        drive(optimizer, 4)
        ends.append((flat(ps), torch.cat(list(slots(optimizer).values()))))
    (w, kernel), (x, eager) = ends
    assert w.dtype == dtype and kernel.dtype == HALF and (kernel == eager).double().mean() > 0.995
    torch.testing.assert_close(w, x, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


def test_small_changes_add_up_where_rounding_to_the_nearest_loses_them() -> None:
    p = nn.Parameter(torch.zeros(4000))
    optimizer = ravine.optim.Adagrad([p], initial_accumulator_value=1.0, state_dtype=HALF)
    for _ in range(500):
        p.grad = torch.full_like(p, 1e-3**0.5)
        optimizer.step()
    r = optimizer.state[p]["r"]
    assert r.dtype == HALF and r.double().mean().item() == pytest.approx(1.5, rel=2e-3)
    assert r.double().std().item() > 1e-3  # each by chances of its own


def test_a_repeated_step_draws_what_a_step_in_full_draws() -> None:
    planned, full = made("Adam", parameters()), made("Adam", parameters())
    for seed in range(5):
        drive(planned, 1, seed=seed)
        full.__setstate__(full.__getstate__())  # forgets the plan
        drive(full, 1, seed=seed)
    assert all(torch.equal(x, slots(full)[name]) for name, x in slots(planned).items())


@pytest.mark.parametrize("engine", ["kernel", "eager"])
@pytest.mark.parametrize("way", ["checkpoint", "file", "deepcopy"])
def test_a_copy_keeps_the_type_and_goes_on_with_the_same_bits(way: str, engine: Any) -> None:
    ps = parameters()
    first = made("NAdam", ps, engine=engine)
    drive(first, 3)
    qs = [nn.Parameter(p.detach().clone(memory_format=torch.preserve_format)) for p in ps]
    second = ravine.optim.NAdam(qs, engine=engine)  # the type is the checkpoint's
    if way == "deepcopy":
        second = copy.deepcopy(first)
        qs = second.param_groups[0]["params"]
    elif way == "file":
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        second.load_state_dict(torch.load(file, weights_only=True))
    else:
        second.load_state_dict(first.state_dict())
    for seed in range(10):
        drive(first, 1, seed=seed)
        drive(second, 1, seed=seed)
    assert torch.equal(flat(ps), flat(qs))
    assert all(x.dtype == HALF and torch.equal(x, slots(second)[name]) for name, x in slots(first).items())


def test_groups_may_differ_and_change() -> None:
    p, q = parameter(1.0, 2.0), parameter(1.0, 2.0)
    optimizer = ravine.optim.Adam([{"params": [p], "state_dtype": HALF}, {"params": [q]}], ema=0.9)
    drive(optimizer, 2)
    kinds = {name: (optimizer.state[p][name].dtype, optimizer.state[q][name].dtype) for name in ("m", "v", "average")}
    assert kinds["m"] == kinds["v"] == (HALF, torch.float32)
    assert kinds["average"] == (torch.float32, torch.float32)  # its digits are what it is kept for
    optimizer.param_groups[0]["state_dtype"], optimizer.param_groups[1]["state_dtype"] = None, HALF
    drive(optimizer, 1)
    assert optimizer.state[p]["m"].dtype == torch.float32 and optimizer.state[q]["m"].dtype == HALF


def test_what_is_not_a_number_stays_so_and_the_largest_may_become_infinite() -> None:
    for engine in ("kernel", "eager"):
        p = nn.Parameter(torch.zeros(4))
        optimizer = ravine.optim.SGD([p], momentum=0.5, state_dtype=HALF, engine=engine, nonfinite="ignore")
        p.grad = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
        optimizer.step()
        m = optimizer.state[p]["m"]
        assert m[0].isnan() and m[1:].tolist() == [float("inf"), -float("inf"), 1.0]


def test_mistakes_are_one_sentence() -> None:
    w, z = parameter(1.0), nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optim: Any = ravine.optim
    for make, text in (
        (lambda: optim.Adam([w], state_dtype=torch.float16), r"give torch\.bfloat16"),
        (lambda: optim.Adam([w], state_dtype="bfloat16"), r"give torch\.bfloat16"),
        (lambda: optim.Adam([w], state_dtype=HALF, differentiable=True), "no derivative"),
        (lambda: optim.Adam([z], state_dtype=HALF), "no complex bfloat16"),
    ):
        with pytest.raises(UserError, match=text):
            make()
