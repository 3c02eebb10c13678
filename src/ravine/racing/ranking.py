"""The ranking: the best configuration of each rule, with intervals over seeds where it was repeated."""

from __future__ import annotations

from collections.abc import Sequence

from ravine.racing.statistics import change, interval, paired
from ravine.results import Interval, Standing
from ravine.rules.rule import name_of, values
from ravine.training.track import Run


def best_by_rule(runs: Sequence[Run]) -> list[Run]:
    """The best run of each rule among those of the halving: the later stopped first, then the lower loss."""
    rungs = [run for run in runs if run.stage == "rung" and run.best_point is not None and not run.diverged]
    rungs.sort(key=lambda run: (-run.tick, run.score))
    found: dict[str, Run] = {}
    for run in rungs:
        found.setdefault(name_of(run.candidate.rule), run)
    return list(found.values())


def ranking(runs: Sequence[Run]) -> list[Standing]:
    """The finalists by mean loss, ties sharing the first rank; then the other rules by the one run they had."""
    repeated = {config: _of(runs, "final", config) for config in _configs(runs, "final")}
    whole = {config: own for config, own in repeated.items() if _complete(own)}
    furthest = max((own[0].tick for own in whole.values()), default=0)
    whole = {config: own for config, own in whole.items() if own[0].tick == furthest}  # stopped by Ctrl-C: like by like
    order = sorted(whole, key=lambda config: _losses(whole[config]).mean)
    rows: list[Standing] = []
    for place, config in enumerate(order):
        rows.append(_finalist(place, whole[config], whole[order[0]], _defaults(runs, whole[config]), len(order) - 1))
    taken = {row.rule for row in rows}
    others = [run for run in best_by_rule(runs) if name_of(run.candidate.rule) not in taken]
    return [*rows, *(_other(len(rows) + place + 1, run) for place, run in enumerate(others))]


def _configs(runs: Sequence[Run], stage: str) -> list[int]:
    return list(dict.fromkeys(run.candidate.config for run in runs if run.stage == stage))


def _of(runs: Sequence[Run], stage: str, config: int) -> list[Run]:
    return sorted(
        (run for run in runs if run.stage == stage and run.candidate.config == config), key=lambda run: run.seed
    )


def _complete(own: Sequence[Run]) -> bool:
    return len(own) > 0 and all(run.score < float("inf") and run.tick == own[0].tick for run in own)


def _defaults(runs: Sequence[Run], own: Sequence[Run]) -> list[Run]:
    """The runs of a finalist's rule at its defaults, same seeds; the finalist's own where it is the default."""
    if own[0].candidate.origin == "default":
        return list(own)
    rule = name_of(own[0].candidate.rule)
    found = [r for r in runs if r.stage == "default" and name_of(r.candidate.rule) == rule and r.tick == own[0].tick]
    found.sort(key=lambda run: run.seed)
    return found if [run.seed for run in found] == [run.seed for run in own] else []


def _losses(own: Sequence[Run]) -> Interval:
    return interval([run.score for run in own])


def _metrics(own: Sequence[Run]) -> Interval:
    return interval([point.metric for run in own if (point := run.best_point) is not None])


def _finalist(place: int, own: list[Run], best: list[Run], default: list[Run], others: int) -> Standing:
    scores = [run.score for run in own]
    difference = None
    if place:
        difference = paired(scores, [run.score for run in best], comparisons=max(1, others))
    tie = difference is not None and difference.low <= 0
    complete = _complete(default)
    tuning = change(scores, [run.score for run in default]) if complete and default != own else None
    return Standing(
        rank=1 if place == 0 or tie else place + 1,
        tie=tie,
        rule=name_of(own[0].candidate.rule),
        config=own[0].candidate.config,
        hypers=_hypers(own[0]),
        schedule=own[0].candidate.schedule,
        finalist=True,
        valid_loss=_losses(own),
        metric=_metrics(own),
        difference=difference,
        default_loss=_losses(default) if complete else None,
        tuning=tuning,
        tuning_paid=tuning.high < 0 if tuning else None,
    )


def _other(rank: int, run: Run) -> Standing:
    return Standing(
        rank=rank,
        tie=False,
        rule=name_of(run.candidate.rule),
        config=run.candidate.config,
        hypers=_hypers(run),
        schedule=run.candidate.schedule,
        finalist=False,
        valid_loss=_losses([run]),
        metric=_metrics([run]),
        difference=None,
        default_loss=None,
        tuning=None,
        tuning_paid=None,
    )


def _hypers(run: Run) -> dict[str, float]:
    return {name: float(value) for name, value in values(run.candidate.rule).items()}
