"""The ranking as words: one row a rule, for the page, the terminal and the notebook alike."""

from __future__ import annotations

from dataclasses import dataclass

from ravine.reading import finalists, one_run
from ravine.report.choices import chosen
from ravine.report.numbers import NOTHING, change, percent, rate, spread, times
from ravine.results import Interval, RaceResult, Standing


@dataclass(frozen=True)
class Row:
    """One line of the ranking; an empty text where there is nothing to say."""

    standing: Standing
    rate: str
    others: str  # hyperparameters besides the learning rate
    loss: str
    metric: str
    default: str  # loss at the rule's defaults
    tuned: str  # change of loss, tuned against default
    note: str  # why there is no interval
    further: dict[str, str]  # the metrics that were asked for beside the loss, by name

    @property
    def tie(self) -> bool:
        """Whether to say that this row ties with the first."""
        return self.standing.tie and self.standing.difference is not None


def metric(result: RaceResult, value: Interval) -> str:
    """The metric in its unit: a share in percent for classes, a plain number else."""
    written = percent if result.task == "classification" else spread
    return written(value.mean, value.low, value.high)


def row(result: RaceResult, standing: Standing) -> Row:
    """A standing in words."""
    loss, default, tuning = standing.valid_loss, standing.default_loss, standing.tuning
    others = (f"{name} {rate(value)}" for name, value in standing.hypers.items() if name != "lr")
    return Row(
        standing,
        rate=rate(standing.hypers.get("lr")),
        others=", ".join([*others, *([chosen(standing.choices)] if standing.choices else [])]),
        loss=spread(loss.mean, loss.low, loss.high),
        metric=metric(result, standing.metric),
        default=spread(default.mean, default.low, default.high) if default else "",
        tuned=change(tuning.mean, tuning.low, tuning.high) if tuning else "",
        note="" if standing.finalist else one_run(result, standing),
        further={name: spread(of.mean, of.low, of.high) if of else NOTHING for name, of in standing.metrics.items()},
    )


def rows(result: RaceResult) -> list[Row]:
    """The ranking, best first."""
    return [row(result, standing) for standing in result.ranking]


def setup(result: RaceResult) -> str:
    """What raced, in one line: the halving and the seeds."""
    steps = [f"{lanes}" for lanes, _ in result.rungs]
    last = finalists(result)
    if last:
        steps.append(f"{len(last)} × {times(len(last[0].valid_loss.values), 'seed')}")
    return " → ".join(steps)
