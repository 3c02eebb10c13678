"""Loss scaling for lanes: each has a factor of its own, and leaves out the steps whose gradients overflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.engines.precision import BACKOFF, CLEAN, EVERY, GROWTH, SCALE, SKIPPED
from ravine.engines.updates import Group


class Attempt:
    """One step of lanes that may be left out by some of them; ``before`` are all buffers before the passes."""

    def __init__(
        self, before: dict[str, Tensor], groups: Sequence[Group], weights: Tensor, gradients: Sequence[Tensor]
    ):
        self.groups, self.weights, self.before = groups, weights, before
        finite = [torch.isfinite(g).reshape(len(g), -1).all(1) for g in gradients]
        self.lost = ~torch.stack(finite).all(0)  # [K]
        self.lags: list[NDArray[np.int64]] = [before[SKIPPED][g.start : g.end].numpy() for g in groups]
        self._rows = self.lost.nonzero().squeeze(1)
        self._kept: list[Any] = []
        if len(self._rows):
            self._kept = [
                weights[self._rows].clone(),
                *(group.kept(self.lost[group.start : group.end]) for group in groups),
            ]

    def usable(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """The gradients, zero where a lane leaves the step out."""
        if not len(self._rows):
            return list(gradients)
        return [g.masked_fill(self.lost.view(-1, *[1] * (g.dim() - 1)), 0.0) for g in gradients]

    def finish(self, buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Undo the step where it was left out, and move the factors; the buffers after it.

        As `torch.amp.GradScaler`: halved after an overflow, doubled after 2000 steps without. Unlike there, the
        statistics of batch normalisation are put back too, for what overflows on the way forward would stay in them.
        """
        after = dict(buffers)
        if len(self._rows):
            self.weights[self._rows] = self._kept[0]
            for group, kept in zip(self.groups, self._kept[1:], strict=True):
                group.put_back(self.lost[group.start : group.end], kept)
            for name, old in self.before.items():
                row = self.lost.view(-1, *[1] * (old.dim() - 1))
                after[name] = torch.where(row, old, after[name])
        clean = torch.where(self.lost, 0, self.before[CLEAN] + 1)
        grows = clean == EVERY
        factor = torch.where(self.lost, BACKOFF, torch.where(grows, GROWTH, 1.0))
        after[SCALE] = self.before[SCALE] * factor
        after[CLEAN] = torch.where(grows, 0, clean)
        after[SKIPPED] = self.before[SKIPPED] + self.lost
        return after
