"""Ctrl-C during a run: the first asks it to stop at the next point of measurement, another one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

WORDS = b"\nStopping at the next point of measurement; once more to stop at once.\n"


@dataclass
class Request:
    """Whether the user has asked to stop."""

    made: bool = False


@contextmanager
def stop_on_request() -> Generator[Request]:
    """Within, SIGINT and SIGTERM only set a mark, and raise `KeyboardInterrupt` when they come again.

    So a run is never cut in the middle of a step, and its checkpoint is that of a whole point of measurement. Outside
    the main thread, where Python allows no handlers, nothing changes.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.made = True
        os.write(2, WORDS)  # printing is not safe here: the signal may have come in the middle of a print

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
