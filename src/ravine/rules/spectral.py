"""Products of a matrix with itself, their eigenvectors and their roots, of one matrix or of K lanes of them."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ravine.rules.math import axes, opaque
from ravine.rules.matrix import MatrixRule, flat, is_matrix
from ravine.rules.rule import hyper
from ravine.types import Array, Scalar, State


@dataclass(frozen=True)
class SideRule(MatrixRule, ABC):
    """A rule that keeps L and R, of the rows and of the columns of a matrix, and P and Q that are made of them."""

    contender = False
    beside_only: ClassVar[tuple[str, ...]] = ()  # slots of the companion's, empty for a matrix
    period: Scalar = hyper(10.0, "[1, inf)", "steps from one P and Q to the next", unit="steps", symbol="T")

    def init(self, w: Array) -> State:
        """Zeros: of w's shape, or of the sides' for L, R, P, Q; empty for a side that is too long or of no use."""
        if hasattr(w, "opaque"):
            return {slot: w.new_zeros(w.shape) for slot in self.slots}
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(self.slots, tuple(w.shape))
        if is_matrix(w, 0.0):
            left, right = ((side, side) if side <= LONGEST else (0,) for side in flat(w, 0.0).shape)
            shapes |= {"L": left, "R": right, "P": left, "Q": right, **dict.fromkeys(self.beside_only, (0,))}
        else:
            shapes |= dict.fromkeys("LRPQ", (0,))
        return {slot: w.new_zeros(shapes[slot]) for slot in self.slots}


LONGEST = 10_000  # a side longer than that is left as it is: its square would not fit into memory


@opaque("#1 #1^\\top")
def rows_product(x: Array, like: Scalar) -> Array:
    """X X', [*lanes, rows, rows]; empty where there are too many rows."""
    m = flat(x, like)
    return m @ m.mT if m.shape[-2] <= LONGEST else m.new_zeros((*m.shape[:-2], 0))


@opaque("#1^\\top #1")
def columns_product(x: Array, like: Scalar) -> Array:
    """X' X, [*lanes, columns, columns]; empty where there are too many columns."""
    m = flat(x, like)
    return m.mT @ m if m.shape[-1] <= LONGEST else m.new_zeros((*m.shape[:-2], 0))


@opaque("#2^\\top #1 #3")
def turned(x: Array, p: Array, q: Array, like: Scalar) -> Array:
    """P' X Q in the shape of x: x in other bases; a basis that is empty changes nothing."""
    m = flat(x, like)
    m = p.mT @ m if p.numel() else m
    return (m @ q if q.numel() else m).reshape(x.shape)


@opaque("#2 #1 #3^\\top")
def turned_back(x: Array, p: Array, q: Array, like: Scalar) -> Array:
    """P X Q' in the shape of x: the inverse of `turned`."""
    m = flat(x, like)
    m = p @ m if p.numel() else m
    return (m @ q.mT if q.numel() else m).reshape(x.shape)


@opaque(r"#4^\top #2 #1 #3^\top #5")
def carried(x: Array, p: Array, q: Array, new_p: Array, new_q: Array, like: Scalar) -> Array:
    """A matrix in the coordinates P and Q as it is in new ones; itself, to the bit, in lanes that keep theirs."""
    if new_p is p and new_q is q:
        return x
    moved = turned(turned_back(x, p, q, like), new_p, new_q, like)
    if not axes(like):
        return moved
    stays = [(new == old).flatten(1).all(dim=1) for new, old in ((new_p, p), (new_q, q))]
    return torch.where((stays[0] & stays[1]).view(-1, *[1] * (x.dim() - 1)), x, moved)


@opaque(
    r"\begin{cases} \operatorname{eigenvectors}(#2) & t = 1 \\ \operatorname{QR}(#2 #1) & t \bmod #4 = 0 \\ "
    r"#1 & \text{otherwise} \end{cases}"
)
def basis(old: Array, square: Array, t: Scalar, period: Scalar) -> Array:
    """The eigenvectors of a square, largest first: found at t = 1, then followed by a QR step at every period."""
    if t == 1:
        return _renewed(old, True, lambda on: _definite(square[on]).flip(-1))
    return _renewed(old, _is_due(t, period), lambda on: _followed(square[on], old[on]))


@opaque(r"#1 + #2 I")
def ridged(square: Array, eps: Scalar) -> Array:
    """S + eps I; what is empty stays so."""
    if not square.numel():
        return square
    return square + eps * torch.eye(square.shape[-1], dtype=square.dtype, device=square.device).expand_as(square)


@opaque(r"(#2)^{-1/4} \text{ every } #5 \text{ steps}")
def inverse_root(old: Array, square: Array, other: Array, t: Scalar, period: Scalar) -> Array:
    """S^(-1/4), or S^(-1/2) where the ``other`` side has no square, so that both together are of power -1/2.

    It is made anew in each of the first ``period`` steps, then at every step that the period divides.
    """
    power = -0.25 if other.numel() else -0.5

    def root(on: Any) -> Tensor:
        values, vectors = _eigen(square[on])
        smallest = torch.finfo(values.dtype).eps * values[..., -1:]  # below, an eigenvalue is but rounding
        return (vectors * values.maximum(smallest).pow(power).unsqueeze(-2)) @ vectors.mT

    return _renewed(old, _is_due(t, period) | (t <= _whole(period)), root)


def _whole(period: Scalar) -> Any:
    """A number of steps, or of each lane."""
    return np.floor(period.numbers) if hasattr(period, "numbers") else math.floor(period)


def _is_due(t: int, period: Scalar) -> Any:
    """Whether the step is one at which something is made anew, or in which lanes it is."""
    return t % _whole(period) == 0


def _renewed(old: Tensor, due: Any, make: Callable[[Any], Tensor]) -> Tensor:
    """What ``make`` gives where it is due, of all lanes or some; the old elsewhere."""
    if not old.numel() or not np.any(due):
        return old
    if np.all(due):
        return make(...)
    new = old.clone()
    on = torch.from_numpy(np.flatnonzero(due)).to(old.device)
    new[on] = make(on)
    return new


def _eigen(square: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, smallest first, and eigenvectors; NaN for a matrix that is not finite, which LAPACK refuses."""
    exact = torch.float64 if square.dtype == torch.float64 else torch.float32
    fine = square.isfinite().all(dim=-1, keepdim=True).all(dim=-2, keepdim=True)
    unit = torch.eye(square.shape[-1], dtype=exact, device=square.device)
    values, vectors = torch.linalg.eigh(torch.where(fine, square.to(exact), unit))
    values, vectors = torch.where(fine[..., 0], values, torch.nan), torch.where(fine, vectors, torch.nan)
    return values.to(square.dtype), vectors.to(square.dtype)


def _definite(square: Tensor) -> Tensor:
    """Eigenvectors, smallest first, and definite ones where a whole space has the eigenvalue 0.

    Of such a space any basis would do, and rounding would choose another for a lane than for the same run alone: here
    it is that of the eigenvectors of a fixed diagonal matrix within the space.
    """
    values, vectors = _eigen(square)
    n, rounding = square.shape[-1], torch.finfo(square.dtype).eps
    null = vectors * (values <= n * rounding * values[..., -1:]).unsqueeze(-2)
    fixed = torch.linspace(1, 2, n, dtype=square.dtype, device=square.device).unsqueeze(-1)
    within = null @ (null.mT @ (fixed * null)) @ null.mT
    return _eigen(square - values[..., -1:, None] * within)[1]


def _followed(square: Tensor, old: Tensor) -> Tensor:
    """One step of orthogonal iteration, with a ridge that leaves the basis of a space of eigenvalue 0 as it was."""
    exact = torch.float64 if square.dtype == torch.float64 else torch.float32
    trace = square.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    moved = square @ old + torch.finfo(square.dtype).eps ** 0.5 * trace * old
    return torch.linalg.qr(moved.to(exact))[0].to(square.dtype)
