"""Test surfaces of two variables, with their minima known: what methods are tried on and pictures are drawn of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

Pair: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Surface:
    """A function of two variables: ``f`` takes points [..., 2] to values [...], and torch can differentiate it.

    ``minima`` are the points of lowest value inside ``bounds`` ((low, high) of x, then of y); ``start`` is the
    customary point to begin at, or one that shows what ``note`` says.
    """

    name: str
    title: str
    f: Callable[[Tensor], Tensor]
    start: Pair
    bounds: tuple[Pair, Pair]
    minima: tuple[Pair, ...]
    note: str


def rosenbrock(w: Tensor) -> Tensor:
    """(1 - x)^2 + 100 (y - x^2)^2, and its chain over more variables: [..., d] -> [...] for d >= 2.

    Reference: Rosenbrock 1960, doi:10.1093/comjnl/3.3.175.
    """
    x, y = w[..., :-1], w[..., 1:]
    return ((1 - x) ** 2 + 100 * (y - x**2) ** 2).sum(-1)


def beale(w: Tensor) -> Tensor:
    """(1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2.  Reference: Beale 1958."""
    x, y = w.unbind(-1)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def himmelblau(w: Tensor) -> Tensor:
    """(x^2 + y - 11)^2 + (x + y^2 - 7)^2.  Reference: Himmelblau 1972, Applied Nonlinear Programming."""
    x, y = w.unbind(-1)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def booth(w: Tensor) -> Tensor:
    """(x + 2y - 7)^2 + (2x + y - 5)^2: a convex quadratic."""
    x, y = w.unbind(-1)
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


def rastrigin(w: Tensor) -> Tensor:
    """The sum over coordinates of 10 + x^2 - 10 cos(2 pi x): [..., d] -> [...].  Reference: Rastrigin 1974."""
    return (10 + w**2 - 10 * torch.cos(2 * math.pi * w)).sum(-1)


def saddle(w: Tensor) -> Tensor:
    """x^2/2 - y^2/2 + y^4/4: a saddle at the origin between two minima."""
    x, y = w.unbind(-1)
    return x**2 / 2 - y**2 / 2 + y**4 / 4


def ravine(w: Tensor) -> Tensor:
    """(x^2 + 100 y^2) / 2: a quadratic with condition number 100."""
    x, y = w.unbind(-1)
    return (x**2 + 100 * y**2) / 2


def cliff(w: Tensor) -> Tensor:
    """((x - 3)^2 + y^2) / 20 + 5 s(25 (1.5 - x)) with the logistic function s: a wall between two gentle slopes."""
    x, y = w.unbind(-1)
    return ((x - 3) ** 2 + y**2) / 20 + 5 * torch.sigmoid(25 * (1.5 - x))


def plateau(w: Tensor) -> Tensor:
    """1 - exp(-(x^2 + y^2) / 2): a well in a plain."""
    return 1 - torch.exp(-(w**2).sum(-1) / 2)


def _square(half: float) -> tuple[Pair, Pair]:
    return (-half, half), (-half, half)


SURFACES: dict[str, Surface] = {
    surface.name: surface
    for surface in (
        Surface("rosenbrock", "Rosenbrock's valley", rosenbrock, (-1.2, 1.0), ((-2.0, 2.0), (-1.0, 3.0)),
                ((1.0, 1.0),), "A bent valley with a flat floor: finding it is easy, following it is slow."),
        Surface("beale", "Beale's function", beale, (1.0, 1.0), _square(4.5),
                ((3.0, 0.5),), "Flat ground and steep corners: one step size does not serve both."),
        Surface("himmelblau", "Himmelblau's function", himmelblau, (0.0, 0.0), _square(5.0),
                ((3.0, 2.0), (-2.805118086952745, 3.131312518250573),
                 (-3.779310253377747, -3.283185991286170), (3.584428340330492, -1.848126526964404)),
                "Four minima of the same depth: the start decides which one is reached."),
        Surface("booth", "Booth's function", booth, (-5.0, -5.0), _square(10.0),
                ((1.0, 3.0),), "A convex quadratic with condition number 9: every method should be at ease here."),
        Surface("rastrigin", "Rastrigin's function", rastrigin, (2.3, -1.7), _square(5.12),
                ((0.0, 0.0),), "A bowl covered with local minima: descent stops in the nearest one."),
        Surface("saddle", "A saddle between two minima", saddle, (1.5, 0.05), _square(2.0),
                ((0.0, 1.0), (0.0, -1.0)), "Newton's undamped step goes to the saddle; descent leaves it, slowly."),
        Surface("ravine", "An ill-conditioned quadratic", ravine, (-10.0, 1.0), ((-12.0, 12.0), (-2.0, 2.0)),
                ((0.0, 0.0),), "Condition number 100: gradient descent zigzags between the walls, momentum averages."),
        Surface("cliff", "A cliff", cliff, (-2.0, 2.0), ((-4.0, 8.0), (-4.0, 4.0)),
                ((3.0, 0.0),), "At the wall the gradient is 300 times the slope's and throws the point far: clip it."),
        Surface("plateau", "A plateau", plateau, (2.5, 2.0), _square(5.0),
                ((0.0, 0.0),), "Away from the well the gradient vanishes: a method that scales its step gets there."),
    )
}  # fmt: skip
