"""What torch.optim has beside the Adam family, with its signatures, defaults and group keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.errors import UserError
from ravine.optim.base import RuleOptimizer
from ravine.optim.extras import Capturable, Extras
from ravine.optim.groups import Group, form, number, without_dialect
from ravine.rules.rule import Rule
from ravine.types import State


class SGD(RuleOptimizer):
    """torch.optim.SGD: `rules.SGD`, `Momentum`, `MomentumDampened` or `Nesterov`, as the options ask."""

    torch_names: ClassVar[Mapping[str, str]] = {"m": "momentum_buffer"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        **extras: Unpack[Capturable],
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        defaults |= {"nesterov": nesterov, "maximize": maximize, "foreach": foreach}
        super().__init__(params, {**defaults, "differentiable": differentiable, "fused": fused}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Momentum 0 is plain descent; Nesterov's form takes no dampening."""
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise UserError("SGD(nesterov=True): Nesterov momentum requires a momentum and zero dampening")
        without_dialect(group, "dampening")
        if group["nesterov"]:
            return form(group, "nesterov")
        if group["momentum"] == 0:
            return form(group, "sgd")
        return form(group, "momentum", "dampened" if group["dampening"] else "")


class Adagrad(RuleOptimizer):
    """torch.optim.Adagrad: `rules.Adagrad`; ``lr_decay`` divides the rate by 1 + (step - 1) lr_decay."""

    torch_names: ClassVar[Mapping[str, str]] = {"r": "sum"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **extras: Unpack[Capturable],
    ) -> None:
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize}
        super().__init__(params, {**defaults, "differentiable": differentiable, "fused": fused}, extras)

    def depends_on_step(self, group: Group) -> bool:
        """The rate falls with the step where it decays."""
        return group["lr_decay"] != 0 or super().depends_on_step(group)

    def equation(self, group: Group, step: int) -> Rule:
        """The rate of this step."""
        decay = group["lr_decay"]
        if not 0 <= decay < float("inf"):
            raise UserError(f"Adagrad(lr_decay={decay!r}): lr_decay must lie in [0, inf), got {decay!r}")
        lr = number(group["lr"]) / (1 + (step - 1) * decay)
        return form(group, "adagrad", lr=lr, start=group["initial_accumulator_value"])


class RMSprop(RuleOptimizer):
    """torch.optim.RMSprop: four rules, by whether it is centred and has momentum.

    The centred form keeps the variance, which cannot turn negative; checkpoints hold torch's mean of squares as well.
    """

    torch_names: ClassVar[Mapping[str, str]] = {
        "v": "square_avg",
        "m": "grad_avg",
        "c": "variance",
        "b": "momentum_buffer",
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        defaults |= {"weight_decay": weight_decay, "capturable": capturable, "foreach": foreach}
        super().__init__(params, {**defaults, "maximize": maximize, "differentiable": differentiable}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Momentum and centring choose the form."""
        without_dialect(group, "centered")
        parts = ["centered"] * bool(group["centered"]) + ["momentum"] * (group["momentum"] != 0)
        return form(group, "rmsprop", "-".join(parts))

    def to_torch(self, entry: State) -> None:
        """Torch's mean of squares from the variance."""
        if "variance" in entry:
            entry["square_avg"] = entry["variance"] + entry["grad_avg"] * entry["grad_avg"]

    def from_torch(self, entry: State) -> None:
        """The variance from torch's mean of squares, where it is not kept itself."""
        if "grad_avg" in entry and "variance" not in entry:
            entry["variance"] = (entry["square_avg"] - entry["grad_avg"] * entry["grad_avg"]).clamp_min(0)


class Adadelta(RuleOptimizer):
    """torch.optim.Adadelta: `rules.Adadelta`."""

    torch_names: ClassVar[Mapping[str, str]] = {"v": "square_avg", "x": "acc_delta"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        flags = {"capturable": capturable, "foreach": foreach, "differentiable": differentiable}
        super().__init__(params, {**defaults, **flags}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """One form."""
        return form(group, "adadelta")
