"""Adafactor: Adam's denominator from the means of rows and columns, so that its memory is that of a vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from ravine.rules.math import axes, maximum, minimum, mix, opaque, sqrt, tensor_norm
from ravine.rules.matrix import either, is_matrix
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon
from ravine.types import Array, Scalar, State


@opaque(r"\operatorname{mean}_{\text{row}}(#1)")
def _row_mean(x: Array) -> Array:
    return x.mean(-1, keepdim=True)


@opaque(r"\operatorname{mean}_{\text{column}}(#1)")
def _column_mean(x: Array) -> Array:
    return x.mean(-2, keepdim=True)


@opaque(r"\operatorname{RMS}(#1)")
def _rms(x: Array, like: Scalar) -> Array:
    """The root mean square of a whole tensor, which broadcasts against it; 0 of an empty one."""
    return tensor_norm(x, like) / max(1, x[0].numel() if axes(like) else x.numel()) ** 0.5


@dataclass(frozen=True)
class Factored(Rule, ABC):
    """What both forms of Adafactor declare: they differ in where epsilon stands."""

    family = "adafactor"
    contender = False
    scope = "tensor"
    slots = ("r", "c", "v")
    lr: Scalar = hyper(
        1e-2, "[0, inf)", "largest step, as a share of w", unit="1 per step", symbol=r"\eta", search="log 1e-4 1e0"
    )
    growth: Scalar = hyper(0.8, "[0, inf)", "how fast the memory grows with time", symbol=r"\gamma")
    eps: Scalar = epsilon(1e-30, "g^2")
    smallest: Scalar = hyper(1e-3, "[0, inf)", "size that a tensor has at least", unit="w", symbol=r"\epsilon_2")
    limit: Scalar = hyper(1.0, "(0, inf)", "largest root mean square of a step", symbol="d")
    weight_decay: Scalar = hyper(
        0.0, "[0, inf)", "pull of the weights towards zero", unit="1 per lr", symbol=r"\lambda"
    )

    def init(self, w: Array) -> State:
        """Means of rows and columns of a matrix, squares of a vector; what has no use is empty."""
        if hasattr(w, "opaque"):
            return {slot: w.new_zeros(w.shape) for slot in self.slots}
        if not is_matrix(w, 0.0):
            return {"r": w.new_zeros((0,)), "c": w.new_zeros((0,)), "v": w.new_zeros(w.shape)}
        row, column = (*w.shape[:-1], 1), (*w.shape[:-2], 1, w.shape[-1])
        return {"r": w.new_zeros(row), "c": w.new_zeros(column), "v": w.new_zeros((0,))}

    @abstractmethod
    def square(self, g: Array) -> Array:
        """What the means are taken of."""

    @abstractmethod
    def by_sides(self, g: Array, r: Array, c: Array) -> Array:
        """The gradient over the root of its mean square, which the means of rows and columns tell."""

    @abstractmethod
    def by_entry(self, g: Array, v: Array) -> Array:
        """The gradient over the root of its mean square."""

    def divided(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The gradient over the root of its mean square, and the new means."""
        beta, x = 1 - t ** (-self.growth), self.square(g)

        def factored() -> tuple[Array, State]:
            r, c = mix(s["r"], _row_mean(x), beta), mix(s["c"], _column_mean(x), beta)
            return self.by_sides(g, r, c), {"r": r, "c": c}

        def whole() -> tuple[Array, State]:
            v = mix(s["v"], x, beta)
            return self.by_entry(g, v), {"v": v}

        z, new = either(w, self.lr, factored, whole)
        return z, {**{slot: s[slot] for slot in self.slots}, **new}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The step, bounded, as a share of the tensor's size."""
        z, new = self.divided(g, s, w, t)
        step = maximum(_rms(w, self.lr), self.smallest) * minimum(self.lr, 1 / t**0.5)
        u = -step / maximum(_rms(z, self.lr) / self.limit, 1.0) * z
        return u - self.lr * self.weight_decay * w, new


@final
@dataclass(frozen=True)
class Adafactor(Factored):
    """Adafactor: Adam without momentum, whose second moment is kept as means of rows and columns.

        b = 1 - t^-growth      r <- b r + (1 - b) mean_row(g^2 + eps)      c <- b c + (1 - b) mean_column(g^2 + eps)
        z = g / sqrt(r c / mean(r))      z <- z / max(1, RMS(z) / d)
        u = -max(eps2, RMS(w)) min(lr, 1 / sqrt(t)) z - lr wd w

    State: r, c [g^2], one number a row and a column of the last two axes; of vectors v [g^2], each entry's own.
    Reference: Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5; the decay is torch's.
    """

    differs = "epsilon added to the squares (Shazeer & Stern)"
    when = "When Adam's state does not fit: rows and columns stand for whole matrices, at some cost in stability."

    def square(self, g: Array) -> Array:
        return g**2 + self.eps

    def by_sides(self, g: Array, r: Array, c: Array) -> Array:
        return g / sqrt(r / _column_mean(r)) / sqrt(c)  # one after the other: r c may be smaller than a float32

    def by_entry(self, g: Array, v: Array) -> Array:
        return g / sqrt(v)


@final
@dataclass(frozen=True)
class AdafactorClamped(Factored):
    """Adafactor whose roots are kept from zero, instead of the squares.

        b, r, c as in Adafactor, of g^2      z = g / max(eps, sqrt(r c / max(eps, mean(r))))      u = as in Adafactor

    State: r, c [g^2], one number a row and a column of the last two axes; of vectors v [g^2], each entry's own.
    Reference: torch.optim.Adafactor, after Shazeer & Stern 2018, arXiv:1804.04235.
    """

    dialect = "clamped"
    differs = "roots and the mean of rows not below epsilon, which is float32's by default (torch)"
    eps: Scalar = epsilon(2.0**-23)

    def square(self, g: Array) -> Array:
        return g**2

    def by_sides(self, g: Array, r: Array, c: Array) -> Array:
        return self.by_entry(g, r * c / maximum(_column_mean(r), self.eps))

    def by_entry(self, g: Array, v: Array) -> Array:
        return g / sqrt(maximum(v, self.eps**2))
