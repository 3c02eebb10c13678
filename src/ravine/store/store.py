"""The store: races, single runs and their curves, kept in a database, safe against two writers and a pulled plug."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from ravine.errors import UserError, unknown
from ravine.results import Point, RaceResult, RunResult
from ravine.store import export, rows, tables
from ravine.store.connect import connect, in_one_sentence, parse, repeated, shown
from ravine.store.put import put, settle
from ravine.store.rows import Ensemble, Summary, Training

T = TypeVar("T")
Kind: TypeAlias = Literal["race", "run", "ensemble"]
Guard: TypeAlias = Callable[[Connection], None]
SUMMARY = [tables.records.c[name] for name in Summary.model_fields]


class Store:
    """Races, single training runs, their curves, and ensembles in a database.

    ``url`` is a file's path, an SQLAlchemy URL of SQLite or PostgreSQL, or None for the user's own store. ``timeout``
    is how many seconds a write waits for another program's. Each method is one transaction: all of it is kept, or
    nothing. Whatever the database or the disk refuses is a `UserError`.

    >>> with Store("sqlite://") as store:
    ...     store.races()
    []
    """

    def __init__(self, url: str | None = None, *, timeout: float = 30.0) -> None:
        self.url = parse(url)
        self.timeout = timeout
        self._engine = connect(self.url, timeout)
        self._writing = self._engine.execution_options(write=True)
        dialect = sqlite if self.url.get_backend_name() == "sqlite" else postgresql
        self.insert: Any = dialect.insert

    @classmethod
    def open(cls, url: str | None = None, *, timeout: float = 30.0) -> Self:
        """Open a store, making it and its folder where there is none."""
        return cls(url, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def save_race(self, race: RaceResult, guard: Guard | None = None) -> None:
        """Keep a race, or replace what is kept of it; call it as often as the race has news.

        A run of the race replaces its own row and curve. Points that were added for runs which the race does not
        hold yet stay. ``guard`` is called within the transaction, which it refuses by raising.
        """
        self._save(rows.race_row(race), race.runs, guard)

    def save_run(self, training: Training) -> None:
        """Keep a single training run with its recipe, or replace it."""
        self._save(rows.training_row(training), [training.result])

    def save_ensemble(self, ensemble: Ensemble) -> None:
        """Keep an ensemble, or replace it; what it measured is kept, its members' weights and curves are not."""
        self._save(rows.ensemble_row(ensemble), [])

    def add_points(self, record: str, points: Iterable[tuple[str, Point]]) -> None:
        """Append points of curves while the race goes on, each with the id of its run.

        The race itself must have been saved once. A point that is already there is replaced, so an append that is
        repeated after an interruption doubles nothing.
        """
        made = list(rows.point_rows(record, points))
        try:
            self.write(lambda connection: put(connection, tables.points, made))
        except IntegrityError:  # the foreign key: no such record
            raise UserError(
                f"store {shown(self.url)}: no race {record!r} to add points to; save the race first"
            ) from None

    def races(self, limit: int | None = 50) -> list[Summary]:
        """The newest races first."""
        return self._list("race", limit)

    def runs(self, limit: int | None = 50) -> list[Summary]:
        """The newest single training runs first."""
        return self._list("run", limit)

    def ensembles(self, limit: int | None = 50) -> list[Summary]:
        """The newest ensembles first."""
        return self._list("ensemble", limit)

    def race(self, id: str) -> RaceResult:
        """A race by its id, or by a beginning that no other race has."""
        return RaceResult.model_validate(self._document("race", id))

    def run(self, id: str) -> Training:
        """A single training run by its id, or by a beginning that no other has."""
        return Training.model_validate(self._document("run", id))

    def ensemble(self, id: str) -> Ensemble:
        """An ensemble by its id, or by a beginning that no other has."""
        return Ensemble.model_validate(self._document("ensemble", id))

    def find(self, id: str) -> Summary:
        """What is kept under an id, or under a beginning of it, whatever it is."""

        def look(connection: Connection) -> dict[str, Any]:
            full = self._resolve(connection, id, None)
            return dict(connection.execute(select(*SUMMARY).where(tables.records.c.id == full)).mappings().one())

        return Summary.model_validate(self.read(look))

    def export(self, id: str, path: str | Path) -> Path:
        """Write the curves of a race or run to .csv or .parquet: a row a point, hyperparameters as columns.

        What was NaN is an empty field. Returns the path.
        """
        target = Path(path).expanduser()
        export.check_target(target)
        hypers: dict[str, dict[str, float]] = {}
        further: dict[tuple[str, float], dict[str, float | None]] = {}

        def look(connection: Connection) -> Any:
            record = self._resolve(connection, id, None)
            columns = select(tables.records.c.kind, tables.records.c.document).where(tables.records.c.id == record)
            kind, document = connection.execute(columns).one()
            if kind == "ensemble":
                raise UserError(f"export of {record}: an ensemble has no curves; ravine show {record} prints its table")
            further.update(export.metrics(json.loads(document)))
            for row in connection.execute(select(tables.hypers).where(tables.hypers.c.record == record)):
                hypers.setdefault(row.run, {})[row.name] = row.value
            return connection.execute(_curves(record)).mappings().all()

        found = self.read(look)
        names = sorted({name for run in hypers.values() for name in run})
        measured = sorted({name for own in further.values() for name in own})
        table = [
            {name: row[name] for name in (*export.TEXTS, *export.WHOLES)}
            | {export.column(name): hypers.get(row["run"], {}).get(name) for name in names}
            | {name: row[name] for name in export.CURVE}
            | {export.column(name): further.get((row["run"], row["epoch"]), {}).get(name) for name in measured}
            for row in found
        ]
        export.write(table, names, measured, target)
        return target

    def _save(self, record: dict[str, Any], runs: list[RunResult], guard: Guard | None = None) -> None:
        id, own = record["id"], {run.id for run in runs}
        curves = ((run.id, point) for run in runs for point in run.curve)
        made = {
            tables.runs: list(rows.run_rows(id, runs)),
            tables.hypers: list(rows.hyper_rows(id, runs)),
            tables.points: list(rows.point_rows(id, curves)),
        }

        def change(connection: Connection) -> None:
            if guard is not None:
                guard(connection)
            # The record comes first: PostgreSQL then holds other writers of it back until all is kept.
            put(connection, tables.records, [tuple(record[column.name] for column in tables.records.c)])
            for table, told in made.items():
                settle(connection, table, id, own, told)

        self.write(change)

    def _list(self, kind: Kind, limit: int | None) -> list[Summary]:
        newest = (tables.records.c.created.desc(), tables.records.c.id)
        query = select(*SUMMARY).where(tables.records.c.kind == kind).order_by(*newest).limit(limit)
        found = self.read(lambda connection: connection.execute(query).mappings().all())
        return [Summary.model_validate(dict(row)) for row in found]

    def _document(self, kind: Kind, id: str) -> Any:
        def look(connection: Connection) -> str:
            full = self._resolve(connection, id, kind)
            found = connection.execute(select(tables.records.c.document).where(tables.records.c.id == full))
            return found.scalar_one()

        return json.loads(self.read(look))

    def _resolve(self, connection: Connection, id: str, kind: Kind | None) -> str:
        """The full id of a record from its beginning."""
        column = tables.records.c.id
        query = select(column).order_by(tables.records.c.created.desc(), column)
        if kind:
            query = query.where(tables.records.c.kind == kind)
        begins = connection.scalars(query.where(func.substr(column, 1, len(id)) == id)).all() if id else []
        if id in begins or len(begins) == 1:
            return id if id in begins else begins[0]
        word = kind or "race, run or ensemble"
        if begins:
            more = f" and {len(begins) - 3} more" if len(begins) > 3 else ""
            raise UserError(f"{word} {id!r} may be {', '.join(begins[:3])}{more}: give more of its id")
        every = connection.scalars(query).all()
        if not every:
            raise UserError(f"unknown {word} {id!r}: the store {shown(self.url)} holds none yet")
        raise unknown(word, id, get_close_matches(id, every, n=1, cutoff=0.5) or every[:5])

    def write(self, change: Callable[[Connection], T]) -> T:
        """One transaction that changes something, repeated while a server is away: it must be one that may be."""
        return repeated(lambda: self._once(self._writing, change))

    def read(self, look: Callable[[Connection], T]) -> T:
        """One transaction that only looks."""
        return repeated(lambda: self._once(self._engine, look))

    def _once(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with in_one_sentence(self.url, self.timeout), engine.begin() as connection:
            return work(connection)


def _curves(record: str) -> Any:
    """Every point of a record in order, with what is known of its run."""
    point, run = tables.points, tables.runs
    joined = point.outerjoin(run, (run.c.record == point.c.record) & (run.c.run == point.c.run))
    known = [run.c[name] for name in (*export.TEXTS[2:], *export.WHOLES)]
    columns = [point.c[name] for name in ("record", "run", *export.CURVE)]
    return (
        select(*columns, *known)
        .select_from(joined)
        .where(point.c.record == record)
        .order_by(point.c.run, point.c.epoch)
    )
