"""Muon: momentum whose matrices are made orthogonal before the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from ravine.rules.adam import AdamW
from ravine.rules.math import pulled
from ravine.rules.matrix import MatrixRule, begun, longest, orthogonal, tallness
from ravine.rules.rule import Rule, hyper
from ravine.rules.usual import epsilon
from ravine.types import Array, Scalar, State

RATE = "step size; a step has about this length in every direction"


@dataclass(frozen=True)
class Orthogonal(MatrixRule, ABC):
    """What every form of Muon declares: they differ in how long the step is, and whether momentum looks ahead."""

    family = "muon"
    contender = False
    companion = "vectors step by AdamW at lr times rest"
    is_ahead: ClassVar[bool] = True  # Nesterov's momentum
    is_half: ClassVar[bool] = False  # products in bfloat16
    slots = ("b", "m", "v")
    lr: Scalar = hyper(0.02, "[0, inf)", RATE, unit="w per step", symbol=r"\eta", search="log 1e-4 1e0")
    beta: Scalar = hyper(0.95, "[0, 1)", "memory of the momentum", symbol=r"\mu", search="log1m 0.8 0.99")
    weight_decay: Scalar = hyper(
        0.0, "[0, inf)", "pull of the weights towards zero", unit="1 per unit of lr", symbol=r"\lambda"
    )
    eps: Scalar = epsilon(1e-7)
    rest: Scalar = hyper(0.015, "[0, inf)", "the companion's rate, as a share of lr", symbol=r"\rho")
    beta1: Scalar = hyper(0.9, "[0, 1)", "the companion's memory of the mean gradient", symbol=r"\beta_1")
    beta2: Scalar = hyper(0.95, "[0, 1)", "the companion's memory of the mean square", symbol=r"\beta_2")

    def init(self, w: Array) -> State:
        """Momentum b of a matrix; the moments m and v of what the companion steps."""
        return begun(w, matrix=("b",), beside=("m", "v"))

    def beside(self) -> Rule:
        """AdamW."""
        return AdamW(self.lr * self.rest, self.beta1, self.beta2, self.eps, self.weight_decay)

    def direction(self, g: Array, s: State) -> tuple[Array, State]:
        """The orthogonal matrix nearest the momentum, about."""
        h = (1 - self.beta) * g
        b = self.beta * s["b"] + h
        n = self.beta * b + h if self.is_ahead else b
        return orthogonal(n, self.lr, self.eps, self.is_half), {"b": b}

    @abstractmethod
    def scale(self, w: Array) -> Array:
        """How long the step is, in units of lr."""

    def matrix(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The step of a matrix."""
        o, new = self.direction(g, s)
        return pulled(-self.lr * self.scale(w) * o, self.lr * self.weight_decay, w), new


@final
@dataclass(frozen=True)
class Muon(Orthogonal):
    """Muon: a step of equal length along every direction of a matrix.

        b <- mu b + (1 - mu) g      n = (1 - mu) g + mu b      u = -lr sqrt(max(1, rows / columns)) NS(n) - lr wd w

    State: b [g]; of vectors m [g], v [g^2]. NS is five Newton-Schulz iterations towards the nearest orthogonal matrix.
    Vectors, whatever their length, take AdamW's step at the rate lr rest; a convolution is the matrix [out, in ...].
    Reference: Jordan et al. 2024, kellerjordan.github.io/posts/muon; studied in arXiv:2502.16982.
    """

    differs = "Nesterov momentum, a tall matrix's step longer by sqrt(rows / columns), all digits (Jordan et al.)"
    when = "For the hidden matrices of transformers and other large nets; vectors and embeddings want its companion."

    def scale(self, w: Array) -> Array:
        return tallness(w, self.lr)


@final
@dataclass(frozen=True)
class MuonMatched(Orthogonal):
    """Muon whose step has the root mean square of AdamW's, so that AdamW's rate and decay fit it.

        b, n as in Muon      u = -0.2 lr sqrt(max(rows, columns)) NS(n) - lr wd w

    State: b [g]; of vectors m [g], v [g^2], which take AdamW's step at the same rate.
    Reference: Liu et al. 2025, arXiv:2502.16982, section 2.2; torch's adjust_lr_fn="match_rms_adamw".
    """

    dialect = "match-rms"
    differs = "the step has AdamW's root mean square, 0.2 sqrt(longest side), and vectors AdamW's rate (Liu et al.)"
    lr: Scalar = hyper(1e-3, "[0, inf)", RATE, unit="w per step", symbol=r"\eta", search="log 1e-5 1e-1")
    rest: Scalar = hyper(1.0, "[0, inf)", "the companion's rate, as a share of lr", symbol=r"\rho")

    def scale(self, w: Array) -> Array:
        return 0.2 * longest(w, self.lr)


@final
@dataclass(frozen=True)
class MuonHeavy(Orthogonal):
    """Muon without the look ahead: the momentum itself is made orthogonal.

        b as in Muon      u = -lr sqrt(max(1, rows / columns)) NS(b) - lr wd w

    State: b [g]; of vectors m [g], v [g^2].   Reference: torch.optim.Muon with nesterov=False; Jordan et al. 2024.
    """

    dialect = "heavy-ball"
    differs = "momentum without Nesterov's look ahead (torch's nesterov=False)"
    is_ahead = False

    def scale(self, w: Array) -> Array:
        return tallness(w, self.lr)


@final
@dataclass(frozen=True)
class MuonHalf(Orthogonal):
    """Muon whose iterations are in bfloat16: several times as fast where the processor has products of that type.

        b, n as in Muon      u = -lr sqrt(max(1, rows / columns)) NS_bfloat16(n) - lr wd w

    State: b [g]; of vectors m [g], v [g^2]. Weights of float64 are stepped in float64.
    Reference: torch.optim.Muon; Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    """

    dialect = "bfloat16"
    differs = "the iterations in bfloat16, so that a step is right to two digits (Jordan et al., torch)"
    magnifies = 1e4  # two digits
    is_half = True

    def scale(self, w: Array) -> Array:
        return tallness(w, self.lr)
