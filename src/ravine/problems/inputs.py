"""What was done to the raw inputs, as a value: fitted on the training part, applied to any part and at prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.errors import UserError

CACHED = 1 << 15  # numbers: float64 of them, twice, stay in a processor's cache


@dataclass(frozen=True)
class Inputs:
    """x = (raw - shift) * factor, and where it was whitened, (x - mean) matrix^T of all numbers of a sample.

    ``shift`` and ``factor`` hold a number for each column of a table or each channel of images; the factor of a column
    that was constant in the training part is 0.
    """

    names: tuple[str, ...]  # of the steps, in order; empty: raw
    shift: Tensor  # [1, features] or [1, channels, 1, ...], float64
    factor: Tensor  # the same
    low: float  # the smallest and the largest raw number that there may be: 0 and 255 for bytes
    high: float
    mean: Tensor | None = None  # [numbers of a sample]
    matrix: Tensor | None = None  # [kept, numbers of a sample]

    def __call__(self, raw: Tensor) -> Tensor:
        """Raw inputs [n, ...], as they were given, in the form that the model was trained on: float32."""
        if raw.dim() != self.shift.dim() or raw.shape[1] != self.shift.shape[1]:
            raise UserError(
                f"these inputs were fitted on {self.shift.dim() - 1} dimensions with {self.shift.shape[1]} columns or "
                f"channels a sample, got samples of shape {list(raw.shape[1:])}"
            )
        return self.whitened(self._scaled(raw) if self.names else raw.float())

    def _scaled(self, raw: Tensor) -> Tensor:
        """Scaled in float64, a few samples at a time: what all of them take in it never has to be held."""
        x = torch.empty(raw.shape, dtype=torch.float32)
        rows = max(1, CACHED // max(1, raw[:1].numel()))
        for given, made in zip(raw.split(rows), x.split(rows), strict=True):
            made.copy_((given.double() - self.shift) * self.factor)
        return x

    def whitened(self, x: Tensor) -> Tensor:
        """The last part of it; x itself where nothing is whitened."""
        if self.mean is None or self.matrix is None:
            return x
        flat = (x.flatten(1) - self.mean) @ self.matrix.T
        return flat.view(x.shape) if flat.shape[1] == x.shape[1:].numel() else flat

    @property
    def pixels(self) -> tuple[Tensor, Tensor]:
        """Mean and std with which x = (pixel - mean) / std for pixels in [0, 1]: float32."""
        span = self.high - self.low
        std = torch.where(self.factor == 0, 0.0, 1 / (self.factor * span))
        return ((self.shift - self.low) / span).float(), std.float()
