"""What the lectures say of random subnetworks, of why batch norm helps, of quick ReLUs, and of backpropagation."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.blocks import mlp
from ravine.initial import init_
from ravine.problems import load
from ravine.problems.problem import Part
from tests.tape import Node


class Kept(torch.autograd.Function):
    """1 for the upper half of the scores, 0 for the others; gradients go through as if it were the identity."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        return (scores >= scores.median()).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def test_i7_a_mask_on_random_weights_classifies_nine_of_ten_digits() -> None:
    """Edge-popup (Ramanujan et al. 2020): weights stay as drawn, only which of them are there is learnt."""
    if "RAVINE_DATA" not in os.environ:
        pytest.skip("needs MNIST: set RAVINE_DATA")
    whole = load("mnist", rows=8000)
    train, test = Part(whole.train.x[:5000].flatten(1), whole.train.y[:5000]), whole.test
    drawn = nn.Sequential(nn.Linear(784, 300, bias=False), nn.Linear(300, 10, bias=False))
    init_(drawn, "he")
    weights = [w.detach().sign() * 2 / w.shape[1] ** 0.5 for w in drawn.parameters()]
    torch.manual_seed(0)
    scores = [(torch.rand_like(w) * 0.01).requires_grad_() for w in weights]

    def out(x: Tensor) -> Tensor:
        first, last = (w * torch.as_tensor(Kept.apply(s)) for w, s in zip(weights, scores, strict=True))
        return (x @ first.T).relu() @ last.T

    def accuracy() -> float:
        with torch.no_grad():
            return float((out(test.x.flatten(1)).argmax(1) == test.y).float().mean())

    before = accuracy()
    optimizer = torch.optim.SGD(scores, lr=0.1, momentum=0.9)
    for _ in range(6):
        for rows in torch.randperm(5000).split(100):
            optimizer.zero_grad()
            functional.cross_entropy(out(train.x[rows]), train.y[rows]).backward()
            optimizer.step()
    assert before < 0.3 and accuracy() >= 0.9


def small() -> tuple[Tensor, Tensor]:
    digits = load("digits").train
    return digits.x[:400].flatten(1), digits.y[:400]


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    loss = functional.cross_entropy(model(x), y)
    found = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([g.flatten() for g in found]), float(loss.detach())


@torch.no_grad()
def move(model: nn.Module, weights: Tensor) -> None:
    torch.nn.utils.vector_to_parameters(weights, model.parameters())


def predictiveness(norm: str) -> tuple[float, float]:
    """Over 12 steps of descent: the median relative change of the gradient along its line, and the worst new loss."""
    x, y = small()
    model = mlp([64, *[32] * 6, 10], norm=norm)
    init_(model, "he")
    changes: list[float] = []
    worst = 0.0
    for _ in range(12):
        here = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        g, _ = gradient(model, x, y)
        for step in (0.1, 0.2, 0.4, 0.8):
            move(model, here - step * g)
            other, loss = gradient(model, x, y)
            worst = max(worst, loss)
            changes.append(float((other - g).norm() / g.norm()))
        move(model, here - 0.1 * g)
    return float(np.median(changes)), worst


def test_n2_with_batch_norm_the_gradient_says_more_of_what_a_step_brings() -> None:
    """Santurkar et al. 2018, figure 4: along the gradient's line, loss and gradient change less with batch norm."""
    (plain, worst), (normed, kept) = predictiveness("none"), predictiveness("batch")
    assert normed < plain / 1.5
    assert kept < 2.5 < 3 * 2.5 < worst  # it begins near log 10 = 2.3


def steps_to(activation: type[nn.Module], most: int) -> int:
    """Steps of full descent at a rate of 0.1 until the training loss is below 0.1."""
    x, y = small()
    model = mlp([64, 64, 64, 64, 10], activation)
    init_(model, "auto")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(most):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        if float(loss.detach()) < 0.1:
            return step
        loss.backward()
        optimizer.step()
    return most


def test_n4_relu_is_quicker_than_tanh_though_not_six_times_and_six_times_quicker_than_sigmoid() -> None:
    relu = steps_to(nn.ReLU, 1000)
    assert relu < steps_to(nn.Tanh, 6 * relu) < 6 * relu
    assert steps_to(nn.Sigmoid, 6 * relu) == 6 * relu


def test_n10_the_rules_of_backpropagation_give_autograds_gradients() -> None:
    """Two layers, softmax and cross-entropy from add, mul, max, inv, exp, log and transposes; 1e-10."""
    random = np.random.default_rng(0)
    given = [random.normal(size=s) for s in ((5, 7), (5, 1), (3, 5), (3, 1), (6, 7))]
    right = np.eye(3)[random.integers(0, 3, 6)].T  # [classes, samples]
    w1, b1, w2, b2, x = (Node(value) for value in given)
    hidden = ((w1 @ x.T) + b1).max0()
    raised = ((w2 @ hidden) + b2).exp()
    chances = raised * raised.sum(0).inv()
    twice = (w1 * w1).sum()  # w1 is used on two paths: their gradients add up
    loss = (chances.log() * Node(right / -6)).sum() + twice * Node([[0.01]])
    loss.backward()

    leaves = [torch.tensor(value, requires_grad=True) for value in given]
    a1, c1, a2, c2, z = leaves
    out = (a2 @ (a1 @ z.T + c1).relu() + c2).T
    expected = functional.cross_entropy(out, torch.tensor(right.argmax(0))) + 0.01 * a1.square().sum()
    expected.backward()
    assert math.isclose(float(loss.value.item()), float(expected.detach()), rel_tol=1e-12)
    for ours, theirs in zip((w1, b1, w2, b2, x), leaves, strict=True):
        assert theirs.grad is not None
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_n10_a_jacobian_in_denominator_layout_is_the_transpose_and_products_of_it_are_gradients() -> None:
    torch.manual_seed(0)
    weight, x, above = torch.randn(4, 3).double(), torch.randn(3).double(), torch.randn(4).double()
    numerator = torch.autograd.functional.jacobian(lambda z: torch.tanh(weight @ z), x)  # [outputs, inputs]
    inner = x.clone().requires_grad_()
    torch.tanh(weight @ inner).backward(above)
    assert inner.grad is not None
    torch.testing.assert_close(inner.grad, numerator.T @ above, rtol=1e-10, atol=1e-12)  # (dy/dx)^T dL/dy
