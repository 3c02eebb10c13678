"""Hutchinson's estimate of the diagonal of a Hessian: from a second gradient, a little off in random directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.engines.updates import Group
from ravine.randomness import generator
from ravine.rules.sophia import curved


def signs(seed: int, step: int, place: int, like: Tensor) -> Tensor:
    """Random signs for one parameter, the ``place``-th of the model, at one step."""
    drawn = torch.randint(0, 2, like.shape, generator=generator(seed, "curvature", step, place))
    return (2 * drawn - 1).to(like.device, like.dtype)


def estimate(near: Tensor, far: Tensor, offset: Tensor) -> Tensor:
    """The diagonal of the Hessian, from the gradients at a point and at an offset r z from it; 0 where that is 0.

    Its mean over signs z is exact but for the third derivative times r.
    """
    moved = offset != 0
    return torch.where(moved, (far - near) / torch.where(moved, offset, 1.0), 0.0)


def offsets(groups: Sequence[Group], weights: Tensor, step: int, time: float) -> Tensor | None:
    """How far from where it takes its gradient each lane takes a second one, [K, P]; None where no lane wants that."""
    if not any("curvature" in group.needs for group in groups):
        return None
    found = torch.zeros_like(weights)
    for group in groups:
        part = curved(group.rule_at(time))
        if part is None:
            continue
        lengths = torch.as_tensor((part.due(step) * part.radius).numbers).to(weights)
        for place, view in enumerate(group.model.views(found[group.start : group.end]).values()):
            for own, seed, length in zip(view, group.seeds, lengths, strict=True):
                if length:
                    own.copy_(length * signs(seed, step, place, own))
    return found if bool(found.any()) else None


def estimates(groups: Sequence[Group], near: Sequence[Tensor], far: Sequence[Tensor], offset: Tensor) -> list[Tensor]:
    """Each parameter's estimates [K, *shape], from its gradients [K, *shape] and the offsets [K, P]."""
    views = groups[0].model.views(offset).values()
    return [estimate(a, b, each) for a, b, each in zip(near, far, views, strict=True)]
