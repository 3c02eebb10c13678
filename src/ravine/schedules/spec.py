"""Schedules by name: the catalogue, the check of their settings, and their form in a recipe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

from ravine.errors import UserError
from ravine.schedules.named import named
from ravine.schedules.schedule import Schedule, Setting, settings


class Declared(Protocol):
    """A dataclass whose fields are settings: every schedule, and the plateau."""

    def flaw(self) -> str | None:
        """What is wrong between the settings."""
        ...


S = TypeVar("S", bound=Declared)


def catalogue() -> dict[str, type[Schedule]]:
    """Every schedule that exists, by name: discovered, so a class of your own is in it as soon as it is defined.

    >>> "warm-up" in catalogue()
    True
    """
    return {kind.name: kind for kind in sorted(_final(Schedule), key=lambda kind: kind.name)}


def check(schedule: S) -> S:
    """Raise one sentence on the first setting that is not allowed, inside too; the schedule itself otherwise."""
    owner = type(schedule).__name__
    for name, declared in settings(type(schedule)).items():
        value = getattr(schedule, name)
        wrong = _wrong(declared, value)
        if wrong:
            raise UserError(f"{owner}({name}={value!r}): {name} {wrong}, got {value!r}")
        for part in value if declared.kind == "schedules" else [value] if declared.kind == "schedule" else []:
            check(part)
    flaw = schedule.flaw()
    if flaw:
        raise UserError(f"{owner}: {flaw}")
    return schedule


def from_spec(spec: str | Mapping[str, Any]) -> Schedule:
    """A checked schedule from its name, or from a table with a name and settings as a TOML recipe has it.

    >>> from_spec({"name": "warm-up", "duration": 2, "then": {"name": "cosine", "end": 0.1}}).over(30)(30)
    0.1
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    kind, given = named(_table(spec), catalogue(), "a schedule", "cosine")
    declared = settings(kind)
    return check(kind(**{field: _read(declared[field], value) for field, value in given.items()}))


def to_spec(schedule: Schedule) -> dict[str, Any]:
    """The table that `from_spec` reads back; defaults are written out, so that a later default changes no recipe."""
    values = {name: _write(getattr(schedule, name)) for name in settings(type(schedule))}
    return {"name": schedule.name} | {name: value for name, value in values.items() if value is not None}


def _final(kind: type[Schedule]) -> Iterator[type[Schedule]]:
    if not inspect.isabstract(kind):
        yield kind
    for sub in kind.__subclasses__():
        yield from _final(sub)


def _table(spec: Any) -> Mapping[str, Any]:
    if isinstance(spec, Mapping):
        return spec
    raise UserError(f"a schedule is a name or a table with a name, got {spec!r}")


def _read(declared: Setting, value: Any) -> Any:
    if declared.kind == "schedule" and not isinstance(value, Schedule):
        return from_spec(value)
    if declared.kind == "schedules" and isinstance(value, list | tuple):
        return tuple(part if isinstance(part, Schedule) else from_spec(part) for part in value)
    return tuple(value) if isinstance(value, list) else value


def _write(value: Any) -> Any:
    if isinstance(value, Schedule):
        return to_spec(value)
    return [_write(each) for each in value] if isinstance(value, tuple) else value


def _wrong(declared: Setting, value: Any) -> str | None:
    """Why the value is not allowed, as the rest of a sentence that begins with the setting's name."""
    if value is None and (declared.share is not None or declared.optional):
        return None
    match declared.kind:
        case "number":
            return _wrong_number(declared.bounds, value)
        case "numbers":
            if not isinstance(value, tuple):
                return "must be a list of numbers"
            wrong = (_wrong_number(declared.bounds, each) for each in value)
            return next((each.replace("must", "must each", 1) for each in wrong if each), None)
        case "choice":
            allowed = " or ".join(repr(option) for option in declared.options)
            return None if value in declared.options else f"must be {allowed}"
        case "flag":
            return None if isinstance(value, bool) else "must be true or false"
        case "schedule":
            return None if isinstance(value, Schedule) else "must be a schedule"
        case "schedules":
            fits = isinstance(value, tuple) and all(isinstance(part, Schedule) for part in value)
            return None if fits else "must be a list of schedules"


def _wrong_number(bounds: str, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    low, high = (float(end) for end in bounds[1:-1].split(","))
    above = value >= low if bounds[0] == "[" else value > low
    below = value <= high if bounds[-1] == "]" else value < high
    if above and below and math.isfinite(value):
        return None
    words = {"(0, inf)": "must be positive", "[0, inf)": "must not be negative"}
    if not math.isfinite(value):
        return "must be a finite number"
    return words.get(bounds, f"must lie in {bounds}")
