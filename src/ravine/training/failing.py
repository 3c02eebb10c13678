"""When and how a lane failed: told after a tick from the losses of its steps, so that no step waits for a check."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.engines.lane import Lane


def word(value: float) -> str:
    """What a number that is not finite has become."""
    return "NaN" if math.isnan(value) else "infinite"


def failures(losses: Sequence[Tensor], done: int) -> dict[int, str]:
    """How each lane's loss failed, if it did: row -> a clause; ``losses`` [K] are those of the steps after ``done``."""
    if not losses:
        return {}
    table = torch.stack(list(losses)).double()
    wrong = ~table.isfinite()
    found: dict[int, str] = {}
    for row in wrong.any(dim=0).nonzero().flatten().tolist():
        first = int(wrong[:, row].double().argmax())
        before = f", after {table[first - 1, row].item():.3g} in the step before" if first else ""
        found[row] = f"loss became {word(table[first, row].item())} in step {done + first + 1}{before}"
    return found


def late_failure(lane: Lane, valid_loss: float, step: int) -> str:
    """How a lane failed whose losses were finite until the last step, ``step``: in its update, or in validation."""
    wrong = lane.weights[~lane.weights.isfinite()]
    if len(wrong):
        return f"weights became {word(wrong[0].item())} in step {step}"
    return f"validation loss became {word(valid_loss)}, with finite weights, after step {step}"
