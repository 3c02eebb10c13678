"""Schedules by discovery: every one is checked, written, read back, bound and pure; every mistake is one sentence."""

from __future__ import annotations

import ast
import inspect
import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

import ravine.schedules as rs
from ravine.errors import UserError


def values_of(declared: rs.Setting, depth: int) -> st.SearchStrategy[Any]:
    """Allowed values of a setting, from its declaration alone."""
    low, high = (float(end) for end in declared.bounds[1:-1].split(","))
    number = st.floats(max(low, -5.0) + (declared.bounds[0] == "(") * 0.01, min(high, 50.0))
    inner = any_schedule(depth - 1) if depth else st.just(rs.Constant(0.5))
    kinds: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "number": lambda: number,
        "numbers": lambda: st.lists(number, max_size=3).map(lambda each: tuple(sorted(each))),
        "choice": lambda: st.sampled_from(declared.options),
        "flag": st.booleans,
        "schedule": lambda: inner,
        "schedules": lambda: st.lists(inner, max_size=3).map(tuple),
    }
    none = declared.share is not None or declared.optional
    return st.none() | kinds[declared.kind]() if none else kinds[declared.kind]()


@cache
def any_schedule(depth: int = 2) -> st.SearchStrategy[Any]:
    kinds = list(rs.catalogue().values())
    fields = [{name: values_of(one, depth) for name, one in rs.settings(kind).items()} for kind in kinds]
    made = [st.builds(kind, **each) for kind, each in zip(kinds, fields, strict=True)]
    return st.one_of(made).filter(lambda schedule: schedule.flaw() is None)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(any_schedule(), st.floats(0, 1e4))
def test_every_schedule_is_checked_written_read_back_bound_and_pure(schedule: rs.Schedule, t: float) -> None:
    rs.check(schedule)
    spec = rs.to_spec(schedule)
    assert rs.from_spec(spec) == schedule
    toml = tomli_w.dumps(spec)  # a recipe can hold it
    assert rs.from_spec(tomllib.loads(toml)) == schedule
    try:
        bound = schedule.over(1e5)
    except UserError as told:  # a warm-up inside a part that is shorter than it
        assert "no time is left for it" in str(told)
        return
    assert bound.over(3.0) == bound  # nothing is left to bind
    value = bound(t)
    assert value >= 0 and bound(t) == value
    assert hash(bound) == hash(rs.from_spec(rs.to_spec(bound)))


def classes(kind: type[rs.Schedule] = rs.Schedule) -> Iterator[type[rs.Schedule]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from classes(sub)


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_a_class_is_abstract_or_final_public_and_explained(kind: type[rs.Schedule]) -> None:
    final = bool(getattr(kind, "__final__", False))
    assert final != inspect.isabstract(kind) and final != bool(kind.__subclasses__())
    if final:
        assert kind.__name__ in rs.__all__ and rs.catalogue()[kind.name] is kind
        assert " = " in (kind.__doc__ or "") or "->" in (kind.__doc__ or "")


def test_names_are_the_documented_ones() -> None:
    assert {"multi-step", "warm-up", "one-cycle", "inverse-time", "exp-range", "triangular2"} <= set(rs.catalogue())
    assert {"warmup-stable-decay", "cosine-restarts", "cosine", "product"} <= set(rs.catalogue())


def test_no_file_of_the_package_imports_torch() -> None:
    for file in Path(inspect.getfile(rs)).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        froms = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        plain = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
        assert not [name for name in froms + plain if name.split(".")[0] == "torch"]


# --- Lengths of the whole run ----------------------------------------------------------------------------------------


def test_over_binds_each_open_length_and_leaves_the_given_ones() -> None:
    assert rs.Cosine().over(30) == rs.Cosine(30)
    assert rs.Cosine(7).over(30) == rs.Cosine(7)
    assert rs.WarmUp(rs.Cosine(), 5).over(30) == rs.WarmUp(rs.Cosine(25), 5)
    assert rs.WarmUp(rs.Cosine(), 5, overlay=True).over(30) == rs.WarmUp(rs.Cosine(30), 5, overlay=True)
    assert rs.Sequence((rs.Linear(), rs.Cosine()), (10,)).over(30) == rs.Sequence(
        (rs.Linear(duration=10), rs.Cosine(20)), (10,)
    )
    assert (rs.Linear() * rs.Cosine()).over(30) == rs.Linear(duration=30) * rs.Cosine(30)
    assert rs.MultiStep().over(40).milestones == (20, 30)


def test_a_short_rung_of_a_schedule_that_needs_no_length_still_runs() -> None:
    assert rs.WarmUp(rs.Constant(), 10, 0.0).over(5)(5) == 0.5


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: rs.Cosine()(3), "has an open length: bind it with .over(length of the run), or give the length"),
        (lambda: rs.MultiStep()(3), "has an open length"),
        (lambda: rs.WarmUp(rs.Cosine(), 5)(9), "Cosine(duration=None, end=0.0, start=1.0) has an open length"),
        (lambda: rs.WarmUp(rs.Cosine(), 10).over(10), "cosine: no time is left for it (0)"),
        (lambda: rs.Sequence((rs.Constant(), rs.Linear()), (40,)).over(30), "linear: no time is left for it (-10)"),
        (lambda: rs.Linear().over(math.inf), "or give duration"),
        (lambda: rs.between(1, 2, base=0), "between(base=0): base must be a finite number other than 0"),
        (lambda: rs.between(math.nan, 2, base=1), "between(low=nan): low must be a finite number"),
    ],
)
def test_a_length_that_is_missing_or_impossible(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UserError) as told:
        make()
    assert sentence in str(told.value) and "\n" not in str(told.value)


# --- What a user may write wrongly -----------------------------------------------------------------------------------


def broken() -> Iterator[tuple[type[rs.Schedule], str, Any]]:
    """Every numeric setting of every class, just outside each end of its interval, and no number at all."""
    for kind in rs.catalogue().values():
        for name, declared in rs.settings(kind).items():
            if declared.kind != "number":
                continue
            low, high = (float(end) for end in declared.bounds[1:-1].split(","))
            yield kind, name, low if declared.bounds[0] == "(" else math.nextafter(low, -math.inf)
            yield kind, name, high if declared.bounds[-1] == ")" else math.nextafter(high, math.inf)
            yield from ((kind, name, value) for value in (math.nan, math.inf, True, "3", [1.0]))


@pytest.mark.parametrize(("kind", "name", "value"), list(broken()), ids=lambda x: getattr(x, "__name__", str(x)))
def test_every_bound_is_told_in_one_sentence(kind: type[rs.Schedule], name: str, value: Any) -> None:
    with pytest.raises(UserError) as told:
        rs.check(kind(**{name: value}))
    assert str(told.value).startswith(f"{kind.__name__}({name}={value!r}): {name} must ")
    assert str(told.value).endswith(f", got {value!r}") and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"name": "cosine", "duration": -3}, "Cosine(duration=-3): duration must be positive, got -3"),
        ({"name": "cosin"}, "unknown schedule 'cosin': did you mean 'cosine'?"),
        ("one-cycel", "unknown schedule 'one-cycel': did you mean 'one-cycle'?"),
        ({"name": "cosine", "duratoin": 3}, "unknown setting of cosine 'duratoin': did you mean 'duration'?"),
        (
            {"name": "warm-up", "then": {"name": "cosine", "end": -1}},
            "Cosine(end=-1): end must not be negative, got -1",
        ),
        ({"name": "warm-up", "then": {"name": "cosne"}}, "unknown schedule 'cosne': did you mean 'cosine'?"),
        ({"name": "warm-up", "then": 3}, "a schedule is a name or a table with a name, got 3"),
        ({"duration": 3}, "a schedule needs a name, such as name = \"cosine\"; got {'duration': 3}"),
        ({"name": 3}, "a schedule needs a name, such as name = \"cosine\"; got {'name': 3}"),
        (
            {"name": "multi-step", "milestones": 3},
            "MultiStep(milestones=3): milestones must be a list of numbers, got 3",
        ),
        (
            {"name": "multi-step", "milestones": [3, -1]},
            "MultiStep(milestones=(3, -1)): milestones must each not be negative, got (3, -1)",
        ),
        ({"name": "multi-step", "milestones": [3, 1]}, "MultiStep: milestones must be in order, got [3, 1]"),
        (
            {"name": "one-cycle", "anneal": "cosine"},
            "OneCycle(anneal='cosine'): anneal must be 'cos' or 'linear', got 'cosine'",
        ),
        (
            {"name": "one-cycle", "three_phase": 1},
            "OneCycle(three_phase=1): three_phase must be true or false, got 1",
        ),
        (
            {"name": "one-cycle", "three_phase": True, "pct_start": 0.6},
            "OneCycle: pct_start must not exceed 0.5 with three phases, got 0.6",
        ),
        (
            {"name": "one-cycle", "duration": 1, "tick": 1},
            "OneCycle: tick must be shorter than the duration of 1, got 1",
        ),
        (
            {"name": "warmup-stable-decay", "warmup": 0.6, "decay": 0.6},
            "WarmupStableDecay: warmup and decay must not exceed 1 together, got 1.2",
        ),
        ({"name": "sequence", "parts": ["cosine"], "until": [3]}, "Sequence: 1 parts need 0 times in until, got 1"),
        ({"name": "product", "parts": "cosine"}, "must be a list of schedules, got 'cosine'"),
    ],
)
def test_a_wrong_recipe_is_told_in_one_sentence(spec: Any, sentence: str) -> None:
    with pytest.raises(UserError) as told:
        rs.from_spec(spec)
    assert sentence in str(told.value) and "\n" not in str(told.value)


def test_growth_beyond_a_float_is_infinite_and_no_crash() -> None:
    assert rs.Exponential(2.0)(1e6) == math.inf == rs.Step(1, 10.0)(400)


def test_a_schedule_of_ones_own_is_in_the_catalogue_by_its_class() -> None:
    @final
    @dataclass(frozen=True)
    class SquareRoot(rs.Schedule):
        """f(t) = 1 / sqrt(1 + t)."""

        def _at(self, t: float) -> float:
            return (1 + t) ** -0.5

    assert isinstance(rs.from_spec("square-root"), SquareRoot)
