"""In what two recipes differ, decision by decision, and what that means where it is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ravine.recipe import Recipe
from ravine.rules.rule import name_of, values

NOTHING = "–"
MEANING: Mapping[str, str] = {
    "problem": "other data: the numbers cannot be compared",
    "target": "another thing is predicted: the numbers cannot be compared",
    "groups": "other parts, of whole groups or not: the numbers cannot be compared",
    "split_seed": "another split: validation numbers differ by the samples in it",
    "model": "other weights: neither draws nor learning rates carry over",
    "activation": "the same draw of weights, other signals",
    "init": "another draw of the same weights",
    "loss": "losses are on other scales: compare the metric, or give both one criterion",
    "criterion": "the validation loss is another number",
    "seed": "another draw of weights, order of samples and noise: the difference is chance",
    "preprocess": "inputs on another scale: learning rates may shift",
    "augment": "training samples differ, validation stays as it is",
    "accumulate": "less memory, the same steps but for batch normalisation",
    "precision": "other rounding",
}


@dataclass(frozen=True)
class Change:
    """One decision in which two recipes differ."""

    name: str
    old: str
    new: str
    meaning: str = ""


def differences(old: Recipe, new: Recipe) -> list[Change]:
    """Every decision that differs; a value that one leaves to its default counts as that default.

    >>> [(c.name, c.meaning) for c in differences(Recipe(problem="a"), Recipe(problem="a", epochs=60))]
    [('epochs', '2 times as long')]
    """
    found: list[Change] = []
    for key in Recipe.model_fields:
        match key:
            case "rule":
                found += _rules(old, new)
            case "penalty" | "noise":
                found += _parts(key, getattr(old, key), getattr(new, key))
            case "schedule":
                found += _tables("schedule", old.schedule, new.schedule)
            case _:
                before, after = getattr(old, key), getattr(new, key)
                if before != after:
                    found.append(Change(key, _shown(before), _shown(after), _meaning(key, old, new)))
    return found


def _meaning(key: str, old: Recipe, new: Recipe) -> str:
    if key == "epochs":
        return f"{new.epochs / old.epochs:.3g} times as long"
    if key == "batch":
        times = new.batch / old.batch
        return f"{1 / times:.3g} times the steps an epoch; by linear scaling the learning rate times {times:.3g}"
    return MEANING.get(key, "")


def _rules(old: Recipe, new: Recipe) -> Iterator[Change]:
    one, other = old.make_rule(), new.make_rule()
    if name_of(one) != name_of(other):
        yield Change("rule", name_of(one), name_of(other), "a learning rate means something else to another rule")
    before, after = values(one), values(other)
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            same = name_of(one) == name_of(other)
            yield Change(name, _shown(before.get(name)), _shown(after.get(name)), _times(name, before, after, same))
    wrapped = [[spec["name"] for spec in recipe.rule.get("with", [])] for recipe in (old, new)]
    if wrapped[0] != wrapped[1]:
        yield Change("with", *(", ".join(names) or NOTHING for names in wrapped))


def _times(name: str, before: Mapping[str, Any], after: Mapping[str, Any], same: bool) -> str:
    a, b = before.get(name), after.get(name)
    if not same or not isinstance(a, int | float) or not isinstance(b, int | float) or a <= 0 or b <= 0:
        return ""
    return f"{b / a:.3g} times" if name == "lr" or max(a, b) > 1.5 * min(a, b) else ""


def _parts(kind: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[Change]:
    """Penalties or noises, one that stands at the same place on both sides beside its like."""
    before, after = ({_place(spec): spec for spec in specs} for specs in (old, new))
    for place in dict.fromkeys((*before, *after)):
        a, b = before.get(place), after.get(place)
        if a == b:
            continue
        if a is None or b is None:
            yield Change(place, _spec(a), _spec(b), f"{kind} {'added' if a is None else 'left out'}")
            continue
        for name in dict.fromkeys((*a, *b)):
            if a.get(name) != b.get(name):
                meaning = _times(name, a, b, True)
                yield Change(f"{place} {name}", _shown(a.get(name)), _shown(b.get(name)), meaning)


def _place(spec: Mapping[str, Any]) -> str:
    return f"{spec['name']}" + (f" on {spec['on']}" if "on" in spec else "")


def _spec(spec: Mapping[str, Any] | None) -> str:
    if spec is None:
        return NOTHING
    return ", ".join(f"{name} {_shown(value)}" for name, value in spec.items() if name not in ("name", "on")) or "there"


def _tables(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield Change(f"{key} of {name}", _shown(old.get(name)), _shown(new.get(name)))


def _shown(value: Any) -> str:
    if value is None or value in ([], {}, ""):
        return NOTHING
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return " ".join(_shown(one) if name == "name" else f"{name} {_shown(one)}" for name, one in value.items())
    return ", ".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)
