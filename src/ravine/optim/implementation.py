"""What torch's options foreach, fused and capturable ask for: which engine steps. None of them changes an equation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.errors import UserError, unknown
from ravine.optim.groups import Group
from ravine.optim.stepper import ENGINES, Engine


def engine_of(owner: str, defaults: Mapping[str, Any], extras: Mapping[str, Any]) -> Engine:
    """The engine that is given, or that torch's options ask for.

    ``fused=True`` is one kernel or an error, "kernel"; ``fused=False`` or ``foreach=False`` is torch's plain loop,
    "eager"; else the choice is free, "auto".
    """
    given, fused, foreach = extras.get("engine"), defaults.get("fused"), defaults.get("foreach")
    if given is not None and given not in ENGINES:
        raise unknown("engine", str(given), ENGINES)
    if fused and foreach:
        raise UserError(f"{owner}: `fused` and `foreach` cannot be `True` together: give one of them")
    if fused and given in ("eager", "compile"):
        raise UserError(f"{owner}(fused=True, engine={given!r}): both choose how to step: give one of them")
    if fused and defaults.get("differentiable"):
        raise UserError(f"{owner}: `fused` does not support `differentiable`: give one of them")
    if given is not None:
        return given
    return "kernel" if fused else "eager" if fused is False or foreach is False else "auto"


def check(owner: str, group: Group, defaults: Mapping[str, Any]) -> None:
    """Raise one sentence on a group that asks for another way to step than its optimizer has, or for none there is."""
    if group.get("capturable"):
        raise UserError(
            f"{owner}(capturable=True): step() keeps its time on the host, which a CUDA graph cannot capture: leave it "
            "out, capture forward and backward, and call step() after each replay"
        )
    for name in ("fused", "foreach"):
        if name in defaults and group.get(name) not in (None, defaults[name]):
            raise UserError(
                f"{owner}: {name}={group[name]!r} in a group: one engine steps them all, give it to {owner}"
            )
