"""What pydantic finds wrong with a user's values, as one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ravine.errors import UserError, unknown

M = TypeVar("M", bound=BaseModel)


def validated(kind: type[M], data: Mapping[str, Any], what: str, strict: bool = False) -> M:
    """The value of that kind; a `UserError` names the first thing wrong, or what is nearest to an unknown ``what``."""
    for name in data:
        if name not in kind.model_fields:
            raise unknown(what, name, kind.model_fields)
    try:
        return kind.model_validate(dict(data), strict=strict)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        given = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise UserError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}{given}") from error
