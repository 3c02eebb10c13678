"""What torch's options foreach, fused and capturable ask for: which engine steps. None of them changes an equation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.errors import UserError, unknown
from ravine.optim.captured import POLICIES
from ravine.optim.finite import NONFINITE, Policy
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
    if _capturable(defaults, extras):
        if fused or given not in (None, "auto", "eager"):
            other = "fused=True" if fused else f"engine={given!r}"
            raise UserError(f"{owner}(capturable=True, {other}): a capturable step is plain torch's: leave one out")
        return "eager"
    if given is not None:
        return given
    return "kernel" if fused else "eager" if fused is False or foreach is False else "auto"


def policy_of(owner: str, defaults: Mapping[str, Any], extras: Mapping[str, Any]) -> Policy:
    """What becomes of a gradient that is not finite: "raise", or "ignore" where nobody may wait for the device."""
    is_capturable = _capturable(defaults, extras)
    given = extras.get("nonfinite", "ignore" if is_capturable else "raise")
    if given not in NONFINITE:
        raise unknown("nonfinite", str(given), NONFINITE)
    if is_capturable and given not in POLICIES:
        raise UserError(
            f"{owner}(capturable=True, nonfinite={given!r}): the host would wait for the device at every step: choose "
            '"skip", "zero" or "ignore"'
        )
    return given


def _capturable(defaults: Mapping[str, Any], extras: Mapping[str, Any]) -> bool:
    return bool(extras.get("capturable", defaults.get("capturable")))


def check(owner: str, group: Group, defaults: Mapping[str, Any]) -> None:
    """Raise one sentence on a group that asks for another way to step than its optimizer has, or for none there is."""
    for name in ("fused", "foreach", "capturable"):
        if name in defaults and group.get(name) not in (None, defaults[name]):
            raise UserError(
                f"{owner}: {name}={group[name]!r} in a group: one engine steps them all, give it to {owner}"
            )
