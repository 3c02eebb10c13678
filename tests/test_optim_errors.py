"""A mistake with an optimizer is one sentence that names the culprit, and nothing has changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import ravine.optim
from ravine.errors import UserError
from ravine.optim import NonFiniteGradient
from ravine.rules.rule import catalogue, hypers


def w(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape or (2,)))


def _bounds() -> list[tuple[str, str, float]]:
    """Every rule, every hyperparameter, every value just outside its interval, and what is no number."""
    cases: list[tuple[str, str, float]] = []
    for name, kind in catalogue().items():
        for hyper in hypers(kind).values():
            low, high = (float(end) for end in hyper.bounds.text[1:-1].split(","))
            outside = [
                low if hyper.bounds.text[0] == "(" else low - 0.5,
                high if hyper.bounds.text[-1] == ")" else 2 * high,
            ]
            cases += [(name, hyper.name, value) for value in (*outside, math.nan, math.inf)]
    return cases


@pytest.mark.parametrize(("rule", "option", "value"), _bounds())
def test_every_bound_of_every_hyperparameter(rule: str, option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{option} must lie in") as error:
        ravine.optim.of(rule)([w()], **{option: value})
    assert "\n" not in str(error.value)


a, b = w(), w()
optim: Any = ravine.optim  # the mistakes are of type too
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "twice": (lambda: optim.SGD([("a", a), ("b", b), ("c", a)]), "parameter 'c' is given twice"),
    "twice over groups": (
        lambda: optim.SGD([{"params": [a]}, {"params": [b, a]}]),
        "1 of group 1 is given twice",
    ),
    "not a leaf": (lambda: optim.SGD([a * 2]), "parameter 0 of group 0 is not a leaf"),
    "integers": (lambda: optim.SGD([("n", torch.ones(2, dtype=torch.int64))]), "'n' is torch.int64"),
    "misspelt": (lambda: optim.of("nadam")([a], momentun_decay=0.1), "did you mean 'momentum_decay'"),
    "misspelt extra": (lambda: optim.Adam([a], clip_nrm=1.0), "did you mean 'clip_norm'"),
    "misspelt in a group": (
        lambda: optim.Adam([{"params": [a], "weight_decy": 0.1}]),
        "did you mean 'weight_decay'",
    ),
    "dialect": (lambda: optim.Adam([a], dialect="eps-insid"), "did you mean 'eps-inside'"),
    "no dialects": (lambda: optim.Adadelta([a], dialect="other"), "adadelta has no dialects"),
    "dialect and option": (lambda: optim.Adam([a], amsgrad=True, dialect="eps-inside"), "both choose"),
    "decay": (lambda: optim.SGD([a], weight_decay=0.1, decay="couple"), "did you mean 'coupled'"),
    "two clips": (lambda: optim.SGD([a], clip_norm=1.0, clip_value=1.0), "choose one"),
    "clip": (lambda: optim.SGD([a], clip_norm=0.0), "clip must lie in"),
    "engine": (lambda: optim.SGD([a], engine="fast"), "unknown engine 'fast'"),
    "policy": (lambda: optim.SGD([a], nonfinite="rais"), "did you mean 'raise'"),
    "schedule of nothing": (
        lambda: optim.SGD([a], schedules={"beta1": lambda t: 1.0}),
        "unknown scheduled hyperparameter 'beta1'",
    ),
    "no schedule": (lambda: optim.SGD([a], schedules={"lr": 0.1}), "give schedules by hyperparameter"),
    "betas": (lambda: optim.Adam([a], betas=0.9), "give two numbers"),
    "text": (lambda: optim.Adam([a], lr="0.1"), "give a number in"),
    "nesterov": (lambda: optim.SGD([a], nesterov=True), "requires a momentum"),
    "lr_decay": (lambda: optim.Adagrad([a], lr_decay=-1.0), "lr_decay must lie in"),
    "two numbers": (lambda: optim.Adam([a], lr=torch.ones(2)), "must have 1 element"),
    "look-ahead": (lambda: optim.of("nesterov/look-ahead")([a]).step(), r"call step\(closure\)"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(mistake: str) -> None:
    make, text = MISTAKES[mistake]
    with pytest.raises(UserError, match=text) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_wrong_group_leaves_the_optimizer_and_the_group_as_they_were() -> None:
    optimizer = ravine.optim.Adam([w()])
    group = {"params": [w()], "lr": -1.0}
    with pytest.raises(UserError):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1 and group.keys() == {"params", "lr"}


def test_an_option_set_out_of_bounds_is_found_before_the_step() -> None:
    p, q = w(), w()
    optimizer = ravine.optim.Adam([{"params": [p]}, {"params": [q]}])
    optimizer.param_groups[1]["lr"] = math.nan
    p.grad = q.grad = torch.ones(2)
    with pytest.raises(UserError, match="lr must lie in"):
        optimizer.step()
    assert torch.equal(p, torch.ones(2)) and not optimizer.state


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sparse", [False, True])
def test_non_finite_gradients_by_policy(bad: float, sparse: bool) -> None:
    for policy in ("raise", "skip", "zero", "ignore"):
        p, q = w(), w()
        optimizer = ravine.optim.SGD([("p", p), ("q", q)], lr=0.5, nonfinite=policy)
        p.grad, q.grad = torch.ones(2), torch.tensor([1.0, bad])
        if sparse:
            p.grad, q.grad = p.grad.to_sparse(), q.grad.to_sparse()
        if policy == "raise":
            with pytest.raises(NonFiniteGradient, match="parameter 'q' has a gradient with NaN or Inf"):
                optimizer.step()
        else:
            optimizer.step()
        moved = policy in ("zero", "ignore")
        assert p.tolist() == ([0.5, 0.5] if moved else [1.0, 1.0])
        assert q.tolist()[0] == (0.5 if moved else 1.0)
        assert math.isfinite(q.tolist()[1]) == (policy != "ignore")
        assert bool(optimizer.state) == moved


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_nan_among_many_numbers_is_found(dtype: torch.dtype) -> None:
    p, q = (nn.Parameter(torch.zeros(70_000, dtype=dtype)) for _ in range(2))
    optimizer = ravine.optim.SGD([("p", p), ("q", q)], lr=1.0)
    p.grad, q.grad = torch.ones_like(p), torch.ones_like(q)
    q.grad[69_999] = math.nan
    with pytest.raises(NonFiniteGradient, match="'q'"):
        optimizer.step()
    assert not p.any()
    q.grad[69_999] = 1.0
    optimizer.step()
    assert (p == -1).all() and (q == -1).all()


def test_a_norm_that_overflows_is_no_bad_gradient() -> None:
    p = w()
    optimizer = ravine.optim.SGD([p], lr=1e-30)
    p.grad = torch.full((2,), 3e38)
    optimizer.step()
    assert p.isfinite().all()


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RMSprop", "Adadelta", "Adamax"])
def test_sparse_gradients_where_torch_has_none(name: str) -> None:
    p = w()
    optimizer = getattr(ravine.optim, name)([p])
    p.grad = torch.ones(2).to_sparse()
    with pytest.raises(UserError, match="only SGD and Adagrad"):
        optimizer.step()
    assert torch.equal(p, torch.ones(2)) and not optimizer.state


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_kernel_asked_for_by_name_says_what_it_cannot_serve(differentiable: bool) -> None:
    p = torch.ones(2, device="cpu" if differentiable else "meta")
    optimizer = ravine.optim.SGD([p], engine="kernel", differentiable=differentiable)
    p.grad = torch.ones_like(p)
    with pytest.raises(UserError, match="use engine='auto'"):
        optimizer.step()


def test_sparse_gradients_and_weight_decay() -> None:
    p = w()
    p.grad = torch.ones(2).to_sparse()
    with pytest.raises(UserError, match="weight_decay=0"):
        ravine.optim.SGD([p], weight_decay=0.1).step()


def test_what_is_no_tensor_is_torch_s_own_error() -> None:
    given: Any = [3]
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        ravine.optim.SGD(given)
    given = w()
    with pytest.raises(TypeError, match="iterable of Tensors"):
        ravine.optim.SGD(given)
    given = {w()}
    with pytest.raises(TypeError, match="ordered collections"):
        ravine.optim.SGD([{"params": given}])
