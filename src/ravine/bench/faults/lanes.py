"""F10: a number that is not finite gets into one lane of a race, at a random step; the other lanes keep their bits."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ravine import api
from ravine.bench.faults.trial import Part, Trial
from ravine.engines.lanes import Lanes
from ravine.problems import load
from ravine.problems.problem import Problem
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.training.cohort import Cohort
from ravine.training.run import Run

SPEC = RaceSpec(
    problem="wine", model="mlp:8", rules=["adam", "momentum", "nadam", "rmsprop"], budget=16, epochs=4, batch=32,
    seeds=3, finalists=3, lanes=8, workers=1, widen=False, seed=11, baselines=False,
)  # fmt: skip
PLACES = ("gradient", "loss", "data", "state")
IN_RUNG, IN_FINALS = 3, 2  # lanes that are harmed at most
NUMBERS = (math.nan, math.inf, -math.inf)


@dataclass(frozen=True)
class Harm:
    """A number that gets into a lane: where, which, at which step (1 is the first), and at which entry (a share)."""

    place: str
    number: float
    step: int
    entry: float


def raced(spec: RaceSpec, problem: Problem, harms: Mapping[str, Harm]) -> tuple[Race, set[str]]:
    """A race to its end, whose runs of these names are harmed, and the names of runs that were ever left alone."""
    race, alone = api.start(spec, problem), set[str]()
    with harming(harms, alone):
        for _ in race.run():
            pass
    if race.interrupted:  # it has taken for itself what was meant for the campaign
        raise KeyboardInterrupt
    return race, alone


@contextmanager
def harming(harms: Mapping[str, Harm], alone: set[str]) -> Generator[None]:
    """Within, the runs of these names are harmed, whatever cohort they are in; who is in none is noted as alone."""
    patched: list[tuple[Any, str, Any]] = [
        (Cohort, "__init__", partial(_begin, harms, alone)),
        (Lanes, "_gradients", _gradients),
        (Lanes, "_batch", _batch),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patched]
    for (owner, name, new), (*_, old) in zip(patched, before, strict=True):
        setattr(owner, name, _bound(new, old))
    try:
        yield
    finally:
        for owner, name, old in before:
            setattr(owner, name, old)


def _bound(new: Any, old: Any) -> Any:
    return lambda self, *given, **named: new(old, self, *given, **named)


def _begin(harms: Mapping[str, Harm], alone: set[str], old: Any, cohort: Cohort, *given: Any, **named: Any) -> None:
    old(cohort, *given, **named)
    own = {row: harms[run.id] for row, run in enumerate(cohort.runs) if run.id in harms}
    vars(cohort.lanes)["harms"] = own
    alone.update(run.id for run in cohort.runs if len(cohort.runs) == 1)


def _now(lanes: Lanes, *places: str) -> Iterator[tuple[int, Harm]]:
    """The places of the lanes, in the order of the weights, that are harmed in this step."""
    several = len(lanes.seeds) > 1  # else all lanes see the same samples, and a harm to them is one to all
    for row, harm in vars(lanes).get("harms", {}).items():
        place = harm.place if several or harm.place != "data" else "loss"
        if harm.step == lanes.step_count and place in places:
            yield int(lanes.back[row]), harm


def _gradients(old: Any, lanes: Lanes, *given: Any) -> Any:
    for at, harm in _now(lanes, "state"):
        group = next(g for g in lanes.groups if g.start <= at < g.end)
        slot = next(iter(group.slots.values()))[at - group.start]
        slot[int(harm.entry * slot.numel())] = math.nan  # an infinite second moment is none: it lets an entry rest
    losses, gradients = old(lanes, *given)
    for at, harm in _now(lanes, "gradient"):
        own = gradients[int(harm.entry * len(gradients))][at].view(-1)
        own[int(harm.entry * own.numel())] = harm.number
    for at, harm in _now(lanes, "loss"):
        losses[at] = harm.number
    return losses, gradients


def _batch(old: Any, lanes: Lanes, *given: Any) -> Any:
    x, y = old(lanes, *given)
    for at, harm in _now(lanes, "data"):
        own = x[at].view(-1)
        own[int(harm.entry * own.numel())] = harm.number
    return x, y


def drawn(draw: random.Random, clean: Race) -> dict[str, Harm]:
    """Some runs of a race and what harms each: in the first rung, and in the finals."""
    first = clean.clock.step_at(clean.setup.rungs[0])
    rung = [run for run in clean.runs if run.stage == "rung"]
    finals = [run for run in clean.runs if run.stage != "rung"]
    chosen = [(run, first) for run in draw.sample(rung, draw.randint(1, IN_RUNG))]
    chosen += [(run, clean.clock.steps) for run in draw.sample(finals, draw.randint(0, IN_FINALS))]
    return {
        run.id: Harm(draw.choice(PLACES), draw.choice(NUMBERS), draw.randint(1, steps), draw.random())
        for run, steps in chosen
    }


def judged(clean: Race, race: Race, harms: Mapping[str, Harm], alone: Set[str]) -> tuple[str, dict[str, float]]:
    """What is wrong with a harmed race, beside the clean one, and what was counted.

    A run that was left ``alone`` in one of the two steps as a run by itself, whose last digits may differ.
    """
    wrong: list[str] = []
    others = {run.id: run for run in clean.runs}
    compared = harmed = bore = 0
    for run in race.runs:
        if run.id in harms:
            harmed += 1
            if not run.diverged and math.isinf(harms[run.id].number):
                bore += 1  # one of its units never fires again, and its loss stays finite
                continue
            wrong += filter(None, [_report(run, harms[run.id], race)])
        elif run.id in others and run.id not in alone:
            compared += 1
            wrong += filter(None, [_differs(run, others[run.id])])
    if race.phase != "done" or not all(math.isfinite(row.valid_loss.mean) for row in race.standings):
        wrong.append(f"the race ended in {race.phase}")
    return "; ".join(wrong), {"lanes harmed": harmed, "of them bore it": bore, "others compared": compared}


def _report(run: Run, harm: Harm, race: Race) -> str:
    """A lane that is harmed is closed, its curve is finite, and it is told in which step it failed."""
    told = re.search(r"became (NaN|infinite),? .*?(?:in|after) step (\d+)", run.diverged)
    if told is None or int(told[2]) not in (harm.step, harm.step + 1):
        return f"{run.id}, {harm.place} at step {harm.step}: told {run.diverged!r}"
    if not all(math.isfinite(point.valid_loss) and math.isfinite(point.train_loss or 0) for point in run.curve):
        return f"{run.id}: its curve is not finite"
    best = any(row.config == run.candidate.config and row.finalist for row in race.standings) and run.stage == "rung"
    return f"{run.id} failed and is a finalist" if best else ""


def _differs(run: Run, other: Run) -> str:
    """A lane that is not harmed has the bits of the clean race, as far as both went."""
    pairs = list(zip(run.curve, other.curve, strict=False))
    if any(ours != theirs for ours, theirs in pairs):
        return f"{run.id}: its curve differs"
    whole = len(run.curve) == len(other.curve) and run.best is not None and other.best is not None
    if whole and not torch.equal(run.best.weights, other.best.weights):  # pyright: ignore[reportOptionalMemberAccess]
        return f"{run.id}: its best weights differ"
    return f"{run.id}: {run.diverged}" if run.diverged and not other.diverged else ""


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a race some lanes of which are harmed, beside the one of which none is."""
    torch.set_num_threads(1)
    problem = load(SPEC.problem)
    clean, alone = raced(SPEC, problem, {})
    for index in indices:
        harms = drawn(random.Random(f"lanes {index}"), clean)
        race, left = raced(SPEC, problem, harms)
        yield Trial(index, *judged(clean, race, harms, alone | left))


PART = Part(
    "lanes",
    "F10",
    "NaN and infinite numbers in gradients, losses, samples or state of 1 to 5 lanes of a race, at random steps",
    "each is closed and told with its step; each other lane in company has the bits of the race that nobody harmed",
    700,
    trials,
)
