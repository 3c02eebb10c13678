"""Snapshots: the weights at the end of each cosine cycle of one run, and the ensemble that they make."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.problems.heads import Head, mean_outputs
from ravine.schedules import CosineRestarts
from ravine.types import Task


class Ensemble(nn.Module):
    """Models that predict together: the mean of their probabilities, or of their outputs for numbers.

        classification: log( (1/M) sum_i softmax(f_i(x)) )      regression: (1/M) sum_i f_i(x)

    Each member gives logits [n, classes]; the ensemble gives log-probabilities, so that cross-entropy, softmax and
    argmax mean for it what they mean for a member.
    """

    def __init__(self, members: Sequence[nn.Module], task: Task = "classification", heads: Sequence[Head] = ()) -> None:
        super().__init__()
        if not members:
            raise UserError("an ensemble needs one model at least")
        self.members = nn.ModuleList(members).eval()
        self.task = task
        self.heads = tuple(heads)  # of several targets, each of which is combined by itself

    def forward(self, x: Tensor) -> Tensor:
        """The prediction of the whole for x [n, ...]."""
        outs = torch.stack([member(x) for member in self.members])
        if self.heads:
            return mean_outputs(self.heads, outs)
        if self.task == "regression":
            return outs.mean(0)
        return torch.logsumexp(outs.log_softmax(-1), 0) - torch.tensor(float(len(outs))).log().to(outs)


class Snapshots:
    """Keeps a model's weights at the end of each cycle of a training loop of your own.

        snapshots = Snapshots(model, cycles=5, steps=len(loader) * epochs)
        optimizer = ravine.optim.SGD(model.parameters(), lr=0.1, schedules={"lr": snapshots.schedule})
        ...  optimizer.step(); snapshots.step()
        snapshots.ensemble()(x)

    A cycle is steps / cycles optimizer steps. ``schedule`` is the cosine that restarts with each, as a factor of the
    step; torch's LambdaLR takes it as well.
    Reference: Huang et al. 2017, arXiv:1704.00109.

    Raises:
        UserError: if the steps are no whole number of steps a cycle.
    """

    def __init__(self, model: nn.Module, cycles: int, steps: int) -> None:
        if cycles < 1 or steps < cycles or steps % cycles:
            fitting = max(cycles, 1) * max(1, round(steps / max(cycles, 1)))
            raise UserError(
                f"Snapshots(cycles={cycles}, steps={steps}): give steps that are a whole multiple of the cycles, "
                f"such as {fitting} for {max(cycles, 1)}"
            )
        self.model, self.cycles, self.steps = model, cycles, steps
        self.schedule = CosineRestarts(first=steps / cycles, growth=1.0)
        self.done = 0
        self.kept: list[dict[str, Tensor]] = []

    def step(self) -> bool:
        """Count one optimizer step; True where it ended a cycle, whose weights and buffers are kept then."""
        if self.done >= self.steps:
            raise UserError(f"Snapshots: all {self.steps} steps are done already; make it with more steps")
        self.done += 1
        ended = self.done % (self.steps // self.cycles) == 0
        if ended:
            self.kept.append({name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()})
        return ended

    def ensemble(self, task: Task = "classification") -> Ensemble:
        """What has been kept, as one model."""
        if not self.kept:
            raise UserError(f"no cycle has ended yet: {self.done} of {self.steps // self.cycles} steps are done")
        members = [copy.deepcopy(self.model) for _ in self.kept]
        for member, weights in zip(members, self.kept, strict=True):
            member.load_state_dict(weights)
        return Ensemble(members, task)

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs; tensors are shared with nothing."""
        kept = [{name: tensor.clone() for name, tensor in weights.items()} for weights in self.kept]
        return {"steps": self.steps, "cycles": self.cycles, "done": self.done, "kept": kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; a `UserError` if it is of other cycles."""
        if (state["steps"], state["cycles"]) != (self.steps, self.cycles):
            raise UserError(
                f"these snapshots are of {state['cycles']} cycles in {state['steps']} steps, "
                f"not of {self.cycles} in {self.steps}"
            )
        self.done = int(state["done"])
        self.kept = [{name: tensor.clone() for name, tensor in weights.items()} for weights in state["kept"]]
