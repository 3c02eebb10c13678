"""What the lectures say of descent, Newton, conjugate gradient, the natural gradient and Taylor's expansion."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ravine import optim
from ravine.errors import UserError
from ravine.solvers import forecast, largest_eigenvalue, linear_cg, minimize, whiten
from ravine.solvers.methods.natural import NaturalGradient
from ravine.solvers.minimize import of_function
from ravine.surfaces import SURFACES, rosenbrock
from tests.classics import F64, quadratic, vector


def least_squares(rows: int = 30, columns: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    a = torch.randn(rows, columns, generator=g, dtype=F64) @ torch.diag(torch.linspace(0.3, 2, columns, dtype=F64))
    return a, torch.randn(rows, generator=g, dtype=F64)


def test_o1_descent_with_step_one_over_l_keeps_both_bounds_for_1000_steps() -> None:
    a, b = least_squares()
    f = lambda w: ((w @ a.T - b) ** 2).sum(-1) / 2  # noqa: E731
    best = torch.linalg.lstsq(a, b.unsqueeze(1)).solution[:, 0]
    largest = float(torch.linalg.eigvalsh(a.T @ a)[-1])
    found = minimize(
        f, vector(*range(6)), "gradient-descent", tol=0, max_evaluations=5000, max_iterations=1000, path=True
    )
    assert found.path is not None
    values, gradients = f(found.path), (found.path @ a.T - b) @ a
    noise = 1e-13 * values[0]
    powers = (gradients**2).sum(1)
    assert bool((values[1:] <= values[:-1] - powers[:-1] / (2 * largest) + noise).all())
    count = torch.arange(1, len(values))
    distance = float(((found.path[0] - best) ** 2).sum())
    assert bool((values[1:] - f(best) <= distance * largest / (2 * count) + noise).all())
    assert found.iterations > 100


def test_o1_a_step_beyond_two_over_l_diverges() -> None:
    a, b = least_squares()
    f = lambda w: ((a @ w - b) ** 2).sum() / 2  # noqa: E731
    found = minimize(f, vector(*range(6)), "gradient-descent", scale=2.1, max_iterations=400, tol=0)
    assert found.value > 1e3 * float(f(vector(*range(6))))


def test_o2_the_error_falls_by_one_minus_one_over_kappa_a_step() -> None:
    a, _ = quadratic(8, 30)
    found = minimize(
        lambda w: w @ a @ w / 2, torch.ones(8, dtype=F64), "gradient-descent", tol=0, max_iterations=300, path=True
    )
    assert found.path is not None
    sizes = torch.linalg.vector_norm(found.path[100:300], dim=1).log()
    slope = float((sizes[-1] - sizes[0]) / (len(sizes) - 1))
    assert slope == pytest.approx(math.log(1 - 1 / 30), rel=0.01)


def test_o26_newton_solves_a_quadratic_in_one_step() -> None:
    a, b = quadratic(12, 1e3)
    for name in ("newton", "newton/undamped", "newton/damped"):
        found = minimize(lambda w: w @ a @ w / 2 - b @ w, torch.ones(12, dtype=F64), name, max_iterations=1, tol=0)
        assert float((found.x - torch.linalg.solve(a, b)).abs().max()) < 1e-10


def test_o26_undamped_newton_goes_to_the_saddle_and_says_so_damped_leaves_and_plain_refuses() -> None:
    saddle = SURFACES["saddle"]
    start = vector(1.5, 0.05)
    there = minimize(saddle.f, start, "newton/undamped")
    assert there.converged and float(there.x.abs().max()) < 1e-8
    assert "indefinite" in there.notes[0]
    for name in ("newton/damped", "newton-cg"):
        away = minimize(saddle.f, start, name)
        assert away.converged and away.value == pytest.approx(-0.25)
    assert "damped" in minimize(saddle.f, start, "newton/damped").notes[0]
    with pytest.raises(UserError, match=r"the Hessian is indefinite \(smallest eigenvalue -0\.99.*newton/damped"):
        minimize(saddle.f, start, "newton")
    with pytest.raises(UserError, match="the Hessian is singular"):
        minimize(lambda w: (w[0] + w[1]) ** 2, vector(1, 2), "newton")


@pytest.mark.parametrize("size", [2, 10, 40])
def test_o27_conjugate_gradient_ends_in_d_iterations(size: int) -> None:
    a, b = quadratic(size, 50)
    for given in (a, lambda v: a @ v):  # type: ignore[misc]
        found = linear_cg(given, b, tol=1e-10)
        assert found.converged and found.iterations <= size and found.residual <= 1e-10
        assert float((found.x - torch.linalg.solve(a, b)).abs().max()) < 1e-9


def test_o27_fewer_eigenvalues_need_fewer_iterations() -> None:
    basis, _ = torch.linalg.qr(torch.randn(50, 50, generator=torch.Generator().manual_seed(0), dtype=F64))
    sizes = torch.tensor([1.0, 5.0, 20.0], dtype=F64).repeat(17)[:50]
    assert linear_cg((basis * sizes) @ basis.T, torch.ones(50, dtype=F64)).iterations == 3


def test_o27_quasi_newton_needs_a_small_part_of_what_descent_needs_on_rosenbrock() -> None:
    start = vector(-1.2, 1)
    descent = minimize(rosenbrock, start, "gradient-descent/backtracking", tol=1e-2, max_evaluations=20_000)
    for name in ("lbfgs", "bfgs", "conjugate-gradient", "newton-cg"):
        found = minimize(rosenbrock, start, name, tol=1e-2)
        assert found.converged and descent.converged
        assert found.evaluations.equivalents < descent.evaluations.equivalents / 5


def regression(scale: Tensor) -> tuple[Tensor, Tensor]:
    """Correlated features [200, 3] in units of ``scale`` [3], and a noisy target [200]."""
    g = torch.Generator().manual_seed(5)
    mix = torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 0.4]], dtype=F64)
    x = torch.randn(200, 3, generator=g, dtype=F64) @ mix
    return x * scale, x @ vector(1, -2, 3) + torch.randn(200, generator=g, dtype=F64)


def curve(method: str, scale: Tensor, **given: float) -> Tensor:
    """The loss after each of 20 steps from zero weights."""
    x, y = regression(scale)
    losses = lambda w: (x @ w - y) ** 2 / 2  # noqa: E731
    if method == "natural":
        objective, memory = of_function(losses, torch.zeros(3, dtype=F64), "mean"), dict[str, Any]()
        at, seen = objective.point(torch.zeros(3, dtype=F64)), list[float]()
        for _ in range(20):
            at, memory = NaturalGradient(**given).iterate(objective, at, memory)
            seen.append(at.value)
        return torch.tensor(seen, dtype=F64)
    w = torch.nn.Parameter(torch.zeros(3, dtype=F64))
    sgd, seen = optim.SGD([w], lr=given["lr"], nonfinite="ignore"), list[float]()
    for _ in range(20):
        sgd.zero_grad()
        losses(w).mean().backward()
        sgd.step()
        seen.append(losses(w).mean().item())
    return torch.tensor(seen, dtype=F64)


def test_o25_the_natural_gradient_does_not_see_units_and_sgd_does() -> None:
    plain, rescaled = torch.ones(3, dtype=F64), vector(1, 1e4, 1e-4)
    before, after = (curve("natural", scale, lr=0.3, damping=0.0) for scale in (plain, rescaled))
    torch.testing.assert_close(before, after, rtol=1e-6, atol=0)
    assert before[-1] < 0.6 * before[0]
    fine, lost = curve("sgd", plain, lr=0.3), curve("sgd", rescaled, lr=0.3)
    assert fine[-1] < fine[0] and not bool(lost[-1] < 1e6 * fine[0])


def test_o25_descent_on_whitened_features_is_descent_in_the_metric_of_their_covariance() -> None:
    x, y = regression(vector(1, 1e4, 1e-4))
    fitted = whiten(x)
    white = fitted(x)
    torch.testing.assert_close(white.T @ white / len(x), torch.eye(3, dtype=F64), rtol=0, atol=1e-7)
    v = torch.zeros(3, dtype=F64)
    for _ in range(3):
        v = v - 0.5 * white.T @ (white @ v - y) / len(x)
    centred, w = x - x.mean(0), torch.zeros(3, dtype=F64)
    covariance = centred.T @ centred / len(x)
    for _ in range(3):
        w = w - 0.5 * torch.linalg.solve(covariance, centred.T @ (centred @ w - y) / len(x))
    torch.testing.assert_close(white @ v, centred @ w, rtol=1e-6, atol=1e-8)


def test_zca_stays_on_the_features_own_axes() -> None:
    x, _ = regression(torch.ones(3, dtype=F64))
    turned = whiten(x, zca=True)
    torch.testing.assert_close(torch.cov(turned(x).T, correction=0), torch.eye(3, dtype=F64), rtol=0, atol=1e-10)
    torch.testing.assert_close(turned.matrix, turned.matrix.T, rtol=0, atol=1e-12)


def test_whitening_leaves_out_directions_without_variance() -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    fitted = whiten(torch.cat([x, x[:, :1] + x[:, 1:]], 1))
    assert fitted.matrix.shape == (2, 3)
    with pytest.raises(UserError, match="fitted on 3 features, got 2"):
        fitted(x)


def network(w: dict[str, Tensor]) -> Tensor:
    """The loss of a small network of two layers on fixed data."""
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(16, 4, generator=g, dtype=F64), torch.randint(3, (16,), generator=g)
    return torch.nn.functional.cross_entropy(torch.tanh(x @ w["first"]) @ w["second"], y)


def weights() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(4)
    return {"first": torch.randn(4, 5, generator=g, dtype=F64), "second": torch.randn(5, 3, generator=g, dtype=F64)}


def test_g4_taylor_predicts_the_change_of_a_small_step_and_where_it_turns() -> None:
    start = weights()
    said = forecast(network, start)
    leaf = {name: w.clone().requires_grad_() for name, w in start.items()}
    gradients = dict(zip(leaf, torch.autograd.grad(network(leaf), list(leaf.values())), strict=True))
    change = lambda rate: network({n: w - rate * gradients[n] for n, w in start.items()}).item() - said.value  # noqa: E731
    rates = torch.linspace(0, 0.05 * said.crossover, 20, dtype=F64)[1:]
    foreseen = torch.tensor([said.at(float(rate)) - said.value for rate in rates])
    measured = torch.tensor([change(float(rate)) for rate in rates])
    assert 1 - float(((foreseen - measured) ** 2).sum() / ((measured - measured.mean()) ** 2).sum()) > 0.99


def test_g4_on_a_quadratic_the_loss_rises_from_the_crossover_on() -> None:
    a, b = quadratic(5, 20)
    f = lambda w: w @ a @ w / 2 - b @ w  # noqa: E731
    w = vector(*range(5))
    said, g = forecast(f, w), a @ w - b
    assert said.crossover == pytest.approx(2 * float(g @ g) / float(g @ a @ g))
    assert f(w - 0.999 * said.crossover * g) < f(w) < f(w - 1.001 * said.crossover * g)
    assert said.best == pytest.approx(said.crossover / 2)
    assert said.crossover >= 2 / largest_eigenvalue(lambda v: a @ v, w) * (1 - 1e-9)
