"""Reduction on a plateau for any torch optimizer, driven as torch's own class is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ravine.errors import UserError
from ravine.schedules import Plateau, Waiting, check, plateau_from


class ReduceOnPlateau:
    """Lowers the learning rate of every group when what is measured has stopped improving.

        plateau = ReduceOnPlateau(optimizer, factor=0.2, patience=5, dialect="keras")
        ...  plateau.step(validation_loss)      after each epoch

    The settings are those of `ravine.schedules.Plateau`, torch's defaults unless given. All of its state is in
    `state_dict`, as plain numbers; the learning rates are in the optimizer's own.

    Raises:
        UserError: on an unknown or impossible setting, or an optimizer without a learning rate.
    """

    def __init__(self, optimizer: Optimizer, plateau: Plateau | None = None, **settings: Any) -> None:
        if plateau is not None and settings:
            raise UserError("ReduceOnPlateau: give a Plateau or its settings, not both")
        self.plateau = plateau_from(settings) if plateau is None else check(plateau)
        if any("lr" not in group for group in optimizer.param_groups):
            raise UserError(f"{type(optimizer).__name__} has no learning rate to reduce")
        self.optimizer = optimizer
        self.waiting = Waiting()

    def step(self, measured: float | Tensor) -> bool:
        """See one more measurement; True where the learning rate was reduced."""
        self.waiting, reduce = self.plateau.after(self.waiting, float(measured))
        changed = False
        for group in self.optimizer.param_groups if reduce else []:
            before = float(group["lr"])
            lower = self.plateau.reduced(before)
            changed |= lower < before
            if isinstance(group["lr"], Tensor):
                with torch.no_grad():
                    group["lr"].fill_(lower)
            else:
                group["lr"] = lower
        return changed

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The settings and all that is remembered, as plain values."""
        return {"plateau": asdict(self.plateau), "waiting": asdict(self.waiting)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over both; a `UserError` where the state is of something else, and nothing is changed."""
        if not {"plateau", "waiting"} <= state.keys():
            raise UserError("this is no state of a ReduceOnPlateau: it needs plateau and waiting")
        plateau, waiting = plateau_from(state["plateau"]), Waiting(**state["waiting"])
        self.plateau, self.waiting = plateau, waiting
