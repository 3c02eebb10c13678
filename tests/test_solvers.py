"""Minimising functions: what each method promises, what it costs, and the sentences for what cannot work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.report.equation import equation_mathml
from ravine.rules.rule import hypers, name_of
from ravine.solvers import catalogue, largest_eigenvalue, linear_cg, minimize, whiten
from ravine.solvers.method import Described, Method, facts
from ravine.surfaces import SURFACES
from tests.classics import F64, FUNCTIONS, RESIDUALS, quadratic, vector

SCALAR = [n for n, kind in catalogue().items() if issubclass(kind, Method) and kind.reduction == "itself"]
DESCENDING = [n for n in SCALAR if n not in ("newton", "newton/undamped", "lbfgs/fixed-step")]
VECTOR = [n for n, kind in catalogue().items() if issubclass(kind, Method) and kind.reduction != "itself"]


@pytest.mark.parametrize("name", SCALAR)
def test_every_method_minimises_a_quadratic(name: str) -> None:
    a, b = quadratic(6, 50)
    found = minimize(lambda w: w @ a @ w / 2 - b @ w, torch.zeros(6, dtype=F64), name, tol=1e-6)
    assert found.converged and found.reason == "the gradient is small"
    torch.testing.assert_close(found.x, torch.linalg.solve(a, b), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", DESCENDING)
def test_no_step_goes_up_and_the_minimum_of_beale_is_found(name: str) -> None:
    surface = SURFACES["beale"]
    found = minimize(surface.f, vector(*surface.start), name, tol=1e-6, max_evaluations=8000, path=True)
    assert found.path is not None and len(found.path) == found.iterations + 1
    values = surface.f(found.path)
    assert bool((values[1:] <= values[:-1]).all())
    assert found.converged
    torch.testing.assert_close(found.x, vector(*surface.minima[0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", FUNCTIONS)
def test_lbfgs_needs_no_more_evaluations_than_scipy_within_a_fifth(case: str) -> None:
    f, x0 = FUNCTIONS[case]
    ours, theirs = list[float](), list[float]()

    def noting(w: Tensor) -> Tensor:
        value = f(w)
        ours.append(value.item())
        return value

    def numpy_form(x: Any) -> tuple[float, Any]:
        leaf = torch.tensor(x, requires_grad=True)
        value = f(leaf)
        value.backward()
        assert leaf.grad is not None
        theirs.append(value.item())
        return value.item(), leaf.grad.numpy()

    minimize(noting, x0, "lbfgs", tol=1e-9)
    options = {"ftol": 0, "gtol": 1e-8, "maxcor": 10}
    scipy.optimize.minimize(numpy_form, x0.numpy(), jac=True, method="L-BFGS-B", options=options)
    assert _first_below(ours, 1e-10) <= 1.2 * _first_below(theirs, 1e-10)


def _first_below(values: list[float], target: float) -> int:
    return 1 + next(i for i, value in enumerate(values) if value <= target)


@pytest.mark.parametrize("case", RESIDUALS)
def test_levenberg_marquardt_finds_what_scipy_finds(case: str) -> None:
    r, x0 = RESIDUALS[case]
    found = minimize(r, x0, "levenberg-marquardt", tol=1e-9, max_evaluations=4000)
    numpy_form: Callable[[Any], Any] = lambda x: r(torch.tensor(x)).numpy()  # noqa: E731
    theirs: Any = scipy.optimize.least_squares(numpy_form, x0.numpy(), method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert found.value <= theirs.cost + 1e-9 * max(1.0, theirs.cost)
    if case != "powell":  # whose minimum is flat
        np.testing.assert_allclose(found.x.numpy(), theirs.x, rtol=1e-5, atol=1e-6)


def test_gauss_newton_and_levenberg_marquardt_solve_a_linear_system_at_once() -> None:
    a = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    b = torch.arange(9, dtype=F64)
    for name in ("gauss-newton", "levenberg-marquardt"):
        found = minimize(lambda w: a @ w - b, torch.zeros(4, dtype=F64), name, tol=1e-8)
        torch.testing.assert_close(found.x, torch.linalg.lstsq(a, b.unsqueeze(1)).solution[:, 0], rtol=0, atol=1e-8)
        assert found.iterations <= (1 if name == "gauss-newton" else 6)


def test_more_weights_than_residuals_is_solved_by_levenberg_marquardt_and_refused_by_gauss_newton() -> None:
    a = torch.randn(3, 8, generator=torch.Generator().manual_seed(2), dtype=F64)
    found = minimize(lambda w: a @ w - 1, torch.zeros(8, dtype=F64), "levenberg-marquardt", tol=1e-9)
    assert found.converged and found.value < 1e-16
    with pytest.raises(UserError, match=r"rank 3, fewer than the 8 parameters.*use levenberg-marquardt"):
        minimize(lambda w: a @ w - 1, torch.zeros(8, dtype=F64), "gauss-newton")


def test_a_singular_least_squares_problem_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"rank 1, fewer than the 2 parameters") as raised:
        minimize(lambda w: (w[0] + w[1]) * vector(1, 2, 3) - 1, vector(0, 0), "gauss-newton")
    assert "\n" not in str(raised.value)


def test_nested_tensors_come_back_in_their_form_and_the_start_is_not_touched() -> None:
    start: dict[str, Any] = {"a": torch.zeros(2, 3), "b": (torch.zeros(()), [torch.ones(1)])}
    found = minimize(lambda w: ((w["a"] - 2) ** 2).sum() + (w["b"][0] + w["b"][1][0].sum() - 3) ** 2, start, tol=1e-4)
    assert found.x["a"].shape == (2, 3) and isinstance(found.x["b"], tuple)
    torch.testing.assert_close(found.x["a"], torch.full((2, 3), 2.0), rtol=0, atol=1e-3)
    torch.testing.assert_close(found.x["b"][0] + found.x["b"][1][0], torch.tensor([3.0]), rtol=0, atol=1e-3)
    assert not start["a"].any() and float(start["b"][1][0]) == 1.0


def test_the_cost_is_counted_and_kept_to() -> None:
    f, x0 = FUNCTIONS["rosenbrock 10"]
    calls = [0]

    def counting(w: Tensor) -> Tensor:
        calls[0] += 1
        return f(w)

    found = minimize(counting, x0, "newton-cg", max_evaluations=60, tol=0)
    assert found.reason == "60 gradient-equivalents are spent" and not found.converged
    assert calls[0] == found.evaluations.evaluations
    assert found.evaluations.products > 0
    counts = found.evaluations
    assert counts.equivalents == pytest.approx(counts.functions / 3 + counts.gradients + 2 * counts.products)
    assert 60 <= counts.equivalents < 60 + 2 * 12 + 3


def test_a_stop_by_iterations_by_rounding_and_by_divergence_says_so() -> None:
    f, x0 = FUNCTIONS["wood"]
    assert minimize(f, x0, max_iterations=3).reason == "3 iterations are done"
    flat = minimize(lambda w: (w.exp() - w).sum() + 1000, vector(1, 2), "gradient-descent/wolfe", tol=0)
    assert flat.reason == "no lower value can be told apart at this precision"
    away = minimize(lambda w: (w**4).sum(), vector(3, 3), "gradient-descent", scale=100.0)
    assert away.reason == "it diverged: the value is no longer finite" and bool(torch.isfinite(away.x).all())


def test_a_minimum_at_the_start_is_recognised() -> None:
    for name in SCALAR:
        found = minimize(lambda w: (w**2).sum(), vector(0, 0), name)
        assert found.converged and found.iterations == 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: minimize(lambda w: w.sum(), vector(1.0), "lbfsg"), "unknown method 'lbfsg': did you mean 'lbfgs'?"),
        (lambda: minimize(lambda w: w.sum(), vector(1.0), "kfac"), "unknown method on a function 'kfac'"),
        (lambda: minimize(lambda w: w.sum(), vector(1.0), histroy=3), "hyperparameter of lbfgs 'histroy'.*'history'"),
        (lambda: minimize(lambda w: w.sum(), vector(1.0), history=0), r"history must lie in \[1, inf\), got 0"),
        (lambda: minimize(lambda w: w * 2, vector(1.0, 2.0)), r"one number to minimise, got shape \[2\]"),
        (lambda: minimize(lambda w: 3.0, vector(1.0)), "must return a tensor, got float"),  # type: ignore[arg-type]
        (lambda: minimize(lambda w: w.detach().sum(), vector(1.0)), "no graph that leads to what is optimized"),
        (lambda: minimize(lambda w: w.sum(), torch.tensor([1, 2])), "x0 must hold real floating-point numbers"),
        (lambda: minimize(lambda w: w.log().sum(), vector(-1.0)), "the value is nan where it starts"),
        (lambda: minimize(lambda w: w.sum(), {"a": "b"}), r"x0\['a'\] must be a tensor"),
        (lambda: minimize(lambda w: w.sum(), vector(1.0), "gauss-newton"), "residuals.*not a number"),
        (lambda: minimize(lambda w: w.sum(), torch.zeros(20_000), "bfgs"), "20,000 x 20,000 numbers .*3.2 GB"),
        (lambda: linear_cg(torch.eye(2), torch.ones(3)), r"A must have shape \[3, 3\]"),
        (lambda: linear_cg(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.ones(2)), "needs a symmetric A"),
        (lambda: linear_cg(-torch.eye(2), torch.ones(2)), "not positive definite"),
        (lambda: whiten(torch.ones(5, 2)), "all samples are the same"),
        (lambda: whiten(torch.ones(1, 2)), "at least 2 samples"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_gradient_that_is_not_the_functions_own_is_told_from_rounding() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, w: Tensor) -> Tensor:  # type: ignore[override]
            return (w**2).sum()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
            return -grad * vector(2, 4)

    for name in ("lbfgs", "bfgs", "conjugate-gradient", "gradient-descent/backtracking"):
        found = minimize(lambda w: Wrong.apply(w), vector(1, 2), name)  # type: ignore[arg-type]
        assert found.reason == "no step along the direction lowers the value"
        assert found.x.tolist() == [1, 2]


def test_the_largest_eigenvalue_is_found() -> None:
    a, b = quadratic(40, 1e4)
    assert largest_eigenvalue(lambda v: a @ v, b) == pytest.approx(1e4, rel=1e-6)
    assert largest_eigenvalue(lambda v: -(a @ v), b, iterations=40) == pytest.approx(-1, rel=1e-3)


def test_a_preconditioner_shortens_conjugate_gradient_and_a_start_is_used() -> None:
    a, b = quadratic(60, 10)
    a = a + torch.diag(torch.logspace(0, 7, 60, dtype=F64))
    plain, helped = linear_cg(a, b), linear_cg(a, b, preconditioner=lambda v: v / a.diagonal())
    assert helped.converged and helped.iterations < plain.iterations
    assert linear_cg(a, b, x0=torch.linalg.solve(a, b)).iterations <= 1
    short = linear_cg(a, b, max_iterations=2)
    assert not short.converged and short.iterations == 2 and "2 iterations were not enough" in short.reason


@pytest.mark.parametrize("kind", catalogue().values(), ids=catalogue().keys())
def test_a_method_declares_all_that_a_reader_wants(kind: type[Described]) -> None:
    known = facts(kind)
    for line in known["latex"]:
        markup = equation_mathml(line)
        assert markup.startswith("<math") and "\\" not in markup, "every command is known to the report"
    assert known["summary"].endswith(".") and known["equation"] and known["latex"] and known["differs"]
    assert re.search(r"\d{4}", known["reference"]), "a reference has a year"
    assert known["memory"] or name_of(kind).startswith("newton") or name_of(kind) == "newton-cg"
    for h in hypers(kind).values():
        assert h.default in h.bounds and h.meaning and h.symbol
        with pytest.raises(UserError, match=rf"{h.name} must lie in"):
            h.check(-1.0, kind.__name__)


def test_vector_methods_are_the_ones_that_say_so() -> None:
    assert {"gauss-newton", "levenberg-marquardt", "natural-gradient"} == set(VECTOR)
