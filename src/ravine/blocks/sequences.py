"""Samples of any shape as sequences, for models that read one step after another."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn


class Steps(nn.Module):
    """A batch as sequences [n, t, features].

    Features [n, d] become d steps of one number, [n, t, features] stays, and an image [n, c, h, w] is read by rows:
    h steps of c * w numbers.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[n, t, features]."""
        if x.dim() == 2:
            return x.unsqueeze(2)
        return x.transpose(1, 2).flatten(2) if x.dim() > 3 else x


def steps_of(shape: Sequence[int]) -> tuple[int, int]:
    """The steps and the features a step that `Steps` makes of a sample of that shape."""
    if len(shape) == 1:
        return shape[0], 1
    if len(shape) == 2:
        return shape[0], shape[1]
    return shape[1], math.prod(shape) // shape[1]


def stacked(layer: nn.Linear, parts: int) -> nn.Linear:
    """The layer, marked as so many maps one above the other, of which each has an initial draw of its own."""
    setattr(layer, "stacked", parts)  # noqa: B010 - a mark that no class of torch declares
    return layer
