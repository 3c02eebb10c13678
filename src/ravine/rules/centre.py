"""Gradient centralisation: the gradient of each unit's incoming weights made to have mean zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import row_mean
from ravine.rules.rule import Combinator, Rule, values
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Centralized(Combinator):
    """Each row g[i] of the gradient loses its mean; vectors (biases, norms' scales) stay.

    A row is a unit's incoming weights, whose sum then never changes under plain descent.
    Reference: Yong et al. 2020, arXiv:2004.01461, equation 1.
    """

    scope = "row"
    rule: Rule

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        like = next(iter(values(self.rule).values()), None)
        return g - row_mean(g, like)
