"""Steps that mix the newest gradient with one memory of it or more: QHM, QHAdam, AdEMAMix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.adam import Moments
from ravine.rules.descent import rate
from ravine.rules.math import debias, log, maximum, minimum, mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import shrinking
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class QHM(Rule):
    """Quasi-hyperbolic momentum: a mix of the gradient and its running mean.

        m <- b m + (1 - b) g      u = -lr ((1 - nu) g + nu m)

    State: m [g]. With nu = 1 it is momentum of rate lr (1 - b), with nu = b Nesterov's.
    Reference: Ma & Yarats 2019, arXiv:1810.06801, equations 3 and 4, with the defaults that it recommends.
    """

    family = "qhm"
    differs = "one form only"
    when = "When momentum is worth tuning: it blends the plain gradient with the mean and costs no more."
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("m",)
    lr: Scalar = rate(1e-1, "1e-3 1e1")
    momentum: Scalar = hyper(0.999, "[0, 1)", "memory of the mean gradient", symbol=r"\beta", search="log1m 0.9 0.9999")
    nu: Scalar = hyper(0.7, "[0, 1]", "share of the mean in the step", symbol=r"\nu", search="linear 0.3 1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.momentum)
        return -self.lr * ((1 - self.nu) * g + self.nu * m), {"m": m}


@final
@dataclass(frozen=True)
class QHAdam(Moments):
    """QHAdam: Adam whose moments are mixed with the newest gradient and its square.

        m, v as in Adam      u = -lr ((1 - n1) g + n1 m^) / (sqrt((1 - n2) g^2 + n2 v^) + eps)

    State: m [g], v [g^2]. With n1 = n2 = 1 it is Adam.
    Reference: Ma & Yarats 2019, arXiv:1810.06801, section 5, with the defaults of its authors' code.
    """

    family = "qhadam"
    differs = "both moments bias-corrected, epsilon outside the root (the paper and its authors' code)"
    when = "When Adam's momentum is worth tuning: two more numbers blend the plain gradient in."
    beta1: Scalar = hyper(0.995, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.5 0.999")
    nu1: Scalar = hyper(0.7, "[0, 1]", "share of the mean in the step", symbol=r"\nu_1", search="linear 0.3 1")
    nu2: Scalar = hyper(1.0, "[0, 1]", "share of the mean square below it", symbol=r"\nu_2", search="linear 0.3 1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        above = mix(debias(m, self.beta1, t), g, self.nu1)
        below = mix(debias(v, self.beta2, t), g * g, self.nu2)
        return -self.lr * above / (sqrt(below) + self.eps), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdEMAMix(Moments):
    """AdEMAMix: Adam with a second, much slower mean of the gradient beside the first.

        m, v as in Adam      l <- b3_t l + (1 - b3_t) g      u = -lr ((m^ + a_t l) / (sqrt(v^) + eps) + wd w)
        a_t = a r      b3_t = b3^(1 / (r + (1 - r) ln b3 / ln b1))      r = min(t / T, 1)

    State: m [g], v [g^2], l [g], which is not corrected. While r grows, the slow mean's length of memory grows evenly
    from that of m.   Reference: Pagliardini et al. 2024, arXiv:2409.03137, algorithm 1 with its schedulers.
    """

    family = "ademamix"
    differs = "one form only; warmup 0 leaves out the growth of alpha and beta3"
    when = "For long runs on much data, where gradients from thousands of steps ago still say something."
    slots: ClassVar[tuple[str, ...]] = ("m", "v", "l")
    beta1: Scalar = hyper(0.9, "(0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.5 0.99")
    beta3: Scalar = hyper(0.9999, "(0, 1)", "memory of the slow mean", symbol=r"\beta_3", search="log1m 0.999 0.99999")
    alpha: Scalar = hyper(5.0, "[0, inf)", "weight of the slow mean", symbol=r"\alpha", search="linear 1 10")
    warmup: Scalar = hyper(0.0, "[0, inf)", "steps over which alpha and beta3 grow", unit="steps", symbol="T")
    weight_decay: Scalar = shrinking(0.0)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        r = minimum(t / maximum(self.warmup, 1.0), 1.0)
        b = self.beta3 ** (1 / (r + (1 - r) * log(self.beta3) / log(self.beta1)))
        (m, v), slow = self.moments(g, s), mix(s["l"], g, b)
        above = debias(m, self.beta1, t) + self.alpha * r * slow
        u = -self.lr * (above / (sqrt(debias(v, self.beta2, t)) + self.eps) + self.weight_decay * w)
        return u, {"m": m, "v": v, "l": slow}
