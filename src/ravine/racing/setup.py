"""What a race decides before it starts: epochs, batch, rungs, seeds, how many configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ravine.decisions import Pick
from ravine.errors import UserError
from ravine.penalties import Prune
from ravine.problems.problem import Problem
from ravine.problems.sampling import check_sampling
from ravine.racing.space import Space, make_space, shares
from ravine.racing.spec import MOST, RaceSpec
from ravine.randomness import key
from ravine.recipe import checked_penalties
from ravine.rules.rule import Rule, Search
from ravine.schedules import check, from_spec
from ravine.solvers.method import Method
from ravine.training.clock import Clock, batch_for

STEPS = 3000  # of a full run, where the user names no epochs
MARGIN = 0.8  # of a time budget that is planned for


@dataclass(frozen=True)
class Setup:
    """The decided numbers of a race."""

    spec: RaceSpec
    clock: Clock
    space: Space
    rungs: tuple[int, ...]  # the tick that each rung ends at
    fresh: tuple[int, ...]  # the seeds of the finals
    budget: int  # configurations
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: RaceSpec, problem: Problem) -> Setup:
        """Decide what the user left open; a `UserError` where what they chose does not fit the problem."""
        check_sampling(spec.sampling)
        samples = len(problem.train)
        batch = spec.batch or batch_for(samples)
        if batch > samples:
            raise UserError(f"batch {batch} is more than the {samples} training samples of {problem.name}")
        per_epoch = max(1, samples // batch)
        epochs = spec.epochs or min(30, max(1, round(STEPS / per_epoch)))
        clock = Clock(samples, batch, epochs)
        clock.check()
        for schedule in spec.schedules:
            check(from_spec(schedule)).over(epochs)
        budget = spec.budget or 64
        space = make_space(spec.rules, spec.combine, spec.over, spec.schedules, budget, spec.seed)
        for part in checked_penalties(spec.penalty, space.rules.values(), epochs):
            if isinstance(part, Prune) and part.start > 0:
                raise UserError("prune: in a race start is 0, since runs are compared from their first epochs on")
        if budget < len(space.rules):
            raise UserError(f"a budget of {budget} is too small for {len(space.rules)} rules: give at least one each")
        fresh = tuple(key(spec.seed, "fresh", i) % 10**6 + 1 for i in range(spec.seeds))
        return cls(spec, clock, space, (), fresh, budget, _notes(space)).with_budget(budget)

    def with_budget(self, budget: int) -> Setup:
        """The same race with so many configurations: rungs from full length downwards, by eta, while any are lost."""
        budget = sum(shares(self.space, budget))
        count, rungs = budget, [self.clock.ticks]
        while count > self.spec.finalists * self.spec.eta and rungs[0] > 1:
            rungs.insert(0, max(1, round(rungs[0] / self.spec.eta)))
            count = -(-count // self.spec.eta)
        return replace(self, budget=budget, rungs=tuple(dict.fromkeys(rungs)))

    @property
    def lane_steps(self) -> int:
        """Optimizer steps of the whole race, summed over lanes, if none is lost and none added."""
        total, count, before = 0, self.budget, 0
        for tick in self.rungs:
            total += count * (self.clock.step_at(tick) - before)
            before, count = self.clock.step_at(tick), -(-count // self.spec.eta)
        finals = (1 + self.spec.defaults) * min(self.spec.finalists, len(self.space.rules)) * self.spec.seeds
        return total + finals * self.clock.steps

    def within(self, seconds: float | None, lane_step: float) -> Setup:
        """The largest race of this kind that keeps to a time, at so many seconds a lane-step."""
        if seconds is None:
            return self
        least = max(len(self.space.rules), 2)
        budgets = [b for b in range(MOST, least - 1, -1) if self._fits(b, seconds, lane_step)]
        budget = budgets[0] if budgets else least
        spec, space = self.spec, self.space
        fitted = make_space(spec.rules, spec.combine, spec.over, spec.schedules, budget, spec.seed)
        made = replace(self, space=fitted if not space.widened else space).with_budget(budget)
        expected = made.lane_steps * lane_step
        note = f"Within {seconds:.0f} s fit {budget} configurations (about {expected:.0f} s at the measured speed)."
        if not budgets:
            note = (
                f"Even the smallest race needs about {expected:.0f} s, more than the {seconds:.0f} s given: "
                "it will be stopped with what is known then; fewer epochs, seeds or rules make it fit."
            )
        return replace(made, notes=(*self.notes, note))

    def _fits(self, budget: int, seconds: float, lane_step: float) -> bool:
        return self.with_budget(budget).lane_steps * lane_step <= MARGIN * seconds

    def restored(self, ranges: Mapping[str, Mapping[str, Any]], widened: Mapping[str, int]) -> Space:
        """The space with the ranges that a checkpoint holds."""
        found = {rule: {h: _search(s) for h, s in own.items()} for rule, own in ranges.items()}
        return replace(self.space, ranges=found, widened=dict(widened))


def _search(kept: Mapping[str, Any]) -> Search | Pick:
    return Pick(tuple(kept["choices"])) if "choices" in kept else Search(**kept)


def _notes(space: Space) -> tuple[str, ...]:
    """How the methods among the contenders run, and what is counted of them."""
    whole = [name for name, rule in space.rules.items() if isinstance(rule, Method)]
    watching = [name for name, rule in space.rules.items() if not isinstance(rule, Rule | Method)]
    found: list[str] = []
    if whole:
        found.append(
            f"{', '.join(whole)}: on the whole training part, one run after another; an epoch is worth the gradients "
            "of its minibatches, where a value counts 1/3 of a gradient and a Hessian-vector product 2."
        )
    if watching:
        found.append(
            f"{', '.join(watching)}: on minibatches, one run after another; its gradients are counted, not its "
            "factors and inversions."
        )
    return tuple(found)
