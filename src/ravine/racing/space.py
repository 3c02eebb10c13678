"""The space of a race: which rules, which hyperparameters and decisions over which values; the draw from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import qmc

from ravine.decisions import Choices, Decision, Field, Pick, Values, decision, searched, values_from
from ravine.decisions import names as decision_names
from ravine.errors import UserError, unknown
from ravine.randomness import key
from ravine.rules.rule import Declared, Rule, Search, catalogue, check, hypers, name_of, values, with_values
from ravine.solvers.spec import contender_from_spec, follows_schedule
from ravine.training.run import Candidate


@dataclass
class Space:
    """The rules at their defaults, the range of each searched hyperparameter of each, and the other decisions."""

    rules: dict[str, Declared]
    ranges: dict[str, dict[str, Search | Pick]]
    schedules: Sequence[Mapping[str, Any]]
    seed: int
    widened: dict[str, int] = field(default_factory=dict[str, int])
    decisions: dict[str, tuple[Decision, Search | Pick]] = field(
        default_factory=dict[str, tuple[Decision, Search | Pick]]
    )


def make_space(
    rules: Sequence[str] | None,
    combine: Sequence[Mapping[str, Any]],
    over: Mapping[str, Any],
    schedules: Sequence[Mapping[str, Any]],
    budget: int,
    seed: int,
) -> Space:
    """The checked space.

    ``over`` sets the values of a hyperparameter for every rule that has it, or of a decision (`ravine.decisions`): a
    pair of numbers is a range, a list holds choices. A name that is neither is an error, as are values that leave a
    rule's bounds.
    """
    names = list(rules) if rules else [name for name, rule in catalogue().items() if rule.contender]
    made = {name: contender_from_spec({"name": name, "with": list(combine)}) for name in names}
    made = {name_of(rule): rule for rule in made.values()}
    every = {name for rule in made.values() for name in hypers(rule)}
    wanted: dict[str, Values] = {name: values_from(given) for name, given in over.items()}
    decisions = {name: _decided(name, given, every) for name, given in wanted.items() if name not in every}
    hyper = {name: given for name, given in wanted.items() if name in every}
    per_rule = max(1, budget // len(made))
    ranges = {name: _ranges(rule, hyper, per_rule) for name, rule in made.items()}
    return Space(made, ranges, schedules, seed, decisions=decisions)


def _decided(name: str, given: Values, every: Collection[str]) -> tuple[Decision, Search | Pick]:
    """A decision and its values, in the form in which recipes have them."""
    if re.split("[.@]", name)[0] not in decision_names():
        raise unknown("hyperparameter or decision to search over", name, {*every, *decision_names(), "schedule"})
    made = decision(name)
    if isinstance(given, Choices):
        read = made.read if isinstance(made, Field) else _number(name)
        return made, searched(name, Choices(choices=[read(value) for value in given.choices]), "")
    if made.kind == "word":
        raise UserError(f"--over {name}={given.low:g}..{given.high:g}: words have no range; choose, as {name}=a,b")
    if made.kind == "whole number":
        powers = [2**k for k in range(24) if given.low <= 2**k <= given.high]
        return made, searched(name, Choices(choices=powers), "")
    return made, searched(name, given, made.scale(given.low))


def _number(name: str) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise UserError(f"--over {name}: {value!r} is no number") from None

    return read


def _ranges(rule: Declared, over: Mapping[str, Values], per_rule: int) -> dict[str, Search | Pick]:
    """The learning rate alone at a small budget, more hyperparameters as the budget grows; those of ``over`` always."""
    declared = {name: h.search for name, h in hypers(rule).items() if h.search is not None}
    most = 1 if per_rule < 12 else 2 if per_rule < 32 else len(declared)
    first = sorted(declared, key=lambda name: name != "lr")[:most]
    found: dict[str, Search | Pick] = {name: declared[name] for name in first if name not in over}
    for name, given in over.items():
        if name in hypers(rule):
            known = declared.get(name)
            low = 0.0 if isinstance(given, Choices) else given.low
            scale = known.scale if known else "log" if low > 0 else "linear"
            found[name] = _checked(rule, name, given, scale)
    return found


def _checked(rule: Declared, name: str, given: Values, scale: str) -> Search | Pick:
    if isinstance(given, Choices):
        given = Choices(choices=[_number(name)(value) for value in given.choices])
    made = searched(name, given, scale)
    for end in made.choices if isinstance(made, Pick) else (made.low, made.high):
        check(with_values(rule, {name: end}))
    return made


def draw(space: Space, budget: int) -> list[Candidate]:
    """Each rule at its defaults, and the rest of the budget spread evenly (scrambled Sobol) over its ranges."""
    found: list[Candidate] = []
    for (name, rule), own in zip(space.rules.items(), shares(space, budget), strict=True):
        searched = tuple(space.ranges[name])
        if own:
            found.append(Candidate(0, rule, _schedules(rule, space.schedules[0]), "default", searched))
        for point in _sobol(own - 1, len(searched) + len(space.decisions) + 1, key(space.seed, "space", name)):
            at = {h: search.at(float(u)) for (h, search), u in zip(space.ranges[name].items(), point, strict=False)}
            others = zip(space.decisions.items(), point[len(searched) :], strict=False)
            choices = {other: search.at(float(u)) for (other, (_, search)), u in others}
            schedule = _schedules(rule, space.schedules[int(point[-1] * len(space.schedules))])
            found.append(Candidate(0, with_values(rule, at), schedule, "drawn", searched, choices))
    return [replace(candidate, config=config) for config, candidate in enumerate(found)]


def shares(space: Space, budget: int) -> list[int]:
    """How many configurations each rule gets: one where there is nothing to draw, the rest evenly."""
    nothing = not space.decisions
    fixed = [nothing and not isinstance(rule, Rule) and not space.ranges[name] for name, rule in space.rules.items()]
    several = len(fixed) - sum(fixed)
    share, more = divmod(max(0, budget - sum(fixed)), several) if several else (0, 0)
    found, place = list[int](), 0
    for alone in fixed:
        found.append(1 if alone else share + (place < more))
        place += not alone
    return found


def _schedules(rule: Declared, schedule: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The schedule of a rule's learning rate; a method measures its steps itself."""
    return {"lr": schedule} if follows_schedule(rule) else {}


def _sobol(count: int, dimensions: int, seed: int) -> np.ndarray[Any, Any]:
    """Evenly spread points of [0, 1)^d: [count, d]."""
    if count < 1:
        return np.empty((0, dimensions))
    power = (count - 1).bit_length()
    return qmc.Sobol(dimensions, rng=np.random.default_rng(seed)).random_base2(power)[:count]


def widen(space: Space, field: Sequence[tuple[Candidate, float]], first: int, most: int = 2) -> list[Candidate]:
    """New configurations beyond the edge, for each rule whose best learning rate is the outermost one tried.

    ``field`` holds every configuration tried with its loss (inf where it diverged); configurations are numbered from
    ``first``. A rule's range is widened at most ``most`` times; the space remembers the new range.
    """
    found: list[Candidate] = []
    for name, rule in space.rules.items():
        search = space.ranges[name].get("lr")
        if not isinstance(search, Search):
            continue
        own = [(values(c.rule)["lr"], loss, c) for c, loss in field if name_of(c.rule) == name]
        if len(own) < 3 or space.widened.get(name, 0) >= most:
            continue
        rate, loss, best = min(own, key=lambda one: one[1])
        rates = [one[0] for one in own]
        if loss == float("inf") or rate not in (min(rates), max(rates)):
            continue
        step = (search.position(max(rates)) - search.position(min(rates))) / (len(own) - 1)
        side = 1 if rate == max(rates) else -1
        places = [search.at(search.position(rate) + side * step * k) for k in (1, 2)]
        allowed = hypers(rule)["lr"].bounds
        made = [with_values(best.rule, {"lr": lr}) for lr in places if lr in allowed]
        new = [replace(best, rule=rule, origin="widened") for rule in made]
        ends = [search.low, search.high, *(values(c.rule)["lr"] for c in new)]
        space.ranges[name]["lr"] = Search(search.scale, min(ends), max(ends))
        space.widened[name] = space.widened.get(name, 0) + 1
        found += new
    return [replace(candidate, config=first + i) for i, candidate in enumerate(found)]
