"""Gradient noise for the rules that want it, by seed, step and place among all parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ravine.engines.eager import as_real, wide
from ravine.engines.noise import gradient_noise
from ravine.errors import UserError
from ravine.optim.made import Moving
from ravine.rules.rule import needs_of
from ravine.types import State


def tell(
    facts: Sequence[State], found: Sequence[Moving], gradients: Sequence[Tensor], params: Sequence[Any], seed: int
) -> None:
    """Add the noise to the facts of each parameter whose rule wants it; ``params`` are those of each group.

    Raises:
        UserError: for a sharded parameter, whose parts would have to draw together.
    """
    for each, g, known in zip(found, gradients, facts, strict=True):
        if "noise" in needs_of(each.made.rule):
            if hasattr(g, "full_tensor"):
                raise UserError("gradient noise is not drawn for sharded parameters: leave gradient_noise out")
            real = as_real(g.to_dense() if g.is_sparse else g)
            place = sum(map(len, params[: each.which])) + each.index
            known["noise"] = gradient_noise(seed, each.t, place, real.to(wide(real.dtype)))
