"""What every rule must do, for every rule that exists: found by discovery, excused only by what a rule declares."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ravine.rules.adam import Adam
from ravine.rules.rule import Combinator, Rule, hypers, scalars_of, slots_of
from ravine.types import State
from tests.driving import (
    RULES,
    SHAPES,
    Noisy,
    Slope,
    aheads,
    combinators,
    constant,
    drive,
    elsewhere,
    facts,
    normal,
    starts,
    step,
    totals,
    varied,
)

ULP = 2.0**-23  # of a float32 of size one; relative, so that a number just below a power of two is not judged harder
WHOLE = 1e-5  # relative, of a whole tensor: what a rule of scope "tensor" may be off in float32
every_rule = pytest.mark.parametrize(("name", "rule"), RULES)
every_class = pytest.mark.parametrize("rule", [*(rule for _, rule in RULES), *combinators()])
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def visited(rule: Rule, seed: str, shape: tuple[int, ...], dtype: torch.dtype, after: int = 5) -> Iterator[Any]:
    """The arguments (g, s, w, t) of the steps that a run of that rule visits, each a fresh copy."""
    slope = Noisy.of(seed, [shape], after)
    weights = [normal(seed, *shape, dtype=dtype)]
    states = starts(rule, weights)
    for t in range(1, after + 1):
        gradients = slope.tensors(t, aheads(rule, slope.tensors, weights, states, t))
        told = {**states[0], **facts(rule, gradients, weights)[0]}
        told |= totals(rule, gradients, [told], weights, t, False)
        yield gradients[0].clone(), told, weights[0].clone(), t
        updates, states = step(rule, slope.tensors, weights, states, t)
        weights = [weights[0] + updates[0]]


def tensors_of(s: State) -> dict[str, Tensor]:
    return {name: x for name, x in s.items() if isinstance(x, Tensor)}


@every_shape
@every_rule
def test_float32_step_is_within_4_ulp_of_the_float64_equation(
    name: str, rule: type[Rule], shape: tuple[int, ...]
) -> None:
    made = varied(rule, 0.5)
    for g, s, w, t in visited(made, name, shape, torch.float32):
        exact: dict[str, Tensor] = {
            k: x.double().requires_grad_() for k, x in {**tensors_of(s), "g": g, "w": w}.items()
        }
        u, new = made.update(g, s, w, t)
        want_u, want_new = made.update(exact["g"], {**s, **exact}, exact["w"], t)
        pairs = [(u, want_u)] + [(new[slot], want_new[slot]) for slot in slots_of(made)]
        if rule.scope == "tensor":  # declared: sums and products of whole tensors, each rounded on its way
            error, whole = (u.double() - want_u.detach()).norm(), want_u.detach().norm()
            assert float(error) <= WHOLE * rule.magnifies * float(whole)
            continue
        for got, want in pairs:
            assert bool(((got.double() - want).abs() <= 4 * ULP * size(want, exact)).all())


def size(result: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """The result's magnitude, or that of the largest term it is the difference of: |x d result / dx|."""
    if not result.requires_grad:
        return result.abs()
    leaves = list(inputs.values())
    found: Any = torch.autograd.grad(result.sum(), leaves, retain_graph=True, allow_unused=True)
    terms = [(x * dx).abs().nan_to_num(0.0) for x, dx in zip(leaves, found, strict=True) if dx is not None]
    return torch.stack([result.abs(), *terms]).amax(0).detach()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@every_shape
@every_rule
def test_shape_and_dtype_stay(name: str, rule: type[Rule], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    made = varied(rule, 0.5)
    for g, s, w, t in visited(made, name, shape, dtype, after=3):
        begun = made.init(w)
        u, new = made.update(g, s, w, t)
        assert (u.shape, u.dtype) == (w.shape, dtype)
        for slot in made.slots:
            assert (new[slot].shape, new[slot].dtype) == (begun[slot].shape, dtype)


@every_rule
def test_update_is_pure(name: str, rule: type[Rule]) -> None:
    made = varied(rule, 0.5)
    for g, s, w, t in visited(made, name, (3, 5), torch.float32):
        before = {k: x.clone() for k, x in {**tensors_of(s), "g": g, "w": w}.items()}
        first, second = made.update(g, s, w, t), made.update(g, s, w, t)
        assert torch.equal(first[0], second[0])
        assert all(same(first[1][k], second[1][k]) for k in first[1])
        assert all(torch.equal(x, before[k]) for k, x in {**tensors_of(s), "g": g, "w": w}.items())


def same(x: Any, y: Any) -> bool:
    return torch.equal(x, y) if isinstance(x, Tensor) else bool(x == y)


@every_rule
def test_a_rule_of_scope_entry_sees_one_number_at_a_time(name: str, rule: type[Rule]) -> None:
    if rule.scope != "entry":
        return  # a declared need of the whole tensor
    made = varied(rule, 0.5)
    order = torch.tensor([4, 2, 0, 6, 1, 5, 3])
    for g, s, w, t in visited(made, name, (7,), torch.float32):
        u, new = made.update(g, s, w, t)
        for pick in (order, slice(2, 3), slice(0, 5)):
            picked = {k: x[pick] if isinstance(x, Tensor) else x for k, x in s.items()}
            part, part_new = made.update(g[pick], picked, w[pick], t)
            assert torch.equal(part, u[pick])
            assert all(torch.equal(part_new[slot], new[slot][pick]) for slot in made.slots)


@pytest.mark.parametrize("combinator", [found for found in combinators() if found.scope != "tensor"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 2, 3)], ids=str)
def test_a_combinator_sees_no_more_than_its_scope(combinator: type[Combinator], shape: tuple[int, ...]) -> None:
    made = varied_around(combinator, 0.15)
    order = torch.tensor([4, 2, 0, 6, 1, 5, 3])
    for g, s, w, t in visited(made, combinator.__name__, shape, torch.float32):
        u, new = made.update(g, s, w, t)
        for pick in (order, slice(2, 3), slice(0, 5)):
            picked = {k: x[pick] if isinstance(x, Tensor) else x for k, x in s.items()}
            part, part_new = made.update(g[pick], picked, w[pick], t)
            assert torch.equal(part, u[pick])
            assert all(torch.equal(part_new[slot], new[slot][pick]) for slot in slots_of(made))


def varied_around(combinator: type[Combinator], u: float) -> Rule:
    made: Any = combinator
    own = {field: elsewhere(declared, u) for field, declared in hypers(combinator).items()}
    return made(Adam(), **own)


@every_rule
def test_state_is_the_declared_slots_and_scalars(name: str, rule: type[Rule]) -> None:
    made = rule()
    assert set(made.init(torch.ones(3))) == set(slots_of(made))
    for g, s, w, t in visited(made, name, (3,), torch.float32):
        assert set(made.update(g, s, w, t)[1]) == set(slots_of(made)) | set(scalars_of(made))


@every_rule
def test_zero_gradient_from_zero_state_moves_nothing_but_a_decay(name: str, rule: type[Rule]) -> None:
    for made in (rule(), varied(rule, 0.5)):
        at_zero, at_one = (
            step(made, constant(torch.zeros(3)), [w], starts(made, [w]), 1)[0][0]
            for w in (torch.zeros(3), torch.tensor([-1.0, 1.0, 2.0]))
        )
        assert torch.equal(at_zero, torch.zeros(3))
        shrunk = torch.tensor([-1.0, 1.0, 2.0]) + at_one
        assert bool((shrunk.abs() <= torch.tensor([1.0, 1.0, 2.0])).all()), "a decay only shrinks"


@every_rule
def test_units_without_a_gradient_stay_finite(name: str, rule: type[Rule]) -> None:
    """Rows and columns of zeros, as dead units and constant inputs give them, and then zeros only."""
    noise = normal(name, 4, 6, dtype=torch.float32)
    noise[1] = noise[:, 2:4] = 0.0
    weights = [normal(f"{name} start", 4, 6, dtype=torch.float32)]
    states = starts(made := rule(), weights)
    for t in range(1, 13):
        slope = constant(noise * 1e-3 if t < 9 else 0.0 * noise)
        updates, states = step(made, slope, weights, states, t)
        weights = [weights[0] + updates[0]]
        assert bool(torch.isfinite(weights[0]).all()), t
        assert all(bool(torch.isfinite(x).all()) for x in tensors_of(states[0]).values()), t


@every_rule
def test_a_constant_gradient_stays_finite(name: str, rule: type[Rule]) -> None:
    large, small = [1e4, -1e4], [1e-20, -1e-20]
    apart = rule.scope == "entry" and not rule.sums  # entries that do not meet run at once
    for numbers in [large + small] if apart else [large, small]:
        weights = [torch.tensor([0.5, -0.5]).repeat(len(numbers) // 2)]
        states = starts(made := rule(), weights)
        steps = 50 if rule.grows else 1500  # declared: the distance that it finds has no end here
        for t in range(1, steps + 1):
            updates, states = step(made, constant(torch.tensor(numbers)), weights, states, t)
            weights = [weights[0] + updates[0]]
        assert bool(torch.isfinite(weights[0]).all())
        assert all(bool(torch.isfinite(x).all()) for x in tensors_of(states[0]).values())


@every_rule
def test_descends_a_quadratic_with_its_defaults(name: str, rule: type[Rule]) -> None:
    if rule.differs.startswith("erratum"):
        return  # declared: shown for what the slip does
    curvature = torch.tensor([0.3, 1.0], dtype=torch.float64)
    weights = [torch.ones(2, dtype=torch.float64)]
    states = starts(made := rule(), weights)
    for t in range(1, 10_001):
        updates, states = step(made, lambda _, points: [curvature * points[0]], weights, states, t)
        weights = [weights[0] + updates[0]]
        if (curvature * weights[0] ** 2).sum() < 0.1 * curvature.sum():
            return
    pytest.fail(f"after 10,000 steps at {weights[0].tolist()}")


@every_rule
def test_lookahead_of_a_rule_that_declares_none_is_the_weights(name: str, rule: type[Rule]) -> None:
    w = normal(name, 3)
    moved = not torch.equal(rule().ahead({**rule().init(w), **{s: w + 1 for s in rule.slots}}, w), w)
    assert moved == ("gradient_ahead" in rule.needs)


@every_rule
def test_before_the_first_step_a_rule_is_evaluated_at_the_weights(name: str, rule: type[Rule]) -> None:
    w = normal(name, 3)
    for made in (rule(), varied(rule, 0.5)):
        torch.testing.assert_close(made.readout(starts(made, [w])[0], w), w, rtol=1e-15, atol=0.0)


@every_class
def test_hyperparameters_are_complete_data(rule: type[Rule]) -> None:
    for field, declared in hypers(rule).items():
        assert declared.name == field
        assert declared.default in declared.bounds
        assert declared.meaning and declared.unit and declared.symbol
        if declared.search:
            low, high = declared.search.low, declared.search.high
            assert low < high and low in declared.bounds and high in declared.bounds
            assert math.isclose(declared.search.position(declared.search.at(0.25)), 0.25)
            assert elsewhere(declared, 0.5) in declared.bounds


@every_rule
def test_a_default_lies_where_the_race_searches(name: str, rule: type[Rule]) -> None:
    for declared in hypers(rule).values():
        assert declared.search is None or 0 <= declared.search.position(declared.default) <= 1


@every_class
def test_docstring_has_a_line_an_equation_and_a_reference(rule: type[Rule]) -> None:
    text = inspect.cleandoc(rule.__doc__ or "")
    first, _, rest = text.partition("\n\n")
    assert first.endswith(".") and "\n" not in first
    assert "Reference: " in rest
    if not issubclass(rule, Combinator):
        equation = rest.splitlines()[0]
        assert equation.startswith("    ") and "u = " in rest.partition("Reference:")[0]
        assert rule.differs, "what sets this dialect apart"


@every_class
def test_a_rule_is_final_and_at_most_20_lines(rule: type[Rule]) -> None:
    assert getattr(rule, "__final__", False)
    assert code_lines(rule) <= 20


def code_lines(rule: type[Rule]) -> int:
    source = textwrap.dedent(inspect.getsource(rule))
    (tree,) = ast.parse(source).body
    assert isinstance(tree, ast.ClassDef)
    doc = tree.body[0]
    lines = source.splitlines()
    kept = lines[: doc.lineno - 1] + lines[doc.end_lineno :]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in kept)


def test_names_are_unique_and_each_family_has_its_own_form() -> None:
    ours = (rule for rule in below(Rule) if rule.__module__.startswith("ravine."))  # other tests define rules too
    found = [rule for rule in ours if getattr(rule, "__final__", False) and not issubclass(rule, Combinator)]
    counted = Counter((rule.family, rule.dialect) for rule in found)
    assert max(counted.values()) == 1
    assert {family for family, _ in counted} == {family for family, dialect in counted if not dialect}
    assert len(found) == len(RULES)


def below(of: type[Rule]) -> Iterator[type[Rule]]:
    for found in of.__subclasses__():
        yield found
        yield from below(found)


def test_combinators_keep_the_state_of_the_rule_inside_and_their_own() -> None:
    slope: Slope = constant(torch.ones(3), torch.ones(2, 2))
    for combinator in combinators():
        for _, rule in RULES:
            made: Any = combinator
            path = drive(made(rule()), slope, [torch.ones(3), torch.ones(2, 2)], 3)
            assert set(made(rule()).init(torch.ones(3))) == {*rule().init(torch.ones(3)), *combinator.slots}
            assert [w.shape for w in path[-1]] == [(3,), (2, 2)]
