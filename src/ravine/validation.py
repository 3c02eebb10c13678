"""What pydantic finds wrong with a user's values, as one sentence in the words of TOML or of Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from ravine.errors import UserError, unknown

M = TypeVar("M", bound=BaseModel)
PYTHON = {  # by pydantic's name of a mistake: what the value must be
    "dict_type": "a dict", "mapping_type": "a dict", "list_type": "a list", "string_type": "a string",
    "bool_type": "True or False", "bool_parsing": "True or False", "int_type": "a whole number",
    "int_parsing": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "float_parsing": "a number",
}  # fmt: skip
TABLES = ("dict_type", "mapping_type")
TOML = PYTHON | {
    "dict_type": "a table",
    "mapping_type": "a table",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


class _Wrong(NamedTuple):
    place: tuple[str | int, ...]  # where it stands in what the user gave
    kind: str
    said: str
    given: Any
    allowed: list[str]


def validated(kind: type[M], data: Mapping[str, Any], what: str, strict: bool = False) -> M:
    """The value of that kind; a `UserError` names the first thing wrong, or what is nearest to an unknown ``what``.

    ``strict`` values come from TOML, where a number is no text, and are spoken of as there.
    """
    for name in data:
        if name not in kind.model_fields:
            raise unknown(what, name, kind.model_fields)
    try:
        return kind.model_validate(dict(data), strict=strict)
    except ValidationError as error:
        found = [_read(each, data) for each in error.errors()]
        hint = kind.model_fields[str(found[0].place[0])].examples if found[0].place else None
        raise _sentence(found, strict, str(hint[0]) if hint else "") from error


def _read(error: Mapping[str, Any], data: Any) -> _Wrong:
    """One of pydantic's errors; of its location what stands in the user's values, not the choices of a type."""
    place: list[str | int] = []
    for step in error["loc"]:
        inside = isinstance(data, Mapping) if isinstance(step, str) else isinstance(data, list | tuple)
        if inside and (error["type"] == "missing" or step in data or isinstance(step, int)):
            place.append(step)
            data = data[step] if isinstance(step, int) or step in data else None
    allowed = re.findall(r"'([^']*)'", error["ctx"]["expected"]) if error["type"] == "literal_error" else []
    return _Wrong(tuple(place), error["type"], error["msg"], error["input"], allowed)


def _sentence(found: Sequence[_Wrong], toml: bool, heading: str) -> UserError:
    """What is wrong at the first place; where its type had a choice, with what came closest."""
    same = [wrong for wrong in found if wrong.place[:1] == found[0].place[:1]]
    place = max((wrong.place for wrong in same), key=len)
    here = [wrong for wrong in same if wrong.place == place]
    first, words = here[0], TOML if toml else PYTHON
    where = _where(place, toml, first.kind in TABLES or isinstance(place[-1], str))
    if first.kind == "missing":
        return UserError(f"{where} is missing")
    if first.allowed and isinstance(first.given, str):
        return UserError(f"{where}: {unknown('value', first.given, first.allowed)}")
    kinds = list(dict.fromkeys(words[wrong.kind] for wrong in here if wrong.kind in words))
    plain = first.said.replace("Input should", "must").replace("Value error, ", "")
    said = f"must be {' or '.join(kinds)}" if kinds else plain
    return UserError(f"{where} {said}, got {first.given!r}{_example(place, first, heading) if toml else ''}")


def _where(place: Sequence[str | int], toml: bool, tables: bool) -> str:
    """A place as it is written: [[penalty]] 1 or schedule.lr in TOML, penalty[0] in Python.

    ``tables``: what lists hold on the way are tables.

    >>> _where(("penalty", 0, "on"), True, True), _where(("metrics", 0), True, False), _where(("noise", 0), False, True)
    ('[[penalty]] 1: on', 'metrics, entry 1', 'noise[0]')
    """
    text = ""
    for at, step in enumerate(place):
        if isinstance(step, str):
            text += step if not text else f": {step}" if text[-1].isdigit() else f".{step}"
        elif toml:
            text = f"[[{text}]] {step + 1}" if at == 1 and tables else f"{text}, entry {step + 1}"
        else:
            text += f"[{step}]"
    return text


def _example(place: Sequence[str | int], wrong: _Wrong, heading: str) -> str:
    """How it is written, where a table is wanted and a word was given."""
    if wrong.kind not in TABLES or not isinstance(wrong.given, str):
        return ""
    names = [step for step in place if isinstance(step, str)]
    own = heading if heading and len(place) == 1 else ".".join(names)
    head = f"[[{own}]]" if len(names) < len(place) else f"[{own}]"
    return f'; write {head} with name = "{wrong.given}" below it'
