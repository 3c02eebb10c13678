"""TensorBoard: a folder of event files a run, with hyperparameters and the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.tracking.log import About

EVERY = 120  # seconds between flushes of the writer's own queue; each end of a run flushes too


class TensorBoard:
    """Scalars by optimizer step; ``valid_loss`` of all runs lies in one chart."""

    name = "tensorboard"

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # raises ImportError where tensorboard is missing

        self._make: Any = SummaryWriter
        self.folder = folder
        self._writers: dict[str, Any] = {}
        self._abouts: dict[str, About] = {}

    def begin(self, about: About) -> None:
        """The writer of a run, with what is known of it."""
        if about.run in self._writers:
            return
        writer = self._make(str(self.folder / about.run), flush_secs=EVERY)
        self._writers[about.run], self._abouts[about.run] = writer, about
        from torch.utils.tensorboard.summary import hparams

        told: dict[str, Any] = {**about.hypers, **about.tags}
        for summary in hparams(told, {"valid_loss": 0.0}):
            writer.file_writer.add_summary(summary)
        if about.recipe:
            writer.add_text("recipe", "```toml\n" + about.recipe + "```")

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Each number as a scalar."""
        writer = self._writers[run]
        for step, given in points:
            for name, value in given.items():
                writer.add_scalar(name, value, step)

    def end(self, run: str, status: str) -> None:
        """Write what waits and close the run's file."""
        writer = self._writers.pop(run, None)
        if writer is not None:
            writer.add_text("status", status)
            writer.close()

    def close(self) -> None:
        """Close what is open."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
