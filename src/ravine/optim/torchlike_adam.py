"""The Adam family of torch.optim, with its signatures, defaults and group keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, TypeAlias, Unpack

from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.optim.base import RuleOptimizer
from ravine.optim.extras import Extras
from ravine.optim.groups import Group, form, number, without_dialect
from ravine.rules.combine import DecoupledDecay
from ravine.rules.rule import Rule

Betas: TypeAlias = tuple[float | Tensor, float | Tensor]


class Adam(RuleOptimizer):
    """torch.optim.Adam: `rules.Adam`, with ``amsgrad`` `rules.AMSGrad`; decoupled decay is `AdamW`'s."""

    torch_names: ClassVar[Mapping[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq", "x": "max_exp_avg_sq"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        defaults |= {"maximize": maximize, "foreach": foreach, "capturable": capturable}
        defaults |= {"differentiable": differentiable, "fused": fused}
        super().__init__(params, {**defaults, "decoupled_weight_decay": decoupled_weight_decay}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Decoupled decay is part of AdamW's equation."""
        without_dialect(group, "amsgrad")
        decoupled = group["decoupled_weight_decay"]
        if group["amsgrad"]:
            rule = form(group, "adam", "amsgrad")
            return DecoupledDecay(rule, number(group["weight_decay"])) if decoupled else rule
        return form(group, "adamw" if decoupled else "adam")


class AdamW(Adam):
    """torch.optim.AdamW: `rules.AdamW`."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        **extras: Unpack[Extras],
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
            **extras,
        )


class Adamax(RuleOptimizer):
    """torch.optim.Adamax: `rules.Adamax`."""

    torch_names: ClassVar[Mapping[str, str]] = {"m": "exp_avg", "n": "exp_inf"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach}
        flags = {"maximize": maximize, "differentiable": differentiable, "capturable": capturable}
        super().__init__(params, {**defaults, **flags}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """One form."""
        return form(group, "adamax")


class NAdam(RuleOptimizer):
    """torch.optim.NAdam: `rules.NAdam`."""

    torch_names: ClassVar[Mapping[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq", "q": "mu_product"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        defaults |= {"maximize": maximize, "foreach": foreach, "capturable": capturable}
        super().__init__(params, {**defaults, "differentiable": differentiable}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Torch's decoupled decay is a combinator of any rule."""
        rule = form(group, "nadam")
        return DecoupledDecay(rule, number(group["weight_decay"])) if group["decoupled_weight_decay"] else rule


class RAdam(RuleOptimizer):
    """torch.optim.RAdam: `rules.RAdam`."""

    torch_names: ClassVar[Mapping[str, str]] = {"m": "exp_avg", "v": "exp_avg_sq"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach}
        flags = {"capturable": capturable, "differentiable": differentiable}
        super().__init__(params, {**defaults, **flags}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Torch's decoupled decay is a combinator of any rule."""
        rule = form(group, "radam")
        return DecoupledDecay(rule, number(group["weight_decay"])) if group["decoupled_weight_decay"] else rule
