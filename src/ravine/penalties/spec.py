"""Penalties and projections by name, as a recipe has them: [[penalty]] name = "l2", strength = 1e-4."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ravine.errors import UserError, unknown
from ravine.penalties import activations, projections, weights
from ravine.penalties.part import Part
from ravine.schedules.schedule import settings
from ravine.schedules.spec import check

HOMES = (weights, activations, projections)  # imported, so that what they define is found


def catalogue() -> dict[str, type[Part]]:
    """Every penalty and projection by name: discovered, so one of your own is in it as soon as it is defined."""
    return {kind.name: kind for kind in sorted(_final(Part), key=lambda kind: kind.name)}


def part_from_spec(spec: Mapping[str, Any]) -> Part:
    """The checked part of {"name": "l2", "strength": 1e-4, "on": "*.weight"}."""
    kinds, name = catalogue(), spec.get("name")
    if not isinstance(name, str):
        raise UserError(f'a penalty needs a name, such as name = "l2"; got {dict(spec)!r}')
    if name not in kinds:
        raise unknown("penalty", name, kinds)
    kind = kinds[name]
    words = [field.name for field in fields(kind) if field.name not in settings(kind)]
    for field, value in spec.items():
        if field == "name":
            continue
        if field not in (*settings(kind), *words):
            raise unknown(f"setting of {name}", field, [*settings(kind), *words])
        if field in words and not isinstance(value, str):
            raise UserError(f'{name}: {field} is a word in quotes, such as on = "*.weight", got {value!r}')
    if "other" in words and not spec.get("other"):
        raise UserError(f"{name}: give other, the pattern of the second set")
    return check(kind(**{field: value for field, value in spec.items() if field != "name"}))


def _final(kind: type[Part]) -> Iterator[type[Part]]:
    if kind.name and not inspect.isabstract(kind):
        yield kind
    for sub in kind.__subclasses__():
        yield from _final(sub)
