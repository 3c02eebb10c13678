"""The space of a race: which rules, which hyperparameters over which ranges, and the configurations drawn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import qmc

from ravine.errors import UserError, unknown
from ravine.randomness import key
from ravine.rules.rule import Declared, Rule, Search, catalogue, check, hypers, name_of, values, with_values
from ravine.solvers.spec import contender_from_spec, follows_schedule
from ravine.training.run import Candidate


@dataclass
class Space:
    """The rules at their defaults, and the range of each searched hyperparameter of each."""

    rules: dict[str, Declared]
    ranges: dict[str, dict[str, Search]]
    schedules: Sequence[Mapping[str, Any]]
    seed: int
    widened: dict[str, int] = field(default_factory=dict[str, int])


def make_space(
    rules: Sequence[str] | None,
    combine: Sequence[Mapping[str, Any]],
    over: Mapping[str, tuple[float, float]],
    schedules: Sequence[Mapping[str, Any]],
    budget: int,
    seed: int,
) -> Space:
    """The checked space.

    ``over`` sets ranges by hyperparameter for every rule that has it; a name no rule has is an error, as is a range
    that leaves a rule's bounds.
    """
    names = list(rules) if rules else [name for name, rule in catalogue().items() if rule.contender]
    made = {name: contender_from_spec({"name": name, "with": list(combine)}) for name in names}
    made = {name_of(rule): rule for rule in made.values()}
    every = {name for rule in made.values() for name in hypers(rule)}
    for name in over:
        if name not in every:
            raise unknown("hyperparameter to search over", name, every)
    per_rule = max(1, budget // len(made))
    ranges = {name: _ranges(rule, over, per_rule) for name, rule in made.items()}
    return Space(made, ranges, schedules, seed)


def _ranges(rule: Declared, over: Mapping[str, tuple[float, float]], per_rule: int) -> dict[str, Search]:
    """The learning rate alone at a small budget, more hyperparameters as the budget grows; those of ``over`` always."""
    declared = {name: h.search for name, h in hypers(rule).items() if h.search is not None}
    most = 1 if per_rule < 12 else 2 if per_rule < 32 else len(declared)
    first = sorted(declared, key=lambda name: name != "lr")[:most]
    found = {name: declared[name] for name in first if name not in over}
    for name, (low, high) in over.items():
        if name in hypers(rule):
            known = declared.get(name)
            scale = known.scale if known else "log" if low > 0 else "linear"
            found[name] = _checked(rule, name, Search(scale, low, high))
    return found


def _checked(rule: Declared, name: str, search: Search) -> Search:
    if not search.low < search.high:
        raise UserError(f"--over {name}={search.low:g}..{search.high:g}: the low end must lie below the high end")
    if search.scale == "log" and search.low <= 0:
        raise UserError(f"--over {name}={search.low:g}..{search.high:g}: it is searched in decades, so from above 0")
    for end in (search.low, search.high):
        check(with_values(rule, {name: end}))
    return search


def draw(space: Space, budget: int) -> list[Candidate]:
    """Each rule at its defaults, and the rest of the budget spread evenly (scrambled Sobol) over its ranges."""
    found: list[Candidate] = []
    for (name, rule), own in zip(space.rules.items(), shares(space, budget), strict=True):
        searched = tuple(space.ranges[name])
        if own:
            found.append(Candidate(0, rule, _schedules(rule, space.schedules[0]), "default", searched))
        for point in _sobol(own - 1, len(searched) + 1, key(space.seed, "space", name)):
            at = {h: search.at(float(u)) for (h, search), u in zip(space.ranges[name].items(), point, strict=False)}
            schedule = space.schedules[int(point[-1] * len(space.schedules))]
            found.append(Candidate(0, with_values(rule, at), _schedules(rule, schedule), "drawn", searched))
    return [replace(candidate, config=config) for config, candidate in enumerate(found)]


def shares(space: Space, budget: int) -> list[int]:
    """How many configurations each rule gets: one where there is nothing to draw, the rest evenly."""
    fixed = [not isinstance(rule, Rule) and not space.ranges[name] for name, rule in space.rules.items()]
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
        if search is None:
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
