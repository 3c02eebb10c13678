"""Losses as text and as tables: "huber:delta=0.5", {"name": "huber", "delta": 0.5}."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from ravine.errors import UserError, unknown
from ravine.losses.catalogue import FORMS, Form
from ravine.schedules.schedule import settings
from ravine.schedules.spec import check


def form_of(text: str) -> Form:
    """The checked loss of a name with or without settings.

    >>> form_of("huber:delta=0.5").delta
    0.5
    """
    name, colon, rest = text.partition(":")
    if name not in FORMS:
        raise unknown("loss", name, [*FORMS, "auto"])
    if colon and not rest:
        raise UserError(f"loss {text} ends in a colon: write {name}, or settings as in huber:delta=0.5")
    try:
        given: dict[str, Any] = tomllib.loads(f"x = {{{rest}}}")["x"]
    except tomllib.TOMLDecodeError:
        raise UserError(f"loss {text}: write settings as in huber:delta=0.5, with commas between them") from None
    declared = settings(FORMS[name])
    for field in given:
        if field not in declared:
            raise _misplaced(name, field, declared)
    return check(FORMS[name](**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}))


def loss_text(spec: Any) -> Any:
    """The text form of {"name": "huber", "delta": 0.5}; anything else as it is.

    >>> loss_text({"name": "huber", "delta": 0.5})
    'huber:delta=0.5'
    """
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        return spec
    lists = {k: list(v) if isinstance(v, tuple) else v for k, v in spec.items() if k != "name"}
    written = [f"{k}={_written(v)}" for k, v in lists.items()]
    return spec["name"] + (":" + ",".join(written) if written else "")


def _written(value: Any) -> str:
    text = tomli_w.dumps({"x": value}).partition("=")[2]
    return re.sub(r"\s+", "", text).replace(",]", "]")


def _misplaced(name: str, field: str, declared: Mapping[str, Any]) -> UserError:
    owners = [other for other, kind in FORMS.items() if field in settings(kind)]
    if owners:
        return UserError(f"loss {name}: {field} is a setting of {' and '.join(owners)}, not of {name}: leave it out")
    return unknown(f"setting of {name}", field, declared) if declared else UserError(f"loss {name} has no settings")
