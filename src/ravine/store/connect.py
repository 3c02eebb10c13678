"""From a URL to a database that is ours: found or made, of our version, and never touched when it is not."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from platformdirs import user_data_dir
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from ravine.errors import UserError
from ravine.files import make_folder
from ravine.store.tables import metadata

T = TypeVar("T")
VERSION = 1
RECONNECT = 30.0  # seconds for which a server that is away is asked again
MARK = 0x72617669  # "ravi", SQLite's application_id: the file is ours
SILENT = logging.NullHandler()  # where nobody has asked for logs, Python would print their tracebacks
ELSEWHERE = "give --store another file"
SENTENCES = {  # by the start of SQLite's name of the error
    "SQLITE_BUSY": "another program has held it locked for over {timeout:g} s; close that program, or " + ELSEWHERE,
    "SQLITE_LOCKED": "another program has held it locked for over {timeout:g} s; close that program, or " + ELSEWHERE,
    "SQLITE_READONLY": "it cannot be written; change its permissions, or " + ELSEWHERE,
    "SQLITE_CANTOPEN": "it cannot be opened for writing; change the permissions of it and its folder, or " + ELSEWHERE,
    "SQLITE_FULL": "the disk is full; free some space and repeat, nothing stored so far is lost",
    "SQLITE_IOERR": "reading or writing it failed; check the disk and its free space, or " + ELSEWHERE,
    "SQLITE_NOTADB": "it is not a database; " + ELSEWHERE,
    "SQLITE_CORRUPT": "the database is damaged; restore it from a copy, or " + ELSEWHERE,
}


def default_path() -> Path:
    """Where the store is when nobody says otherwise: XDG's data home, usually ~/.local/share/ravine/ravine.db."""
    return Path(user_data_dir("ravine", appauthor=False)) / "ravine.db"


def parse(url: str | None) -> URL:
    """A database URL from what the user gave: nothing, a file's path, or a URL of SQLite or PostgreSQL."""
    if url is None or "://" not in url:
        return URL.create("sqlite", database=str(Path(url).expanduser() if url else default_path()))
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        safe = re.sub(r":[^/]*@", ":***@", url.partition("://")[2])  # a password is no part of a message
        raise UserError(
            f"store '{safe}': not a database URL; write a file's path or postgresql://user@host/name"
        ) from None
    backend = made.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise UserError(f"store {shown(made)}: {backend} is not supported; use SQLite (a file's path) or PostgreSQL")
    return made.set(drivername="postgresql+psycopg") if made.drivername == "postgresql" else made


def shown(url: URL) -> str:
    """How a message names the store: the file's path, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or "in memory"
    plain = url.set(drivername="postgresql") if url.drivername == "postgresql+psycopg" else url
    return plain.render_as_string(hide_password=True)


@contextmanager
def in_one_sentence(url: URL, timeout: float) -> Generator[None]:
    """Turn what a database or a disk refuses into a sentence for the user; leave our own mistakes as they are."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        name: str = getattr(cause, "sqlite_errorname", "")
        for start, sentence in SENTENCES.items():
            if name.startswith(start):
                raise UserError(f"store {shown(url)}: {sentence.format(timeout=timeout)}") from error
        if url.get_backend_name() == "postgresql" and "OperationalError" in (k.__name__ for k in type(cause).__mro__):
            first = (str(cause).strip().splitlines() or ["no answer"])[0]
            raise UserError(f"store {shown(url)}: the server cannot be reached ({first}); is it running?") from error
        raise


def repeated(attempt: Callable[[], T], patience: float = RECONNECT) -> T:
    """What ``attempt`` gives, made again while the server is away, for so many seconds.

    What is attempted must be a whole transaction that may be repeated: its answer may be lost after it was kept.
    """
    limit, pause = time.monotonic() + patience, 0.05
    while True:
        try:
            return attempt()
        except UserError as error:
            if not _is_away(error.__cause__) or time.monotonic() > limit:
                raise
        time.sleep(pause)
        pause = min(1.0, 2 * pause)


def _is_away(error: BaseException | None) -> bool:
    """Whether a server's connection is gone, so that nothing is wrong with what was asked."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or type(error.orig).__module__.startswith("psycopg")


def connect(url: URL, timeout: float) -> Engine:
    """An engine on a database that holds our tables; begins with BEGIN IMMEDIATE where the option "write" is set."""
    with in_one_sentence(url, timeout):
        if url.get_backend_name() == "sqlite":
            return _sqlite(url, timeout)
        return _postgresql(url)


def _sqlite(url: URL, timeout: float) -> Engine:
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        _look_at(Path(url.database))
    engine = create_engine(url, connect_args={"timeout": timeout})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", partial(_begin, timeout))
    try:
        if not _is_ours(engine, url):
            _make(engine, url, timeout)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _look_at(path: Path) -> None:
    """Refuse what is no database before SQLite sees it, and make the folder of a new one."""
    try:
        make_folder(path.parent)
        if path.exists():
            with path.open("rb") as file:
                head = file.read(16)
            if head and head != b"SQLite format 3\x00":
                raise UserError(f"store {path}: {SENTENCES['SQLITE_NOTADB']}")
    except OSError as error:
        raise UserError(f"store {path}: {(error.strerror or str(error)).lower()}; {ELSEWHERE}") from error


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # Python's module would begin transactions of its own, and too late
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a loss of power


def _begin(timeout: float, connection: Connection) -> None:
    # A writer takes its place in the queue at once: upgrading a read to a write may fail without waiting.
    if not connection.get_execution_options().get("write", False):
        connection.exec_driver_sql("BEGIN")
        return
    driver = cast(sqlite3.Connection, connection.connection.driver_connection)
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        _take_turn(driver, timeout)
    finally:
        driver.execute(f"PRAGMA busy_timeout = {round(1000 * timeout)}")


def _take_turn(driver: sqlite3.Connection, timeout: float) -> None:
    """Begin to write as soon as nobody else does; who has waited longer asks more often.

    SQLite's own way to wait is the other way round: it asks less and less often, so that among many writers who came
    first may starve (22 s were seen where a fair share was 1.4).
    """
    began = time.monotonic()
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - began
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or waited > timeout:
                raise
            time.sleep(0.02 / (1 + 20 * waited))


def _is_ours(engine: Engine, url: URL) -> bool:
    """True for a store of our version, False for an empty database; one sentence for anything else."""
    with engine.begin() as connection:
        return _holds_our_tables(connection, url)


def _holds_our_tables(connection: Connection, url: URL) -> bool:
    mark, version, tables = (
        connection.exec_driver_sql(query).scalar_one()
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if mark == 0 and version == 0 and tables == 0:
        return False
    if mark != MARK:
        raise UserError(f"store {shown(url)}: a database of another program; {ELSEWHERE}")
    _check_version(version, url)
    return True


def _check_version(version: int, url: URL) -> None:
    if version != VERSION:
        age = "a newer" if version > VERSION else "an older"
        raise UserError(
            f"store {shown(url)}: made by {age} ravine (version {version} of the tables, this one reads {VERSION}); "
            "use --store for another file"
        )


def _make(engine: Engine, url: URL, timeout: float) -> None:
    _write_ahead(engine, timeout)
    with engine.execution_options(write=True).begin() as connection:
        if not _holds_our_tables(connection, url):  # another process may have been faster
            metadata.create_all(connection)
            connection.exec_driver_sql(f"PRAGMA application_id = {MARK}")
            connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _write_ahead(engine: Engine, timeout: float) -> None:
    """Switch to WAL, so that readers and the writer do not wait for each other."""
    limit = time.monotonic() + timeout
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:  # this one statement does not wait for a lock by itself
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > limit:
                    raise
                time.sleep(0.01)


def _postgresql(url: URL) -> Engine:
    for name in ("psycopg", "sqlalchemy.pool"):  # a connection that is lost is told in a sentence, or found again
        logging.getLogger(name).addHandler(SILENT)
    try:
        engine = create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise UserError(
            f"store {shown(url)}: the driver {error.name} is not installed; run pip install 'ravine[postgres]'"
        ) from error
    except SQLAlchemyError as error:
        raise UserError(f"store {shown(url)}: {str(error).splitlines()[0]}") from error
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MARK})  # one maker at a time
        if inspect(connection).has_table("ravine_version"):
            _check_version(connection.execute(text("SELECT version FROM ravine_version")).scalar_one(), url)
        else:
            metadata.create_all(connection)
            connection.execute(text("CREATE TABLE ravine_version (version INTEGER NOT NULL)"))
            connection.execute(text("INSERT INTO ravine_version VALUES (:version)"), {"version": VERSION})
    return engine
