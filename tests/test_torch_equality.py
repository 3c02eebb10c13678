"""Where torch has the method, ravine's rule walks the same path: float64, 1,000 steps, to 1e-10."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ravine.rules.combine import ClipGlobalNorm, ClipNorm, ClipValue, CoupledDecay, DecoupledDecay
from ravine.rules.descent import SGD
from ravine.rules.rule import Rule, make
from tests.driving import Noisy, Tensors, constant, drive, normal, starts, step

SHAPES: list[tuple[int, ...]] = [(5,), (2, 3)]
STEPS = 1000
Maker = Callable[[Tensors], torch.optim.Optimizer]

CASES: list[tuple[str, dict[str, float], str, dict[str, Any]]] = [
    ("sgd", {"lr": 0.1}, "SGD", {}),
    ("momentum", {"lr": 0.01}, "SGD", {"momentum": 0.9}),
    ("momentum/dampened", {"lr": 0.01, "dampening": 0.3}, "SGD", {"momentum": 0.9, "dampening": 0.3}),
    ("nesterov", {"lr": 0.01}, "SGD", {"momentum": 0.9, "nesterov": True}),
    ("nesterov/change-of-variables", {"lr": 0.01}, "SGD", {"momentum": 0.9, "nesterov": True}),
    ("adagrad", {}, "Adagrad", {}),
    ("adagrad", {"start": 0.1, "eps": 1e-3}, "Adagrad", {"initial_accumulator_value": 0.1, "eps": 1e-3}),
    ("rmsprop", {}, "RMSprop", {}),
    ("rmsprop/momentum", {}, "RMSprop", {"momentum": 0.9}),
    ("rmsprop/centered", {}, "RMSprop", {"centered": True}),
    ("rmsprop/centered-momentum", {}, "RMSprop", {"centered": True, "momentum": 0.9}),
    ("adadelta", {}, "Adadelta", {}),
    ("adadelta", {"rho": 0.95, "eps": 1e-4, "lr": 0.5}, "Adadelta", {"rho": 0.95, "eps": 1e-4, "lr": 0.5}),
    ("adam", {}, "Adam", {}),
    ("adam", {"beta1": 0.8, "beta2": 0.9, "eps": 1e-2}, "Adam", {"betas": (0.8, 0.9), "eps": 1e-2}),
    ("adam/amsgrad", {"beta2": 0.9}, "Adam", {"amsgrad": True, "betas": (0.9, 0.9)}),
    ("adamw", {}, "AdamW", {}),
    ("adamax", {}, "Adamax", {}),
    ("nadam", {}, "NAdam", {}),
    ("nadam", {"momentum_decay": 0.1}, "NAdam", {"momentum_decay": 0.1}),
    ("radam", {}, "RAdam", {}),
    ("radam", {"beta2": 0.6}, "RAdam", {"betas": (0.9, 0.6)}),
]


@pytest.fixture(autouse=True)
def default_float64() -> Iterator[None]:
    """NAdam of torch keeps its product of momenta in the default type, float32 otherwise."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def torch_path(maker: Maker, slope: Callable[[int, Tensors], Tensors], start: Tensors, steps: int) -> list[Tensors]:
    """The weights after each step of an optimizer of torch, the start first."""
    parameters = [w.clone().requires_grad_() for w in start]
    optimizer = maker(parameters)
    path = [[w.clone() for w in start]]
    for t in range(1, steps + 1):
        for p, g in zip(parameters, slope(t, path[-1]), strict=True):
            p.grad = g.clone()
        optimizer.step()
        path.append([p.detach().clone() for p in parameters])
    return path


def assert_equal(rule: Rule, maker: Maker, seed: str, tolerance: float = 1e-10, steps: int = STEPS) -> None:
    slope = Noisy.of(seed, SHAPES, steps)
    start = [normal(f"{seed}{shape}", *shape) for shape in SHAPES]
    ours, theirs = drive(rule, slope.tensors, start, steps), torch_path(maker, slope.tensors, start, steps)
    for k in range(len(SHAPES)):
        got, want = torch.stack([point[k] for point in ours]), torch.stack([point[k] for point in theirs])
        assert float(((got - want).abs() / want.abs().cummax(0).values).max()) <= tolerance


def maker_of(cls: str, given: dict[str, Any], rule: Rule, **more: Any) -> Maker:
    chosen: Any = getattr(torch.optim, cls)
    rate: Any = getattr(rule, "lr", None)
    return lambda parameters: chosen(parameters, **{"lr": rate, "foreach": False, **given, **more})


@pytest.mark.parametrize(("name", "values", "cls", "given"), CASES)
def test_path_is_that_of_torch(name: str, values: dict[str, float], cls: str, given: dict[str, Any]) -> None:
    rule = make(name, values)
    assert_equal(rule, maker_of(cls, given, rule), name)


COUPLED = [case for case in CASES if case[2] != "AdamW"]  # whose weight decay is decoupled: the test below


@pytest.mark.parametrize(("name", "values", "cls", "given"), COUPLED)
def test_coupled_decay_is_the_weight_decay_of_torch(
    name: str, values: dict[str, float], cls: str, given: dict[str, Any]
) -> None:
    rule = make(name, values)
    assert_equal(CoupledDecay(rule, 0.05), maker_of(cls, given, rule, weight_decay=0.05), name)


@pytest.mark.parametrize(
    ("name", "cls", "given"), [("adam", "AdamW", {}), ("nadam", "NAdam", {"decoupled_weight_decay": True})]
)
def test_decoupled_decay_is_that_of_torch(name: str, cls: str, given: dict[str, bool]) -> None:
    rule = make(name, {})
    assert_equal(DecoupledDecay(rule, 0.05), maker_of(cls, given, rule, weight_decay=0.05), name)


@pytest.mark.parametrize("name", sorted({name for name, _, _, _ in CASES}))
def test_defaults_are_those_of_torch(name: str) -> None:
    cls = next(cls for of, _, cls, _ in CASES if of == name)
    torch_defaults: dict[str, Any] = getattr(torch.optim, cls)([torch.zeros(1)]).defaults
    known = {**torch_defaults, **dict(zip(("beta1", "beta2"), torch_defaults.get("betas", ()), strict=False))}
    rule: Any = make(name, {})
    shared = [field for field in ("beta1", "beta2", "eps", "alpha", "rho", "momentum_decay") if hasattr(rule, field)]
    assert {field: getattr(rule, field) for field in shared} == {field: known[field] for field in shared}


GRADIENTS = [[3.0, -4.0], [0.0, 12.0]]  # norms 5 and 12, together 13


def clipped(rule: Rule, gradients: list[Tensor]) -> list[Tensor]:
    """What a combinator hands to SGD with learning rate 1."""
    zeros = [torch.zeros_like(g) for g in gradients]
    return [-u for u in step(rule, constant(*gradients), zeros, starts(rule, zeros), 1)[0]]


@pytest.mark.parametrize("limit", [0.5, 6.0, 13.0, 100.0])
@pytest.mark.parametrize("size", [1.0, 1e-30, 0.0])
def test_clipping_is_that_of_torch(limit: float, size: float) -> None:
    gradients = [size * torch.tensor(g, dtype=torch.float64) for g in GRADIENTS]

    def by_torch(clip: Callable[[list[Tensor], float], Any], *groups: list[Tensor]) -> list[Tensor]:
        made = [[torch.zeros_like(g).requires_grad_() for g in group] for group in groups]
        for parameters, group in zip(made, groups, strict=True):
            for p, g in zip(parameters, group, strict=True):
                p.grad = g.clone()
            clip(parameters, limit)
        return [p.grad for parameters in made for p in parameters if p.grad is not None]

    norm, value = torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_
    for rule, want in (
        (ClipGlobalNorm(SGD(1.0), limit), by_torch(norm, gradients)),
        (ClipNorm(SGD(1.0), limit), by_torch(norm, *([g] for g in gradients))),
        (ClipValue(SGD(1.0), limit), by_torch(value, gradients)),
    ):
        for got, expected in zip(clipped(rule, gradients), want, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-15, atol=0)
