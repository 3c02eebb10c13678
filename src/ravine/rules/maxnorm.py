"""The max-norm constraint: the incoming weights of each unit kept inside a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import maximum, row_norm
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class MaxNorm(Combinator):
    """After the step each row w[i] longer than r is shortened to r; vectors (biases, norms' scales) stay.

    A row is a unit's incoming weights: of a linear layer [out, in], of a convolution [out, in, ...].
    Reference: Srivastava et al. 2014, JMLR 15:1929, section 5.1.
    """

    changes = "weights"
    scope = "row"
    rule: Rule
    max_norm: Scalar = hyper(
        3.0, "(0, inf)", "largest norm of a unit's incoming weights", unit="w", symbol="r", search="log 0.5 8"
    )

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.rule.update(g, s, w, t)
        z = w + u
        return self.max_norm / maximum(row_norm(z, self.max_norm), self.max_norm) * z - w, new
