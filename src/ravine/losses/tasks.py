"""One loss from those of several tasks: with weights that are given, or weights that are learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ravine.errors import UserError


def weighted_sum(losses: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The sum of w_i L_i over tasks: scalars L_i, one weight each."""
    if len(losses) != len(weights) or not losses:
        raise UserError(f"{len(losses)} losses and {len(weights)} weights: give one weight a loss")
    if min(weights) < 0 or not any(weights):
        raise UserError(f"weights of tasks must not be negative, and not all 0, got {list(weights)}")
    return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()


class LearnedWeights(nn.Module):
    """The sum of exp(-s_i) L_i / 2 + s_i / 2 over tasks, with s_i = log of task i's variance, trained with the model.

    At the minimum over s_i the variance is L_i and the weight of a task 1 / (2 L_i), so that units do not
    matter. Losses are squared errors; give the module's parameters to the optimizer beside the model's.
    Reference: Kendall, Gal & Cipolla 2018, arXiv:1705.07115, equation 7.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__()
        if tasks < 2:
            raise UserError(f"learned weights need 2 tasks or more, got {tasks}")
        self.log_variance = nn.Parameter(torch.zeros(tasks))

    def forward(self, losses: Sequence[Tensor]) -> Tensor:
        """The joint loss of one scalar a task."""
        if len(losses) != len(self.log_variance):
            raise UserError(f"{len(losses)} losses for {len(self.log_variance)} tasks: give one loss a task")
        stacked = torch.stack(list(losses))
        return ((-self.log_variance).exp() * stacked / 2 + self.log_variance / 2).sum()

    @property
    def weights(self) -> Tensor:
        """What each task's loss is multiplied by now."""
        return (-self.log_variance).exp().detach() / 2
