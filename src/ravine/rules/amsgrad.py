"""AMSGrad: Adam whose denominator never shrinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import debias, maximum, mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.scaled import epsilon, step_size
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class AMSGrad(Rule):
    """AMSGrad: Adam divided by the largest running mean square so far, so that rare large gradients are not forgotten.

        m, v as in Adam      x <- max(x, v)      u = -lr m^ / (sqrt(x / (1 - b2^t)) + eps)

    State: m [g], v [g^2], x [g^2].   Reference: Reddi et al. 2018, arXiv:1904.09237, algorithm 2; the bias corrections
    are torch's (amsgrad=True), the paper has none.
    """

    family = "adam"
    dialect = "amsgrad"
    differs = "the second moment is the largest so far, bias-corrected, epsilon outside the root (torch's amsgrad=True)"
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("m", "v", "x")
    lr: Scalar = step_size(1e-3, "1e-5 1e-1")
    beta1: Scalar = hyper(0.9, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.5 0.99")
    beta2: Scalar = hyper(0.999, "[0, 1)", "memory of the mean square", symbol=r"\beta_2", search="log1m 0.9 0.9999")
    eps: Scalar = epsilon(1e-8)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = mix(s["m"], g, self.beta1), mix(s["v"], g * g, self.beta2)
        x = maximum(s["x"], v)
        u = -self.lr * debias(m, self.beta1, t) / (sqrt(debias(x, self.beta2, t)) + self.eps)
        return u, {"m": m, "v": v, "x": x}
