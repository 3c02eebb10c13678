"""Whitening: inputs turned and scaled so that they are uncorrelated, each with variance one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.errors import UserError


@dataclass(frozen=True)
class Whitening:
    """x -> (x - mean) matrix^T, fitted on one set and applied to any."""

    mean: Tensor  # [d]
    matrix: Tensor  # [k, d]

    def __call__(self, x: Tensor) -> Tensor:
        """Samples [n, d] whitened, [n, k]."""
        if x.shape[-1] != len(self.mean):
            raise UserError(f"whitening was fitted on {len(self.mean)} features, got {x.shape[-1]}")
        return (x - self.mean) @ self.matrix.T


def whiten(x: Tensor, *, zca: bool = False, tol: float | None = None) -> Whitening:
    """Fit a whitening on samples x [n, d].

    With X - mean = U S V^T it maps x to sqrt(n) S^-1 V^T (x - mean): the principal axes, each with variance one;
    axes with S below
    ``tol`` of the largest (by default, rounding) are left out, so that k <= d. ``zca`` turns back to the features' own.
    Descent on a linear model of whitened inputs is natural-gradient descent on the inputs themselves.
    Reference: LeCun et al. 1998, Efficient BackProp, section 4.3; Bell & Sejnowski
    1997, doi:10.1016/S0042-6989(97)00121-1.
    """
    if x.dim() != 2 or len(x) < 2 or not x.is_floating_point():
        raise UserError(f"whitening needs at least 2 samples as floats [n, features], got {list(x.shape)} {x.dtype}")
    if not bool(torch.isfinite(x).all()):
        raise UserError("whitening: the samples hold NaN or Inf: fill or leave them out first")
    mean = x.mean(0)
    _, sizes, axes = torch.linalg.svd(x - mean, full_matrices=False)
    least = torch.finfo(x.dtype).eps * max(x.shape) if tol is None else tol
    kept = sizes > least * sizes[0]
    if not bool(kept.any()):
        raise UserError("whitening: all samples are the same, so no direction has any variance")
    axes = axes[kept]
    matrix = (len(x) ** 0.5 / sizes[kept]).unsqueeze(1) * axes
    return Whitening(mean, axes.T @ matrix if zca else matrix)
