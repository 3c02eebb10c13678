"""Between values and rows: what a race or a training is in the columns of the tables, and its document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from ravine.results import Point, RaceResult, RunResult
from ravine.store.put import Row
from ravine.store.tables import runs as run_table

OF_RUN = attrgetter(*(column.name for column in run_table.c if not column.primary_key))


class Training(BaseModel):
    """A single training run with its recipe, as `ravine train` leaves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str  # "run-digits-7f3a"
    created: str  # ISO 8601, UTC
    command: str
    problem: str
    model: str
    metric_name: str
    seconds: float
    recipe: dict[str, Any]
    result: RunResult
    made_with: dict[str, str] = Field(default_factory=dict[str, str])  # versions, machine, data, fingerprint


class Ensemble(BaseModel):
    """An ensemble, as `ravine ensemble` leaves it: what was measured of it, and the recipe of its members."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str  # "ensemble-digits-7f3a"
    created: str  # ISO 8601, UTC
    command: str
    problem: str
    model: str
    metric_name: str
    members: int
    loss: float | None  # of all members together on the validation part; None where the test part was looked at
    metric: float | None
    seconds: float
    verdict: str
    recipe: dict[str, Any]
    facts: dict[str, Any]  # all that was measured: `ravine.ensembles.EnsembleResult.of(facts)`
    made_with: dict[str, str] = Field(default_factory=dict[str, str])  # versions, machine, data


class Summary(BaseModel):
    """One line of `ravine runs`: a race, a single training run or an ensemble."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: str  # "race", "run" or "ensemble"
    created: str
    status: str
    command: str
    problem: str
    model: str
    metric_name: str
    configurations: int
    runs: int
    rule: str | None  # of the winner, of the run, or of each member
    valid_loss: float | None
    metric: float | None
    seconds: float
    verdict: str


RaceSummary = Summary


def document(value: BaseModel) -> str:
    """The value as JSON; unlike pydantic's own, it keeps NaN and infinity, which a diverged curve holds."""
    return to_json(value.model_dump(), inf_nan_mode="constants").decode()


def race_row(race: RaceResult) -> dict[str, Any]:
    """The record of a race."""
    best = race.ranking[0] if race.ranking else None
    return _shared(race, "race") | {
        "status": race.status,
        "configurations": len({run.config for run in race.runs}),
        "runs": len(race.runs),
        "rule": best.rule if best else None,
        "valid_loss": best.valid_loss.mean if best else None,
        "metric": best.metric.mean if best else None,
        "seconds": race.cost.seconds,
        "verdict": race.verdict,
    }


def training_row(training: Training) -> dict[str, Any]:
    """The record of a single training run."""
    run = training.result
    return _shared(training, "run") | {
        "status": run.status,
        "configurations": 1,
        "runs": 1,
        "rule": run.rule,
        "valid_loss": run.valid_loss,
        "metric": run.metric,
        "seconds": training.seconds,
        "verdict": run.reason,
    }


def ensemble_row(ensemble: Ensemble) -> dict[str, Any]:
    """The record of an ensemble."""
    return _shared(ensemble, "ensemble") | {
        "status": "finished",
        "configurations": 1,
        "runs": ensemble.members,
        "rule": ensemble.recipe["rule"]["name"],
        "valid_loss": ensemble.loss,
        "metric": ensemble.metric,
        "seconds": ensemble.seconds,
        "verdict": ensemble.verdict,
    }


def run_rows(record: str, runs: Iterable[RunResult]) -> Iterator[Row]:
    """A row a run."""
    for run in runs:
        yield record, run.id, *OF_RUN(run)


def hyper_rows(record: str, runs: Iterable[RunResult]) -> Iterator[Row]:
    """A row a hyperparameter of a run."""
    for run in runs:
        for name, value in run.hypers.items():
            yield record, run.id, name, _number(value)


def point_rows(record: str, points: Iterable[tuple[str, Point]]) -> Iterator[Row]:
    """A row a point; each comes with the id of its run."""
    for run, point in points:
        train, valid, metric = point.train_loss, point.valid_loss, point.metric
        if valid != valid or metric != metric or train != train:  # NaN, which SQL does not know
            train, valid, metric = map(_number, (train, valid, metric))
        yield record, run, point.epoch, train, valid, metric


def _number(value: float | None) -> float | None:
    """A number as SQL has it."""
    return None if value != value else value


def _shared(value: RaceResult | Training | Ensemble, kind: str) -> dict[str, Any]:
    names = ("id", "created", "command", "problem", "model", "metric_name")
    return {"kind": kind, "document": document(value)} | {name: getattr(value, name) for name in names}
