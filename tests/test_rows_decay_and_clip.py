"""What the lectures say of weight decay and of clipping: rows O24 and O28."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.rules.combine import (
    ClipGlobalNorm,
    ClipNorm,
    ClipValue,
    CoupledDecay,
    CoupledDecayFull,
    DecoupledDecay,
)
from ravine.rules.descent import SGD
from ravine.rules.rule import Rule
from tests.driving import constant, descend, starts, step

F64 = torch.float64


def test_o24_three_conventions_of_weight_decay_map_exactly() -> None:
    """O24: lambda |w|^2 shrinks by 1 - 2 eta lambda (S0, Keras), lambda/2 by 1 - eta lambda (S3), alpha/2 likewise."""
    w, g, eta, decay = torch.tensor([3.0, -5.0], dtype=F64), torch.tensor([7.0, 2.0], dtype=F64), 2.0**-3, 2.0**-5
    full, half, apart = (
        w + step(rule, constant(g), [w], [{}], 1)[0][0]
        for rule in (
            CoupledDecayFull(SGD(eta), decay),
            CoupledDecay(SGD(eta), 2 * decay),
            DecoupledDecay(SGD(eta), 2 * decay),
        )
    )
    assert torch.equal(full, half) and torch.equal(half, apart)
    assert torch.equal(full, (1 - 2 * eta * decay) * w - eta * g)


def handed_on(rule: Rule, *gradients: Tensor) -> list[Tensor]:
    """The gradients after clipping: what SGD of rate 1 is given."""
    zeros = [torch.zeros_like(g) for g in gradients]
    return [-u for u in step(rule, constant(*gradients), zeros, starts(rule, zeros), 1)[0]]


def test_o28_clipping_by_norm_by_value_by_tensor() -> None:
    """O28: g <- eta g / |g| where |g| > eta (S1); clipvalue .5 and clipnorm 1. (S2); per tensor is not global."""
    g, h = torch.tensor([3.0, -4.0], dtype=F64), torch.tensor([0.0, 12.0], dtype=F64)
    together = handed_on(ClipGlobalNorm(SGD(1.0), 1.0), g, h)
    alone = handed_on(ClipNorm(SGD(1.0), 1.0), g, h)
    torch.testing.assert_close(together, [g / 13, h / 13], rtol=1e-6, atol=0)
    torch.testing.assert_close(alone, [g / 5, h / 12], rtol=1e-6, atol=0)
    assert handed_on(ClipValue(SGD(1.0), 0.5), g)[0].tolist() == [0.5, -0.5]
    parameters = [torch.zeros_like(x).requires_grad_() for x in (g, h)]
    for p, x in zip(parameters, (g, h), strict=True):
        p.grad = x.clone()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    torch.testing.assert_close(together, [p.grad for p in parameters], rtol=1e-15, atol=0)


def test_o28_clipping_survives_the_cliff_of_a_recurrent_network() -> None:
    """O28: x <- sigmoid(w x + b), 50 times, target 0.7 (Pascanu et al. 2013): unclipped, one step leaves for good."""

    def loss(p: Tensor) -> Tensor:
        x = torch.tensor(0.5, dtype=F64)
        for _ in range(50):
            x = torch.sigmoid(p[0] * x + p[1])
        return (x - 0.7) ** 2

    def slope(p: Tensor) -> Tensor:
        at = p.clone().requires_grad_()
        return torch.autograd.grad(loss(at), at)[0]

    edge = torch.tensor([5.0, -2.49], dtype=F64)
    thrown, kept = (descend(rule, slope, edge, 300) for rule in (SGD(0.1), ClipGlobalNorm(SGD(0.1), 1.0)))
    assert float((thrown[1:] - thrown[:-1]).norm(dim=1).max()) > 1
    assert float((kept[1:] - kept[:-1]).norm(dim=1).max()) <= 0.1 + 1e-9
    assert float(loss(thrown[-1])) > float(loss(edge)) > 100 * float(loss(kept[-1]))
