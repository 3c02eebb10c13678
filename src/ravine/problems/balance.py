"""How much each class counts in the loss, as a value: fitted on the training part, or given by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ravine.errors import UserError, unknown

Over: TypeAlias = Literal["weights", "samples"]
BALANCED = "balanced"


@dataclass(frozen=True)
class ClassWeights:
    """A weight for each class, and what their weighted sum over a batch is divided by.

    ``weights``: by the sum of the weights of the batch's samples, as torch does; so a batch of one class is worth as
    much as any. ``samples``: by their number, so that each sample keeps its own say whatever batch it falls into.
    The two are the same up to a factor in the mean over an epoch, and differ from batch to batch.
    """

    weights: tuple[float, ...]
    over: Over = "weights"

    def of(self, labels: Tensor, like: Tensor) -> Tensor:
        """The weight of each label, in the type of ``like``."""
        return like.new_tensor(self.weights)[labels]


def balanced(labels: Tensor, classes: Sequence[str]) -> tuple[float, ...]:
    """Samples / (classes * samples of the class), as scikit-learn's "balanced": the classes weigh the same in sum."""
    counts = torch.bincount(labels.reshape(-1), minlength=len(classes))
    empty = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
    if empty:
        raise UserError(
            f"class_weights: the training part has no sample of class {empty[0]}: give a table of weights instead"
        )
    return tuple((labels.numel() / (len(classes) * counts.double())).tolist())


def fitted(
    given: str | Mapping[str, float], over: Over, labels: Tensor, classes: Sequence[str], name: str
) -> ClassWeights:
    """The weights that were asked for: "balanced", or a table {class: weight} where the rest count once."""
    if not classes:
        raise UserError(f"class_weights: the target of {name} is numbers, not classes: leave class_weights out")
    if isinstance(given, str):
        if given != BALANCED:
            raise UserError(f"class_weights {given!r}: write {BALANCED!r}, or a table of weights by class")
        return ClassWeights(balanced(labels, classes), over)
    for one, weight in given.items():
        if one not in classes:
            raise unknown(f"class of {name} in class_weights", one, classes)
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"class_weights: the weight of {one} must be 0 or more and finite, got {weight:g}")
    weights = tuple(float(given.get(one, 1.0)) for one in classes)
    if not any(weights):
        raise UserError("class_weights: all weights are 0, so nothing is left to learn: leave some class in")
    return ClassWeights(weights, over)
