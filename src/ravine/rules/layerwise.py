"""Rules whose steps are as long as the layer's weights allow: LARS and LAMB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.adam import Moments
from ravine.rules.math import debias, opaque, sqrt, tensor_norm, where
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon, step_size
from ravine.types import Array, Scalar, State

DECAY = "pull of the weights towards zero"


@opaque(r"\frac{#1}{#2}")
def _trust(weights: Array, step: Array) -> Array:
    """The ratio of two norms; 1 where one of them is zero, so that a layer that starts at zero can leave it."""
    one = step * 0 + 1
    return where(weights > 0, where(step > 0, weights / where(step > 0, step, one), one), one)


@final
@dataclass(frozen=True)
class LARS(Rule):
    """LARS: momentum whose every step is a fixed share of the layer's norm.

        q = trust |w| / (|g| + wd |w|)      m <- b m + lr q (g + wd w)      u = -m

    State: m [w]. Norms are of one tensor; q = 1 where one of them is zero, which lets zeros (biases) move.
    Reference: You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1.
    """

    family = "lars"
    differs = "the rate inside the momentum, every tensor scaled, vectors too (You et al.)"
    when = "For very large batches of convolutional nets; on small ones momentum is as good and simpler."
    contender = False
    scope = "tensor"
    slots = ("m",)
    lr: Scalar = step_size(1.0, "1e-2 1e2")
    beta: Scalar = hyper(0.9, "[0, 1)", "memory of the velocity", symbol=r"\beta", search="log1m 0.5 0.99")
    trust: Scalar = hyper(1e-3, "(0, inf)", "share of the layer's norm that a step of rate 1 has", symbol=r"\tau")
    weight_decay: Scalar = hyper(5e-4, "[0, inf)", DECAY, unit="g per w", symbol=r"\lambda", search="log 1e-6 1e-1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        n = tensor_norm(w, self.lr)
        q = _trust(self.trust * n, tensor_norm(g, self.lr) + self.weight_decay * n)
        m = self.beta * s["m"] + self.lr * q * (g + self.weight_decay * w)
        return -m, {"m": m}


@final
@dataclass(frozen=True)
class LAMB(Moments):
    """LAMB: Adam's direction, as long as the layer's weights.

        m, v as in Adam      r = m^ / (sqrt(v^) + eps) + wd w      u = -lr |w| / |r| r

    State: m [g], v [g^2]. Norms are of one tensor; |w| / |r| = 1 where one of them is zero. The paper's phi is |w|.
    Reference: You et al. 2020, arXiv:1904.00962, algorithm 2.
    """

    family = "lamb"
    differs = "bias-corrected, no bound on the ratio of the norms (You et al.)"
    when = "For very large batches of transformers, where one rate no longer suits all layers."
    scope = "tensor"
    eps: Scalar = epsilon(1e-6)
    weight_decay: Scalar = hyper(0.01, "[0, inf)", DECAY, unit="1 per lr", symbol=r"\lambda", search="log 1e-4 1e-1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        r = debias(m, self.beta1, t) / (sqrt(debias(v, self.beta2, t)) + self.eps) + self.weight_decay * w
        return -self.lr * _trust(tensor_norm(w, self.lr), tensor_norm(r, self.lr)) * r, {"m": m, "v": v}
