"""Options as text: budgets, ranges, lists, settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from ravine.errors import UserError
from ravine.types import Numbers

if TYPE_CHECKING:
    from ravine.decisions import Values

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


def ranges(texts: Sequence[str]) -> tuple[dict[str, Values], list[str]]:
    """Values by hyperparameter or decision, and the choices of schedule.

    A range is "lr=1e-4..1e-1", choices are "init=he,xavier", or "model=mlp:64|mlp:64,64" where they hold commas.

    >>> ranges(["lr=1e-4..1e-1", "init=he,xavier", "schedule=cosine,constant"])
    ({'lr': Range(low=0.0001, high=0.1), 'init': Choices(choices=['he', 'xavier'])}, ['cosine', 'constant'])
    """
    from ravine.decisions import Choices, Range

    found: dict[str, Values] = {}
    schedules: list[str] = []
    for text in texts:
        name, _, rest = text.partition("=")
        low, dots, high = rest.partition("..")
        choices = [word.strip() for word in rest.split("|" if "|" in rest else ",") if word.strip()]
        twice = [word for place, word in enumerate(choices) if word in choices[:place]]
        if name in found or twice:
            raise UserError(f"--over {text}: {name if name in found else twice[0]} stands twice; give it once")
        if name == "schedule" and choices:
            schedules += choices
            continue
        try:
            found[name] = Range(low=float(low), high=float(high)) if dots else Choices(choices=choices)
        except ValueError:
            choices = []
        if not name or (not dots and len(choices) < 2) or not choices:
            raise UserError(f"--over {text}: write it as lr=1e-4..1e-1, init=he,xavier or schedule=cosine,constant")
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


def precision(text: str) -> Numbers:
    """The name of a number type."""
    from ravine.errors import unknown

    for known in get_args(Numbers):
        if text == known:
            return known
    raise unknown("precision", text, get_args(Numbers))


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
        name, equals, value = text.partition("=")
        if name not in known():
            raise unknown("combinator", name, known())
        if equals and not value:
            raise UserError(f"--with {text} ends in an equals sign: write {name}, or {name}=1.0")
        setting = next(iter(hypers(known()[name])))
        try:
            found.append({"name": name, **({setting: float(value)} if value else {})})
        except ValueError:
            raise UserError(f"--with {text}: {setting} must be a number, as in {name}=1.0") from None
    return found


def penalties(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Penalties of ["l2=1e-4", "max-norm=3 on=4.weight"]: a name, its number, and further settings.

    >>> penalties(["l2=1e-4 on=*.bias"])
    [{'name': 'l2', 'strength': 0.0001, 'on': '*.bias'}]
    """
    from ravine.penalties import catalogue, part_from_spec

    found = _parts(texts, "penalty", catalogue())
    for spec in found:
        part_from_spec(spec)
    return found


def noises(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Noises of ["dropout:drop=0.2,on=input", "gaussian=0.1"], in the same grammar.

    >>> noises(["dropout:drop=0.2,on=input"])
    [{'name': 'dropout', 'drop': 0.2, 'on': 'input'}]
    """
    from ravine.noise import catalogue, noise_from_spec

    found = _parts(texts, "noise", catalogue())
    for spec in found:
        noise_from_spec(spec)
    return found


def _parts(texts: Sequence[str], kind: str, kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Parts by name: "name=number", "name:setting=value,setting=value"; settings stand behind commas or spaces."""
    from ravine.errors import unknown
    from ravine.schedules import settings

    found: list[dict[str, Any]] = []
    for text in texts:
        match = re.fullmatch(r"\s*([^=:,\s]*)([=:,\s]?)(.*)", text)
        name, sign, rest = match.groups() if match else (text, "", "")
        if name not in kinds:
            raise unknown(kind, name, kinds)
        if sign and not rest.strip():
            raise UserError(f"--{kind} {text} ends in '{sign}': write {name}, or its number as in {name}=0.1")
        amount, numbers = kinds[name].amount, settings(kinds[name])
        given = re.split(r"[,\s]+", f"{amount}={rest}" if sign == "=" else rest)
        pairs = [one.partition("=") for one in given if one]
        for key, equals, value in pairs:
            if not (key and equals and value):
                example = f"{name}=0.1 or {name}:{amount}=0.1,on=..."
                raise UserError(f"--{kind} {text}: '{key}{equals}{value}' is no setting; write {example}")
        found.append({"name": name, **{key: _value(value) if key in numbers else value for key, _, value in pairs}})
    return found


def transfer(text: str | None) -> dict[str, Any] | None:
    """The table of a transfer, of "best.safetensors head=new freeze=0.* layer-rates=0.5 unfreeze=2"; the file first.

    >>> transfer("best.safetensors head=new unfreeze=2")
    {'from': 'best.safetensors', 'head': 'new', 'unfreeze': {'every': 2}}
    """
    from ravine.transfer import Transfer

    if text is None:
        return None
    found: dict[str, Any] = {}
    for place, word in enumerate(text.split()):
        key, equals, value = word.partition("=")
        key = key.replace("-", "_")
        if not equals and place == 0:
            found["from"] = word
        elif not equals or not value:
            raise UserError(f"--transfer {text}: write it as 'best.safetensors head=new freeze=0.*'")
        elif key == "freeze":
            found.setdefault("freeze", []).append(value)
        elif key == "unfreeze":
            found["unfreeze"] = {"every": int(value) if value.isdecimal() else value}
        else:
            found[key] = _value(value)
    Transfer.of(found)
    return found


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
