"""From raw samples, a target and a split to the problem that everything else sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.problems.inputs import Inputs
from ravine.problems.problem import Part, Problem
from ravine.problems.scale import standardise, statistics
from ravine.problems.split import Split
from ravine.problems.target import Target
from ravine.types import Loss


def build(
    name: str,
    parts: tuple[Tensor, Tensor, Tensor],
    target: Target,
    split: Split,
    *,
    understood: tuple[str, ...],
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
) -> Problem:
    """The problem of these raw inputs (train, validation, test).

    Inputs are standardised; integers other than bytes are somebody's codes (words of a text) and stay as they are.
    """
    parts, inputs = _standardised(name, parts)
    y = target.y
    centre, scale = 0.0, 1.0
    if target.task == "classification":
        _check_trainable(name, target, split)
    else:
        centre, scale = _location(name, y[split.train])
        y = ((y - centre) / scale).float()
    made = [Part(x, y[rows], rows) for x, rows in zip(parts, split.parts(), strict=True)]
    return Problem(
        name=name,
        task=target.task,
        train=made[0],
        valid=made[1],
        test=made[2],
        classes=target.classes,
        loss=loss,
        model=model,
        target_mean=centre,
        target_scale=scale,
        inputs=inputs,
        understood=(*understood, *target.clauses, *split.clauses),
    )


def _standardised(
    name: str, parts: tuple[Tensor, Tensor, Tensor]
) -> tuple[tuple[Tensor, Tensor, Tensor], Inputs | None]:
    train, valid, test = parts
    if not train.is_floating_point() and train.dtype != torch.uint8:
        return parts, None
    mean, factor = statistics(train)
    _check_carries(name, factor)
    low, high = (0.0, 255.0) if train.dtype == torch.uint8 else map(float, train.aminmax())
    inputs = Inputs(("standardise",), mean.double(), factor.double(), low, high)
    done = standardise(train, mean, factor), standardise(valid, mean, factor), standardise(test, mean, factor)
    return done, inputs


def _location(name: str, y: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the training target."""
    spread, mean = torch.std_mean(y, correction=0)
    if not bool((y != y[0]).any()) or not bool(torch.isfinite(spread)):
        raise UserError(f"{name}: the target does not vary within float range in the training part: give more rows")
    return float(mean), float(spread)


def _check_trainable(name: str, target: Target, split: Split) -> None:
    seen = torch.unique(target.y[split.train])
    if len(seen) < 2:
        only = target.classes[int(seen[0])]
        raise UserError(f"{name}: the training part holds class '{only}' alone: give more samples of the other classes")


def _check_carries(name: str, factor: Tensor) -> None:
    if not bool((factor > 0).any()):
        raise UserError(f"{name}: every input is constant in the training part, so there is nothing to learn from")
