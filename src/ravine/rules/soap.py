"""SOAP: Adam in the eigenvectors' coordinates of Shampoo's squares."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import final

from ravine.rules.adam import AdamW
from ravine.rules.math import debias, maximum, minimum, mix, sqrt
from ravine.rules.rule import Rule, hyper
from ravine.rules.spectral import SideRule, basis, carried, columns_product, rows_product, turned, turned_back
from ravine.rules.usual import epsilon, step_size
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class Turned(SideRule, ABC):
    """What a rule that is Adam in other coordinates declares."""

    lr: Scalar = step_size(3e-3, "1e-5 1e-1")
    beta1: Scalar = hyper(0.95, "[0, 1)", "memory of the mean gradient", symbol=r"\beta_1", search="log1m 0.5 0.99")
    beta2: Scalar = hyper(0.95, "[0, 1)", "memory of the mean square", symbol=r"\beta_2", search="log1m 0.9 0.9999")
    beta: Scalar = hyper(0.95, "[0, 1)", "memory of the products", symbol=r"\beta_s")
    eps: Scalar = epsilon(1e-8)
    weight_decay: Scalar = hyper(
        0.01, "[0, inf)", "pull of the weights towards zero", unit="1 per lr", symbol=r"\lambda"
    )

    def beside(self) -> Rule:
        """AdamW."""
        return AdamW(self.lr, self.beta1, self.beta2, self.eps, self.weight_decay)


@final
@dataclass(frozen=True)
class SOAP(Turned):
    """SOAP: Adam in the eigenvectors' coordinates of the mean products of the gradient's rows and of its columns.

        z = P' g Q      m <- b1 m + (1 - b1) z      v <- b2 v + (1 - b2) z^2
        u = -lr P (m^ / (sqrt(v^) + eps)) Q' - lr wd w      L <- bs L + (1 - bs) g g'      R <- bs R + (1 - bs) g' g
        P, Q <- eigenvectors of L, R: found at the first step, then every ``period`` steps one QR step of L P, R Q

    State: m [g], v [g^2], L and R [g^2], P and Q; of vectors m, v. The paper's m is P m Q': here it lies in the
    coordinates and is carried over when they change, which spares two products a step. The first step finds the
    coordinates and moves nothing, so that hats count from the second. Vectors take AdamW's step; a convolution is the
    matrix [out, in ...]; a side of more than 10,000 keeps its own coordinates.
    Reference: Vyas et al. 2025, arXiv:2409.11321, algorithm 3.
    """

    family = "soap"
    differs = "coordinates by QR every ten steps, the columns in their old order (Vyas et al.)"
    when = "When steps are expensive: Adam in Shampoo's coordinates, often fewest steps, with the largest state."
    magnifies = 1e3  # eigenvectors of nearly equal eigenvalues turn with the last digits of a gradient
    companion = "vectors step by AdamW at lr"
    slots = ("m", "v", "L", "R", "P", "Q")

    def matrix(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        k, n = maximum(t - 1, 1), minimum(t - 1, 1)
        z = turned(g, s["P"], s["Q"], self.lr)
        a, v = mix(s["m"], z, 1 - n * (1 - self.beta1)), mix(s["v"], z**2, 1 - n * (1 - self.beta2))
        y = debias(a, self.beta1, k) / (sqrt(debias(v, self.beta2, k)) + self.eps)
        u = -self.lr * n * (turned_back(y, s["P"], s["Q"], self.lr) + self.weight_decay * w)
        left = mix(s["L"], rows_product(g, self.lr), self.beta)
        right = mix(s["R"], columns_product(g, self.lr), self.beta)
        p, q = basis(s["P"], left, t, self.period), basis(s["Q"], right, t, self.period)
        m = carried(a, s["P"], s["Q"], p, q, self.lr)
        return u, {"m": m, "v": v, "L": left, "R": right, "P": p, "Q": q}
