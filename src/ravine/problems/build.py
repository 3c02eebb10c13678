"""From raw samples, a target and a split to the problem that everything else sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

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
    makers = [partial(Part, x) for x in parts]
    return assemble(name, target, split, makers, inputs=inputs, understood=understood, loss=loss, model=model)


def assemble(
    name: str,
    target: Target,
    split: Split,
    makers: Sequence[Callable[[Tensor, Tensor], Part]],
    *,
    inputs: Inputs | None,
    understood: tuple[str, ...],
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
) -> Problem:
    """The problem of three parts, each made of its targets and its places in the data."""
    y = target.y
    centre, scale = 0.0, 1.0
    if target.task == "classification":
        _check_trainable(name, target, split)
    else:
        centre, scale = _location(name, y[split.train])
        y = ((y - centre) / scale).float()
    understood = (*understood, *target.clauses, *split.clauses, *_unseen(target, split))
    train, valid, test = (make(y[rows], rows) for make, rows in zip(makers, split.parts(), strict=True))
    return Problem(
        name=name,
        task=target.task,
        train=train,
        valid=valid,
        test=test,
        classes=target.classes,
        loss=loss,
        model=model,
        target_mean=centre,
        target_scale=scale,
        inputs=inputs,
        understood=understood,
    )


def _standardised(
    name: str, parts: tuple[Tensor, Tensor, Tensor]
) -> tuple[tuple[Tensor, Tensor, Tensor], Inputs | None]:
    train, valid, test = parts
    if not train.is_floating_point() and train.dtype != torch.uint8:
        return parts, None
    mean, factor = statistics(train)
    check_carries(name, factor)
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


def _unseen(target: Target, split: Split) -> tuple[str, ...]:
    """A clause on classes that the training part lacks and another part has: no model can learn them."""
    if target.task != "classification":
        return ()
    lost = sorted(set(target.y.tolist()) - set(target.y[split.train].tolist()))
    if not lost:
        return ()
    some = ", ".join(f"'{target.classes[label]}'" for label in lost[:3])
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return (f"no sample of class {some}{more} to train on, so that none can be told",)


def check_carries(name: str, factor: Tensor) -> None:
    """Raise one sentence where no input varies."""
    if not bool((factor > 0).any()):
        raise UserError(f"{name}: every input is constant in the training part, so there is nothing to learn from")
