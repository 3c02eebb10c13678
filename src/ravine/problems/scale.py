"""Standardisation with the statistics of the training part alone."""

from __future__ import annotations

import torch
from torch import Tensor


def statistics(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and 1 / (standard deviation), per feature of a table [n, d] or per channel of images [n, c, h, w].

    The factor of a constant feature is 0, so that it stays 0 in every part.
    """
    axes = (0,) if train.ndim == 2 else (0, *range(2, train.ndim))
    # A table is small and its columns may hold large offsets (years, ids); images are large and bounded.
    wide = train.double() if train.ndim == 2 else train.float()
    spread, mean = torch.std_mean(wide, axes, correction=0, keepdim=True)
    constant = wide.amax(axes, keepdim=True) == wide.amin(axes, keepdim=True)
    return mean, torch.where(constant, torch.zeros_like(spread), 1 / spread)


def standardise(x: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """``(x - mean) * factor`` as float32, in one new tensor."""
    return x.to(mean.dtype, copy=True).sub_(mean).mul_(factor).float()
