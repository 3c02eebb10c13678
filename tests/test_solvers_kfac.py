"""K-FAC against its definition written out, exact where one sample makes the Fisher a Kronecker product, and resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.errors import UserError
from ravine.solvers import KFAC
from tests.classics import F64


def made(*layers: nn.Module) -> nn.Sequential:
    """The layers with a fixed draw in float64."""
    net = nn.Sequential(*layers).double()
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=F64) / 2)
    return net


def batch(*shape: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=g, dtype=F64), torch.randint(3, (shape[0],), generator=g)


def oracle(a: Any, b: Any, gradient: Any, damping: float) -> Any:
    """The damped factors' inverse on the gradient, by their whole Kronecker product."""
    ratio = math.sqrt((np.trace(a) / len(a)) / (np.trace(b) / len(b)))
    left = b + math.sqrt(damping) / ratio * np.eye(len(b))
    right = a + math.sqrt(damping) * ratio * np.eye(len(a))
    whole = np.linalg.solve(np.kron(left, right), gradient.reshape(-1))
    return whole.reshape(gradient.shape)


def per_sample(net: nn.Sequential, x: Tensor, y: Tensor, which: int) -> tuple[list[Any], list[Any]]:
    """The inputs of a layer and the gradients at its output, sample by sample."""
    inputs, outputs = [], []
    for i in range(len(x)):
        h = net[:which](x[i : i + 1])
        out = net[which](h).detach().requires_grad_()
        functional.cross_entropy(net[which + 1 :](out), y[i : i + 1]).backward()
        assert out.grad is not None
        inputs.append(h.detach().numpy()[0])
        outputs.append(out.grad.numpy()[0])
    net.zero_grad()
    return inputs, outputs


def test_a_linear_layers_step_is_the_inverse_of_its_kronecker_product() -> None:
    net, (x, y) = made(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), batch(7, 4)
    pairs = [per_sample(net, x, y, which) for which in (0, 2)]
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = KFAC(net, lr=0.5, damping=0.1, momentum=0, clip=1e12)
    functional.cross_entropy(net(x), y).backward()
    gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    optimizer.step()
    for layer, (inputs, outputs) in enumerate(pairs):
        a = np.mean([np.outer(np.append(i, 1), np.append(i, 1)) for i in inputs], 0)
        b = np.mean([np.outer(o, o) for o in outputs], 0)
        joined = torch.cat([gradients[2 * layer], gradients[2 * layer + 1].unsqueeze(1)], 1).numpy()
        step = oracle(a, b, joined, 0.1)
        weight, bias = list(net.parameters())[2 * layer : 2 * layer + 2]
        np.testing.assert_allclose(weight.detach().numpy(), before[2 * layer].numpy() - 0.5 * step[:, :-1], rtol=1e-10)
        np.testing.assert_allclose(bias.detach().numpy(), before[2 * layer + 1].numpy() - 0.5 * step[:, -1], rtol=1e-10)


def test_a_convolutions_step_is_that_of_its_patches() -> None:
    net, (x, y) = (
        made(nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.Flatten(), nn.Linear(12, 3)),
        batch(5, 2, 4, 4),
    )
    inputs, outputs = per_sample(net, x, y, 0)
    weight = next(net.parameters())
    before = weight.detach().clone()
    optimizer = KFAC(net, lr=1.0, damping=0.2, momentum=0, clip=1e12)
    functional.cross_entropy(net(x), y).backward()
    assert weight.grad is not None
    gradient = weight.grad.flatten(1).numpy().copy()
    optimizer.step()
    a, b = np.zeros((18, 18)), np.zeros((3, 3))
    for image, out in zip(inputs, outputs, strict=True):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        for row in range(2):
            for column in range(2):
                patch = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].reshape(-1)
                a += np.outer(patch, patch) / 5
                b += np.outer(out[:, row, column], out[:, row, column]) / (5 * 4)
    step = oracle(a, b, gradient, 0.2)
    np.testing.assert_allclose(weight.detach().numpy(), before.numpy() - step.reshape(before.shape), rtol=1e-10)


def test_of_one_sample_it_is_the_exact_natural_gradient() -> None:
    """With one sample A (x) G is the Fisher matrix itself, and both dampings shrink the same direction."""
    net, (x, y) = made(nn.Linear(3, 3)), batch(1, 3)
    optimizer = KFAC(net, lr=1.0, damping=1e-8, momentum=0, clip=1e12)
    functional.cross_entropy(net(x), y).backward()
    g = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    before = torch.cat([p.detach().flatten() for p in net.parameters()])
    optimizer.step()
    step = before - torch.cat([p.detach().flatten() for p in net.parameters()])
    torch.testing.assert_close(step, g / (g @ g), rtol=1e-3, atol=0)  # F^+ g = g / |g|^2, since F = g g^T


def test_factors_are_averages_and_inverses_are_kept_between_renewals() -> None:
    net, (x, y) = made(nn.Linear(4, 3)), batch(6, 4)
    optimizer = KFAC(net, lr=1e-9, ema=0.5, every=2, momentum=0)
    seen = []
    for step in range(4):
        optimizer.zero_grad()
        functional.cross_entropy(net(x * (step + 1)), y).backward()
        optimizer.step()
        state = optimizer.state[next(net.parameters())]
        seen.append((state["A"].clone(), state["A_inverse"].clone()))
    one = torch.cat([x, torch.ones(6, 1, dtype=F64)], 1)
    two = torch.cat([2 * x, torch.ones(6, 1, dtype=F64)], 1)
    torch.testing.assert_close(seen[1][0], (one.T @ one + two.T @ two) / 12)
    assert torch.equal(seen[0][1], seen[1][1]) and not torch.equal(seen[1][1], seen[2][1])


def test_the_update_is_shortened_to_the_clip() -> None:
    net, (x, y) = made(nn.Linear(4, 3)), batch(6, 4)
    optimizer = KFAC(net, lr=0.5, clip=1e-4, momentum=0)
    functional.cross_entropy(net(x), y).backward()
    g = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    before = torch.cat([p.detach().flatten() for p in net.parameters()])
    optimizer.step()
    step = before - torch.cat([p.detach().flatten() for p in net.parameters()])
    nu_power = float(step @ g) / 0.5
    full = KFAC(made(nn.Linear(4, 3)), lr=0.5, clip=1e12, momentum=0)
    other = full.layers[0]
    functional.cross_entropy(other(x), y).backward()
    start = torch.cat([p.detach().flatten() for p in other.parameters()])
    full.step()
    power = float((start - torch.cat([p.detach().flatten() for p in other.parameters()])) @ g) / 0.5
    assert nu_power / power == pytest.approx(math.sqrt(1e-4 / (0.25 * power)), rel=1e-9)


class Mixed(nn.Module):
    """A convolution, a norm (plain steps), a layer used twice, a grouped convolution (plain steps)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.grouped, self.twice, self.out = nn.Conv2d(4, 4, 3, groups=2), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.norm(self.conv(x)), inplace=True)
        h = self.grouped(h).flatten(1)
        return self.out(torch.tanh(self.twice(torch.tanh(self.twice(h)))))


def trained(steps: int, net: nn.Module, optimizer: torch.optim.Optimizer, begin: int = 0) -> float:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(64, 1, 4, 4, generator=g)
    y = (x.mean((1, 2, 3)) > 0).long() + (x[:, 0, 0, 0] > 0).long()
    loss = torch.zeros(())
    for step in range(begin, begin + steps):
        some = slice(16 * (step % 4), 16 * (step % 4) + 16)
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x[some]), y[some])
        loss.backward()
        optimizer.step()
    net.eval()
    whole = functional.cross_entropy(net(x), y).item()
    net.train()
    return whole


def mixed() -> Mixed:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Mixed()


def test_it_trains_a_mixed_network_and_resumes_exactly() -> None:
    net = mixed()
    optimizer = KFAC(net, lr=0.1, clip=0.01)
    assert [type(layer).__name__ for layer in optimizer.layers] == ["Conv2d", "Linear", "Linear"]
    before = net.norm.weight.detach().clone()
    trained(20, net, optimizer)
    assert not torch.equal(net.norm.weight, before)
    other = mixed()
    other.load_state_dict(net.state_dict())
    again = KFAC(other, lr=0.1, clip=0.01)
    again.load_state_dict(optimizer.state_dict())
    whole = trained(20, net, optimizer, 20)
    trained(20, other, again, 20)
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
    assert whole < 0.6 * trained(0, mixed(), optimizer)


def test_on_features_of_many_scales_it_is_ahead_of_sgd_at_its_best_rate() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(256, 8, generator=g, dtype=F64) * torch.logspace(-1.5, 1.5, 8, dtype=F64)
    y = (x / torch.logspace(-1.5, 1.5, 8, dtype=F64)).sum(1).gt(0).long()

    def after(steps: int, make: Callable[[nn.Module], torch.optim.Optimizer]) -> float:
        net = made(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = make(net)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
        return functional.cross_entropy(net(x), y).item()

    rates = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    best = min(after(60, lambda net, lr=lr: torch.optim.SGD(net.parameters(), lr, momentum=0.9)) for lr in rates)
    assert after(60, lambda net: KFAC(net, lr=0.1, damping=1e-3, clip=1e-2)) < 0.7 * best


def test_without_backward_or_with_nan_nothing_changes() -> None:
    net, (x, y) = made(nn.Linear(4, 3)), batch(6, 4)
    optimizer = KFAC(net)
    weight = next(net.parameters())
    before = weight.detach().clone()
    with pytest.raises(UserError, match="saw no backward pass"):
        optimizer.step()
    net.eval()
    functional.cross_entropy(net(x), y).backward()
    with pytest.raises(UserError, match="with the model in training mode"):
        optimizer.step()
    net.train()
    functional.cross_entropy(net(x * float("nan")), y).backward()
    with pytest.raises(UserError, match="NaN or Inf: nothing was changed"):
        optimizer.step()
    assert torch.equal(weight, before) and not optimizer.state


def test_a_closure_works_and_closing_takes_the_hooks_off() -> None:
    net, (x, y) = made(nn.Linear(4, 3)), batch(6, 4)
    optimizer = KFAC(net)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert optimizer.step(closure) < first
    optimizer.close()
    with pytest.raises(UserError, match="saw no backward pass"):
        optimizer.step(closure)
