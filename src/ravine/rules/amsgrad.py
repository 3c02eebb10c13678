"""AMSGrad: Adam whose denominator never shrinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.adam import Moments
from ravine.rules.math import debias, maximum, sqrt
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class AMSGrad(Moments):
    """AMSGrad: Adam divided by the largest running mean square so far, so that rare large gradients are not forgotten.

        m, v as in Adam      x <- max(x, v)      u = -lr m^ / (sqrt(x / (1 - b2^t)) + eps)

    State: m [g], v [g^2], x [g^2].   Reference: Reddi et al. 2018, arXiv:1904.09237, algorithm 2; the bias corrections
    are torch's (amsgrad=True), the paper has none.
    """

    dialect = "amsgrad"
    differs = "the second moment is the largest so far, bias-corrected, epsilon outside the root (torch's amsgrad=True)"
    slots = ("m", "v", "x")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        x = maximum(s["x"], v)
        u = -self.lr * debias(m, self.beta1, t) / (sqrt(debias(x, self.beta2, t)) + self.eps)
        return u, {"m": m, "v": v, "x": x}
