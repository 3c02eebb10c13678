"""Weights of several targets that are trained with the model: a layer that holds them, at the end of any model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ravine.problems.heads import JointLoss
from ravine.problems.problem import Problem
from ravine.randomness import Seeded

LAYER = "tasks"  # its name in a model that is no plain sequence


class TaskWeights(nn.Module):
    """Holds s, the logarithm of each target's variance, and in training puts it behind the outputs [n, outputs].

    The joint loss reads it there (`ravine.problems.heads.JointLoss`); in evaluation mode the outputs pass unchanged.
    Reference: Kendall, Gal & Cipolla 2018, arXiv:1705.07115, section 3.2.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(tasks))

    def forward(self, out: Tensor) -> Tensor:
        """The outputs, [n, outputs + tasks] in training."""
        if not self.training:
            return out
        return torch.cat([out, self.log_variance.expand(len(out), -1)], 1)


class Weighing(Seeded):
    """A model's factory whose models end in `TaskWeights`; the names in a plain sequence stay as they are."""

    def __init__(self, factory: Callable[[], nn.Module], tasks: int) -> None:
        self.factory, self.tasks = factory, tasks

    def __call__(self, seed: int = 0) -> nn.Module:
        """The model with the initial draw of that seed."""
        made = self.factory(seed) if isinstance(self.factory, Seeded) else self.factory()
        last = TaskWeights(self.tasks)
        if type(made) is nn.Sequential:
            return made.append(last)
        return nn.Sequential(OrderedDict([("model", made), (LAYER, last)]))


def weighing(factory: Callable[[], nn.Module], problem: Problem) -> Callable[[], nn.Module]:
    """The factory as the problem's loss needs it: its models hold weights of targets where these are learned."""
    loss: Any = problem.loss
    return Weighing(factory, len(problem.heads)) if isinstance(loss, JointLoss) and loss.learned else factory


def learned_weights(module: nn.Module, problem: Problem) -> dict[str, float]:
    """What each target's loss is multiplied by in the end; empty where that is not learned."""
    found = [layer for layer in module.modules() if isinstance(layer, TaskWeights)]
    if not found:
        return {}
    scale = (-found[0].log_variance.detach()).exp().tolist()
    return {head.name: s if head.classes else s / 2 for head, s in zip(problem.heads, scale, strict=True)}
