"""Cross-entropy for lanes: one pass over all of them, where torch's own rule for vmap takes twenty operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ravine.types import Loss

FEW = 16  # classes; torch's softmax along the last dimension takes ten times as long where it is shorter than a vector


class _Lanes(torch.autograd.Function):
    """Mean cross-entropy of K lanes: logits [K, n, classes], labels [K, n] or [n] -> [K]."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.turned = logits.shape[-1] < FEW
        if ctx.turned:
            logits = logits.mT.contiguous()  # [K, classes, n]
        classes = -2 if ctx.turned else -1
        chances = logits.log_softmax(classes)
        right = labels.expand(len(logits), labels.shape[-1]).unsqueeze(classes)
        ctx.save_for_backward(chances, right)
        return -chances.gather(classes, right).squeeze(classes).mean(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        chances, right = ctx.saved_tensors
        share = (grads[0] / (right.numel() // len(right))).view(-1, 1, 1)
        slope = chances.exp() * share
        slope = slope.scatter_add(-2 if ctx.turned else -1, right, -share.expand(right.shape))
        return slope.mT.contiguous() if ctx.turned else slope, None


class _CrossEntropy(torch.autograd.Function):
    """`torch.nn.functional.cross_entropy` of logits [n, classes] and labels [n], which under vmap becomes `_Lanes`."""

    @staticmethod
    def forward(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        logits, labels = ctx.saved_tensors
        slope = logits.softmax(-1) - functional.one_hot(labels, logits.shape[-1])
        return slope * (grads[0] / len(labels)), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        logits: Tensor = args[0]
        labels: Tensor = args[1]
        many: int = info.batch_size
        logits = logits.expand(many, *logits.shape) if in_dims[0] is None else logits.movedim(in_dims[0], 0)
        labels = labels if in_dims[1] is None else labels.movedim(in_dims[1], 0)
        return _Lanes.apply(logits, labels), 0


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.dim() != 2 or labels.dim() != 1:  # of every pixel, or of shares: torch's own
        return functional.cross_entropy(logits, labels)
    return _CrossEntropy.apply(logits, labels)


def lane_losses(loss: Loss, out: Tensor, y: Tensor) -> Tensor:
    """The loss of each lane's outputs [K, n, ...] against targets [n, ...] that all share: [K]."""
    if loss is functional.cross_entropy and out.dim() == 3 and y.dim() == 1:
        return _Lanes.apply(out, y)
    return torch.stack([loss(one, y) for one in out])


def lane_loss(loss: Loss) -> Loss:
    """The loss in the form that lanes are mapped over; labels are taken to be classes, none of them left out."""
    return _cross_entropy if loss is functional.cross_entropy else loss


def mass_of(loss: Loss, y: Tensor) -> float:
    """What the mean loss over targets [n, ...] counts in a mean over more of them: their number, or their weights."""
    found: Any = getattr(loss, "mass", None)
    return float(len(y)) if found is None else found(y)
