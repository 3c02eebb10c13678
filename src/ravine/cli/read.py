"""Options as text: budgets, ranges, lists, settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ravine.errors import UserError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def budget(text: str) -> tuple[int | None, float | None]:
    """Configurations, or seconds: "64", "90s", "20m", "1.5h".

    >>> budget("20m")
    (None, 1200.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match is None or float(match[1]) == 0 or (not match[2] and "." in match[1]):
        raise UserError(f"--budget {text}: give a number of configurations (64) or a time (90s, 20m, 1h)")
    if match[2]:
        return None, float(match[1]) * UNITS[match[2]]
    if int(match[1]) > 4096:
        raise UserError(f"--budget {text}: at most 4096 configurations; or give a time, as in --budget 2h")
    return int(match[1]), None


def ranges(texts: Sequence[str]) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Ranges by hyperparameter, and the choices of schedule, of ["lr=1e-4..1e-1", "schedule=cosine,constant"]."""
    found: dict[str, tuple[float, float]] = {}
    schedules: list[str] = []
    for text in texts:
        name, equals, rest = text.partition("=")
        if name == "schedule" and equals:
            schedules += names(rest, "--over schedule=")
            continue
        low, dots, high = rest.partition("..")
        try:
            found[name] = float(low), float(high)
        except ValueError:
            dots = ""
        if not (name and equals and dots):
            raise UserError(f"--over {text}: write it as lr=1e-4..1e-1, or schedule=cosine,constant")
    return found, schedules


def names(text: str, option: str) -> list[str]:
    """Words between commas, one at least."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise UserError(f"{option} {text}: give one name or more, with commas between them")
    return found


def steps(text: str | None) -> list[dict[str, Any]]:
    """Steps of augmentation of "flip,crop:4"; none of None."""
    from ravine.augment import words

    return [] if text is None else words(text)


def preprocessing(text: str | None) -> list[str] | None:
    """Names of preprocessing between commas; "raw" for none at all."""
    return None if text is None else [] if text.strip() == "raw" else names(text, "--preprocess")


def class_weights(text: str | None) -> str | dict[str, float] | None:
    """A word, or weights by class.

    >>> class_weights("cat=2,dog=0.5")
    {'cat': 2.0, 'dog': 0.5}
    """
    if text is None or "=" not in text:
        return text
    pairs = [part.rpartition("=") for part in names(text, "--class-weights")]
    try:
        return {name.strip(): float(weight) for name, _, weight in pairs}
    except ValueError:
        raise UserError(f"--class-weights {text}: write balanced, or weights by class as in cat=2,dog=0.5") from None


def combinators(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Combinators of ["clip-global-norm=1", "coupled-decay=1e-4"]: the value is the combinator's one setting."""
    from ravine.errors import unknown
    from ravine.rules.rule import hypers
    from ravine.rules.spec import combinators as known

    found: list[dict[str, Any]] = []
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known():
            raise unknown("combinator", name, known())
        setting = next(iter(hypers(known()[name])))
        try:
            found.append({"name": name, **({setting: float(value)} if value else {})})
        except ValueError:
            raise UserError(f"--with {text}: {setting} must be a number, as in {name}=1.0") from None
    return found


def penalties(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Penalties of ["l2=1e-4", "max-norm=3 on=4.weight"]: a name, its number, and further settings after spaces.

    >>> penalties(["l2=1e-4 on=*.bias"])
    [{'name': 'l2', 'strength': 0.0001, 'on': '*.bias'}]
    """
    from ravine.errors import unknown
    from ravine.penalties import catalogue, part_from_spec

    found: list[dict[str, Any]] = []
    for text in texts:
        first, *rest = text.split() or [""]
        name, _, amount = first.partition("=")
        if name not in catalogue():
            raise unknown("penalty", name, catalogue())
        given = [f"{catalogue()[name].amount}={amount}"] * bool(amount) + rest
        pairs = [(key, _value(value)) for key, _, value in (one.partition("=") for one in given)]
        found.append({"name": name, **dict(pairs)})
        part_from_spec(found[-1])
    return found


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
