"""Methods as torch optimizers: closures, torch's L-BFGS, exact resume, and nothing changed after a mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ravine import solvers
from ravine.errors import UserError
from ravine.rules.rule import values
from ravine.solvers import SolverOptimizer, minimize
from ravine.surfaces import rosenbrock
from tests.classics import F64, Fit, quadratic, vector

KINDS: list[tuple[type[SolverOptimizer], dict[str, Any]]] = [
    (solvers.GradientDescent, {}),
    (solvers.GradientDescent, {"dialect": "backtracking"}),
    (solvers.GradientDescent, {"dialect": "wolfe"}),
    (solvers.ConjugateGradient, {}),
    (solvers.ConjugateGradient, {"dialect": "fletcher-reeves"}),
    (solvers.Newton, {"dialect": "damped"}),
    (solvers.NewtonCG, {}),
    (solvers.BFGS, {}),
    (solvers.LBFGS, {"line_search_fn": "strong_wolfe", "max_iter": 2}),
    (solvers.LBFGS, {"lr": 0.5, "max_iter": 2}),
    (solvers.LevenbergMarquardt, {}),
    (solvers.NaturalGradient, {}),
]
EVERY = pytest.mark.parametrize(("kind", "options"), KINDS, ids=[f"{k.__name__}-{i}" for i, (k, _) in enumerate(KINDS)])


@EVERY
def test_each_lowers_the_loss_of_a_network_and_resumes_exactly(
    kind: type[SolverOptimizer], options: dict[str, Any]
) -> None:
    fit, before = Fit(), Fit().loss().item()
    optimizer = kind(fit.net.parameters(), **options)
    for _ in range(4):
        optimizer.step(fit.closure(kind))
    assert fit.loss().item() < 0.9 * before
    other = Fit()
    other.net.load_state_dict(fit.net.state_dict())
    again = kind(other.net.parameters(), **options)
    again.load_state_dict(optimizer.state_dict())
    for _ in range(3):
        optimizer.step(fit.closure(kind))
        again.step(other.closure(kind))
    assert torch.equal(fit.weights(), other.weights())


@EVERY
def test_a_step_is_the_iteration_of_minimize(kind: type[SolverOptimizer], options: dict[str, Any]) -> None:
    if "max_iter" in options:
        options = {**options, "max_iter": 1}
    fit = Fit()
    optimizer = kind(fit.net.parameters(), **options)
    for _ in range(3):
        optimizer.step(fit.closure(kind))
    other = Fit()
    names = list(dict(other.net.named_parameters()))
    reduce: dict[Any, Callable[[Tensor], Tensor]] = {
        solvers.NaturalGradient: lambda r: r**2 / 2,
        solvers.LevenbergMarquardt: lambda r: r,
    }
    form = reduce.get(kind, lambda r: (r**2 / 2).mean())

    def function(parts: list[Tensor]) -> Tensor:
        out = torch.func.functional_call(other.net, dict(zip(names, parts, strict=True)), (other.x,))
        return form((out - other.y).squeeze(1))

    found = minimize(
        function, [p.detach() for p in other.net.parameters()], optimizer.method(), tol=0, max_iterations=3
    )
    torch.testing.assert_close(fit.weights(), torch.cat([p.flatten() for p in found.x]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_lbfgs_without_a_search_is_torchs_to_the_last_digits(steps: int) -> None:
    a, b = quadratic(8, 40)
    ours, theirs = (nn.Parameter(torch.ones(8, dtype=F64)) for _ in range(2))
    options: dict[str, Any] = {"lr": 0.7, "max_iter": 5, "history_size": 4}
    for w, kind in ((ours, solvers.LBFGS), (theirs, torch.optim.LBFGS)):
        optimizer = kind([w], **options)

        def closure(w: nn.Parameter = w, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = w @ a @ w / 2 - b @ w
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_lbfgs_with_a_search_needs_about_as_many_evaluations_as_torchs() -> None:
    seen = dict[str, int]()
    for name, kind in (("ours", solvers.LBFGS), ("theirs", torch.optim.LBFGS)):
        w, calls = nn.Parameter(vector(-1.2, 1)), [0]
        optimizer = kind([w], max_iter=500, max_eval=1000, line_search_fn="strong_wolfe", history_size=10)

        def closure(w: nn.Parameter = w, optimizer: Any = optimizer, calls: list[int] = calls) -> Tensor:
            calls[0] += 1
            optimizer.zero_grad()
            loss = rosenbrock(w)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert rosenbrock(w.detach()) < 1e-12
        seen[name] = calls[0]
    assert seen["ours"] <= 1.2 * seen["theirs"]


def test_a_step_returns_the_loss_before_it_and_counts_evaluations() -> None:
    fit = Fit()
    before = fit.loss().item()
    optimizer = solvers.LBFGS(fit.net.parameters(), line_search_fn="strong_wolfe")
    assert optimizer.step(fit.loss).item() == before
    state = optimizer.state[next(iter(fit.net.parameters()))]
    assert state["n_iter"] == 20 and 20 < state["func_evals"] <= 26


def test_a_closure_with_backward_and_one_without_lead_to_the_same_weights() -> None:
    one, two = Fit(), Fit()
    first = solvers.BFGS(one.net.parameters(), max_iter=5)
    second = solvers.BFGS(two.net.parameters(), max_iter=5)

    def closure() -> float:
        second.zero_grad()
        loss = two.loss()
        loss.backward()
        return loss.item()

    first.step(one.loss)
    second.step(closure)
    assert torch.equal(one.weights(), two.weights())


def test_frozen_weights_stay_and_the_rate_can_be_scheduled() -> None:
    fit = Fit()
    frozen = next(fit.net.parameters()).requires_grad_(False)
    kept = frozen.clone()
    optimizer = solvers.LBFGS(fit.net.parameters(), lr=0.5)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step(fit.loss)
    scheduler.step()
    assert torch.equal(frozen, kept)
    assert values(optimizer.method())["lr"] == 0.25


def test_float32_weights_step_as_well() -> None:
    fit = Fit(torch.float32)
    optimizer = solvers.NewtonCG(fit.net.parameters(), max_iter=30)
    before = fit.loss().item()
    optimizer.step(fit.loss)
    assert fit.loss().item() < 0.2 * before


def _backward(fit: Fit) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        loss = fit.loss()
        loss.backward()
        return loss

    return closure


def _noisy(fit: Fit) -> Callable[[], Tensor]:
    calls = [0.0]

    def closure() -> Tensor:
        calls[0] += 1
        return fit.loss() + calls[0]

    return closure


@pytest.mark.parametrize(
    ("kind", "closure", "says"),
    [
        (solvers.LBFGS, lambda fit: None, r"call step\(closure\)"),
        (solvers.LevenbergMarquardt, lambda fit: None, r"call step\(closure\)"),
        (solvers.NewtonCG, _backward, r"return the loss without calling backward"),
        (solvers.BFGS, _noisy, "does the closure give the same loss at every call"),
        (solvers.GaussNewton, lambda fit: fit.residuals, "rank 24, fewer than the 31 parameters"),
        (solvers.LevenbergMarquardt, lambda fit: fit.loss, "needs a vector with its graph"),
        (solvers.BFGS, lambda fit: fit.losses, r"one number to minimise, got shape \[24\]"),
        (solvers.BFGS, lambda fit: lambda: 1.0, "must return the loss as a tensor, or call backward"),
        (solvers.BFGS, lambda fit: lambda: fit.loss() * float("nan"), "NaN or Inf where it starts"),
        (solvers.BFGS, lambda fit: lambda: fit.loss().detach(), "no graph that leads to"),
        (solvers.Newton, lambda fit: fit.loss, "the Hessian is"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    kind: type[SolverOptimizer], closure: Callable[[Fit], Any], says: str
) -> None:
    fit = Fit()
    optimizer, before = kind(fit.net.parameters()), fit.weights()
    with pytest.raises(UserError, match=says) as raised:
        optimizer.step(closure(fit))
    assert "\n" not in str(raised.value)
    assert torch.equal(fit.weights(), before) and not optimizer.memory


def test_an_error_of_the_closure_itself_leaves_the_weights_as_they_were() -> None:
    fit, calls = Fit(), [0]
    before = fit.weights()

    def closure() -> Tensor:
        calls[0] += 1
        if calls[0] == 3:
            raise KeyError("data")
        return fit.loss()

    optimizer = solvers.LBFGS(fit.net.parameters(), line_search_fn="strong_wolfe")
    with pytest.raises(KeyError):
        optimizer.step(closure)
    assert torch.equal(fit.weights(), before) and not optimizer.memory


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: solvers.LBFGS(p, line_search_fn="wolfe"), "unknown line_search_fn 'wolfe'"),
        (lambda p: solvers.LBFGS(p, lr=-1), r"lr must lie in \(0, inf\), got -1"),
        (lambda p: solvers.BFGS(p, max_iter=0), "max_iter must be at least 1, got 0"),
        (lambda p: solvers.Newton(p, dialect="dampd"), "unknown dialect of Newton 'dampd': did you mean 'damped'"),
        (lambda p: solvers.BFGS(p, c3=1), "unknown option of BFGS 'c3'"),
        (lambda p: solvers.BFGS([{"params": p[:1]}, {"params": p[1:]}]), "give them in one group"),
        (lambda p: solvers.BFGS([p[0], nn.Parameter(p[1].detach().half())]), "one dtype on one device"),
        (lambda p: solvers.KFAC(nn.Embedding(3, 2)), "no Linear or Conv2d layer"),
        (lambda p: solvers.KFAC(nn.Linear(3, 2), damping=0), r"damping must lie in \(0, inf\)"),
    ],
)
def test_wrong_options_are_one_sentence(make: Callable[[list[nn.Parameter]], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make(list(Fit().net.parameters()))


def test_a_checkpoint_of_another_method_or_model_is_refused() -> None:
    fit = Fit()
    optimizer = solvers.BFGS(fit.net.parameters())
    optimizer.step(fit.loss)
    optimizer.step(fit.loss)
    with pytest.raises(UserError, match="the checkpoint is of bfgs, this is lbfgs"):
        solvers.LBFGS(fit.net.parameters(), line_search_fn="strong_wolfe").load_state_dict(optimizer.state_dict())
    small = solvers.BFGS(fit.net[2].parameters())
    with pytest.raises(UserError, match="in the checkpoint is of 31 weights, not 7"):
        small.load_state_dict(optimizer.state_dict())
    assert not small.memory
