"""Work that several processes share: who holds which piece until when, and writes that only its holder can make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from sqlalchemy import Column, Connection, Double, Integer, LargeBinary, MetaData, Table, Text, delete, func, select
from sqlalchemy import update as updated

from ravine.errors import UserError
from ravine.store.connect import shown
from ravine.store.store import Guard, Store

State: TypeAlias = Literal["open", "done"]
LIVES = 1.5  # intervals between heartbeats that a lease lasts without one
LARGEST = 900 * 2**20  # bytes of state that a row may hold; PostgreSQL's limit is 1 GiB

# Apart from the store's own tables: they are made where work is shared, and a store without them is no older one.
metadata = MetaData()
work = Table(
    "work",
    metadata,
    Column("race", Text, primary_key=True),
    Column("piece", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("holder", Text, nullable=False),  # who holds it, or held it last
    Column("token", Integer, nullable=False),  # how often it was taken: a holder's number, higher than all before
    Column("deadline", Double, nullable=False),  # by the database's clock; 0: nobody holds it
    Column("content", LargeBinary, nullable=False),  # where the piece stands
)


class Stale(Exception):
    """Another process has taken the piece over: what this one knows of it is not wanted any more."""


@dataclass(frozen=True)
class Lease:
    """The right to one piece of work, until its heartbeat stops for too long."""

    race: str
    piece: str
    token: int
    holder: str


class Leases:
    """Pieces of shared work in a store. Each method is one transaction.

    A piece that is taken has a token one higher than before, and every later write names the token it was taken with:
    a holder that was stopped, and wakes after another has taken over, changes nothing and is told by `Stale`. Time is
    the database's, so clocks of machines need not agree. A transaction that is repeated, since its connection was lost
    before the answer came, finds itself done.
    """

    def __init__(self, store: Store, interval: float = 10.0) -> None:
        self.store, self.interval = store, interval
        self.store.write(lambda connection: metadata.create_all(connection, checkfirst=True))

    @property
    def lasts(self) -> float:
        """Seconds that a lease lasts without a heartbeat."""
        return LIVES * self.interval

    def publish(self, race: str, pieces: Mapping[str, bytes], by: Lease | None = None) -> None:
        """Add pieces; those that are there already stay as they are. ``by``: as the holder of another one, or not."""
        rows = [
            {"race": race, "piece": piece, "state": "open", "holder": "", "token": 0, "deadline": 0.0, "content": held}
            for piece, held in pieces.items()
        ]
        for held in pieces.values():
            _check_size(held)

        def change(connection: Connection) -> None:
            if by is not None:
                self._change(connection, by, **self._alive())
            connection.execute(self.store.insert(work).on_conflict_do_nothing(), rows)

        if rows:
            self.store.write(change)

    def take(self, race: str, holder: str, pieces: Iterable[str] | None = None) -> tuple[Lease, bytes] | None:
        """Take the first open piece that nobody holds, of these or of any; None where there is none."""
        wanted = None if pieces is None else list(pieces)
        return self.store.write(lambda connection: self._take(connection, race, holder, wanted))

    def _take(
        self, connection: Connection, race: str, holder: str, pieces: list[str] | None
    ) -> tuple[Lease, bytes] | None:
        free = (work.c.race == race) & (work.c.state == "open") & (work.c.deadline < self._now())
        if pieces is not None:
            free &= work.c.piece.in_(pieces)
        found = connection.execute(
            select(work.c.piece, work.c.token, work.c.content).where(free).order_by(work.c.piece).limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()  # fmt: skip
        if found is None:
            return None
        lease = Lease(race, found.piece, found.token + 1, holder)
        self._change(connection, replace(lease, token=found.token), token=lease.token, holder=holder, **self._alive())
        return lease, bytes(found.content)

    def beat(self, lease: Lease) -> None:
        """Say that the holder is alive. Raises `Stale` where the piece is another's, as all that follow do."""
        self.store.write(lambda connection: self._change(connection, lease, **self._alive()))

    def keep(self, lease: Lease, content: bytes) -> None:
        """Keep where the piece stands, from which another holder would go on."""
        _check_size(content)
        self.store.write(lambda connection: self._change(connection, lease, content=content, **self._alive()))

    def finish(self, lease: Lease, content: bytes) -> None:
        """Keep what came of the piece, for good: it happens once."""
        _check_size(content)
        self.store.write(lambda c: self._change(c, lease, again=("done", content), state="done", content=content))

    def give_up(self, lease: Lease) -> None:
        """Let another take the piece at once."""
        self.store.write(lambda connection: self._change(connection, lease, deadline=0.0))

    def guard(self, lease: Lease) -> Guard:
        """For a transaction of the store's: `Stale` in place of a write, where the lease is lost."""
        return lambda connection: self._change(connection, lease, **self._alive())

    def states(self, race: str) -> dict[str, State]:
        """How each piece of a race stands."""
        query = select(work.c.piece, work.c.state).where(work.c.race == race)
        return {row.piece: row.state for row in self.store.read(lambda connection: connection.execute(query).all())}

    def content(self, race: str, piece: str) -> bytes:
        """Where a piece stands, or what came of it."""
        query = select(work.c.content).where((work.c.race == race) & (work.c.piece == piece))
        found = self.store.read(lambda connection: connection.execute(query).scalar_one_or_none())
        if found is None:
            raise UserError(f"race {race}: no piece {piece} is in the store {shown(self.store.url)}")
        return bytes(found)

    def contents(self, lease: Lease, pieces: Iterable[str]) -> dict[str, bytes]:
        """What came of pieces, for the holder of another one; `Stale` where it is lost, whatever a successor did."""
        wanted = list(pieces)
        query = select(work.c.piece, work.c.content).where((work.c.race == lease.race) & work.c.piece.in_(wanted))

        def found(connection: Connection) -> dict[str, bytes]:
            self._change(connection, lease, **self._alive())
            return {row.piece: bytes(row.content) for row in connection.execute(query)}

        return self.store.write(found)

    def remove(self, lease: Lease, pieces: Iterable[str]) -> None:
        """Forget pieces, as the holder of another one that has used what came of them."""

        def change(connection: Connection) -> None:
            self._change(connection, lease, **self._alive())
            connection.execute(delete(work).where((work.c.race == lease.race) & work.c.piece.in_(list(pieces))))

        self.store.write(change)

    def _alive(self) -> dict[str, Any]:
        return {"deadline": self._now() + self.lasts}

    def _change(self, connection: Connection, lease: Lease, again: tuple[str, bytes] | None = None, **new: Any) -> None:
        """Compare the token and set, in one statement; ``again`` is what a repeated transaction may find done."""
        own = (work.c.race == lease.race) & (work.c.piece == lease.piece) & (work.c.token == lease.token)
        changed = connection.execute(updated(work).where(own & (work.c.state == "open")).values(**new))
        if changed.rowcount == 1:
            return
        if again is not None:
            found = connection.execute(select(work.c.state, work.c.content).where(own)).one_or_none()
            if found is not None and (found.state, bytes(found.content)) == again:
                return
        raise Stale(f"{lease.race}/{lease.piece} is not {lease.holder}'s any more")

    def _now(self) -> Any:
        """Seconds by the database's clock."""
        if self.store.url.get_backend_name() == "sqlite":
            return (func.julianday("now") - 2440587.5) * 86400.0
        return func.extract("epoch", func.clock_timestamp())


def _check_size(content: bytes) -> None:
    if len(content) > LARGEST:
        raise UserError(
            f"shared work: a piece's state of {len(content) / 2**20:.0f} MiB is more than a database row holds "
            f"({LARGEST / 2**20:.0f} MiB): give fewer --lanes"
        )
