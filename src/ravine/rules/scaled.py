"""Steps scaled by past gradients, entry by entry: AdaGrad, RMSProp, Adadelta and their dialects."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ravine.rules.math import mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.types import Array, Scalar, State


def step_size(default: float, search: str) -> Any:
    """The learning rate of a rule whose step does not depend on the gradient's scale."""
    return hyper(default, "[0, inf)", "step size", unit="w per step", symbol=r"\eta", search=f"log {search}")


def epsilon(default: float, unit: str = "g") -> Any:
    """What keeps a denominator from zero."""
    return hyper(default, "[0, inf)", "keeps the denominator from zero", unit=unit, symbol=r"\epsilon")


def shrinking(default: float) -> Any:
    """A decay of the weights that is part of a rule's own equation; searched where the rule decays by default."""
    search = "log 1e-4 1e0" if default else None
    return hyper(default, "[0, inf)", "pull of the weights towards zero", symbol=r"\lambda", search=search)


@dataclass(frozen=True)
class _Accumulated(Rule, ABC):
    family = "adagrad"
    slots: ClassVar[tuple[str, ...]] = ("r",)
    lr: Scalar = step_size(1e-2, "1e-4 1e0")
    start: Scalar = hyper(0.0, "[0, inf)", "what the sum of squares starts at", unit="g^2", symbol="r_0")

    def init(self, w: Array) -> State:
        return {"r": w.new_zeros(w.shape) + self.start}


@final
@dataclass(frozen=True)
class Adagrad(_Accumulated):
    """AdaGrad: each entry's step shrinks with the root of its summed squared gradients.

        r <- r + g^2      u = -lr g / (sqrt(r) + eps)

    State: r [g^2].   Reference: Duchi et al. 2011, JMLR 12:2121, diagonal form; epsilon as torch.optim.Adagrad.
    """

    differs = "epsilon outside the root (torch)"
    when = "For sparse or rare features in problems close to convex; in long runs its steps shrink until they stop."
    eps: Scalar = epsilon(1e-10)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        r = s["r"] + g * g
        return -self.lr * g / (sqrt(r) + self.eps), {"r": r}


@final
@dataclass(frozen=True)
class AdagradInside(_Accumulated):
    """AdaGrad with epsilon under the root.

        r <- r + g^2      u = -lr g / sqrt(r + eps)

    State: r [g^2].   Reference: lectures S0, S2, S3, S4; the form of TensorFlow 1.
    """

    dialect = "eps-inside"
    differs = "epsilon inside the root: it acts like its own root, so 1e-8 inside is 1e-4 outside"
    contender = False
    eps: Scalar = epsilon(1e-10, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        r = s["r"] + g * g
        return -self.lr * g / sqrt(r + self.eps), {"r": r}


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


@final
@dataclass(frozen=True)
class Adadelta(Rule):
    """Adadelta: the step is scaled to the size of past steps, so no learning rate is needed.

        v <- rho v + (1 - rho) g^2      d = sqrt(x + eps) / sqrt(v + eps) g
        x <- rho x + (1 - rho) d^2      u = -lr d

    State: v [g^2], x [w^2].   Reference: Zeiler 2012, arXiv:1212.5701, algorithm 1; lr is torch's addition.
    """

    family = "adadelta"
    differs = "epsilon inside both roots (Zeiler, torch)"
    when = "When no rate can be tuned and slow progress is acceptable: it starts with tiny steps and needs no rate."
    contender = False
    slots = ("v", "x")
    lr: Scalar = step_size(1.0, "1e-2 1e2")
    rho: Scalar = hyper(0.9, "[0, 1)", "memory of both running means", symbol=r"\rho", search="log1m 0.8 0.99")
    eps: Scalar = epsilon(1e-6, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = mix(s["v"], g * g, self.rho)
        d = sqrt(s["x"] + self.eps) / sqrt(v + self.eps) * g
        return -self.lr * d, {"v": v, "x": mix(s["x"], d * d, self.rho)}
