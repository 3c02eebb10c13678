"""How far does the quadratic model hold?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ravine.solvers.minimize import of_function
from ravine.solvers.objective import check_finite
from ravine.solvers.search import dot
from ravine.solvers.tree import Tree, flatten, leaves, one_kind


@dataclass(frozen=True)
class Forecast:
    """What the second-order Taylor expansion says of a step along -g: f - e g.g + e^2 g^T H g / 2."""

    value: float
    power: float  # g.g
    curvature: float  # g^T H g

    def at(self, step: float) -> float:
        """The value after a step of that rate."""
        return self.value - step * self.power + step**2 * self.curvature / 2

    @property
    def crossover(self) -> float:
        """The rate from which a step raises the value: 2 g.g / g^T H g; infinite where nothing bends upwards."""
        return 2 * self.power / self.curvature if self.curvature > 0 else float("inf")

    @property
    def best(self) -> float:
        """The rate with the lowest forecast, half the crossover."""
        return self.crossover / 2


def forecast(f: Callable[[Tree], Tensor], x0: Tree) -> Forecast:
    """The Taylor expansion of ``f`` at ``x0`` along its steepest descent, from one Hessian-vector product.

    Reference: Goodfellow et al. 2016, Deep Learning, equation 4.9.
    """
    parts = leaves(x0)
    one_kind(parts, "forecast")
    objective = of_function(f, x0, "itself")
    at = objective.point(flatten(parts))
    check_finite("forecast", at)
    image = objective.products(at.x)(at.gradient)
    return Forecast(at.value, dot(at.gradient, at.gradient), dot(at.gradient, image))
