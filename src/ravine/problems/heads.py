"""Several targets at once: which outputs of a model speak for which, their joint loss, and each one's own metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ravine.metrics.catalogue import Metric
from ravine.problems.balance import ClassWeights


@dataclass(frozen=True)
class Head:
    """One target: its column of y, its outputs from ``first`` on, and its weight in the loss.

    A class is its number in y, a number is standardised: ``y * scale + mean`` is in the user's units.
    """

    name: str
    column: int
    first: int
    weight: float = 1.0
    classes: tuple[str, ...] = ()  # empty for a number
    mean: float = 0.0
    scale: float = 1.0
    class_weights: ClassWeights | None = None  # how much each class counts in its loss

    @property
    def outputs(self) -> slice:
        """Its part of a model's outputs: a logit for each class, or one number."""
        return slice(self.first, self.first + max(1, len(self.classes)))

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of classes, squared error of standardised numbers: the mean over samples."""
        own, target = out[:, self.outputs], y[:, self.column]
        if not self.classes:
            return functional.mse_loss(own[:, 0], target)
        if self.class_weights is None:
            return functional.cross_entropy(own, target.long())
        weights = own.new_tensor(self.class_weights.weights)
        return functional.cross_entropy(own, target.long(), weights, reduction="sum") / len(own)

    def score(self, out: Tensor, y: Tensor) -> Tensor:
        """Right or not for a class, one minus the squared error in units of the training variance for a number."""
        own, target = out[..., self.outputs], y[..., self.column]
        if self.classes:
            return (own.argmax(-1) == target.long()).double()
        return 1 - (own[..., 0] - target).double().square()

    def accuracy(self, y: NDArray[Any], out: NDArray[np.float64]) -> float:
        """The share of right classes."""
        return float((out[:, self.outputs].argmax(1) == y[:, self.column]).mean())

    def explained(self, y: NDArray[Any], out: NDArray[np.float64]) -> float:
        """R²: one minus squared error over variance."""
        target = y[:, self.column]
        spread = float(((target - target.mean()) ** 2).sum())
        return 1 - float(((out[:, self.first] - target) ** 2).sum()) / spread if spread > 0 else float("nan")

    def metric(self) -> Metric:
        """What is measured of it at every point."""
        if self.classes:
            return Metric(f"{self.name} accuracy", self.accuracy, True, None)
        return Metric(f"{self.name} R²", self.explained, True, None)


@dataclass(frozen=True)
class JointLoss:
    """The weighted sum of the heads' losses: cross-entropy of classes, squared error of standardised numbers.

    Takes outputs [n, outputs] and targets [n, heads]. Where weights are ``learned``, outputs in training hold the
    logarithm s of each target's variance behind them, and the loss is the sum of exp(-s) L + s/2 over classes and of
    exp(-s) L/2 + s/2 over numbers; outputs without it are measured by the given weights.
    Reference: Caruana 1997, Machine Learning 28:41; Kendall, Gal & Cipolla 2018, arXiv:1705.07115, equations 7 to 10.
    """

    heads: tuple[Head, ...]
    learned: bool = False

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """The joint loss, the mean over samples."""
        total, end = out.new_zeros(()), self.heads[-1].outputs.stop
        is_learning = self.learned and out.shape[-1] > end
        for place, head in enumerate(self.heads):
            own = head.loss(out, y)
            if is_learning:
                s = out[0, end + place]
                total = total + (-s).exp() * own / (1 if head.classes else 2) + s / 2
            else:
                total = total + head.weight * own
        return total


def mean_outputs(heads: Sequence[Head], outs: Tensor) -> Tensor:
    """What models [k, n, outputs] say together: log of the mean probabilities of classes, the mean of numbers."""
    parts = [outs[..., head.outputs] for head in heads]
    many = torch.tensor(float(len(outs))).log()
    return torch.cat([
        torch.logsumexp(part.log_softmax(-1), 0) - many.to(part) if head.classes else part.mean(0)
        for head, part in zip(heads, parts, strict=True)
    ], -1)  # fmt: skip


def mean_score(heads: Sequence[Head], out: Tensor, y: Tensor) -> Tensor:
    """The mean of the heads' scores, summed over samples: outputs [..., n, outputs], targets [n, heads] -> [...]."""
    total = heads[0].score(out, y)
    for head in heads[1:]:
        total = total + head.score(out, y)
    return total.sum(-1) / len(heads)
