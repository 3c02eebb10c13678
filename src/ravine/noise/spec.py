"""Noise by name, as a recipe has it: [[noise]] name = "dropout", drop = 0.2, on = "input"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.errors import UserError
from ravine.noise.part import Noise
from ravine.schedules.named import named
from ravine.schedules.spec import check


def catalogue() -> dict[str, type[Noise]]:
    """Every kind of noise by name: discovered, so one of your own is in it as soon as it is defined.

    >>> sorted(catalogue())[:3]
    ['dropconnect', 'dropout', 'gaussian']
    """
    return {kind.name: kind for kind in sorted(_named(Noise), key=lambda kind: kind.name)}


def noise_from_spec(spec: Mapping[str, Any]) -> Noise:
    """The checked noise of {"name": "dropout", "drop": 0.2, "on": "input"}."""
    kind, given = named(spec, catalogue(), "noise", "dropout", ["on"])
    if "on" in given and not (isinstance(given["on"], str) and given["on"]):
        raise UserError(f'{kind.name}: on is a word in quotes, such as on = "input", got {given["on"]!r}')
    return check(kind(**given))


def _named(kind: type[Noise]) -> list[type[Noise]]:
    return [*([kind] if kind.name else []), *(found for sub in kind.__subclasses__() for found in _named(sub))]
