"""Noise by name, as a recipe has it: [[noise]] name = "dropout", drop = 0.2, on = "input"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.errors import UserError, unknown
from ravine.noise.part import Noise
from ravine.schedules.schedule import settings
from ravine.schedules.spec import check


def catalogue() -> dict[str, type[Noise]]:
    """Every kind of noise by name: discovered, so one of your own is in it as soon as it is defined.

    >>> sorted(catalogue())[:3]
    ['dropconnect', 'dropout', 'gaussian']
    """
    return {kind.name: kind for kind in sorted(_named(Noise), key=lambda kind: kind.name)}


def noise_from_spec(spec: Mapping[str, Any]) -> Noise:
    """The checked noise of {"name": "dropout", "drop": 0.2, "on": "input"}."""
    kinds, name = catalogue(), spec.get("name")
    if not isinstance(name, str):
        raise UserError(f'noise needs a name, such as name = "dropout"; got {dict(spec)!r}')
    if name not in kinds:
        raise unknown("noise", name, kinds)
    declared = settings(kinds[name])
    given = {field: value for field, value in spec.items() if field != "name"}
    for field, value in given.items():
        if field != "on" and field not in declared:
            raise unknown(f"setting of {name}", field, [*declared, "on"])
        if field == "on" and (not isinstance(value, str) or not value):
            raise UserError(f'{name}: on is a word in quotes, such as on = "input", got {value!r}')
    return check(kinds[name](**given))


def _named(kind: type[Noise]) -> list[type[Noise]]:
    return [*([kind] if kind.name else []), *(found for sub in kind.__subclasses__() for found in _named(sub))]
