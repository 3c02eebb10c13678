"""Adam with another second moment: Yogi, AdaBelief, ADOPT."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import final

from ravine.rules.adam import Moments
from ravine.rules.math import maximum, minimum, mix, sign, sqrt, where
from ravine.rules.rule import hyper
from ravine.rules.usual import epsilon, step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class _Additive(Moments, ABC):
    family = "yogi"
    lr: Scalar = step_size(1e-2, "1e-4 1e0")
    eps: Scalar = epsilon(1e-3)
    start: Scalar = hyper(1e-6, "[0, inf)", "what the mean square starts at", unit="g^2", symbol="v_0")

    def init(self, w: Array) -> State:
        return {"m": w.new_zeros(w.shape), "v": w.new_zeros(w.shape) + self.start}

    def moments(self, g: Array, s: State) -> tuple[Array, Array]:
        """The mean square moves towards g^2 by a share of g^2, not of the distance between them."""
        v = s["v"] - (1 - self.beta2) * sign(s["v"] - g * g) * (g * g)
        return mix(s["m"], g, self.beta1), v


@final
@dataclass(frozen=True)
class Yogi(_Additive):
    """Yogi: Adam whose mean square grows and shrinks by steps of the gradient's own size.

        m as in Adam      v <- v - (1 - b2) sign(v - g^2) g^2      u = -lr m / (sqrt(v) + eps)

    State: m [g], v [g^2].   Reference: Zaheer et al. 2018, NeurIPS, algorithm 2.
    """

    differs = "no bias correction, epsilon outside the root (the paper)"
    when = "Where Adam forgets rare gradients too fast: its second moment changes only slowly."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        return -self.lr * m / (sqrt(v) + self.eps), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class YogiCorrected(_Additive):
    """Yogi with Adam's corrections of the bias.

        m, v as in Yogi      u = -lr m^ / (sqrt(v^) + eps)

    State: m [g], v [g^2].   Reference: the form of Optax, TensorFlow Addons and pytorch_optimizer.
    """

    dialect = "corrected"
    differs = "both moments bias-corrected (Optax, pytorch_optimizer)"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        return self.stepped(m, v, t), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdaBelief(Moments):
    """AdaBelief: a long step where the gradient is as expected, a short one where it surprises.

        m as in Adam      v <- b2 v + (1 - b2) (g - m)^2 + eps      u = -lr m^ / (sqrt(v^) + eps)

    State: m [g], v [g^2], the running square of the surprise. Epsilon is added to v for good at every step, and once
    more to its root.   Reference: Zhuang et al. 2020, arXiv:2010.07468, algorithm 2.
    """

    family = "adabelief"
    differs = "epsilon stays in the second moment and is added to its root too (the paper and its authors' code)"
    when = "Where Adam works but overshoots on noise-free stretches: it steps far where the gradient is as expected."
    eps: Scalar = epsilon(1e-8, "g, and g^2 inside")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.beta1)
        v = mix(s["v"], (g - m) * (g - m), self.beta2) + self.eps
        return self.stepped(m, v, t), {"m": m, "v": v}


@dataclass(frozen=True)
class _Lagged(Moments, ABC):
    family = "adopt"
    beta2: Scalar = hyper(0.9999, "[0, 1)", "memory of the mean square", symbol=r"\beta_2", search="log1m 0.9 0.99999")
    eps: Scalar = epsilon(1e-6)

    def scaled(self, g: Array, s: State, t: Scalar) -> tuple[Array, Array]:
        """The gradient by the root of the mean square of those before it, and that mean square; g^2 at the first."""
        v = where(t > 1, s["v"], g * g)
        return g / maximum(sqrt(v), self.eps), v

    def averaged(self, d: Array, v: Array, g: Array, s: State, t: Scalar) -> tuple[Array, State]:
        """The step along the mean of the scaled gradients d; none at the first, which only begins the mean square."""
        m = where(t > 1, mix(s["m"], d, self.beta1), s["m"])
        return -self.lr * m, {"m": m, "v": mix(v, g * g, self.beta2)}


@final
@dataclass(frozen=True)
class ADOPT(_Lagged):
    """ADOPT: Adam that scales a gradient by those before it and averages afterwards, so that any beta2 converges.

        d = g / max(sqrt(v), eps)      m <- b1 m + (1 - b1) d      u = -lr m      v <- b2 v + (1 - b2) g^2

    State: m [1], v [g^2], which begins as the first g^2; that step moves nothing.
    Reference: Taniguchi et al. 2024, arXiv:2411.02853, algorithm 1.
    """

    differs = "the scaled gradient enters whole (the paper's algorithm 1)"
    when = "When Adam's second memory must not matter for convergence: it allows any beta2, small ones too."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d, v = self.scaled(g, s, t)
        return self.averaged(d, v, g, s, t)


@final
@dataclass(frozen=True)
class ADOPTClipped(_Lagged):
    """ADOPT with the scaled gradient cut to a bound that grows with time.

        d = g / max(sqrt(v), eps) cut to +-(t - 1)^(1/4)      m, v as in ADOPT      u = -lr m

    State: m [1], v [g^2].   Reference: Taniguchi et al. 2024, arXiv:2411.02853, as its authors' code has it.
    """

    dialect = "clipped"
    differs = "the scaled gradient is cut to +-(t - 1)^(1/4) (the authors' code by default)"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d, v = self.scaled(g, s, t)
        limit = (t - 1) ** 0.25
        return self.averaged(minimum(maximum(d, -limit), limit), v, g, s, t)
