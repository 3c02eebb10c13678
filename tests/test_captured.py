"""capturable=True: a step whose graph is replayed is the step; what needs the host is refused in one sentence."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ravine import optim
from ravine.errors import UserError
from ravine.optim import RuleOptimizer
from ravine.optim.discovered import of
from ravine.rules.rule import catalogue, chain, needs_of
from tests.graphs import Graph
from tests.optimizing import drive, flat, weights

SHAPES = ((3, 2), (5,), ())
RULES = sorted(catalogue())


def gradients(params: list[nn.Parameter], step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, generator=generator) for p in params]


def replayed(optimizer: RuleOptimizer, params: list[nn.Parameter], steps: int, between: Any = None) -> None:
    """One step to warm up, one captured, the others replayed; gradients change in place, as in a captured backward."""
    for p, g in zip(params, gradients(params, 0), strict=True):
        p.grad = g
    optimizer.step()
    graph = Graph()
    for step in range(1, steps):
        for p, g in zip(params, gradients(params, step), strict=True):
            assert p.grad is not None
            p.grad.copy_(g)
        if between is not None:
            between(step)
        if step == 1:
            with graph:
                optimizer.step()
        else:
            graph.replay()


def stepped(optimizer: RuleOptimizer, params: list[nn.Parameter], steps: int) -> None:
    for step in range(steps):
        for p, g in zip(params, gradients(params, step), strict=True):
            p.grad = g
        optimizer.step()


@pytest.mark.parametrize("name", RULES)
def test_a_graph_of_a_step_replayed_is_the_steps_of_every_rule_or_it_is_refused(name: str) -> None:
    rule = catalogue()[name]()
    ours, theirs = weights(*SHAPES), weights(*SHAPES)
    if needs_of(rule) - {"norm", "global_norm"} or any(part.scope == "tensor" for part in chain(rule)):
        with pytest.raises(UserError, match=r"\(capturable=True\): .*; leave one of them out"):
            of(name)(ours, capturable=True)
        return
    replayed(of(name)(ours, capturable=True), ours, 6)
    stepped(of(name)(theirs, engine="eager"), theirs, 6)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=4e-7, atol=4e-7)
    assert not torch.equal(flat(ours), flat(weights(*SHAPES)))


@pytest.mark.parametrize(
    "options",
    [
        {"clip_global_norm": 0.5},
        {"clip_norm": 0.5, "weight_decay": 0.1},
        {"clip_value": 0.3, "ema": 0.9},
        {"lookahead": 2.0},
        {"cautious": True},
        {"maximize": True, "centralize": True},
    ],
)
def test_combinators_are_captured_too(options: dict[str, Any]) -> None:
    ours, theirs = weights(*SHAPES), weights(*SHAPES)
    if "cautious" in options:
        with pytest.raises(UserError, match="capturable"):
            optim.Adam(ours, capturable=True, **options)
        return
    replayed(optim.Adam(ours, capturable=True, lr=0.02, **options), ours, 6)
    stepped(optim.Adam(theirs, engine="eager", lr=0.02, **options), theirs, 6)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=4e-7, atol=4e-7)


def test_a_rate_on_the_device_is_read_at_each_replay() -> None:
    ours, theirs = weights(*SHAPES), weights(*SHAPES)
    lr = torch.tensor(0.1)
    one = optim.AdamW(ours, lr=lr, betas=(torch.tensor(0.8), torch.tensor(0.95)), capturable=True)
    rate = one.param_groups[0]["lr"]
    assert rate is not lr  # a group owns its tensors
    replayed(one, ours, 6, between=lambda step: rate.fill_(0.1 / (1 + step)))
    other = optim.AdamW(theirs, lr=0.1, betas=(0.8, 0.95), engine="eager")
    for step in range(6):
        other.param_groups[0]["lr"] = 0.1 / (1 + step) if step else 0.1
        for p, g in zip(theirs, gradients(theirs, step), strict=True):
            p.grad = g
        other.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "options"), [("NAdam", {}), ("RAdam", {}), ("SGD", {"momentum": 0.9}), ("Adagrad", {}), ("RMSprop", {})]
)
def test_the_steps_are_those_of_torch(name: str, options: dict[str, Any]) -> None:
    ours, theirs = weights(*SHAPES), weights(*SHAPES)
    replayed(getattr(optim, name)(ours, lr=0.02, capturable=True, **options), ours, 8)
    other = getattr(torch.optim, name)(theirs, lr=0.02, **options)
    for step in range(8):
        for p, g in zip(theirs, gradients(theirs, step), strict=True):
            p.grad = g
        other.step()
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("policy", ["skip", "zero"])
def test_a_gradient_that_is_not_finite_is_treated_without_the_host(policy: Any) -> None:
    ours, theirs = weights(*SHAPES), weights(*SHAPES)
    one = optim.NAdam(ours, lr=0.02, capturable=True, nonfinite=policy)
    other = optim.NAdam(theirs, lr=0.02, engine="eager", nonfinite=policy)

    def spoil(params: list[nn.Parameter], step: int) -> None:
        if step in (1, 3):
            assert params[0].grad is not None
            params[0].grad[0, 0] = float("nan")

    replayed(one, ours, 6, between=lambda step: spoil(ours, step))
    for step in range(6):
        for p, g in zip(theirs, gradients(theirs, step), strict=True):
            p.grad = g
        spoil(theirs, step)
        other.step()
    assert float(one.state[ours[0]]["step"]) == other.state[theirs[0]]["step"] == (4 if policy == "skip" else 6)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=4e-7, atol=4e-7)


def test_a_checkpoint_goes_to_and_from_a_capturable_optimizer_and_torchs() -> None:
    ours, plain, theirs = weights(*SHAPES), weights(*SHAPES), weights(*SHAPES)
    one = optim.NAdam(ours, lr=0.02, capturable=True)
    replayed(one, ours, 4)
    saved = one.state_dict()
    assert torch.is_tensor(saved["state"][0]["step"])
    for target, made in ((plain, optim.NAdam(plain, lr=0.02)), (theirs, torch.optim.NAdam(theirs, lr=0.02))):
        with torch.no_grad():
            for p, q in zip(target, ours, strict=True):
                p.copy_(q)
        made.load_state_dict(copy.deepcopy(saved) | {"param_groups": made.state_dict()["param_groups"]})
        drive(made, 3, seed=5)
    drive(one, 3, seed=5)
    torch.testing.assert_close(flat(plain), flat(ours), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(flat(theirs), flat(ours), rtol=1e-6, atol=1e-6)


def test_a_copy_steps_by_itself() -> None:
    ours = weights(*SHAPES)
    one = optim.Adam(ours, lr=0.02, capturable=True)
    replayed(one, ours, 3)
    before = flat(ours).clone()
    other = copy.deepcopy(one)
    drive(other, 2)
    assert torch.equal(flat(ours), before)
    assert float(other.state[other.param_groups[0]["params"][0]]["step"]) == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nonfinite": "raise"}, "host would wait for the device"),
        ({"fused": True}, "fused=True"),
        ({"engine": "kernel"}, "engine='kernel'"),
        ({"schedules": {"lr": float}}, "give lr as a tensor on the device"),
        ({"state_dtype": torch.bfloat16}, "state_dtype rounds by a key of the host"),
        ({"differentiable": True}, "autograd"),
        ({"gradient_noise": 0.1}, "noise"),
        ({"sam": 0.1}, "closure"),
        ({"eps": 1e-8, "clip_norm": torch.tensor(1.0)}, "clip_norm is read once"),
    ],
)
def test_what_needs_the_host_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        optim.Adam(weights((2,)), capturable=True, **options)


def test_sparse_gradients_are_refused() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = optim.Adagrad(embedding.parameters(), capturable=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UserError, match="this gradient is sparse"):
        optimizer.step()


def test_a_group_cannot_be_capturable_alone() -> None:
    optimizer = optim.Adam(weights((2,)))
    with pytest.raises(UserError, match="capturable=True in a group"):
        optimizer.add_param_group({"params": weights((3,)), "capturable": True})
