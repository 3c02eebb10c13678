"""Adam and AdamW, and what others print under the same names."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import debias, mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon, shrinking, step_size
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
