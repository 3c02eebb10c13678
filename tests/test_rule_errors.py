"""What a user sees after a mistake with a rule: one sentence that names rule, field, bound and value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from ravine.errors import UserError
from ravine.rules.adam import AdamW
from ravine.rules.combine import (
    Averaged,
    ClipGlobalNorm,
    ClipNorm,
    ClipValue,
    CoupledDecay,
    CoupledDecayFull,
    DecoupledDecay,
    IndependentDecay,
    MaxNorm,
)
from ravine.rules.descent import SGD, Momentum
from ravine.rules.rule import Hyper, Rule, check, hypers, make, resolve, with_values
from tests.driving import RULES, combinators

CLASSES: list[type[Rule]] = [*(rule for _, rule in RULES), *combinators()]
FIELDS = [(rule, field, declared) for rule in CLASSES for field, declared in hypers(rule).items()]


def outside(declared: Hyper) -> list[float]:
    """Values just beyond each bound, and those that no bound allows."""
    text = declared.bounds.text
    low, high = (float(end) for end in text[1:-1].split(","))
    below = low if text[0] == "(" else math.nextafter(low, -math.inf)
    above = high if text[-1] == ")" else math.nextafter(high, math.inf)
    return [below, above, math.nan, math.inf, -math.inf]


def inside(declared: Hyper) -> list[float]:
    """Values at each closed bound, or just within an open one."""
    text = declared.bounds.text
    low, high = (float(end) for end in text[1:-1].split(","))
    return [
        low if text[0] == "[" else math.nextafter(low, math.inf),
        high if text[-1] == "]" else math.nextafter(high, -math.inf),
    ]


def with_value(rule: type[Rule], field: str, value: float) -> Rule:
    made: Any = rule
    return made(SGD(), **{field: value}) if rule in combinators() else made(**{field: value})


@pytest.mark.parametrize(("rule", "field", "declared"), FIELDS)
def test_a_value_out_of_bounds_is_one_sentence(rule: type[Rule], field: str, declared: Hyper) -> None:
    for value in outside(declared):
        with pytest.raises(UserError) as caught:
            check(with_value(rule, field, value))
        text = declared.bounds.text
        assert str(caught.value) == f"{rule.__name__}({field}={value!r}): {field} must lie in {text}, got {value!r}"


@pytest.mark.parametrize(("rule", "field", "declared"), FIELDS)
def test_a_value_at_its_bound_passes(rule: type[Rule], field: str, declared: Hyper) -> None:
    for value in (declared.default, *inside(declared)):
        made = with_value(rule, field, value)
        assert check(made) is made


def test_a_wrong_value_inside_a_combinator_names_the_rule_inside() -> None:
    with pytest.raises(UserError, match=r"^Momentum\(momentum=1\.5\): momentum must lie in \[0, 1\), got 1\.5$"):
        check(ClipGlobalNorm(Momentum(momentum=1.5)))


@pytest.mark.parametrize("outer", [CoupledDecay, CoupledDecayFull, ClipValue, ClipNorm])
def test_a_clip_by_norm_inside_a_change_of_the_gradient_names_the_cure(outer: Any) -> None:
    name = outer.__name__
    with pytest.raises(UserError) as caught:
        check(outer(ClipGlobalNorm(SGD())))
    why = f"ClipGlobalNorm inside {name} would clip by the norm from before {name}: put ClipGlobalNorm outside"
    assert str(caught.value) == why


@pytest.mark.parametrize("inner", [CoupledDecay, CoupledDecayFull, DecoupledDecay, IndependentDecay])
def test_a_clip_by_norm_outside_passes(inner: Any) -> None:
    assert check(ClipGlobalNorm(inner(SGD(), 0.1))) and check(ClipNorm(inner(SGD(), 0.1)))
    assert check(DecoupledDecay(ClipGlobalNorm(SGD()), 0.1)), "a decay of the update leaves the gradient alone"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(DecoupledDecay, Averaged), (IndependentDecay, Averaged), (MaxNorm, Averaged), (DecoupledDecay, MaxNorm)],
)
def test_what_acts_after_the_step_stands_outside_of_what_moves_the_weights(outer: Any, inner: Any) -> None:
    with pytest.raises(UserError) as caught:
        check(outer(ClipValue(inner(SGD()))))
    why = f"would miss what {outer.__name__} does to the weights: put {inner.__name__} outside"
    assert str(caught.value) == f"{inner.__name__} inside {outer.__name__} {why}"
    assert check(inner(ClipValue(outer(SGD())))) and check(ClipGlobalNorm(inner(outer(SGD()))))


def test_two_parts_with_one_hyperparameter_are_refused() -> None:
    for made, owners in ((CoupledDecay(AdamW()), "CoupledDecay and AdamW"), (ClipValue(ClipValue(SGD())), "ClipValue")):
        with pytest.raises(UserError, match=f"^{owners}.* both have .*: combine the rule with one of them only$"):
            check(made)


def mistyped(name: str) -> str:
    return name + name[-1]


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_an_unknown_hyperparameter_gives_the_nearest(name: str, rule: type[Rule]) -> None:
    for field in hypers(rule):
        with pytest.raises(UserError) as caught:
            make(name, {mistyped(field): 0.5})
        wrong = mistyped(field)
        assert str(caught.value) == f"unknown hyperparameter of {name} '{wrong}': did you mean '{field}'?"


def test_an_unknown_hyperparameter_of_a_combinator_gives_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'clip'"):
        with_values(ClipGlobalNorm(SGD()), {"clp": 1.0})


def test_values_reach_the_rule_inside_a_combinator() -> None:
    assert with_values(ClipGlobalNorm(Momentum()), {"lr": 0.5, "clip": 2.0}) == ClipGlobalNorm(Momentum(lr=0.5), 2.0)


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_name_resolves_in_any_case_and_a_mistyped_one_gives_the_nearest(name: str, rule: type[Rule]) -> None:
    assert resolve(name) is resolve(name.upper()) is resolve(name.title()) is rule
    with pytest.raises(UserError) as caught:
        resolve(mistyped(name))
    assert str(caught.value) == f"unknown rule '{mistyped(name)}': did you mean '{name}'?"


def test_a_name_like_no_other_lists_what_there_is_without_the_dialects() -> None:
    with pytest.raises(UserError) as caught:
        resolve("zzzzzzzz")
    listed = str(caught.value).partition("choose one of ")[2].split(", ")
    families = {name.partition("/")[0] for name, _ in RULES}
    assert set(listed) == {name for name, _ in RULES if "/" not in name or name.partition("/")[0] not in families}
    assert len(listed) > 20 and not any("/" in name for name in listed)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no_such_module:Rule", "No module named 'no_such_module'"),
        ("ravine.rules.descent:Missing", "has no attribute 'Missing'"),
        (":Rule", "give package.module:Class"),
        (".descent:SGD", "give package.module:Class"),
        ("ravine.rules.descent:", "give package.module:Class"),
        ("ravine.rules.rule:Rule", "not a final subclass"),
        ("ravine.rules.combine:ClipNorm", "not a final subclass"),
        ("math:pi", "not a final subclass"),
        ("fractions:Fraction", "not a final subclass"),
    ],
)
def test_a_path_that_is_no_rule_is_one_sentence(path: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve(path)
    assert str(caught.value).startswith(f"rule {path}: ") and why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_path_gives_the_rule() -> None:
    assert resolve("ravine.rules.descent:SGD") is SGD


def test_decoupled_decay_of_a_rule_without_a_learning_rate_names_the_cure(no_rate: Callable[[], Rule]) -> None:
    import torch

    made = DecoupledDecay(no_rate(), 0.1)
    with pytest.raises(UserError, match="has no learning rate: use IndependentDecay"):
        made.update(torch.ones(2), {}, torch.ones(2), 1)


@pytest.fixture
def no_rate() -> Callable[[], Rule]:
    """A user's own rule; without a family, so that the catalogue does not grow by it."""

    class Fixed(Rule):
        def update(self, g: Any, s: Any, w: Any, t: Any) -> tuple[Any, Any]:
            return -g, {}

    return Fixed
