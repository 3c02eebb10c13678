"""Rules that find their own rate as a bound on the distance to the solution: Prodigy and D-Adaptation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ravine.rules.adam import Moments
from ravine.rules.math import absolute, maximum, mix, sqrt, where
from ravine.rules.rule import Rule, hyper
from ravine.types import Array, Scalar, State

TINY = 1e-300  # a sum of float64 that is smaller is zero: no quotient is taken of it


def multiple(search: str = "log 1e-1 1e1") -> Any:
    """The learning rate of a rule that finds its own."""
    return hyper(1.0, "[0, inf)", "multiple of the rate that the rule finds", symbol=r"\eta", search=search)


def guess(meaning: str, unit: str, symbol: str) -> Any:
    """What a rule takes for the distance before it knows better."""
    return hyper(1e-6, "(0, inf)", meaning, unit=unit, symbol=symbol)


def _begun(rule: Rule, w: Array) -> State:
    return {slot: w.clone() if slot == "p" else w.new_zeros(w.shape) for slot in rule.slots}


@dataclass(frozen=True)
class Found(Rule, ABC):
    """A rule that finds its rate; where it keeps the start of the weights, that is its slot p."""

    contender = False
    grows = True
    slots: ClassVar[tuple[str, ...]] = ("p",)
    exact = ("p",)

    def init(self, w: Array) -> State:
        """Zeros, but for the start."""
        return _begun(self, w)


@dataclass(frozen=True)
class Distance(Moments, ABC):
    """What the forms of Adam that estimate the distance to the solution have in common."""

    grows = True
    exact = ("p",)
    scalars: ClassVar[Mapping[str, float]] = {"d": 0.0, "r": 0.0}
    sums = ("gain", "weight")
    power: ClassVar[int] = 1  # of the distance, as a weight of a gradient
    lr: Scalar = multiple()
    first: Scalar = guess("first guess of the distance to the solution", "w", "d_0")

    def init(self, w: Array) -> State:
        """Zeros, but for the start."""
        return _begun(self, w)

    def known(self, s: State) -> tuple[Array, Array]:
        """The distance known before this step, and the memory of the sums."""
        return maximum(s["d"], self.first), sqrt(self.beta2)

    def gathered(self, g: Array, s: State) -> Array:
        """The weighted sum of gradients after this step."""
        d, k = self.known(s)
        return k * s["s"] + (1 - k) * self.lr * d**self.power * g


@final
@dataclass(frozen=True)
class Prodigy(Distance):
    """Prodigy: Adam whose rate is a lower bound on the distance to the solution, which grows as the weights move.

        m <- b1 m + (1 - b1) d g      v <- b2 v + (1 - b2) d^2 g^2      k = sqrt(b2)
        r <- k r + (1 - k) lr d^2 <g, p - w>      s <- k s + (1 - k) lr d^2 g      d <- max(d, r / |s|_1)
        u = -lr d (m / (sqrt(v) + d eps) + wd w)      with the d of before the step

    State: m, v, s, the start p; d [w] and r, one number a run. Sums are over all tensors, of all groups.
    Reference: Mishchenko & Defazio 2024, arXiv:2306.06101, algorithm 4; the decay is that of the authors' code.
    """

    family = "prodigy"
    differs = "no bias correction; the decay follows d (Mishchenko & Defazio)"
    when = "When you want Adam without a rate and D-Adaptation's guess stays too small, as in fine-tuning."
    slots = ("m", "v", "s", "p")
    power = 2
    weight_decay: Scalar = hyper(0.0, "[0, inf)", "pull of the weights towards zero", unit="1 per w", symbol=r"\lambda")

    def terms(self, g: Array, s: State, w: Array, t: Scalar) -> State:
        return {"gain": g * (s["p"] - w), "weight": absolute(self.gathered(g, s))}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d, k = self.known(s)
        m, v = mix(s["m"], d * g, self.beta1), mix(s["v"], d**2 * g**2, self.beta2)
        r = k * s["r"] + (1 - k) * self.lr * d**2 * s["gain"]
        new = {"m": m, "v": v, "s": self.gathered(g, s), "p": s["p"]}
        u = -self.lr * d * (m / (sqrt(v) + d * self.eps) + self.weight_decay * w)
        return u, {**new, "r": r, "d": maximum(d, r / maximum(s["weight"], TINY))}


@dataclass(frozen=True)
class Adapted(Distance, ABC):
    """Adam with D-Adaptation; its forms differ in the mean square that weighs the slopes."""

    family = "dadapt-adam"
    slots = ("m", "v", "s")

    @abstractmethod
    def weighing(self, g: Array, s: State) -> Array:
        """The mean square by whose root slopes are weighed."""

    def terms(self, g: Array, s: State, w: Array, t: Scalar) -> State:
        """The slope along the sum of gradients, and that sum's size."""
        a = sqrt(self.weighing(g, s)) + self.eps
        return {"gain": g * s["s"] / a, "weight": absolute(self.gathered(g, s))}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The step with the distance known before it."""
        d, k = self.known(s)
        m, v = mix(s["m"], self.lr * d * g, self.beta1), mix(s["v"], g**2, self.beta2)
        r = k * s["r"] + (1 - k) * self.lr * d * s["gain"]
        new = {"m": m, "v": v, "s": self.gathered(g, s), "r": r}
        return -m / (sqrt(v) + self.eps), {**new, "d": maximum(d, r / maximum((1 - k) * s["weight"], TINY))}


@final
@dataclass(frozen=True)
class DAdaptAdam(Adapted):
    """Adam with D-Adaptation: the rate is a lower bound on the distance to the solution.

        m <- b1 m + (1 - b1) lr d g      v <- b2 v + (1 - b2) g^2      k = sqrt(b2)      a = sqrt(v) + eps
        r <- k r + (1 - k) lr d <g, s / a>      s <- k s + (1 - k) lr d g      d <- max(d, r / ((1 - k) |s|_1))
        u = -m / a      with the d of before the step

    State: m [w g], v [g^2], s [w g]; d [w] and r, one number a run. Sums are over all tensors, of all groups.
    Reference: Defazio & Mishchenko 2023, arXiv:2301.07733, algorithm 5.
    """

    differs = "slopes weighed by this step's mean square (Defazio & Mishchenko)"
    when = "When you want Adam without a rate: leave lr at 1, let it find the scale, and give it a schedule."

    def weighing(self, g: Array, s: State) -> Array:
        return mix(s["v"], g**2, self.beta2)


@final
@dataclass(frozen=True)
class DAdaptAdamLagged(Adapted):
    """Adam with D-Adaptation whose slopes are weighed by the mean square of before the step.

        as DAdaptAdam, but      r <- k r + (1 - k) lr d <g, s / (sqrt(v_{t-1}) + eps)>      u = -m / a

    State: m [w g], v [g^2], s [w g]; d [w] and r, one number a run. Sums are over all tensors, of all groups.
    Reference: Defazio & Mishchenko 2023, arXiv:2301.07733, in the form of the authors' code.
    """

    dialect = "lagged"
    differs = "slopes weighed by the mean square of the step before (the authors' code)"

    def weighing(self, g: Array, s: State) -> Array:
        return s["v"]


@final
@dataclass(frozen=True)
class DAdaptSGD(Found):
    """Gradient descent with momentum and D-Adaptation: the rate is a lower bound on the distance to the solution.

        h = lr d / |g_1|      r <- r + h <g, s>      s <- s + h g      d <- max(d, 2 r / |s|)
        u = (1 - b) (p - s - w)      with the d of before the step

    State: s [w], the start p [w]; d [w], r [w^2] and n = |g_1| [g], one number a run. Sums are over all tensors, of
    all groups; the first gradient is the first that is not zero.
    Reference: Defazio & Mishchenko 2023, arXiv:2301.07733, algorithm 4.
    """

    family = "dadapt-sgd"
    differs = "momentum as an average of the weights (Defazio & Mishchenko)"
    when = "When you want plain descent without a rate: leave lr at 1 and let it find the scale."
    slots = ("s", "p")
    scalars: ClassVar[Mapping[str, float]] = {"d": 0.0, "r": 0.0, "n": 0.0}
    sums = ("gain", "size", "slope")
    lr: Scalar = multiple()
    beta: Scalar = hyper(0.9, "[0, 1)", "share of the weights that stays", symbol=r"\beta", search="log1m 0.5 0.99")
    first: Scalar = guess("first guess of the distance to the solution", "w", "d_0")

    def terms(self, g: Array, s: State, w: Array, t: Scalar) -> State:
        return {"gain": g * s["s"], "size": s["s"] ** 2, "slope": g**2}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        d, n = maximum(s["d"], self.first), where(s["n"] > 0, s["n"], sqrt(s["slope"]))
        h = self.lr * d * n / maximum(n**2, TINY)
        z, r, size = s["s"] + h * g, s["r"] + h * s["gain"], s["size"] + 2 * h * s["gain"] + h**2 * s["slope"]
        new = {"s": z, "p": s["p"], "r": r, "n": n, "d": maximum(d, 2 * r / sqrt(maximum(size, TINY)))}
        return (1 - self.beta) * (s["p"] - z - w), new
