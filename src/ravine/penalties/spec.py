"""Penalties and projections by name, as a recipe has them: [[penalty]] name = "l2", strength = 1e-4."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from ravine.errors import UserError
from ravine.penalties import activations, projections, weights
from ravine.penalties.part import Part
from ravine.schedules.named import named
from ravine.schedules.schedule import settings
from ravine.schedules.spec import check

HOMES = (weights, activations, projections)  # imported, so that what they define is found


def catalogue() -> dict[str, type[Part]]:
    """Every penalty and projection by name: discovered, so one of your own is in it as soon as it is defined."""
    return {kind.name: kind for kind in sorted(_final(Part), key=lambda kind: kind.name)}


def part_from_spec(spec: Mapping[str, Any]) -> Part:
    """The checked part of {"name": "l2", "strength": 1e-4, "on": "*.weight"}."""
    kinds = catalogue()
    words = _words(kinds[str(spec.get("name"))]) if spec.get("name") in kinds else []
    kind, given = named(spec, kinds, "a penalty", "l2", words)
    for field, value in given.items():
        if field in words and not isinstance(value, str):
            raise UserError(f'{kind.name}: {field} is a word in quotes, such as on = "*.weight", got {value!r}')
    if "other" in words and not given.get("other"):
        raise UserError(f"{kind.name}: give other, the pattern of the second set")
    return check(kind(**given))


def _words(kind: type[Part]) -> list[str]:
    """The fields that say where a part acts."""
    return [field.name for field in fields(kind) if field.name not in settings(kind)]


def _final(kind: type[Part]) -> Iterator[type[Part]]:
    if kind.name and not inspect.isabstract(kind):
        yield kind
    for sub in kind.__subclasses__():
        yield from _final(sub)
