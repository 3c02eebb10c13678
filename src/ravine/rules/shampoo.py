"""Shampoo: the gradient between the inverse roots of the summed products of its rows and of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.rule import Rule, hyper
from ravine.rules.scaled import Adagrad
from ravine.rules.spectral import SideRule, columns_product, inverse_root, ridged, rows_product, turned
from ravine.rules.usual import epsilon, step_size
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Shampoo(SideRule):
    """Shampoo: AdaGrad with a matrix for the rows and one for the columns, instead of one number for each entry.

        L <- L + g g'      R <- R + g' g      P = (L + eps I)^(-1/4)      Q = (R + eps I)^(-1/4)      u = -lr P g Q

    State: L and R [g^2], P and Q [g^-1/2]; of vectors r [g^2]. The roots are made anew in each of the first ``period``
    steps, then every ``period`` steps. Vectors take Adagrad's step at the rate lr rest; a convolution is the matrix
    [out, in ...]; a side of more than 10,000 has no root, and the other one the power -1/2.
    Reference: Gupta, Koren & Singer 2018, arXiv:1802.09568, algorithm 1.
    """

    family = "shampoo"
    differs = "sums of products, no momentum (Gupta et al.)"
    when = "When steps are expensive and matrices small enough to factor: fewer steps, each of them dearer."
    companion = "vectors step by Adagrad at lr times rest"
    slots = ("r", "L", "R", "P", "Q")
    beside_only = ("r",)
    lr: Scalar = step_size(0.1, "1e-3 1e1")
    eps: Scalar = epsilon(1e-4, "g^2")
    rest: Scalar = hyper(0.1, "[0, inf)", "the companion's rate, as a share of lr", symbol=r"\rho")

    def beside(self) -> Rule:
        return Adagrad(self.lr * self.rest, 0.0, self.eps)

    def matrix(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        left, right = s["L"] + rows_product(g, self.lr), s["R"] + columns_product(g, self.lr)
        p = inverse_root(s["P"], ridged(left, self.eps), right, t, self.period)
        q = inverse_root(s["Q"], ridged(right, self.eps), left, t, self.period)
        return -self.lr * turned(g, p, q, self.lr), {"L": left, "R": right, "P": p, "Q": q}
