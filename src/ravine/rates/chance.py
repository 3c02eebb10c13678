"""The loss of the best constant answer: what a model must beat to have learned anything from its inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ravine.losses import loss_of
from ravine.problems.problem import Problem

MOST = 10_000  # targets that it is read from, evenly spread
BEATEN = 0.05  # of that loss: who ends closer to it has not beaten it


def constant_loss(problem: Problem, output: Tensor) -> float | None:
    """The validation loss of the constant answer that does best on the training targets.

    ``output`` is what the model makes of one sample, [1, ...], for its shape. None where the loss cannot tell: a
    function of one's own may not be made for answers that are all the same.
    """
    loss, answer = loss_of(problem), torch.zeros_like(output, requires_grad=True)
    train, valid = (_some(part.y) for part in (problem.train, problem.valid))
    search = torch.optim.LBFGS([answer], max_iter=60, line_search_fn="strong_wolfe")
    best, kept = math.inf, answer.detach().clone()

    def closure() -> Tensor:
        nonlocal best, kept
        search.zero_grad()
        value = loss(answer.expand(len(train), *answer.shape[1:]), train)
        value.backward()
        if value.item() < best:
            best, kept = value.item(), answer.detach().clone()
        return value

    try:
        with torch.enable_grad():
            search.step(closure)
        found = loss(kept.expand(len(valid), *kept.shape[1:]), valid).item()
    except (RuntimeError, ValueError, TypeError, IndexError):
        return None
    return found if math.isfinite(found) else None


def to_beat(chance: float) -> float:
    """The loss below which chance is beaten.

    >>> to_beat(1.0), to_beat(-1.0)
    (0.95, -1.05)
    """
    return chance - BEATEN * abs(chance)


def _some(targets: Tensor) -> Tensor:
    return targets[:: max(1, len(targets) // MOST)]
