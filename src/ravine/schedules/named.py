"""Parts that a recipe names in a table: {"name": "dropout", settings ...}, whatever kind of part it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from ravine.errors import UserError, unknown
from ravine.schedules.schedule import settings

T = TypeVar("T")


def named(
    spec: Mapping[str, Any],
    kinds: Mapping[str, type[T]],
    what: str,
    example: str,
    others: Collection[str] = (),
) -> tuple[type[T], dict[str, Any]]:
    """The kind that a table names, and its settings as they were given.

    ``what`` is the kind of part with its article where it has one, "a penalty"; ``others`` are fields beside the
    settings that each of the kinds takes, if it has them.

    Raises:
        UserError: one sentence where the name is missing or unknown, or a setting is.
    """
    name = spec.get("name")
    if not isinstance(name, str):
        raise UserError(f'{what} needs a name, such as name = "{example}"; got {dict(spec)!r}')
    if name not in kinds:
        raise unknown(what.removeprefix("a ").removeprefix("an "), name, kinds)
    kind = kinds[name]
    allowed = [*settings(kind), *others]
    given = {field: value for field, value in spec.items() if field != "name"}
    for field in given:
        if field not in allowed:
            raise unknown(f"setting of {name}", field, allowed) if allowed else UserError(f"{name} has no settings")
    return kind, given
