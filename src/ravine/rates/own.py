"""The sweep on a user's own model, optimizer and batches, which are as they were afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.errors import UserError
from ravine.optim.base import RuleOptimizer
from ravine.problems.blame import blame
from ravine.randomness import key
from ravine.rates.restore import restored
from ravine.rules.rule import CLOSURE, needs_of
from ravine.types import Loss


def sweep_own(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Any],
    loss: Loss,
    rates: list[float],
    seeds: Iterable[int],
) -> Tensor:
    """The loss before each step, float64 [steps, seeds]; each seed begins from the model and optimizer as given.

    Every group's rate is swept, in the groups' own proportions to the first: groups with other rates keep the ratio.
    """
    _check(model, optimizer, batches)
    generators = [g for g in map(lambda holder: getattr(holder, "generator", None), _holders(batches)) if g is not None]
    losses: list[Tensor] = []
    for seed in seeds:
        with restored(model, optimizer, generators):
            torch.manual_seed(key(seed, "range test"))
            for generator in generators:
                generator.manual_seed(key(seed, "range test"))
            losses.append(_sweep(model, optimizer, batches, loss, rates))
    return torch.stack(losses, 1)


def _holders(batches: Any) -> list[Any]:
    """What of a DataLoader may draw by itself: the loader, its sampler, and a batch sampler's sampler."""
    outer = getattr(batches, "batch_sampler", None)
    return [batches, getattr(batches, "sampler", None), getattr(outer, "sampler", None)]


def _check(model: nn.Module, optimizer: Optimizer, batches: Any) -> None:
    own = {id(p) for p in model.parameters()}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise UserError("the optimizer holds no parameter of this model: make it with model.parameters()")
    if any("lr" not in group for group in optimizer.param_groups):
        raise UserError(f"{type(optimizer).__name__} has no learning rate lr, so there is nothing to sweep")
    if isinstance(batches, Iterator):
        raise UserError("the batches are an iterator, which a test would use up: give a DataLoader or a list of (x, y)")
    if not hasattr(batches, "__iter__"):
        raise UserError(f"the batches are a {type(batches).__name__}: give a DataLoader or a list of (x, y)")


def _sweep(model: nn.Module, optimizer: Optimizer, batches: Any, loss: Loss, rates: list[float]) -> Tensor:
    found = torch.full((len(rates),), math.nan, dtype=torch.float64)
    model.train()
    base = float(optimizer.param_groups[0]["lr"])
    shares = [float(group["lr"]) / base if base else 1.0 for group in optimizer.param_groups]
    feed = _endless(batches)
    for step, rate in enumerate(rates):
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        now = _step(model, optimizer, next(feed), loss)
        if not math.isfinite(now):  # it has been seen before the step, which the optimizer may refuse
            break
        found[step] = now
    return found


def _step(model: nn.Module, optimizer: Optimizer, batch: Any, loss: Loss) -> float:
    """One step on a batch; its loss before it. A batch whose loss is not finite takes no step."""
    x, y = _pair(batch, next(model.parameters()).device)
    seen: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        with torch.enable_grad():
            value = _loss_of(model, loss, x, y)
            value.backward()
        seen.append(float(value.detach()))
        return value

    closure()
    if not (math.isfinite(seen[0]) and _finite(optimizer)):
        return math.nan
    if _needs_closure(optimizer):
        optimizer.step(closure)  # type: ignore[arg-type]  # torch types it as a function of a float
    else:
        optimizer.step()
    return seen[0]


def _finite(optimizer: Optimizer) -> bool:
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return all(bool(torch.isfinite(g).all()) for g in grads)


def _needs_closure(optimizer: Optimizer) -> bool:
    """Whether the optimizer evaluates the loss itself: L-BFGS, and rules that look ahead or measure curvature."""
    rules = optimizer.rules() if isinstance(optimizer, RuleOptimizer) else []
    return isinstance(optimizer, torch.optim.LBFGS) or any(CLOSURE & needs_of(rule) for rule in rules)


def _loss_of(model: nn.Module, loss: Loss, x: Any, y: Any) -> Tensor:
    try:
        value = loss(model(x), y)
    except Exception as error:
        raise blame(error, "the model and loss on a batch of yours") from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UserError(f"the loss gives {shape}: it must give one number, such as the mean over the batch")
    return value


def _endless(batches: Any) -> Iterator[Any]:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise UserError("the batches are empty: give at least one (x, y)")


def _pair(batch: Any, device: torch.device) -> tuple[Any, Any]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise UserError(f"a batch is a {type(batch).__name__}: each must be a pair (x, y)")
    x, y = (each.to(device) if isinstance(each, Tensor) else each for each in batch)
    return x, y
