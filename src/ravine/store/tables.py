"""The tables: what was done, its runs, their hyperparameters and the points of their curves, numbers as columns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Double, ForeignKey, ForeignKeyConstraint, Index, Integer, MetaData, Table, Text

metadata = MetaData()


def _number(name: str) -> Column[Any]:
    return Column(name, Double)  # null also where a value was NaN, which SQL has no word for


def _whole(name: str) -> Column[Any]:
    return Column(name, Integer)


def _text(name: str) -> Column[Any]:
    return Column(name, Text, nullable=False)


# A record is one command of the user: a race, a single training run, or an ensemble.
records = Table(
    "records",
    metadata,
    Column("id", Text, primary_key=True),
    _text("kind"),  # "race", "run" or "ensemble"
    _text("created"),  # ISO 8601, UTC
    _text("status"),
    _text("command"),
    _text("problem"),
    _text("model"),
    _text("metric_name"),
    _whole("configurations"),
    _whole("runs"),
    Column("rule", Text),  # of the winner, of the run, or of each member
    _number("valid_loss"),
    _number("metric"),
    _number("seconds"),
    _text("verdict"),
    _text("document"),  # everything, as JSON
    Index("records_by_time", "kind", "created"),
)

runs = Table(
    "runs",
    metadata,
    Column("record", Text, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("run", Text, primary_key=True),
    _whole("config"),
    _text("rule"),
    _text("schedule"),
    _whole("seed"),
    _text("stage"),
    _whole("rung"),
    _text("status"),
    _text("reason"),
    _number("best_epoch"),
    _number("valid_loss"),
    _number("metric"),
)

hypers = Table(
    "hypers",
    metadata,
    Column("record", Text, primary_key=True),
    Column("run", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _number("value"),
    ForeignKeyConstraint(["record", "run"], ["runs.record", "runs.run"], ondelete="CASCADE"),
)

# Points may arrive while a race goes on, before its run is known to have ended: they belong to the record.
points = Table(
    "points",
    metadata,
    Column("record", Text, ForeignKey("records.id", ondelete="CASCADE"), primary_key=True),
    Column("run", Text, primary_key=True),
    Column("epoch", Double, primary_key=True),
    _number("train_loss"),
    _number("valid_loss"),
    _number("metric"),
)
