"""ravine.optim beside torch.optim: the same numbers for every option, and torch's own lists of inputs."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import itertools
import sys
import types
import unittest
import warnings
from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ravine.optim
from ravine.optim import RuleOptimizer
from tests.optimizing import ENTRYWISE, TORCH

NAMES = ENTRYWISE

GRID: dict[str, dict[str, list[Any]]] = {
    "SGD": {"momentum": [0, 0.9], "dampening": [0, 0.3], "nesterov": [False, True]},
    "Adagrad": {"lr_decay": [0, 0.1], "initial_accumulator_value": [0, 0.5]},
    "RMSprop": {"momentum": [0, 0.9], "centered": [False, True]},
    "Adadelta": {"rho": [0.9, 0.5]},
    "Adam": {"amsgrad": [False, True], "decoupled_weight_decay": [False, True]},
    "AdamW": {"amsgrad": [False, True]},
    "Adamax": {"betas": [(0.9, 0.999), (0.5, 0.9)]},
    "NAdam": {"momentum_decay": [4e-3, 0.1], "decoupled_weight_decay": [False, True]},
    "RAdam": {"betas": [(0.9, 0.999), (0.9, 0.6)], "decoupled_weight_decay": [False, True]},
    "Rprop": {"etas": [(0.5, 1.2), (0.2, 1.7)], "step_sizes": [(1e-6, 50), (1e-3, 0.05)]},
    "ASGD": {"lambd": [1e-4, 0.1], "alpha": [0.75, 0.5], "t0": [0, 100]},
}


def _grid() -> list[tuple[str, dict[str, Any]]]:
    """The defaults of every class, and every choice of its options with weight decay."""
    choices = [
        (name, {**dict(zip(options, choice, strict=True)), **_decay(name)})
        for name, options in GRID.items()
        for choice in itertools.product(*options.values())
    ]
    return [*((name, {}) for name in GRID), *choices]


def _decay(name: str) -> dict[str, float]:
    """A weight decay, where torch has one."""
    return {"weight_decay": 0.1} if "weight_decay" in inspect.signature(getattr(torch.optim, name)).parameters else {}


def _allowed(name: str, options: dict[str, Any]) -> bool:
    try:
        getattr(torch.optim, name)([torch.zeros(1)], **options)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def in_double() -> Generator[None]:
    """float64 by default: torch keeps NAdam's product of momenta and ASGD's rate in the default type."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def _walk(kind: Any, options: dict[str, Any], gradients: Tensor) -> Tensor:
    """The weights after one step per row of the gradients."""
    w = nn.Parameter(torch.linspace(-1, 1, gradients.shape[1], dtype=gradients.dtype))
    with in_double():
        optimizer = kind([w], **options)
        for g in gradients:
            w.grad = g
            optimizer.step()
    return w.detach()


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("name", TORCH)
def test_every_torch_name_has_torch_signature_defaults_and_group_keys(name: str) -> None:
    ours, theirs = getattr(ravine.optim, name), getattr(torch.optim, name)
    mine = inspect.signature(ours).parameters.values()
    assert [(p.name, p.kind, p.default) for p in mine if p.name != "extras"] == [
        (p.name, p.kind, p.default) for p in inspect.signature(theirs).parameters.values()
    ]
    w = nn.Parameter(torch.zeros(1, 1))
    groups = [kind([w]).param_groups[0] for kind in (ours, theirs)]
    assert groups[0] == groups[1]
    assert issubclass(ours, torch.optim.Optimizer)


def test_the_grid_covers_every_torch_name() -> None:
    assert set(GRID) == set(NAMES)


@pytest.mark.parametrize(("name", "options"), [c for c in _grid() if _allowed(*c)], ids=str)
def test_500_steps_equal_torch(name: str, options: dict[str, Any]) -> None:
    gradients = torch.randn(500, 8, generator=torch.Generator().manual_seed(1))
    ours, theirs = getattr(ravine.optim, name), getattr(torch.optim, name)
    exact = _walk(theirs, options, gradients.double())
    assert _distance(_walk(ours, options, gradients.double()), exact) < 1e-10
    mine = _walk(ours, options, gradients)
    # Torch's AdamW in float32 multiplies by a rounded 1 - lr wd, which drifts: its float64 is the better witness
    if not torch.allclose(mine, exact.float(), 1e-6, 1e-6):
        torch.testing.assert_close(mine, _walk(theirs, options, gradients), rtol=1e-6, atol=1e-6)


def _curve(kind: Any, options: dict[str, Any]) -> Tensor:
    torch.manual_seed(0)
    x = torch.randn(32, 6)
    y = torch.sin(x.sum(1, keepdim=True))
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = kind(model.parameters(), **options)
    losses: list[Tensor] = []
    for _ in range(500):
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_trains_along_the_same_loss_curve(name: str) -> None:
    # A tenth of the default rate: at the default some bounce at the end, where rounding alone grows 1e13-fold
    rate = inspect.signature(getattr(torch.optim, name)).parameters["lr"].default / 10
    with in_double():
        ours, theirs = (_curve(getattr(home, name), {"lr": rate}) for home in (ravine.optim, torch.optim))
    assert float(((ours - theirs) / theirs).abs().max()) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_maximize_is_descent_of_the_negative(name: str) -> None:
    kind = getattr(ravine.optim, name)
    gradients = torch.randn(20, 8, dtype=torch.float64)
    assert torch.equal(_walk(kind, {"maximize": True}, gradients), _walk(kind, {}, -gradients))


@pytest.fixture(scope="module")
def listed() -> list[Any]:
    """Torch's own descriptions of its optimizers; expecttest, which the import names, is not needed for them."""
    if "expecttest" not in sys.modules:
        stub = types.ModuleType("expecttest")
        stub.__dict__["TestCase"] = unittest.TestCase
        sys.modules["expecttest"] = stub
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = importlib.import_module("torch.testing._internal.common_optimizers")
    return [info for info in found.optim_db if info.optim_cls.__name__ in NAMES]


def test_torch_inputs_give_torch_numbers(listed: list[Any]) -> None:
    gradients = torch.randn(12, 8, dtype=torch.float64)
    for info in listed:
        for given in info.optim_inputs_func(device="cpu"):
            ours = _walk(getattr(ravine.optim, info.name), given.kwargs, gradients)
            assert _distance(ours, _walk(info.optim_cls, given.kwargs, gradients)) < 1e-10, (info.name, given.desc)


IMPLEMENTATION = ("foreach=True", "both floats or both Tensors")  # limits of torch's loops, which are not ours


def _attempt(kind: type[RuleOptimizer], given: Any) -> None:
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.ones(2)
    kind(given.params if given.params is not None else [w], **given.kwargs).step()


def test_torch_error_inputs_are_errors_here(listed: list[Any]) -> None:
    for info in listed:
        kind = getattr(ravine.optim, info.name)
        for error in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
            if any(text in error.error_regex for text in IMPLEMENTATION):
                _attempt(kind, error.optimizer_error_input)
                continue
            with pytest.raises((ValueError, TypeError)):
                _attempt(kind, error.optimizer_error_input)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_parameters_equal_torch(name: str, dtype: torch.dtype) -> None:
    weights: list[Tensor] = []
    for home in (ravine.optim, torch.optim):
        generator = torch.Generator().manual_seed(3)
        w = nn.Parameter(torch.randn(4, 3, dtype=dtype, generator=generator))
        optimizer = getattr(home, name)([w], **_decay(name))
        for _ in range(20):
            w.grad = torch.randn(4, 3, dtype=dtype, generator=generator)
            optimizer.step()
        weights.append(w.detach())
    assert _distance(torch.view_as_real(weights[0]), torch.view_as_real(weights[1])) < 1e-6


SPARSE: list[tuple[str, dict[str, Any]]] = [("SGD", {"momentum": 0}), ("SGD", {"momentum": 0.9}), ("Adagrad", {})]


@pytest.mark.parametrize(("name", "options"), SPARSE, ids=str)
def test_sparse_gradients_equal_torch(name: str, options: dict[str, Any]) -> None:
    weights: list[Tensor] = []
    for home in (ravine.optim, torch.optim):
        torch.manual_seed(2)
        table = nn.Embedding(10, 3, sparse=True)
        optimizer = getattr(home, name)(table.parameters(), lr=0.1, **options)
        for _ in range(10):
            optimizer.zero_grad()
            table(torch.randint(10, (6,))).square().sum().backward()
            with torch.sparse.check_sparse_tensor_invariants(enable=True):  # torch warns of not having chosen
                optimizer.step()
        weights.append(table.weight.detach())
    assert _distance(weights[0], weights[1]) < 1e-6
