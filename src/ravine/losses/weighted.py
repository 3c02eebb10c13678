"""Losses in which classes count differently."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ravine.errors import UserError
from ravine.losses import functions as f
from ravine.losses.catalogue import BinaryCrossEntropy, CrossEntropy, Form
from ravine.problems.balance import ClassWeights


@dataclass(frozen=True)
class Weighted:
    """A loss of classes with a weight for each class: (prediction [n, classes], labels [n]) -> a scalar.

    The sum of w_y times each sample's loss, over the sum of w_y or over n. With label smoothing every class carries
    its own weight, and with shares for labels the mean is over samples, both as `torch.nn.CrossEntropyLoss`.
    """

    form: CrossEntropy | BinaryCrossEntropy
    weights: ClassWeights

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """The mean loss."""
        each = self._each(out, y)
        if self.weights.over == "samples" or y.is_floating_point():
            return each.mean()
        whole = self.weights.of(y, out).sum()
        return each.sum() / whole.clamp_min(torch.finfo(whole.dtype).tiny)  # 0, not NaN, where no class counts

    def mass(self, y: Tensor) -> float:
        """What the mean over these labels was divided by."""
        if self.weights.over == "samples" or y.is_floating_point():
            return float(len(y))
        return self.weights.of(y, torch.zeros((), dtype=torch.float64)).sum().item()

    def _each(self, out: Tensor, y: Tensor) -> Tensor:
        """The weighted loss of every sample."""
        weights = out.new_tensor(self.weights.weights)
        if isinstance(self.form, BinaryCrossEntropy):
            own = functional.binary_cross_entropy_with_logits(out, f.one_hot(y, out), reduction="none").mean(-1)
            return own * weights[y]
        logs = out.log_softmax(-1)
        if y.is_floating_point():
            return -(logs * y * weights).sum(-1)
        others = self._spread(out.shape[-1])
        own = -logs.gather(-1, y.unsqueeze(-1)).squeeze(-1) * weights[y]
        return own if not others else (1 - others) * own - others / out.shape[-1] * (logs * weights).sum(-1)

    def _spread(self, classes: int) -> float:
        """The label smoothing in torch's convention."""
        assert isinstance(self.form, CrossEntropy)
        if self.form.smoothing_to_others is not None:
            return self.form.smoothing_to_others * classes / (classes - 1)
        return self.form.label_smoothing or 0.0


def weighted(form: Form, weights: ClassWeights) -> Weighted:
    """The loss with weights of classes; a `UserError` where it has no such form."""
    if not isinstance(form, CrossEntropy | BinaryCrossEntropy):
        raise UserError(f"class_weights go with cross_entropy or binary_cross_entropy, not with {form.name}")
    return Weighted(form, weights)
