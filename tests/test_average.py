"""The averaged weights of any optimizer: right, readable, swapped in and out without a trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ravine import optim
from ravine.errors import UserError
from ravine.optim.average import averaged, swapped
from ravine.rules.adam import Adam
from ravine.rules.combine import Averaged, ClipGlobalNorm, DecoupledDecay, MaxNorm
from ravine.rules.descent import SGD


def trained(rule: Any, dtype: torch.dtype = torch.float32, steps: int = 5, **options: Any) -> Any:
    """A small net, its optimizer, and the float64 average of the weights that it passed."""
    torch.manual_seed(3)
    net = nn.Linear(4, 3).to(dtype)
    optimizer = optim.FromRule(net.named_parameters(), rule, **options)
    means = {name: p.detach().double() for name, p in net.named_parameters()}
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 4, dtype=dtype)).square().mean().backward()
        optimizer.step()
        for name, p in net.named_parameters():
            means[name] = 0.9 * means[name] + 0.1 * p.detach().double()
    return net, optimizer, means


RULES = [
    Averaged(Adam(lr=0.1), 0.9),
    Averaged(DecoupledDecay(SGD(lr=0.1), 0.1), 0.9),
    ClipGlobalNorm(Averaged(Adam(lr=0.1), 0.9)),
    Averaged(MaxNorm(Adam(lr=0.1), 0.5), 0.9),
]


@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{type(rule).__name__}-{type(rule.rule).__name__}")
def test_the_average_is_that_of_the_weights_after_each_step(rule: Any, engine: str) -> None:
    _, optimizer, means = trained(rule, engine=engine)
    found = averaged(optimizer)
    assert found.keys() == means.keys()
    assert all(torch.allclose(found[name].double(), mean, atol=1e-6) for name, mean in means.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_swapped_weights_come_back_to_the_bit_even_after_an_error(dtype: torch.dtype) -> None:
    net, optimizer, means = trained(RULES[0], dtype)
    before, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ZeroDivisionError), swapped(optimizer):
        for name, p in net.named_parameters():
            assert torch.allclose(p.double(), means[name], atol=1e-6 if dtype == torch.float32 else 2e-2)
            assert not p.equal(before[name])
        raise ZeroDivisionError
    assert all(p.equal(before[name]) for name, p in net.state_dict().items())
    assert all(
        torch.equal(kept["average"], optimizer.state_dict()["state"][i]["average"])
        for i, kept in state["state"].items()
    )


def test_before_the_first_step_a_parameter_is_its_own_average() -> None:
    net, optimizer, _ = trained(RULES[0], steps=0)
    found = averaged(optimizer)
    assert all(found[name].equal(p) and found[name] is not p for name, p in net.named_parameters())


def test_what_is_read_shares_no_memory_and_numbers_run_through_all_groups() -> None:
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(3))
    optimizer = optim.FromRule([{"params": [first]}, {"params": [second], "ema": 0.5}], Averaged(SGD(lr=1.0), 0.0))
    first.grad, second.grad = torch.ones(2), torch.ones(3)
    optimizer.step()
    found = averaged(optimizer)
    assert list(found) == [0, 1]
    assert found[0].tolist() == [0.0, 0.0] and found[1].tolist() == [-0.5] * 3
    found[1].fill_(7)
    assert averaged(optimizer)[1].tolist() == [-0.5] * 3


def test_an_average_survives_a_checkpoint() -> None:
    _, optimizer, _ = trained(RULES[0])
    net, other, _ = trained(RULES[0], steps=1)
    other.load_state_dict(optimizer.state_dict())
    ours, theirs = averaged(optimizer), averaged(other)
    assert all(ours[name].equal(theirs[name]) for name, _ in net.named_parameters())


@pytest.mark.parametrize("kind", [optim.AdamW, optim.SGD, optim.NAdam, optim.of("adam/eps-inside")])
def test_every_optimizer_keeps_an_average_where_one_is_asked_for(kind: Any) -> None:
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    groups = [{"params": [first], "ema": 0.5}, {"params": [second]}]
    plain, optimizer = nn.Parameter(torch.ones(2)), kind(groups, lr=0.1, clip_global_norm=1.0)
    other, mean = kind([plain], lr=0.1, clip_global_norm=1.0), torch.ones(2)
    second.grad = torch.zeros(3)
    for _ in range(3):
        first.grad, plain.grad = torch.ones(2), torch.ones(2)
        optimizer.step()
        other.step()
        mean = 0.5 * mean + 0.5 * plain.detach()
    assert first.equal(plain)
    found = averaged(optimizer)
    assert list(found) == [0] and torch.allclose(found[0], mean)
    assert found[0].tolist() != first.tolist()


def test_an_average_asked_for_late_starts_at_the_weights_then_and_a_wrong_share_is_refused() -> None:
    p = nn.Parameter(torch.ones(2))
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = torch.ones(2)
    optimizer.step()
    then = p.detach().clone()
    optimizer.param_groups[0]["ema"] = 0.5
    optimizer.step()
    assert torch.allclose(averaged(optimizer)[0], (then + p.detach()) / 2)
    with pytest.raises(UserError, match=r"ema must lie in \[0, 1\), got 1.0"):
        optim.Adam([p], ema=1.0)


def test_a_max_norm_is_the_same_by_kernel_and_by_plain_torch() -> None:
    ends: list[list[Tensor]] = []
    for engine in ("kernel", "eager"):
        net, optimizer, _ = trained(MaxNorm(ClipGlobalNorm(Adam(lr=0.3)), 0.7), engine=engine)
        assert bool((net.weight.norm(dim=1) <= 0.7 * (1 + 1e-6)).all()) and len(optimizer.state) == 2
        ends.append([p.detach() for p in net.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(*ends, strict=True))


def test_complex_weights_have_a_complex_average() -> None:
    p = nn.Parameter(torch.tensor([1 + 1j, 2 - 1j]))
    optimizer = optim.FromRule([p], Averaged(SGD(lr=1.0), 0.5))
    p.grad = torch.tensor([1 + 0j, 0 + 2j])
    optimizer.step()
    (found,) = averaged(optimizer).values()
    assert found.tolist() == [0.5 + 1j, 2 - 2j]


@pytest.mark.parametrize("rule", [Averaged(SGD()), MaxNorm(SGD())], ids=lambda rule: type(rule).__name__)
def test_what_touches_every_entry_refuses_a_sparse_gradient(rule: Any) -> None:
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3])).sum().backward()
    before = table.weight.detach().clone()
    with pytest.raises(
        UserError, match=f"{type(rule).__name__} got a sparse gradient: .* leave it out or use sparse=False"
    ):
        optim.FromRule(table.parameters(), rule).step()
    assert table.weight.equal(before)


def test_an_optimizer_without_an_average_says_how_to_get_one() -> None:
    p: Tensor = nn.Parameter(torch.ones(2))
    for use in (averaged, lambda made: swapped(made).__enter__()):
        with pytest.raises(UserError, match=r"keeps no average .*: make it with ema=0.999"):
            use(optim.Adam([p]))
