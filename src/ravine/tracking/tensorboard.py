"""TensorBoard: a folder of event files a run, with hyperparameters and the recipe.

The events are TensorBoard's own, written here and now. Its writers hand every number to a thread of their own, one a
run, over a queue of ten: on short epochs the run waits for that queue longer than the writing takes, and TensorBoard
sees nothing for two minutes.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ravine.tracking.log import About
from ravine.tracking.records import packed


class TensorBoard:
    """Scalars by optimizer step; ``valid_loss`` of all runs lies in one chart."""

    name = "tensorboard"

    def __init__(self, folder: Path) -> None:
        self._summaries: Any = import_module("torch.utils.tensorboard.summary")  # raises where tensorboard is missing
        self._event: Any = import_module("tensorboard.compat.proto.event_pb2").Event
        self._summary: Any = import_module("tensorboard.compat.proto.summary_pb2").Summary
        import_module("tensorboard.plugins.hparams.metadata")  # now, or the first run would wait for it; the same of
        packed([bytes(4)])  # the table that checksums are read from
        self.folder = folder
        self._files: dict[str, Path] = {}
        self._heads: dict[str, list[Any]] = {}  # of runs that wait for their first point: one write for both

    def begin(self, about: About) -> None:
        """The folder of a run, and what is known of it."""
        if about.run in self._files:
            return
        folder, began = self.folder / about.run, time.time()
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{began:.6f}.{socket.gethostname()}.{os.getpid()}"
        told: dict[str, Any] = {**about.hypers, **about.tags}
        known = [*self._summaries.hparams(told, {"valid_loss": 0.0})]
        if about.recipe:
            known.append(self._summaries.text("recipe", "```toml\n" + about.recipe + "```"))
        head = self._event(wall_time=began, file_version="brain.Event:2")
        self._files[about.run] = folder / name
        self._heads[about.run] = [head, *(self._event(wall_time=began, summary=summary) for summary in known)]

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """An event a point, with a scalar a number."""
        now, value = time.time(), self._summary.Value
        self._write(
            run,
            [
                self._event(
                    wall_time=now,
                    step=step,
                    summary=self._summary(value=[value(tag=name, simple_value=one) for name, one in given.items()]),
                )
                for step, given in points
            ],
        )

    def end(self, run: str, status: str) -> None:
        """How it ended."""
        if run in self._files:
            self._write(run, [self._event(wall_time=time.time(), summary=self._summaries.text("status", status))])
            del self._files[run]

    def close(self) -> None:
        """Nothing is held open: a race has more runs than a process may have files."""

    def _write(self, run: str, events: Sequence[Any]) -> None:
        with self._files[run].open("ab") as file:
            file.write(packed([event.SerializeToString() for event in (*self._heads.pop(run, ()), *events)]))
