"""AdaMax: Adam with a running maximum in place of the root mean square."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import final

from ravine.rules.adam import Moments
from ravine.rules.math import absolute, debias, maximum, mix
from ravine.rules.usual import step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class _Infinity(Moments, ABC):
    family = "adamax"
    slots = ("m", "n")
    lr: Scalar = step_size(2e-3, "2e-5 2e-1")


@final
@dataclass(frozen=True)
class Adamax(_Infinity):
    """AdaMax: Adam with the running maximum of the gradient in place of its root mean square.

        m <- b1 m + (1 - b1) g      n <- max(b2 n, |g| + eps)      u = -lr / (1 - b1^t) m / n

    State: m [g], n [g].   Reference: Kingma & Ba 2015, arXiv:1412.6980, algorithm 2; epsilon is torch's addition.
    """

    differs = "epsilon added to the gradient's size inside the maximum (torch)"
    when = "When rare large gradients upset Adam: one of them lowers the step for long, and none exceeds the rate."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.beta1)
        n = maximum(self.beta2 * s["n"], absolute(g) + self.eps)
        return -self.lr * debias(m, self.beta1, t) / n, {"m": m, "n": n}


@final
@dataclass(frozen=True)
class AdamaxOutside(_Infinity):
    """AdaMax with epsilon beside the maximum, so that the maximum itself is the paper's.

        n <- max(b2 n, |g|)      u = -lr / (1 - b1^t) m / (n + eps)

    State: m [g], n [g]. With eps = 0 it is the paper's, which divides 0 by 0 where no gradient ever came.
    Reference: Kingma & Ba 2015, algorithm 2; Keras's form.
    """

    dialect = "eps-outside"
    differs = "epsilon added to the maximum (Keras; the paper with epsilon 0)"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.beta1)
        n = maximum(self.beta2 * s["n"], absolute(g))
        return -self.lr * debias(m, self.beta1, t) / (n + self.eps), {"m": m, "n": n}
