"""The ranking: the best configuration of each rule, with intervals over seeds where it was repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ravine.racing.statistics import change, interval, paired
from ravine.results import Interval, Standing
from ravine.rules.rule import name_of, values
from ravine.training.run import Run


def best_by_rule(runs: Sequence[Run]) -> list[Run]:
    """The best run of each rule among those of the halving: the later stopped first, then the lower loss."""
    rungs = [run for run in runs if run.stage == "rung" and run.best_point is not None and not run.diverged]
    rungs.sort(key=lambda run: (-run.tick, run.score))
    found: dict[str, Run] = {}
    for run in rungs:
        found.setdefault(name_of(run.candidate.rule), run)
    return list(found.values())


@dataclass(frozen=True)
class _Finalist:
    """A rule in the finals: the setting that was drawn, its defaults, and which of both speaks for it."""

    drawn: list[Run]
    default: list[Run]  # with the same seeds; the same runs where the defaults won the halving; empty if incomplete

    @property
    def tuning(self) -> Interval | None:
        """The change of loss that the drawn setting made against the defaults."""
        if not self.default or self.default == self.drawn:
            return None
        return change([run.score for run in self.drawn], [run.score for run in self.default])

    @property
    def chosen(self) -> list[Run]:
        """The drawn setting, unless the defaults turned out measurably better over the fresh seeds."""
        return self.default if self.tuning is not None and self.tuning.low > 0 else self.drawn

    @property
    def is_steady(self) -> bool:
        """Whether it learned over every seed."""
        return all(run.has_learned for run in self.chosen)

    @property
    def scores(self) -> list[float]:
        """The loss of each seed."""
        return [run.score for run in self.chosen]


def ranking(runs: Sequence[Run]) -> list[Standing]:
    """The finalists by mean loss, ties sharing the first rank; then the other rules by the one run they had.

    A finalist that learned nothing over one of the seeds stands behind those that always learn, and ties with none:
    a wide interval must not pass for noise.
    """
    repeated = {config: _of(runs, "final", config) for config in _configs(runs, "final")}
    whole = [own for own in repeated.values() if _complete(own)]
    furthest = max((own[0].tick for own in whole), default=0)  # after Ctrl-C: like by like
    final = [_Finalist(own, _defaults(runs, own)) for own in whole if own[0].tick == furthest]
    final.sort(key=lambda one: (not one.is_steady, interval(one.scores).mean))
    rows = [_finalist(place, one, final[0], len(final) - 1) for place, one in enumerate(final)]
    taken = {row.rule for row in rows}
    others = [run for run in best_by_rule(runs) if name_of(run.candidate.rule) not in taken]
    return [*rows, *(_standing(len(rows) + place + 1, [run], finalist=False) for place, run in enumerate(others))]


def failures(field: Sequence[Run]) -> list[str]:
    """A sentence on each configuration of the finals that diverged, or learned nothing, over some of its seeds."""
    found: list[str] = []
    for config in dict.fromkeys(run.candidate.config for run in field):
        own = [run for run in field if run.candidate.config == config]
        rule, lost = name_of(own[0].candidate.rule), [run for run in own if run.diverged]
        idle = [run for run in own if not run.diverged and not run.has_learned]
        if lost:
            found.append(f"{rule} diverged in {len(lost)} of {len(own)} fresh seeds: {lost[0].diverged}.")
        if idle:
            why = "its loss was never below that before training"
            found.append(f"{rule} learned nothing over {len(idle)} of {len(own)} fresh seeds: {why}.")
    return found


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
    return found if _complete(found) and [run.seed for run in found] == [run.seed for run in own] else []


def _losses(own: Sequence[Run]) -> Interval:
    return interval([run.score for run in own])


def _metrics(own: Sequence[Run]) -> Interval:
    return interval([point.metric for run in own if (point := run.best_point) is not None])


def _further(own: Sequence[Run]) -> dict[str, Interval | None]:
    """The metrics that were asked for beside the loss, over the seeds."""
    points = [point for run in own if (point := run.best_point) is not None]
    seen = {name: [point.metrics.get(name) for point in points] for name in (points[0].metrics if points else ())}
    return {
        name: interval([value for value in values if value is not None]) if None not in values else None
        for name, values in seen.items()
    }


def _finalist(place: int, one: _Finalist, best: _Finalist, others: int) -> Standing:
    difference = paired(one.scores, best.scores, comparisons=max(1, others)) if place else None
    tie = difference is not None and difference.low <= 0 and one.is_steady >= best.is_steady
    return _standing(1 if place == 0 or tie else place + 1, one.chosen, finalist=True).model_copy(
        update={
            "tie": tie,
            "difference": difference,
            "default_loss": _losses(one.default) if one.default else None,
            "tuning": one.tuning,
            "tuning_paid": one.tuning.high < 0 if one.tuning else None,
        }
    )


def _standing(rank: int, own: Sequence[Run], finalist: bool) -> Standing:
    """A row of the ranking by itself, compared with nothing yet."""
    speaker = own[0].candidate
    return Standing(
        rank=rank,
        tie=False,
        rule=name_of(speaker.rule),
        config=speaker.config,
        hypers=_hypers(own[0]),
        schedule=speaker.schedule,
        finalist=finalist,
        valid_loss=_losses(own),
        metric=_metrics(own),
        difference=None,
        default_loss=None,
        tuning=None,
        tuning_paid=None,
        choices=dict(speaker.choices),
        metrics=_further(own),
    )


def _hypers(run: Run) -> dict[str, float]:
    return {name: float(value) for name, value in values(run.candidate.rule).items()}
