"""Leases that write down every call, so that it can be told afterwards whether anyone wrote who no longer could."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ravine.files import digest
from ravine.store import Store
from ravine.store.leases import Lease, Leases, Stale

T = TypeVar("T")


@dataclass(frozen=True)
class Blow:
    """What a session does to itself: at which of its calls, before or after it, and by which signal."""

    call: int
    after: bool
    signal: int


class NotedLeases(Leases):
    """Leases whose calls are lines of a log: when each began and ended, with which token, and what came of it."""

    def __init__(self, store: Store, interval: float, log: Path, blow: Blow | None = None) -> None:
        self._handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._blow, self._calls = blow, 0
        super().__init__(store, interval)

    def publish(self, race: str, pieces: Mapping[str, bytes], by: Lease | None = None) -> None:
        """As `Leases.publish`."""
        bits = {piece: digest(held) for piece, held in pieces.items()}
        facts = {"what": "publish", "by": None if by is None else by.token, "bits": bits}
        self._tell({**facts, "what": "offers", "at": time.monotonic()})  # for one that is killed before it can note it
        self._noted(facts, lambda: super(NotedLeases, self).publish(race, pieces, by))

    def take(self, race: str, holder: str, pieces: Iterable[str] | None = None) -> tuple[Lease, bytes] | None:
        """As `Leases.take`."""
        wanted = None if pieces is None else list(pieces)

        def got(taken: tuple[Lease, bytes] | None) -> dict[str, Any]:
            return {} if taken is None else {**_of(taken[0]), "bits": digest(taken[1])}

        return self._noted(
            {"what": "take", "asked": wanted}, lambda: super(NotedLeases, self).take(race, holder, wanted), got
        )

    def beat(self, lease: Lease) -> None:
        """As `Leases.beat`; no call at which a session ends, since another thread makes it."""
        self._noted({"what": "beat", **_of(lease)}, lambda: super(NotedLeases, self).beat(lease), counts=False)

    def keep(self, lease: Lease, content: bytes) -> None:
        """As `Leases.keep`."""
        self._written("keep", lease, content, lambda: super(NotedLeases, self).keep(lease, content))

    def finish(self, lease: Lease, content: bytes) -> None:
        """As `Leases.finish`."""
        self._written("finish", lease, content, lambda: super(NotedLeases, self).finish(lease, content))

    def give_up(self, lease: Lease) -> None:
        """As `Leases.give_up`."""
        self._noted({"what": "give up", **_of(lease)}, lambda: super(NotedLeases, self).give_up(lease))

    def contents(self, lease: Lease, pieces: Iterable[str]) -> dict[str, bytes]:
        """As `Leases.contents`."""
        own = list(pieces)
        return self._noted({"what": "contents", **_of(lease)}, lambda: super(NotedLeases, self).contents(lease, own))

    def remove(self, lease: Lease, pieces: Iterable[str]) -> None:
        """As `Leases.remove`."""
        own = list(pieces)
        self._noted({"what": "remove", **_of(lease)}, lambda: super(NotedLeases, self).remove(lease, own))

    def _written(self, what: str, lease: Lease, content: bytes, call: Callable[[], None]) -> None:
        facts = {"what": what, **_of(lease), "bits": digest(content)}
        self._tell({**facts, "what": "wants", "at": time.monotonic()})  # whoever is killed within may have written it
        self._noted(facts, call)

    def _noted(
        self,
        facts: Mapping[str, Any],
        call: Callable[[], T],
        got: Callable[[T], Mapping[str, Any]] = lambda _: {},
        counts: bool = True,
    ) -> T:
        self._calls += counts
        ends = self._blow if counts and self._blow is not None and self._blow.call == self._calls else None
        if ends is not None and not ends.after:
            self._strike(ends)
        at = time.monotonic()
        try:
            result = call()
        except Stale:
            self._tell({**facts, "stale": True, "at": at, "till": time.monotonic()})
            raise
        self._tell({**facts, **got(result), "at": at, "till": time.monotonic()})
        if ends is not None and ends.after:
            self._strike(ends)
        return result

    def _strike(self, blow: Blow) -> None:
        self._tell({"what": "blow", "at": time.monotonic()})
        os.kill(os.getpid(), blow.signal)
        if blow.signal == signal.SIGSTOP:
            self._tell({"what": "woken", "at": time.monotonic()})

    def _tell(self, facts: Mapping[str, Any]) -> None:
        os.write(self._handle, json.dumps({**facts, "pid": os.getpid()}).encode() + b"\n")


def _of(lease: Lease) -> dict[str, Any]:
    return {"piece": lease.piece, "token": lease.token}
