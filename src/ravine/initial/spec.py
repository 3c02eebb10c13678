"""Initialisers by name: the catalogue, and their form in a recipe and on the command line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ravine.errors import UserError
from ravine.initial.initial import Initial
from ravine.schedules import check as check
from ravine.schedules import settings
from ravine.schedules.named import named


def catalogue() -> dict[str, type[Initial]]:
    """Every initialiser that exists, by name: discovered, so a class of your own is in it as soon as it is defined.

    >>> "he" in catalogue()
    True
    """
    return {kind.name: kind for kind in sorted(_final(Initial), key=lambda kind: kind.name)}


def from_spec(spec: str | Mapping[str, Any] | Initial | Any) -> Initial:
    """A checked initialiser from its name, "name:setting=value,...", or a table with a name and settings.

    >>> from_spec("glorot:gain=4").gain
    4.0
    """
    if isinstance(spec, Initial):
        return check(spec)
    if not isinstance(spec, str | Mapping):
        raise UserError(f'an initialiser is a name, such as "he", or a table with a name, got {spec!r}')
    kinds = catalogue()
    names = {**kinds, **{other: kind for kind in kinds.values() for other in kind.also}}
    kind, given = named(_words(spec) if isinstance(spec, str) else spec, names, "an initialiser", "he")
    return check(kind(**given))


def to_spec(initial: Initial) -> dict[str, Any]:
    """The table that `from_spec` reads back, with every setting written out."""
    return {"name": initial.name} | {name: getattr(initial, name) for name in settings(type(initial))}


def _words(text: str) -> dict[str, Any]:
    name, colon, rest = text.partition(":")
    if colon and not rest:
        raise UserError(f"init {text} ends in a colon: write {name}, or settings as in he:fan=out")
    found: dict[str, Any] = {"name": name}
    for part in rest.split(",") if rest else []:
        field, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"init {text}: settings are written as in he:fan=out,distribution=uniform, got {part!r}")
        found[field.strip()] = _value(value.strip())
    return found


def _value(text: str) -> float | bool | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _final(kind: type[Initial]) -> Iterator[type[Initial]]:
    if getattr(kind, "__final__", False) or not (kind.__subclasses__() or inspect.isabstract(kind)):
        yield kind
    for sub in kind.__subclasses__():
        yield from _final(sub)
