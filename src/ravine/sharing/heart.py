"""The heartbeat of whoever holds a lease: a thread of its own, so that long steps do not look like a death."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from ravine.errors import UserError
from ravine.store.leases import Lease, Leases, Stale

BEATS = 2  # a lease's interval: one that is late does not lose it


class Heart:
    """Beats for a lease while this lasts; `check` raises `Stale` where another holds it by now."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases, self._lease = leases, lease
        self._end, self._wrong = threading.Event(), list[Exception]()
        self._thread = threading.Thread(target=self._beat, name="ravine-heart", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what the heartbeat was told."""
        if self._wrong:
            raise self._wrong[0]

    def _beat(self) -> None:
        while not self._end.wait(self._leases.interval / BEATS):
            try:
                self._leases.beat(self._lease)
            except (Stale, UserError) as error:
                self._wrong.append(error)
                return
