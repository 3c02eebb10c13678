"""Methods that need more than a gradient: line searches, conjugate gradient, (L-)BFGS, Newton, natural gradient.

Each is written once (`ravine.solvers.methods`) and used three ways: `minimize` on functions, torch optimizers with
closures here, and contenders of a race.
"""

from __future__ import annotations

from ravine.solvers.derivatives import Forecast, forecast
from ravine.solvers.kfac import KFAC
from ravine.solvers.linear import LinearResult, largest_eigenvalue, linear_cg
from ravine.solvers.method import catalogue
from ravine.solvers.minimize import Result, minimize
from ravine.solvers.objective import Counts
from ravine.solvers.optimizer import SolverOptimizer
from ravine.solvers.torchlike import (
    BFGS,
    LBFGS,
    ConjugateGradient,
    GaussNewton,
    GradientDescent,
    LevenbergMarquardt,
    NaturalGradient,
    Newton,
    NewtonCG,
)
from ravine.solvers.whitening import Whitening, whiten

__all__ = [
    "BFGS",
    "KFAC",
    "LBFGS",
    "ConjugateGradient",
    "Counts",
    "Forecast",
    "GaussNewton",
    "GradientDescent",
    "LevenbergMarquardt",
    "LinearResult",
    "NaturalGradient",
    "Newton",
    "NewtonCG",
    "Result",
    "SolverOptimizer",
    "Whitening",
    "catalogue",
    "forecast",
    "largest_eigenvalue",
    "linear_cg",
    "minimize",
    "whiten",
]
