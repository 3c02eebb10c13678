"""Torch's Muon and Adafactor, with its signatures, defaults and group keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Unpack

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from ravine.errors import UserError, unknown
from ravine.optim.base import RuleOptimizer
from ravine.optim.extras import Extras
from ravine.optim.groups import Group, form, tensors
from ravine.rules.matrix import ITERATIONS, A, B, C
from ravine.rules.rule import Rule
from ravine.types import State

FORMS = {(True, "original"): "bfloat16", (True, "match_rms_adamw"): "match-rms", (False, "original"): "heavy-ball"}


class Muon(RuleOptimizer):
    """torch.optim.Muon: `rules.MuonHalf`, `MuonMatched` or `MuonHeavy`, as the options ask.

    Torch refuses what is not a matrix; here a vector takes AdamW's step at the rate lr, which is said once, and a
    convolution is the matrix [out, in ...]. Only the first form iterates in bfloat16, as torch always does.

    Raises:
        UserError: as every optimizer, and on coefficients, iterations or a pair of options that no rule has.
    """

    torch_names: ClassVar[Mapping[str, str]] = {"b": "momentum_buffer"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (A, B, C),
        eps: float = 1e-7,
        ns_steps: int = ITERATIONS,
        adjust_lr_fn: str | None = None,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "eps": eps}
        more = {"ns_coefficients": ns_coefficients, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn}
        super().__init__(params, {**defaults, **more}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Nesterov's momentum and the adjustment of the rate choose the form."""
        adjusted, ahead = group["adjust_lr_fn"] or "original", bool(group["nesterov"])
        if adjusted not in ("original", "match_rms_adamw"):
            raise unknown("adjust_lr_fn of Muon", str(adjusted), ("original", "match_rms_adamw"))
        if (ahead, adjusted) not in FORMS:
            raise UserError(f"Muon(nesterov=False, adjust_lr_fn={adjusted!r}): no rule has both: give one of them")
        if tuple(group["ns_coefficients"]) != (A, B, C) or group["ns_steps"] != ITERATIONS:
            raise UserError(
                f"Muon(ns_coefficients={group['ns_coefficients']}, ns_steps={group['ns_steps']}): the rules have "
                f"{(A, B, C)} and {ITERATIONS}: leave both out"
            )
        return form(group, "muon", FORMS[ahead, adjusted], beta=group["momentum"], rest=1.0)

    def to_torch(self, entry: State) -> None:
        """What a matrix has no use for, or a vector, is left out."""
        _drop_unused(entry, ("momentum_buffer",), ("m", "v"))

    def from_torch(self, entry: State) -> None:
        """What was left out, empty."""
        _add_unused(entry, ("momentum_buffer",), ("m", "v"))


class Adafactor(RuleOptimizer):
    """torch.optim.Adafactor: `rules.AdafactorClamped`.

    An eps of None is that of the type of the group's first parameter.
    """

    torch_names: ClassVar[Mapping[str, str]] = {"r": "row_var", "c": "col_var", "v": "variance"}

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        **extras: Unpack[Extras],
    ) -> None:
        defaults = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "foreach": foreach, "maximize": maximize}, extras)

    def equation(self, group: Group, step: int) -> Rule:
        """Torch's form, by the rule's names."""
        least, smallest = group["eps"]
        if least is None:
            least = next((torch.finfo(p.dtype).eps for _, p in tensors(group)), torch.finfo(torch.float32).eps)
        own = {"growth": -group["beta2_decay"], "eps": least, "smallest": smallest, "limit": group["d"]}
        return form(group, "adafactor", "clamped", **own)

    def to_torch(self, entry: State) -> None:
        """What a matrix has no use for, or a vector, is left out."""
        _drop_unused(entry, ("row_var", "col_var"), ("variance",))

    def from_torch(self, entry: State) -> None:
        """What was left out, empty."""
        _add_unused(entry, ("row_var", "col_var"), ("variance",))


def _drop_unused(entry: State, matrix: tuple[str, ...], vector: tuple[str, ...]) -> None:
    """Leave out the slots of vectors where a slot of matrices has two axes, else those of matrices."""
    if matrix[0] in entry:
        for name in vector if entry[matrix[0]].dim() >= 2 else matrix:
            entry.pop(name, None)


def _add_unused(entry: State, matrix: tuple[str, ...], vector: tuple[str, ...]) -> None:
    used = [name for name in (*matrix, *vector) if name in entry]
    for name in (*matrix, *vector) if used else ():
        entry.setdefault(name, entry[used[0]].new_zeros((0,)))
