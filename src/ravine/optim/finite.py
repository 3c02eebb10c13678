"""What happens to a gradient that is not finite, decided before anything changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ravine.engines.eager import norms
from ravine.errors import UserError

Policy: TypeAlias = Literal["raise", "skip", "zero", "ignore"]
NONFINITE: tuple[Policy, ...] = ("raise", "skip", "zero", "ignore")


class NonFiniteGradient(UserError):
    """A gradient holds NaN or Inf; nothing has been changed."""


def finite(
    gradients: Sequence[Tensor],
    policy: Policy,
    name: Callable[[int], str],
    measure: Callable[[Sequence[Tensor]], list[float]] = norms,
) -> tuple[Sequence[Tensor], list[float]] | None:
    """The gradients to step with and their norms; None where the step is to be skipped.

    The norms decide first, since they cost one read and a clip wants them too; an overflowing norm of finite numbers
    is found out by looking again. ``measure`` gives the norms.
    """
    sizes = measure(gradients)
    bad = [i for i, size in enumerate(sizes) if not math.isfinite(size) and not _all_finite(gradients[i])]
    if not bad or policy == "ignore":
        return gradients, sizes
    if policy == "raise":
        raise NonFiniteGradient(
            f"{name(bad[0])} has a gradient with NaN or Inf: nothing was changed; lower the learning rate or clip, "
            'or choose nonfinite="skip" or "zero"'
        )
    if policy == "skip":
        return None
    mended = [_zeroed(g) if i in bad else g for i, g in enumerate(gradients)]
    return mended, norms(mended)


def _values(g: Tensor) -> Tensor:
    return g.coalesce().values() if g.layout is torch.sparse_coo else g


def _all_finite(g: Tensor) -> bool:
    # A sum over the flags, not all(): of a sharded gradient each shard counts its own
    return not norms([torch.isfinite(_values(g)).logical_not().to(torch.float32)])[0]


def _zeroed(g: Tensor) -> Tensor:
    if g.layout is torch.sparse_coo:
        g = g.coalesce()
        return torch.sparse_coo_tensor(g.indices(), _zeroed(g.values()), g.shape, check_invariants=True)
    return torch.where(torch.isfinite(g), g, torch.zeros_like(g))
