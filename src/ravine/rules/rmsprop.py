"""RMSProp and its dialects: steps scaled by the running size of the gradient, entry by entry."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon, step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class _Squares(Rule, ABC):
    family = "rmsprop"
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("v",)
    lr: Scalar = step_size(1e-2, "1e-5 1e-1")
    alpha: Scalar = hyper(
        0.99, "[0, 1)", "memory of the running mean of squares", symbol=r"\alpha", search="log1m 0.9 0.999"
    )


@final
@dataclass(frozen=True)
class RMSprop(_Squares):
    """RMSProp: a step divided by the running root mean square of the gradient.

        v <- alpha v + (1 - alpha) g^2      u = -lr g / (sqrt(v) + eps)

    State: v [g^2].   Reference: Tieleman & Hinton 2012, Coursera lecture 6.5; torch.optim.RMSprop.
    """

    differs = "epsilon outside the root (torch, lecture S1)"
    when = "For recurrent nets and reinforcement learning, where the target moves; elsewhere Adam is the safer choice."
    contender = True
    eps: Scalar = epsilon(1e-8)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.alpha)
        return -self.lr * g / (sqrt(v) + self.eps), {"v": v}


@final
@dataclass(frozen=True)
class RMSpropInside(_Squares):
    """RMSProp with epsilon under the root.

        v <- alpha v + (1 - alpha) g^2      u = -lr g / sqrt(v + eps)

    State: v [g^2].   Reference: lectures S0, S3, S4; TensorFlow's form.
    """

    dialect = "eps-inside"
    differs = "epsilon inside the root (TensorFlow)"
    eps: Scalar = epsilon(1e-7, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.alpha)
        return -self.lr * g / sqrt(v + self.eps), {"v": v}


@final
@dataclass(frozen=True)
class RMSpropTwice(_Squares):
    """RMSProp as lecture S2 prints it: epsilon enters the mean of squares and once more the root.

        v <- alpha v + (1 - alpha) g^2      u = -lr g / sqrt((v + eps) + eps)

    State: v [g^2].   Reference: lecture S2, equation 7.
    """

    dialect = "eps-twice"
    differs = "epsilon twice inside the root: equals eps-inside with 2 epsilon"
    eps: Scalar = epsilon(1e-7, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.alpha)
        return -self.lr * g / sqrt((v + self.eps) + self.eps), {"v": v}


@final
@dataclass(frozen=True)
class RMSpropLagged(_Squares):
    """RMSProp as lecture S0 prints it: the mean of squares lags one gradient behind.

        v <- alpha v + (1 - alpha) p^2      u = -lr g / sqrt(v + eps)      p <- g

    State: v [g^2], p [g], the last gradient. The first step divides by sqrt(eps).   Reference: lecture S0.
    """

    dialect = "lagged"
    differs = "the root uses gradients up to the last step only; the first step is g / sqrt(eps)"
    slots = ("v", "p")
    eps: Scalar = epsilon(1e-7, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], s["p"] * s["p"], self.alpha)
        return -self.lr * g / sqrt(v + self.eps), {"v": v, "p": g}


@dataclass(frozen=True)
class _Rolling(_Squares, ABC):
    """RMSProp whose steps are summed with momentum."""

    slots = ("v", "b")
    momentum: Scalar = hyper(0.9, "[0, 1)", "share of the last step that is kept", symbol=r"\beta")
    eps: Scalar = epsilon(1e-8)


@final
@dataclass(frozen=True)
class RMSpropMomentum(_Rolling):
    """RMSProp with momentum over the scaled gradients.

        v <- alpha v + (1 - alpha) g^2      b <- beta b + g / (sqrt(v) + eps)      u = -lr b

    State: v [g^2], b [1].   Reference: torch.optim.RMSprop(momentum=...).
    """

    dialect = "momentum"
    differs = "momentum with the learning rate outside the sum, epsilon outside the root (torch)"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.alpha)
        b = self.momentum * s["b"] + g / (sqrt(v) + self.eps)
        return -self.lr * b, {"v": v, "b": b}


@final
@dataclass(frozen=True)
class RMSpropMomentumInside(_Rolling):
    """RMSProp with momentum as lecture S4 prints it: learning rate and epsilon inside.

        v <- alpha v + (1 - alpha) g^2      b <- beta b - lr g / sqrt(v + eps)      u = b

    State: v [g^2], b [w].   Reference: lecture S4, section 10.5, with epsilon 1e-7.
    """

    dialect = "momentum-inside"
    differs = "momentum with the learning rate inside the sum, epsilon inside the root (lecture S4)"
    eps: Scalar = epsilon(1e-7, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.alpha)
        b = self.momentum * s["b"] - self.lr * g / sqrt(v + self.eps)
        return b, {"v": v, "b": b}


@final
@dataclass(frozen=True)
class RMSpropNesterov(_Rolling):
    """RMSProp with Nesterov's momentum over the scaled gradients.

        v <- alpha v + (1 - alpha) g^2      d = g / (sqrt(v) + eps)      b <- beta b + d      u = -lr (d + beta b)

    State: v [g^2], b [1].   Reference: lecture S1 (named); the change of variables of Nesterov applied to d.
    """

    dialect = "nesterov"
    differs = "Nesterov's momentum over the scaled gradient, without a look-ahead evaluation"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.alpha)
        d = g / (sqrt(v) + self.eps)
        b = self.momentum * s["b"] + d
        return -self.lr * (d + self.momentum * b), {"v": v, "b": b}


def _variance(s: State, g: Array, alpha: Scalar) -> tuple[Array, Array]:
    """The running mean of g and its running variance, updated without subtracting two large squares.

    Equal to E[g^2] - E[g]^2 in exact arithmetic; that form loses all digits, and its root may be of a negative
    number, when the gradient hardly varies.   Reference: Welford 1962; West 1979 for weighted data.
    """
    drift = g - s["m"]
    return s["m"] + (1 - alpha) * drift, alpha * (s["c"] + (1 - alpha) * drift * drift)


@final
@dataclass(frozen=True)
class RMSpropCentered(_Squares):
    """Centred RMSProp: divided by the running standard deviation of the gradient.

        d = g - m      m <- m + (1 - alpha) d      c <- alpha (c + (1 - alpha) d^2)      u = -lr g / (sqrt(c) + eps)

    State: m [g], c [g^2], the variance; torch keeps E[g^2] and subtracts.   Reference: Graves 2013, arXiv:1308.0850.
    """

    dialect = "centered"
    differs = "the mean gradient is subtracted from the mean of squares (torch's centered=True)"
    slots = ("m", "c")
    eps: Scalar = epsilon(1e-8)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, c = _variance(s, g, self.alpha)
        return -self.lr * g / (sqrt(c) + self.eps), {"m": m, "c": c}


@final
@dataclass(frozen=True)
class RMSpropCenteredMomentum(_Rolling):
    """Centred RMSProp with momentum.

        m, c as in the centred form      b <- beta b + g / (sqrt(c) + eps)      u = -lr b

    State: m [g], c [g^2], b [1].   Reference: Graves 2013, arXiv:1308.0850, equations 38 to 41; torch.optim.RMSprop.
    """

    dialect = "centered-momentum"
    differs = "centred, with momentum, learning rate outside (torch's centered=True, momentum=...)"
    slots = ("m", "c", "b")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, c = _variance(s, g, self.alpha)
        b = self.momentum * s["b"] + g / (sqrt(c) + self.eps)
        return -self.lr * b, {"m": m, "c": c, "b": b}
