"""The noise of minibatch gradients: its standard error against the batch size, and the size at which it equals them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ravine.errors import UserError
from ravine.problems.blame import blame
from ravine.randomness import generator, key
from ravine.types import Loss

CHUNK = 1024  # samples at once for the gradient of all
SIZES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class GradientNoise:
    """How far gradients of minibatches lie from that of all samples, at one place.

    ``errors`` are the standard errors, the root of the mean squared distance |g_b - g|, one for each size in ``sizes``.
    """

    sizes: tuple[int, ...]
    errors: tuple[float, ...]
    norm: float  # |g|, of the gradient of all samples

    @property
    def slope(self) -> float:
        """Of log error against log size: -1/2 where samples are drawn independently."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.errors), 1)[0])

    @property
    def trace(self) -> float:
        """The trace of the covariance of one sample's gradient: the mean of b |g_b - g|^2 over sizes."""
        return float(np.mean([b * e**2 for b, e in zip(self.sizes, self.errors, strict=True)]))

    @property
    def scale(self) -> float:
        """The gradient noise scale tr(S) / |g|^2: the batch size whose noise is as large as the gradient.

        Far below it twice the batch allows nearly twice the step, far above it gains nothing.
        Reference: McCandlish et al. 2018, arXiv:1812.06162, equation 2.9 (the "simple" scale).
        """
        return self.trace / self.norm**2 if self.norm > 0 else math.inf

    def error(self, batch: int) -> float:
        """The standard error at any batch size: the root of tr(S) / b."""
        return math.sqrt(self.trace / batch)


def gradient_noise(
    model: nn.Module,
    loss: Loss,
    x: Tensor,
    y: Tensor,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = 64,
    seed: int = 0,
) -> GradientNoise:
    """Measure the noise of a model's minibatch gradients where it stands; the model is as it was afterwards.

    For each size ``draws`` minibatches are drawn with replacement, keyed by (seed, size), so that the error is that of
    independent samples: drawn without replacement it is smaller by the root of 1 - b/n. The model is in the mode that
    it is given in; in training mode batch normalisation makes a gradient depend on the batch beyond noise.

    Args:
        model: its parameters that require a gradient are looked at.
        loss: of (prediction, target), the mean over a batch.
        x: inputs [n, ...].
        y: targets [n, ...].
        sizes: batch sizes, two or more different ones.
        draws: minibatches of each size, 8 at least; the error of a standard error falls as 1 / sqrt(2 draws).
        seed: of what is drawn.

    Raises:
        UserError: on sizes or draws that tell nothing, or a loss that is not finite.
    """
    _check(sizes, draws, x, y)
    leaves = {name: p.detach().requires_grad_() for name, p in model.named_parameters() if p.requires_grad}
    if not leaves:
        raise UserError(f"{type(model).__name__} has no parameters to train")
    buffers = {name: b.detach().clone() for name, b in model.named_buffers()}

    def gradient(rows: Tensor) -> Tensor:
        return _gradient(model, loss, leaves, buffers, x[rows], y[rows])

    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(key(seed, "gradient noise"))
        whole = torch.zeros(sum(p.numel() for p in leaves.values()), dtype=torch.float64)
        for rows in torch.arange(len(x)).split(CHUNK):
            whole += gradient(rows) * (len(rows) / len(x))
        errors: list[float] = []
        for size in sizes:
            drawn = torch.randint(len(x), (draws, size), generator=generator(seed, "minibatches", size))
            errors.append(math.sqrt(sum(float((gradient(rows) - whole).square().sum()) for rows in drawn) / draws))
    return GradientNoise(tuple(sizes), tuple(errors), float(whole.norm()))


def _gradient(
    model: nn.Module, loss: Loss, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, y: Tensor
) -> Tensor:
    """The gradient of the mean loss on a batch, flat in float64; buffers of the model stay."""
    named: dict[str, Any] = {**leaves, **{name: b.clone() for name, b in buffers.items()}}
    try:
        value = loss(functional_call(model, named, (x,)), y)
        parts = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    except Exception as error:
        raise blame(error, "the model and loss on a batch") from error
    flat = torch.cat([part.reshape(-1) for part in parts]).double()
    if not bool(torch.isfinite(flat).all()):
        raise UserError("the gradient of a batch is not finite here, so its noise cannot be measured")
    return flat


def _check(sizes: Sequence[int], draws: int, x: Tensor, y: Tensor) -> None:
    if len(set(sizes)) < 2 or min(sizes) < 1:
        raise UserError(f"gradient_noise(sizes={list(sizes)}): give two different batch sizes or more, each 1 or more")
    if draws < 8:
        raise UserError(f"gradient_noise(draws={draws}): a deviation needs 8 minibatches of a size or more")
    if len(x) != len(y) or len(x) < 2:
        raise UserError(
            f"gradient_noise: {len(x):,} inputs and {len(y):,} targets: give 2 samples or more, with targets"
        )
