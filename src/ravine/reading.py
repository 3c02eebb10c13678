"""What a verdict and the drawings look up in a race: its contenders, finalists, defaults and curves."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from ravine.results import Interval, Point, RaceResult, RunResult, Standing


def contenders(result: RaceResult) -> list[RunResult]:
    """The one run that each configuration had in the halving, in the order of their numbers."""
    last: dict[int, RunResult] = {}
    for run in result.runs:
        if run.stage == "rung" and (run.config not in last or run.rung >= last[run.config].rung):
            last[run.config] = run
    return [last[config] for config in sorted(last)]


def by_rule(result: RaceResult) -> dict[str, list[RunResult]]:
    """The contenders by rule, the best rule first, each list in the order of the learning rate."""
    found: dict[str, list[RunResult]] = defaultdict(list)
    for run in contenders(result):
        found[run.rule].append(run)
    ranked = [standing.rule for standing in result.ranking if standing.rule in found]
    order = dict.fromkeys([*ranked, *sorted(found)])
    return {rule: sorted(found[rule], key=lambda r: r.hypers.get("lr", 0.0)) for rule in order}


def finalists(result: RaceResult) -> list[Standing]:
    """The standings that were repeated over fresh seeds, the best first."""
    return [standing for standing in result.ranking if standing.finalist]


def repeats(result: RaceResult, standing: Standing) -> list[RunResult]:
    """The runs of a finalist over the fresh seeds."""
    return [run for run in result.runs if run.stage != "rung" and run.config == standing.config]


def run_of(result: RaceResult, standing: Standing) -> RunResult | None:
    """The run in the halving of the configuration that stands for a rule."""
    return next((run for run in contenders(result) if run.config == standing.config), None)


def default_rates(result: RaceResult) -> dict[str, float]:
    """The default learning rate of each rule of the race that this catalogue knows."""
    from ravine.rules.rule import catalogue, hypers

    known = catalogue()
    names = {run.rule for run in result.runs} & known.keys()
    declared = {name: hypers(known[name]) for name in sorted(names)}
    found = {name: those["lr"].default for name, those in declared.items() if "lr" in those}
    return found | {run.rule: run.hypers["lr"] for run in result.runs if run.stage == "default" and "lr" in run.hypers}


def finite(points: Iterable[Point]) -> list[Point]:
    """The points of a curve whose validation loss is a number."""
    return [point for point in points if math.isfinite(point.valid_loss)]


def envelope(runs: list[RunResult]) -> list[tuple[float, Interval]]:
    """Mean, lowest and highest validation loss over the seeds, at every epoch that all of them reached."""
    curves = [{point.epoch: point.valid_loss for point in finite(run.curve)} for run in runs]
    shared = sorted(set[float]().union(*curves).intersection(*curves)) if curves else []
    rows = [(epoch, [curve[epoch] for curve in curves]) for epoch in shared]
    return [(e, Interval(mean=math.fsum(v) / len(v), low=min(v), high=max(v), values=v)) for e, v in rows]


def start_loss(result: RaceResult) -> float | None:
    """The validation loss before the first step."""
    first = [run.curve[0].valid_loss for run in result.runs if run.curve and run.curve[0].epoch == 0]
    return next((loss for loss in first if math.isfinite(loss)), None)


def first_epochs(result: RaceResult) -> float:
    """How long every contender ran."""
    return result.rungs[0][1] if result.rungs else result.epochs


def early_loss(result: RaceResult, run: RunResult) -> float | None:
    """The lowest validation loss of a run within the first rung: what all contenders can be compared by."""
    seen = [point.valid_loss for point in finite(run.curve) if point.epoch <= first_epochs(result)]
    return min(seen) if seen and run.status != "diverged" else None


def good_loss(result: RaceResult) -> float | None:
    """The loss after the first rung at nine tenths of the best drop: what the figures call doing well."""
    start = start_loss(result)
    reached = [loss for run in contenders(result) if (loss := early_loss(result, run)) is not None]
    if start is None or not reached or min(reached) >= start:
        return None
    return min(reached) + 0.1 * (start - min(reached))


def forgiving(result: RaceResult) -> dict[str, tuple[float, float]]:
    """For each rule that does well anywhere, the widest stretch of neighbouring learning rates that all do."""
    good = good_loss(result)
    if good is None:
        return {}
    return {rule: span for rule, runs in by_rule(result).items() if (span := _span(result, runs, good))}


def _span(result: RaceResult, runs: list[RunResult], good: float) -> tuple[float, float] | None:
    """The widest stretch of neighbouring learning rates that all do well."""
    best: tuple[float, float] | None = None
    start: float | None = None
    for run in runs:
        lr = run.hypers.get("lr", 0.0)
        loss = early_loss(result, run)
        well = loss is not None and loss <= good and lr > 0
        start = (lr if start is None else start) if well else None
        if start is not None and (best is None or lr / start > best[1] / best[0]):
            best = (start, lr)
    return best


def one_run(result: RaceResult, standing: Standing) -> str:
    """Why a row has no interval."""
    run = run_of(result, standing)
    if run is None or not run.curve:
        return "one run"
    if run.status == "finished":
        last = run.curve[-1].epoch
        return f"one run, all {last:.3g} epoch{'' if last == 1 else 's'}"
    verb = {"stopped": "stopped", "diverged": "diverged", "interrupted": "cut off"}[run.status]
    return f"one run, {verb} at epoch {run.curve[-1].epoch:.3g}"
