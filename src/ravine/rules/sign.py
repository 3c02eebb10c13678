"""Steps of one size whatever the gradient's: signSGD, Signum and Lion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import mix, sign
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import shrinking, step_size
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class SignSGD(Rule):
    """signSGD: every weight moves by the same amount, against the sign of its gradient.

        u = -lr sign(g)

    Reference: Bernstein et al. 2018, arXiv:1802.04434, algorithm 1.
    """

    family = "signsgd"
    differs = "one form only"
    when = "For compressed communication and as a study of Adam: only the gradient's sign is used."
    contender = False
    lr: Scalar = step_size(1e-3, "1e-5 1e-1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return -self.lr * sign(g), {}


@final
@dataclass(frozen=True)
class Signum(Rule):
    """Signum: signSGD on a running mean of the gradient.

        m <- b m + (1 - b) g      u = -lr sign(m)

    State: m [g].   Reference: Bernstein et al. 2018, arXiv:1802.04434, algorithm 2.
    """

    family = "signum"
    differs = "one form only"
    when = "Where signSGD is used and gradients are noisy: the sign is taken of their mean."
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("m",)
    lr: Scalar = step_size(1e-3, "1e-5 1e-1")
    momentum: Scalar = hyper(0.9, "[0, 1)", "memory of the mean gradient", symbol=r"\beta", search="log1m 0.5 0.99")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.momentum)
        return -self.lr * sign(m), {"m": m}


@final
@dataclass(frozen=True)
class Lion(Rule):
    """Lion: the sign of a mean that weighs the newest gradient more than the mean that is remembered.

        u = -lr (sign(b1 m + (1 - b1) g) + wd w)      m <- b2 m + (1 - b2) g

    State: m [g].   Reference: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    family = "lion"
    differs = "one form only"
    when = "When memory counts and batches are large: half of Adam's state; use a rate 3 to 10 times lower, more decay."
    slots: ClassVar[tuple[str, ...]] = ("m",)
    contender = False
    lr: Scalar = step_size(1e-4, "1e-6 1e-2")
    beta1: Scalar = hyper(0.9, "[0, 1)", "share of the mean in the step", symbol=r"\beta_1", search="log1m 0.5 0.99")
    beta2: Scalar = hyper(0.99, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_2", search="log1m 0.9 0.999")
    weight_decay: Scalar = shrinking(0.0)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        step = sign(mix(s["m"], g, self.beta1))
        return -self.lr * (step + self.weight_decay * w), {"m": mix(s["m"], g, self.beta2)}
