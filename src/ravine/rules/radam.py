"""RAdam: Adam that scales by the size of the gradient only once it knows that size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.adam import Moments
from ravine.rules.math import debias, maximum, sign, sqrt
from ravine.types import Array, Scalar, State

ENOUGH = 5.0  # the length of memory from which the variance of the mean square is taken to be finite; the paper says 4


@final
@dataclass(frozen=True)
class RAdam(Moments):
    """RAdam: momentum alone while the mean square is young, then Adam with a step that its variance rectifies.

        m, v as in Adam      n = 2 / (1 - b2) - 1      n_t = n - 2 t b2^t / (1 - b2^t)
        r = sqrt((n_t - 4) (n_t - 2) n / ((n - 4) (n - 2) n_t))
        u = -lr r m^ sqrt(1 - b2^t) / (sqrt(v) + eps)   if n_t > 5,   else   u = -lr m^

    State: m [g], v [g^2].   Reference: Liu et al. 2020, arXiv:1908.03265, algorithm 2; torch.optim.RAdam, which has
    the epsilon and 5 for the paper's 4.
    """

    family = "radam"
    differs = "rectified from a memory of 5 steps on, epsilon outside the root before correction (torch)"
    when = "When Adam needs a warm-up to survive its first steps and you would rather not tune one."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        known, size = rectified(self.beta2, t)
        return -self.lr * size * debias(m, self.beta1, t) / (known * (sqrt(v) + self.eps) + (1 - known)), {
            "m": m,
            "v": v,
        }


def rectified(beta2: Scalar, t: Scalar) -> tuple[Scalar, Scalar]:
    """1 where the memory is long enough to divide by the mean square, else 0; and the step's own factor."""
    correction = 1 - beta2**t
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / correction
    known = sign(maximum(length - ENOUGH, 0.0))
    n, n_t = maximum(longest, ENOUGH), maximum(length, ENOUGH)  # below, the root has no meaning and no use
    rectifier = sqrt((n_t - 4) * (n_t - 2) * n / ((n - 4) * (n - 2) * n_t))
    return known, known * rectifier * sqrt(correction) + (1 - known)
