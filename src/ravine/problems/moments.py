"""Mean and spread of what does not fit into memory, in one pass over chunks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Of samples [n, d] for each column, of images [n, c, h, w] for each channel; float64, [1, d] or [1, c, 1, 1].

    Two of them add up to those of all samples, without the difference of large squares.   Reference: Chan, Golub and
    LeVeque 1983 (The American Statistician 37:3), Welford's update for chunks.

    >>> whole = Moments.of(torch.arange(6.0).view(3, 2)) + Moments.of(torch.tensor([[7.0, 1.0]]))
    >>> whole.mean.tolist(), round(float(whole.spread[0, 1]), 4)  # of 1, 3, 5, 1
    ([[3.25, 2.5]], 1.6583)
    """

    count: int
    mean: Tensor
    squares: Tensor  # the sum of squared differences from the mean
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Of one chunk."""
        axes = (0, *range(2, x.dim()))
        low, high = x.amin(axes, keepdim=True).double(), x.amax(axes, keepdim=True).double()
        wide = x.double()
        mean = wide.mean(axes, keepdim=True)
        squares = (wide - mean).square().sum(axes, keepdim=True)
        return cls(x.numel() // x.shape[1], mean, squares, low, high)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        squares = self.squares + other.squares + apart.square() * (self.count * other.count / count)
        return Moments(count, mean, squares, torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))

    @property
    def spread(self) -> Tensor:
        """The standard deviation, not corrected."""
        return (self.squares / self.count).sqrt()

    @property
    def factor(self) -> Tensor:
        """1 / spread, and 0 for what is constant."""
        return torch.where(self.low == self.high, 0.0, 1 / self.spread)
