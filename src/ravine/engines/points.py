"""Where lanes take their gradients and where they are evaluated, of all groups together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.engines.updates import Group
from ravine.rules.rule import reads_elsewhere


def aheads(groups: Sequence[Group], weights: Tensor, time: float) -> Tensor:
    """The weights [K, P] at which each lane's first gradient is taken; a copy only where a rule looks ahead."""
    if not any("gradient_ahead" in group.needs for group in groups):
        return weights
    point = weights.clone()
    for group in groups:
        if "gradient_ahead" in group.needs:
            point[group.start : group.end] = group.footing(weights, time)
    return point


def climbs(groups: Sequence[Group]) -> bool:
    """Whether a lane takes two gradients a step."""
    return any("first_gradient" in group.needs for group in groups)


def climbed(groups: Sequence[Group], weights: Tensor, gradients: Sequence[Tensor], time: float) -> Tensor:
    """The weights [K, P] at which each lane's second gradient is taken; for those that need none, the first's."""
    point = aheads(groups, weights, time).clone()
    flat = torch.cat([g.reshape(len(g), -1) for g in gradients], dim=1)
    for group in groups:
        if "first_gradient" in group.needs:
            own = slice(group.start, group.end)
            point[own] = group.climb(weights, flat[own], time)
    return point


def readouts(groups: Sequence[Group], weights: Tensor, time: float) -> Tensor:
    """The weights [K, P] at which each lane is evaluated; a copy only where a rule reads them elsewhere."""
    if not any(reads_elsewhere(group.rule) for group in groups):
        return weights
    point = weights.clone()
    for group in groups:
        if reads_elsewhere(group.rule):
            point[group.start : group.end] = group.readout(weights, time)
    return point
