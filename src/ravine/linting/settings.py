"""Settings of a recipe that change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ravine.recipe import Recipe
from ravine.rules.rule import Combinator, Rule, chain, hypers, name_of
from ravine.rules.spec import combinators
from ravine.training.lint import Finding

ZERO = ("ema", "decay", "noise_variance", "radius", "weight_decay")  # numbers of combinators that do nothing at 0


def of_settings(recipe: Recipe) -> Iterator[Finding]:
    """Options that do nothing beside the others."""
    if recipe.min_delta > 0 and not recipe.patience:
        yield _dead("min_delta", "there is no patience to count with it", "patience = 5")
    if recipe.weighted_mean != "weights" and recipe.class_weights is None:
        yield _dead("weighted_mean", "no class has a weight", "class_weights")
    if recipe.norm == "none" and recipe.norm_place != "before":
        yield _dead("norm_place", "there is no norm", "norm")
    if isinstance(recipe.class_weights, dict) and len({*recipe.class_weights.values(), 1.0}) == 1:
        yield _dead("class_weights", "every weight is 1", "leave it out")
    yield from _rule(recipe)


def _rule(recipe: Recipe) -> Iterator[Finding]:
    rule = recipe.make_rule()
    names = {kind: name for name, kind in combinators().items()}
    for part in chain(rule) if isinstance(rule, Rule) else ():
        own = {name: getattr(part, name) for name in hypers(type(part))}
        if isinstance(part, Combinator):
            name = names.get(type(part), type(part).__name__)
            for setting, value in own.items():
                if value == 0 and setting in ZERO:
                    yield _dead(f"{name} with {setting} = 0", "it does nothing", "leave it out")
                elif name == "lookahead" and setting == "k" and value == 1:
                    yield _dead("lookahead with k = 1", "it meets the weights at every step", "k = 5")
        elif own.get("momentum") == 0:
            yield _dead(f"momentum of {name_of(rule)}", "it is 0", 'rule = {name = "sgd"}')


def _dead(what: str, why: str, cure: str) -> Finding:
    return Finding("option-dead", f"{what} has no effect: {why}", "warning", cure)
