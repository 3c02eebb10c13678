"""One optimizer class a family of methods; L-BFGS with torch's own arguments."""

from __future__ import annotations

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.errors import unknown
from ravine.rules.rule import check, with_values
from ravine.solvers.method import Method, resolve
from ravine.solvers.optimizer import KIND, SolverOptimizer


class GradientDescent(SolverOptimizer):
    """`gradient-descent`: step 1/L, or dialect="backtracking" or "wolfe"."""

    family = "gradient-descent"


class ConjugateGradient(SolverOptimizer):
    """`conjugate-gradient`: Polak-Ribière, or dialect="fletcher-reeves"."""

    family = "conjugate-gradient"


class Newton(SolverOptimizer):
    """`newton`: refuses an indefinite Hessian; dialect="damped" or "undamped" do not."""

    family = "newton"


class NewtonCG(SolverOptimizer):
    """`newton-cg`: Hessian-free, within a trust region."""

    family = "newton-cg"


class BFGS(SolverOptimizer):
    """`bfgs`: for up to ten thousand weights."""

    family = "bfgs"


class GaussNewton(SolverOptimizer):
    """`gauss-newton`: the closure returns the residuals."""

    family = "gauss-newton"


class LevenbergMarquardt(SolverOptimizer):
    """`levenberg-marquardt`: the closure returns the residuals."""

    family = "levenberg-marquardt"


class NaturalGradient(SolverOptimizer):
    """`natural-gradient`: the closure returns one loss a sample."""

    family = "natural-gradient"


class LBFGS(SolverOptimizer):
    """`lbfgs` with torch.optim.LBFGS's arguments, defaults and iterates.

    Without ``line_search_fn`` every step is ``lr`` times the direction, as torch's are; with "strong_wolfe" it is
    `lbfgs` with its line search.
    """

    family = "lbfgs"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise unknown("line_search_fn", str(line_search_fn), ["strong_wolfe"])
        evaluations = max_iter * 5 // 4 if max_eval is None else max_eval
        defaults = {"lr": lr, "max_iter": max_iter, "max_eval": evaluations, "tolerance_grad": tolerance_grad}
        defaults |= {"tolerance_change": tolerance_change, "history_size": history_size}
        name = "lbfgs" if line_search_fn else "lbfgs/fixed-step"
        self._start(params, {**defaults, "line_search_fn": line_search_fn, KIND: name})

    def method(self) -> Method:
        """The method as the group's options stand, with torch's names for them."""
        group = self.param_groups[0]
        kind, rate = resolve(group[KIND]), "first" if group["line_search_fn"] else "lr"
        given = {rate: float(group["lr"]), "history": float(group["history_size"])}
        made = check(with_values(kind(), given))
        assert isinstance(made, Method)
        return made
