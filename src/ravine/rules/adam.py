"""The Adam family: Adam, AdamW, AdaMax, NAdam, and what others print under the same names."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import absolute, debias, maximum, mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.scaled import epsilon, shrinking, step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class Moments(Rule, ABC):
    """What every rule of two running moments declares."""

    family = "adam"
    contender = False
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    lr: Scalar = step_size(1e-3, "1e-5 1e-1")
    beta1: Scalar = hyper(0.9, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.5 0.99")
    beta2: Scalar = hyper(0.999, "[0, 1)", "memory of the mean square", symbol=r"\beta_2", search="log1m 0.9 0.9999")
    eps: Scalar = epsilon(1e-8)

    def moments(self, g: Array, s: State) -> tuple[Array, Array]:
        """The running mean of the gradient and of its square."""
        return mix(s["m"], g, self.beta1), mix(s["v"], g * g, self.beta2)

    def stepped(self, m: Array, v: Array, t: Scalar) -> Array:
        """The step of Adam and its kin: the mean by the root of the mean square, both freed of their bias."""
        return -self.lr * debias(m, self.beta1, t) / (sqrt(debias(v, self.beta2, t)) + self.eps)


@final
@dataclass(frozen=True)
class Adam(Moments):
    """Adam: a step scaled by the running size of the gradient.

        m <- b1 m + (1 - b1) g      v <- b2 v + (1 - b2) g^2      u = -lr m^ / (sqrt(v^) + eps)

    State: m [g], v [g^2]; a hat is division by 1 - b^t.   Reference: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    differs = "both moments bias-corrected, epsilon outside the root (Kingma & Ba, torch)"
    when = "When you cannot tune, or gradients differ much in scale from layer to layer: it works near its defaults."
    contender = True

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        return self.stepped(m, v, t), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdamInside(Moments):
    """Adam with epsilon under the root.

        m, v as in Adam      u = -lr m^ / sqrt(v^ + eps)

    State: m [g], v [g^2].   Reference: lecture S4, section 10.6, with bias correction.
    """

    dialect = "eps-inside"
    differs = "bias-corrected, epsilon inside the root (lecture S4)"
    eps: Scalar = epsilon(1e-8, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        return -self.lr * debias(m, self.beta1, t) / sqrt(debias(v, self.beta2, t) + self.eps), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdamHat(Moments):
    """Adam in the short form of its paper's section 2: the corrections folded into the step size.

        m, v as in Adam      u = -lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    State: m [g], v [g^2]. Epsilon is the paper's epsilon-hat: it weighs more while v is young.
    Reference: Kingma & Ba 2015, end of section 2; TensorFlow's and Keras's form, with epsilon 1e-7.
    """

    dialect = "eps-hat"
    differs = "corrections folded into the step size, so epsilon is added to the uncorrected root (TensorFlow, Keras)"
    eps: Scalar = epsilon(1e-7)

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        step = self.lr * sqrt(1 - self.beta2**t) / (1 - self.beta1**t)
        return -step * m / (sqrt(v) + self.eps), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdamUncorrected(Moments):
    """Adam without bias correction: the first step is (1 - b1) / sqrt(1 - b2), 3.16 at the defaults, times lr.

        m, v as in Adam      u = -lr m / (sqrt(v) + eps)

    State: m [g], v [g^2].   Reference: lecture S0.
    """

    dialect = "uncorrected"
    differs = "no bias correction, epsilon outside the root (lecture S0)"

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        return -self.lr * m / (sqrt(v) + self.eps), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdamUncorrectedInside(Moments):
    """Adam without bias correction, epsilon under the root.

        m, v as in Adam      u = -lr m / sqrt(v + eps)

    State: m [g], v [g^2].   Reference: lecture S4; lecture S3, which calls b2 beta and b1 beta_2.
    """

    dialect = "uncorrected-inside"
    differs = "no bias correction, epsilon inside the root (lecture S4; S3 with the betas' names swapped)"
    eps: Scalar = epsilon(1e-8, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        return -self.lr * m / sqrt(v + self.eps), {"m": m, "v": v}


@final
@dataclass(frozen=True)
class AdamPrinted(Moments):
    """Adam as lecture S4 prints it: the first moment averages g^2, so every step is downwards whatever the slope.

        m <- b1 m + (1 - b1) g^2      v <- b2 v + (1 - b2) g^2      u = -lr m / sqrt(v + eps)

    State: m [g^2], v [g^2]. Kept to show what the slip does.   Reference: lecture S4, section 10.6.
    """

    dialect = "as-printed"
    differs = "erratum: the first moment of g * g, which loses the sign of the gradient; shown, not recommended"
    eps: Scalar = epsilon(1e-8, "g^2")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = mix(s["m"], g * g, self.beta1), mix(s["v"], g * g, self.beta2)
        return -self.lr * m / sqrt(v + self.eps), {"m": m, "v": v}


@dataclass(frozen=True)
class _Decaying(Moments, ABC):
    family = "adamw"
    weight_decay: Scalar = shrinking(1e-2)

    def adam(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """Adam's own update."""
        return Adam(self.lr, self.beta1, self.beta2, self.eps).update(g, s, w, t)


@final
@dataclass(frozen=True)
class AdamW(_Decaying):
    """AdamW: Adam, and the weights shrink by themselves instead of through the gradient.

        u = u_Adam - lr wd w

    State: m [g], v [g^2].   Reference: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2; torch.optim.AdamW.
    """

    differs = "the decay is multiplied by the learning rate (torch)"
    when = "The default for transformers, and for any net that wants Adam and weight decay at once."
    contender = True

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.adam(g, s, w, t)
        return u - self.lr * self.weight_decay * w, new


@final
@dataclass(frozen=True)
class AdamWIndependent(_Decaying):
    """AdamW with a decay of its own: changing the learning rate leaves it alone.

        u = u_Adam - wd w

    State: m [g], v [g^2]. A schedule of the paper's eta_t must be given to lr and weight_decay both.
    Reference: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, line 12.
    """

    dialect = "independent"
    differs = "the decay is not multiplied by the learning rate (the paper's own form)"
    weight_decay: Scalar = hyper(
        1e-5, "[0, 1]", "share of the weights removed", unit="1 per step", symbol=r"\lambda", search="log 1e-7 1e-3"
    )

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.adam(g, s, w, t)
        return u - self.weight_decay * w, new


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


@final
@dataclass(frozen=True)
class NAdam(Moments):
    """NAdam: Adam that looks one momentum step ahead, its momentum warmed up.

        mu_t = b1 (1 - 0.96^(t psi) / 2)      q <- q mu_t
        u = -lr ((1 - mu_t) g / (1 - q) + mu_(t+1) m / (1 - q mu_(t+1))) / (sqrt(v^) + eps)

    State: m [g], v [g^2], q [1], the product of all mu.   Reference: Dozat 2016, ICLR workshop; torch.optim.NAdam.
    """

    family = "nadam"
    differs = "momentum warmed up by momentum_decay (Dozat's algorithm, torch)"
    when = "Wherever Adam works, as a drop-in that often gets there in fewer steps; its rate is twice Adam's."
    contender = True
    scalars: ClassVar[dict[str, float]] = {"q": 1.0}
    lr: Scalar = step_size(2e-3, "2e-5 2e-1")
    momentum_decay: Scalar = hyper(
        4e-3, "[0, inf)", "speed of the momentum's warm-up", unit="1 per step", symbol=r"\psi"
    )

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        mu = self.beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))
        mu_next = self.beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * self.momentum_decay))
        q = s["q"] * mu
        m, v = self.moments(g, s)
        ahead = (1 - mu) / (1 - q) * g + mu_next / (1 - q * mu_next) * m
        return -self.lr * ahead / (sqrt(debias(v, self.beta2, t)) + self.eps), {"m": m, "v": v, "q": q}


@final
@dataclass(frozen=True)
class NAdamConstant(Moments):
    """NAdam with a constant momentum.

        u = -lr (b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)) / (sqrt(v^) + eps)

    State: m [g], v [g^2].   Reference: Dozat 2016, the algorithm with mu_t = b1.
    """

    family = "nadam"
    dialect = "constant"
    differs = "constant momentum, no warm-up (the paper's simplified form)"
    lr: Scalar = step_size(2e-3, "2e-5 2e-1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m, v = self.moments(g, s)
        ahead = self.beta1 * debias(m, self.beta1, t + 1) + (1 - self.beta1) * debias(g, self.beta1, t)
        return -self.lr * ahead / (sqrt(debias(v, self.beta2, t)) + self.eps), {"m": m, "v": v}
