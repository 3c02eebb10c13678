"""The range test on a model, optimizer and batches of one's own: nothing is changed, to the bit."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.errors import UserError
from ravine.rates import lr_range_test


class Noisy(nn.Module):
    """With everything that training may change: dropout, batch normalisation, a buffer that no checkpoint holds."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.2),
            nn.Linear(8, 3),
        )
        self.register_buffer("count", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.count = self.count + 1  # another tensor each time
        return self.last(self.drop(self.norm(self.first(x)).relu() + random.random() * 1e-3 * float(np.random.rand())))


def my_loop() -> tuple[Noisy, DataLoader[Any]]:
    torch.manual_seed(1)
    x = torch.randn(96, 6)
    y = (x[:, :3].argmax(1)).long()
    return Noisy(), DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)


def state_of(net: Noisy, optimizer: torch.optim.Optimizer) -> list[Any]:
    tensors = [*net.parameters(), *net.buffers()]
    grads = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    numbers: Any = np.random.get_state()
    generators = [torch.get_rng_state(), random.getstate(), numbers[1].tolist(), numbers[2:]]
    modes = [module.training for module in net.modules()]
    return [[t.detach().clone() for t in tensors], grads, copy.deepcopy(optimizer.state_dict()), generators, modes]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


MAKERS: list[Any] = [
    lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
    lambda ps: torch.optim.Adam(ps, lr=torch.tensor(0.01)),
    lambda ps: ravine.optim.NAdam(ps, lr=0.01),
    lambda ps: ravine.optim.of("nesterov/look-ahead")(ps, lr=0.05),
    lambda ps: torch.optim.LBFGS(ps, lr=0.1, max_iter=2),
]


@pytest.mark.parametrize("make_optimizer", MAKERS)
def test_nothing_that_was_given_is_changed_to_the_bit(make_optimizer: Any) -> None:
    net, loader = my_loop()
    optimizer = make_optimizer(list(net.parameters()))
    x, y = next(iter(loader))

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(net(x), y)
        value.backward()
        return value

    optimizer.step(closure)  # so that there is state, and a gradient, to keep
    net.drop.eval()
    held = [optimizer.param_groups[0]["lr"], *net.buffers(), *(p.grad for p in net.parameters())]
    before = state_of(net, optimizer)
    found = lr_range_test(loader, model=net, optimizer=optimizer, loss=cross_entropy, steps=60, seeds=2)
    assert same(state_of(net, optimizer), before)
    now = [optimizer.param_groups[0]["lr"], *net.buffers(), *(p.grad for p in net.parameters())]
    assert all(a is b for a, b in zip(held, now, strict=True))
    assert len(found.losses) == 2 and found.losses[0] != found.losses[1] and not found.checked
    twin, _ = my_loop()
    other = make_optimizer(list(twin.parameters()))
    assert len(other.state) == 0
    lr_range_test(loader, model=twin, optimizer=other, loss=cross_entropy, steps=60, seeds=1)
    assert len(other.state) == 0  # what had no state has none


def test_an_error_within_leaves_all_as_it_was_too() -> None:
    net, loader = my_loop()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = state_of(net, optimizer)
    seen: list[int] = []

    def failing(out: Tensor, y: Tensor) -> Tensor:
        seen.append(1)
        return cross_entropy(out, y) if len(seen) < 9 else cross_entropy(out, y[:3])

    with pytest.raises(UserError, match="the model and loss on a batch of yours"):
        lr_range_test(loader, model=net, optimizer=optimizer, loss=failing)
    assert len(seen) == 9 and same(state_of(net, optimizer), before)


def test_groups_keep_the_ratio_of_their_rates_and_a_loaders_generator_its_place() -> None:
    net, loader = my_loop()
    generator = torch.Generator().manual_seed(4)
    own = DataLoader(loader.dataset, batch_size=16, shuffle=True, generator=generator)
    seen: list[tuple[float, float]] = []
    optimizer = torch.optim.SGD(
        [{"params": net.first.parameters(), "lr": 0.2}, {"params": net.last.parameters()}], lr=0.1
    )
    hook = optimizer.register_step_pre_hook(
        lambda o, *_: seen.append((o.param_groups[0]["lr"], o.param_groups[1]["lr"]))
    )
    before = generator.get_state()
    lr_range_test(own, model=net, optimizer=optimizer, loss=cross_entropy, steps=40, seeds=1, high=1.0)
    hook.remove()
    assert len(seen) == 40 and all(a == pytest.approx(2 * b) for a, b in seen)
    assert seen[0][0] == pytest.approx(1e-6) and torch.equal(generator.get_state(), before)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]


def test_a_module_is_copied_and_arrays_will_do() -> None:
    net, loader = my_loop()
    x, y = loader.dataset.tensors  # type: ignore[attr-defined]
    before = copy.deepcopy(net.state_dict())
    found = lr_range_test(
        (x, y), model=nn.Sequential(net.first, nn.ReLU(), nn.Linear(8, 3)), optimizer="adam", steps=60
    )
    assert found.model == "Sequential" and found.low is not None
    assert same(dict(net.state_dict()), dict(before))


def test_what_does_not_fit_ones_own_loop_is_one_sentence() -> None:
    net, loader = my_loop()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": "mlp:3"}, "must be the nn.Module"),
        ({"loss": "auto"}, "must be a function"),
        ({"data": iter(loader)}, "an iterator, which a test would use up"),
        ({"data": []}, "empty"),
        ({"data": [torch.zeros(2, 6)]}, "a pair"),
        ({"data": 3}, "give a DataLoader"),
        ({"model": nn.Linear(6, 3)}, "no parameter of this model"),
        ({"loss": lambda out, y: out}, "it must give one number"),
        ({"optimizer": torch.optim.Adadelta(net.parameters()), "data": 3}, "give a DataLoader"),
    ]
    for changes, words in cases:
        given: dict[str, Any] = {"data": loader, "model": net, "optimizer": optimizer, "loss": cross_entropy, **changes}
        with pytest.raises(UserError, match=words):
            lr_range_test(given.pop("data"), **given)
