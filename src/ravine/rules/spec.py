"""A rule as plain values, for recipes and checkpoints: its name, its hyperparameters, and what is combined with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from ravine.errors import UserError, unknown
from ravine.rules.rule import Combinator, Rule, check, every_rule, filled, hypers, name_of, resolve, with_values


def combinators() -> dict[str, type[Combinator]]:
    """Every combinator by its dashed name: "clip-global-norm", "coupled-decay"."""
    return dict(_named(tuple(every_rule())))


@lru_cache(maxsize=1)
def _named(every: tuple[type[Rule], ...]) -> dict[str, type[Combinator]]:
    found = [c for c in every if issubclass(c, Combinator) and any(f.name == "rule" for f in fields(c))]
    return dict(sorted((re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", c.__name__).lower(), c) for c in found))


def rule_from_spec(spec: Mapping[str, Any]) -> Rule:
    """The checked rule of {"name": "adam", "lr": 1e-3, "with": [{"name": "clip-global-norm", "clip": 1.0}]}.

    Combinators are listed from the inside to the outside.
    """
    if "name" not in spec:
        raise UserError('a rule needs a name, as in name = "adam"')
    if not isinstance(spec["name"], str):
        raise UserError(f'the name of a rule is a word, as in name = "adam", got {spec["name"]!r}')
    rule: Rule = with_values(resolve(spec["name"])(), _numbers(spec))
    known = combinators()
    for outer in _tables(spec.get("with", [])):
        name = outer.get("name", "")
        if name not in known:
            raise unknown("combinator", name, known)
        kind: Any = known[name]  # a combinator's constructor takes the rule first
        made = kind(rule)
        given = _numbers(outer)
        for field in given:
            if field not in hypers(known[name]):
                raise unknown(f"setting of {name}", field, hypers(known[name]))
        rule = filled(made, given)
    return check(rule)


def _tables(listed: Any) -> list[Mapping[str, Any]]:
    if isinstance(listed, list) and all(isinstance(one, Mapping) for one in listed):
        return listed
    raise UserError(f'with: combinators are a list of tables, as in [{{name = "clip-norm"}}], got {listed!r}')


def _numbers(spec: Mapping[str, Any]) -> dict[str, float]:
    found = {name: value for name, value in spec.items() if name not in ("name", "with")}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{spec['name']}: {name} must be a number, got {value!r}")
    return {name: float(value) for name, value in found.items()}


def rule_to_spec(rule: Rule) -> dict[str, Any]:
    """The inverse of `rule_from_spec`, with every hyperparameter written out."""
    names = {made: name for name, made in combinators().items()}
    outside: list[dict[str, Any]] = []
    while isinstance(rule, Combinator):
        outside.append({"name": names[type(rule)], **_own(rule)})
        rule = rule.rule
    spec: dict[str, Any] = {"name": name_of(rule), **_own(rule)}
    if outside:
        spec["with"] = outside[::-1]
    return spec


def _own(rule: Rule) -> dict[str, float]:
    return {name: getattr(rule, name) for name in hypers(type(rule))}
