"""Stochastic weight averaging, batch normalisation renewed, gradients in parts, and the gradient check (row L10)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, update_bn

import ravine
from ravine.errors import UserError
from ravine.gradients import gradient_check
from ravine.optim import accumulate, averaged, micro_batches, renew_batchnorm, swapped
from ravine.rules.combine import Averaged, Swa
from ravine.rules.rule import make


def net() -> Any:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3))


def batches(number: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(16, 4, generator=generator), torch.randint(3, (16,), generator=generator)) for _ in range(number)
    ]


@pytest.mark.parametrize("engine", ["auto", "eager"])
@pytest.mark.parametrize("start", [0, 4])
def test_swa_is_torchs_average_of_the_weights_after_each_step_from_then_on(engine: Any, start: int) -> None:
    model = net()
    optimizer = ravine.optim.Adam(model.named_parameters(), lr=0.05, swa_start=start, engine=engine)
    theirs: Any = None
    for step, (x, y) in enumerate(batches(10)):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        if step < start:
            kept = averaged(optimizer)
            assert all(torch.equal(kept[name], p) for name, p in model.named_parameters())
        else:
            theirs = theirs or AveragedModel(model)
            theirs.update_parameters(model)
    want = dict(theirs.module.named_parameters())
    assert all(torch.allclose(mean, want[str(name)], atol=1e-6) for name, mean in averaged(optimizer).items())
    with swapped(optimizer):
        assert torch.allclose(model[0].weight, want["0.weight"], atol=1e-6)


def test_swa_survives_a_checkpoint_and_two_averages_at_once_are_refused() -> None:
    def run(steps: int, into: Any = None) -> Any:
        model, saved = net(), into
        optimizer = ravine.optim.NAdam(model.named_parameters(), lr=0.05, swa_start=3)
        if saved is not None:
            model.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        for x, y in batches(12)[:steps] if saved is None else batches(12)[saved[2] :]:
            optimizer.zero_grad()
            cross_entropy(model.eval()(x), y).backward()
            optimizer.step()
        return copy.deepcopy(model.state_dict()), optimizer.state_dict(), steps, averaged(optimizer)

    whole, resumed = run(12), run(0, run(6))
    assert all(torch.equal(whole[3][name], resumed[3][name]) for name in whole[3])
    with pytest.raises(UserError, match="ema and swa_start given together"):
        ravine.optim.Adam(net().parameters(), ema=0.9, swa_start=3)
    with pytest.raises(UserError, match="swa_start must lie in"):
        ravine.optim.Adam(net().parameters(), swa_start=-1)
    assert Swa(make("sgd", {})).slots == Averaged(make("sgd", {})).slots  # one reader for both


def test_renewed_statistics_are_torchs_and_nothing_else_is_touched() -> None:
    model = net()
    model[3].eval()
    with torch.no_grad():
        model[0].weight.mul_(3.0)
    twin = copy.deepcopy(model)
    before = [p.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    assert renew_batchnorm(model, batches()) == 1
    assert torch.equal(torch.get_rng_state(), state)  # no dropout is drawn
    twin[3].p = 0.0
    update_bn(batches(), twin)
    assert torch.allclose(model[1].running_mean, twin[1].running_mean, atol=1e-7)
    assert torch.allclose(model[1].running_var, twin[1].running_var, atol=1e-7)
    assert [m.training for m in model] == [True, True, True, False, True] and model[1].momentum == 0.1
    assert all(map(torch.equal, before, model.parameters()))


def test_renewing_from_nothing_is_refused_and_without_such_layers_reads_nothing() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UserError, match="got no batches"):
        renew_batchnorm(model, [])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert renew_batchnorm(nn.Linear(2, 2), iter([3])) == 0


@pytest.mark.parametrize("pieces", [1, 3, 5, 16])
def test_gradients_in_parts_are_those_of_the_whole(pieces: int) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
    [(x, y), *_] = batches()
    want = cross_entropy(model(x), y)
    want.backward()
    whole = [p.grad for p in model.parameters()]
    model.zero_grad()
    loss = accumulate(model, cross_entropy, x, y, pieces)
    assert loss.item() == pytest.approx(want.item(), rel=1e-6) and not loss.requires_grad
    for g, p in zip(whole, model.parameters(), strict=True):
        assert g is not None and p.grad is not None and torch.allclose(g, p.grad, rtol=1e-6, atol=1e-7)


def test_a_mean_over_words_is_exact_when_words_are_counted() -> None:
    """Sentences of unlike length: the mean of the parts' means would weigh their words unlike."""
    generator = torch.Generator().manual_seed(0)
    logits = nn.Parameter(torch.randn(8, 6, 5, generator=generator))
    y = torch.randint(5, (8, 6), generator=generator)
    y[0, 1:], y[1, 2:] = -100, -100

    def loss(rows: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(logits[rows].flatten(0, 1), target.flatten(), ignore_index=-100)

    loss(torch.arange(8), y).backward()
    want, logits.grad = logits.grad, None

    def words(part: Any) -> float:
        return float((part["y"] != -100).sum())

    for share, part in micro_batches({"rows": torch.arange(8), "y": y}, 4, count=words):
        (share * loss(part["rows"], part["y"])).backward()
    assert want is not None and logits.grad is not None and torch.allclose(want, logits.grad, atol=1e-7)


def test_parts_of_any_batch_and_what_is_no_batch() -> None:
    x = torch.arange(10)
    assert next((share, part.tolist()) for share, part in micro_batches(x, 3)) == (0.4, [0, 1, 2, 3])
    for batch, pieces, words in (
        (x, 0, "cut into 1 to 10 parts"),
        (x, 11, "cut into 1 to 10 parts"),
        ((x, x[:3]), 2, "same number of samples"),
        ((x, 3), 2, "an axis of samples"),
        ((), 2, "same number of samples"),
    ):
        with pytest.raises(UserError, match=words):
            list(micro_batches(batch, pieces))
    with pytest.raises(UserError, match="nothing in this batch counts"):
        list(micro_batches(x, 2, count=lambda part: 0.0))


def test_row_l10_numerical_and_analytic_gradients_agree_and_cost_two_evaluations_a_parameter() -> None:
    [(x, y), *_] = batches()
    model = net()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = gradient_check(model, cross_entropy, x, y)
    assert found.error < 1e-6 and found.agrees and "agree" in str(found)
    size = sum(p.numel() for p in model.parameters())
    assert (found.entries, found.evaluations) == (size, 2 * size)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    few = gradient_check(model, cross_entropy, x, y, entries=7, seed=1)
    assert few.entries == 7 and few.agrees and few == gradient_check(model, cross_entropy, x, y, entries=7, seed=1)


class _Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * ctx.saved_tensors[0]  # a factor of two is missing


class Wrong(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.full((2, 3), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * _Wrong.apply(self.scale).sum(0)


def test_row_l10_a_wrong_backward_is_found_and_named() -> None:
    [(x, y), *_] = batches()
    found = gradient_check(Wrong(), cross_entropy, x, y)
    assert not found.agrees and found.error > 0.01 and found.worst.startswith("scale[")
    assert found.numerical == pytest.approx(2 * found.analytic, rel=1e-4) and "DIFFER" in str(found)
    for wrong, words in (
        ({"step": 0.0}, "positive step"),
        ({"entries": 0}, "1 entry or more"),
        ({"model": nn.ReLU()}, "no parameters to train"),
        ({"loss": lambda out, y: out}, "must give one number"),
    ):
        given: dict[str, Any] = {"model": net(), "loss": cross_entropy, **wrong}
        with pytest.raises(UserError, match=words):
            gradient_check(given.pop("model"), given.pop("loss"), x, y, **given)
