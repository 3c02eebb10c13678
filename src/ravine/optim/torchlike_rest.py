"""Torch's Rprop and ASGD, with its signatures, defaults and group keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import RuleOptimizer
from ravine.optim.extras import Extras
from ravine.optim.groups import Group, form
from ravine.rules.rule import Rule


class Rprop(RuleOptimizer):
    """torch.optim.Rprop: `rules.Rprop`; for gradients of the whole data, not of minibatches."""

    torch_names: ClassVar[Mapping[str, str]] = {"p": "prev", "d": "step_size"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize}
        super().__init__(params, {**defaults, "differentiable": differentiable, "capturable": capturable}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Torch's pairs by the rule's names; the learning rate is the first step of each entry."""
        (down, up), (smallest, largest) = group["etas"], group["step_sizes"]
        return form(group, "rprop", down=down, up=up, smallest=smallest, largest=largest)


class ASGD(RuleOptimizer):
    """torch.optim.ASGD: `rules.ASGD`; `optim.average` reads the mean of the weights."""

    torch_names: ClassVar[Mapping[str, str]] = {"x": "ax"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay}
        flags = {"maximize": maximize, "differentiable": differentiable, "capturable": capturable}
        super().__init__(params, {**defaults, "foreach": foreach, **flags}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """One form."""
        return form(group, "asgd")
