"""Steps by name: the catalogue, the check of their settings, and their form in a recipe and on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from ravine.augment import chosen, geometry, mixing, values
from ravine.augment.pipeline import Augment, check_order
from ravine.augment.step import Step
from ravine.errors import UserError, unknown
from ravine.schedules.named import named
from ravine.schedules.schedule import settings
from ravine.schedules.spec import check

FILES = (geometry, values, mixing, chosen)


def catalogue() -> dict[str, type[Step]]:
    """Every step that exists, by name: discovered, so one of your own is in it as soon as it is defined.

    >>> sorted(catalogue())[:3]
    ['crop', 'cut-mix', 'erase']
    """
    return {kind.name: kind for kind in sorted(_final(Step), key=lambda kind: kind.name)}


def make(
    steps: str | Sequence[str | Mapping[str, Any]], *, mean: Tensor | float = 0.0, std: Tensor | float = 1.0
) -> Augment:
    """The checked augmentation of words ("flip,crop:4"), or of tables as a recipe holds them."""
    given = words(steps) if isinstance(steps, str) else [{"name": s} if isinstance(s, str) else s for s in steps]
    made = tuple(from_spec(spec) for spec in given)
    check_order(made)
    return Augment(made, mean, std)


def from_spec(spec: Mapping[str, Any]) -> Step:
    """A checked step of a table with a name and settings.

    >>> from_spec({"name": "crop", "pad": 2})
    Crop(p=1.0, pad=2)
    """
    kind, given = named(spec, catalogue(), "a step of augment", "flip")
    for field, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"augment {kind.name}: {field} must be a number, got {value!r}")
    return check(kind(**given))


def to_spec(step: Step) -> dict[str, Any]:
    """The step as a recipe holds it: its name and the settings that differ from the defaults."""
    plain = type(step)()
    own = {name: getattr(step, name) for name in settings(type(step))}
    return {"name": step.name, **{name: v for name, v in own.items() if v != getattr(plain, name)}}


def words(text: str) -> list[dict[str, Any]]:
    """Steps of the command line as plain values: a name, then after colons its own settings in order, or name=number.

    >>> words("flip,crop:4,jitter:0.4:hue=0.1")
    [{'name': 'flip'}, {'name': 'crop', 'pad': 4.0}, {'name': 'jitter', 'brightness': 0.4, 'hue': 0.1}]
    """
    kinds = catalogue()
    found: list[dict[str, Any]] = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, *rest = word.split(":")
        if name not in kinds:
            raise unknown("step of augment", name, kinds)
        fields = [field for field in settings(kinds[name]) if field != "p"]
        spec: dict[str, Any] = {"name": name}
        for place, item in enumerate(rest):
            field, equals, number = item.rpartition("=")
            if not equals and place >= len(fields):
                raise UserError(f"--augment {word}: {name} has {len(fields)} settings ({', '.join(fields)}), then p=")
            try:
                spec[field if equals else fields[place]] = float(number)
            except ValueError:
                raise UserError(f"--augment {word}: '{item}' is no number; write it as crop:4 or crop:pad=4") from None
        found.append(spec)
    if not found:
        raise UserError("--augment: name one step at least, such as flip,crop:4")
    return found


def _final(kind: type[Step]) -> Iterator[type[Step]]:
    for sub in kind.__subclasses__():
        if sub.__subclasses__() or getattr(sub, "__abstractmethods__", None):
            yield from _final(sub)
        else:
            yield sub
