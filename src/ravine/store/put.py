"""Rows into a table, in SQL that SQLite and PostgreSQL share: those that are missing or differ from what is there."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Connection, Double, Integer, Table, Text

Row: TypeAlias = tuple[Any, ...]  # in the order of the table's columns, of which the first are its key
POSTGRESQL: dict[type[Any], str] = {Text: "text", Double: "float8", Integer: "int"}  # what it calls the types


@dataclass(frozen=True)
class Statements:
    """What is asked of one table, as text: SQLAlchemy takes longer to find the words than a database to do it."""

    put: str  # a row, in place of the one with its key
    all: str  # the same of many, which PostgreSQL takes as an array a column: half the time of a row after another
    look: str  # all rows of a record
    drop: str  # the row of a key


def put(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, replacing those with the same key; of two with one key the last stays."""
    said = _statements(table, _mark(connection))
    if len(rows) > 1 and connection.dialect.name == "postgresql":
        key_of = _key_of(table)
        columns = zip(*{key_of(row): row for row in rows}.values(), strict=True)
        connection.exec_driver_sql(said.all, tuple(map(list, columns)))
    elif rows:
        connection.exec_driver_sql(said.put, list(rows))


def settle(connection: Connection, table: Table, record: str, runs: Container[str], rows: Sequence[Row]) -> None:
    """Let these be all the rows of those runs of a record, and write only what is not so already.

    A race says all that it knows at each of its stages, and little of it is new. Reading a row is ten times cheaper
    than writing one, and what is read within the transaction is true whoever else has written.
    """
    said, key_of = _statements(table, _mark(connection)), _key_of(table)
    there, told = set(_all(connection, said.look, record)), set(rows)
    new = [row for row in rows if row not in there]
    gone = {key_of(row) for row in there - told if row[1] in runs}.difference(map(key_of, new))
    if gone:
        connection.exec_driver_sql(said.drop, list(gone))
    put(connection, table, new)


def _all(connection: Connection, query: str, record: str) -> Sequence[Row]:
    """The driver's own rows, which SQLAlchemy would wrap one by one."""
    cursor = connection.exec_driver_sql(query, (record,)).cursor
    assert cursor is not None
    return cursor.fetchall()


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


def _key_of(table: Table) -> Callable[[Any], Row]:
    many = len(table.primary_key) > 1
    return itemgetter(*range(len(table.primary_key))) if many else lambda row: (row[0],)


@cache
def _statements(table: Table, mark: str) -> Statements:
    name, columns, keys = table.name, [c.name for c in table.c], [c.name for c in table.primary_key]
    into = f"INSERT INTO {name} ({', '.join(columns)})"
    rest = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in keys)
    anew = f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {rest}"
    arrays = ", ".join(f"{mark}::{POSTGRESQL[type(column.type)]}[]" for column in table.c)
    return Statements(
        f"{into} VALUES ({', '.join(mark for _ in columns)}) {anew}",
        f"{into} SELECT * FROM unnest({arrays}) {anew}",
        f"SELECT {', '.join(columns)} FROM {name} WHERE record = {mark}",
        f"DELETE FROM {name} WHERE {' AND '.join(f'{key} = {mark}' for key in keys)}",
    )
