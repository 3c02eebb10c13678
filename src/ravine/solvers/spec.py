"""What may stand in a race or a recipe as plain values: a rule, or a method on the whole training part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ravine.errors import UserError, unknown
from ravine.rules.rule import Declared, Rule, check, hypers, name_of, resolve, with_values
from ravine.rules.rule import catalogue as every_rule
from ravine.rules.spec import rule_from_spec, rule_to_spec
from ravine.solvers.method import Described, Method, catalogue


def contenders() -> dict[str, type[Described]]:
    """The methods that a race can run: those that one loss is enough for."""
    return {
        name: kind
        for name, kind in catalogue().items()
        if kind.contender and not (issubclass(kind, Method) and kind.reduction != "itself")
    }


def follows_schedule(rule: Declared) -> bool:
    """Whether a schedule multiplies the learning rate; a method that measures its steps has none."""
    return isinstance(rule, Rule) or (isinstance(rule, Described) and rule.scheduled)


def contender_from_spec(spec: Mapping[str, Any]) -> Declared:
    """The checked rule (see `rule_from_spec`) or method of {"name": "lbfgs", "history": 20}."""
    name = spec.get("name")
    if not isinstance(name, str) or ":" in name:
        return rule_from_spec(spec)
    able, known = contenders(), catalogue()
    if name.lower() in able:
        if spec.get("with"):
            raise UserError(f"{name} takes no combinators, which change the steps of rules: leave them out")
        given = {key: value for key, value in spec.items() if key not in ("name", "with")}
        return check(with_values(able[name.lower()](), given))
    if name.lower() in known:
        raise UserError(f"{name} cannot run in a race or a recipe, which has one loss: choose one of {', '.join(able)}")
    if name.lower() not in every_rule():
        raise unknown("rule", name, {**every_rule(), **able})
    return rule_from_spec(spec)


def rule_named(name: str) -> Rule:
    """The checked rule of that name, where no method can stand."""
    if name.lower() in catalogue():
        raise UserError(
            f"{name} is a method, and a method needs more for a step than one gradient of a minibatch: "
            "name a rule here, such as adam or momentum"
        )
    return check(resolve(name)())


def contender_to_spec(rule: Declared) -> dict[str, Any]:
    """The inverse of `contender_from_spec`, with every hyperparameter written out."""
    if isinstance(rule, Rule):
        return rule_to_spec(rule)
    return {"name": name_of(rule), **{name: getattr(rule, name) for name in hypers(rule)}}
