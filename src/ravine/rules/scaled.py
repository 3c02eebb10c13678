"""Steps scaled by all past gradients, or to the size of past steps: AdaGrad, Adadelta and their dialects."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.math import mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon, step_size
from ravine.types import Array, Scalar, State


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
