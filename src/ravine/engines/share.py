"""A process's share of a minibatch that several take together: its place, and layers that look at the whole of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Share:
    """Samples ``begin`` to ``begin + size`` of the ``whole``."""

    begin: int
    size: int
    whole: int

    @classmethod
    def of(cls, rank: int, processes: int, whole: int) -> Share:
        """The even share of one of several processes; the first ones have one sample more where it does not divide."""
        least, more = divmod(whole, processes)
        return cls(rank * least + min(rank, more), least + (rank < more), whole)


class _Summed(torch.autograd.Function):
    """The sum over all processes, and of its slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _sum(grads[0])


def _sum(x: Tensor) -> Tensor:
    x = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x


class SharedBatchNorm(nn.Module):
    """Batch normalisation over the whole minibatch, of which each process holds a share. [n, c, ...] to the same shape.

    It takes the parameters and buffers of the layer that it stands for, so names and checkpoints stay as they are.
    `torch.nn.SyncBatchNorm` does the same, on GPUs only.
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:  # pyright: ignore[reportPrivateUsage]
        super().__init__()
        self.eps, self.momentum = layer.eps, layer.momentum
        self.weight: Tensor | None = layer.weight
        self.bias: Tensor | None = layer.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(layer, name))
        self.share: Share | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalised by the whole minibatch in training, else by the running statistics where there are any."""
        if not self.training and self.running_mean is not None:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        share = Share(0, len(x), len(x)) if self.share is None else self.share
        shape = (1, -1, *[1] * (x.dim() - 2))
        dims = [0, *range(2, x.dim())]
        count = x.numel() // x.shape[1] // share.size * share.whole
        mean = self._over_all(x.sum(dims)) / count
        centred = x - mean.view(shape)
        variance = self._over_all(centred.square().sum(dims)) / count
        if self.training:
            self._keep(mean.detach(), variance.detach() * (count / max(1, count - 1)))
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        return y if self.weight is None or self.bias is None else y * self.weight.view(shape) + self.bias.view(shape)

    def _over_all(self, x: Tensor) -> Tensor:
        return x if self.share is None else _Summed.apply(x)

    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), rate)
        self.running_var.lerp_(variance.to(self.running_var), rate)


def with_shared_batchnorm(model: nn.Module) -> nn.Module:
    """The model with each layer of batch normalisation replaced, in place, by one that sees the whole minibatch."""
    for name, child in model.named_children():
        if isinstance(child, KINDS) and type(child) in KINDS:  # a user's subclass may do something else
            setattr(model, name, SharedBatchNorm(child))
        else:
            with_shared_batchnorm(child)
    return model
