"""The checkpoints of a run or a race while it goes on: when, by one process only, and what happens when one fails."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ravine.checkpoints import KEEP, Checkpoints, claimed
from ravine.engines.lane import Model
from ravine.errors import UserError
from ravine.training import checkpoint
from ravine.training.run import Run


class Saving:
    """Checkpoints of one run or race in its folder, or none where it has no folder.

    A checkpoint that cannot be written ends nothing: the older ones stay, the run goes on, ``troubles`` gets a
    sentence, and the next one is tried when it is due.
    """

    def __init__(self, folder: Path | None, model: Model) -> None:
        self.folder, self.keep = folder, KEEP
        self.troubles: list[str] = []
        self.last_failure: list[str] = []  # why the last one could not be written, if so
        self._model = {"weights": [[name, list(shape)] for name, shape in model.shapes.items()], "fixed": model.fixed}
        self._kept: Checkpoints | None = None
        self._depth, self._claim = 0, ExitStack()
        self._saved, self._taken = -math.inf, 0.0

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Within, the folder is this object's alone; another process is refused in a sentence."""
        if self.folder is not None and self._depth == 0:
            self._claim.enter_context(claimed(self.folder))
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._claim.close()

    def due(self, at_once: bool = False) -> bool:
        """Whether to write one now; so seldom that they cost less than a twentieth of the time."""
        return self.folder is not None and (at_once or checkpoint.due(self._saved, self._taken))

    def save(self, facts: Mapping[str, Any], runs: Sequence[Run], score: float | None = None) -> None:
        """Write one; ``score`` (lower is better) tells whether it is the one to keep however old it gets."""
        begin = time.monotonic()
        try:
            checkpoint.save(self._checkpoints, {**facts, "model": self._model}, runs, score)
            self.last_failure = []
        except UserError as error:
            if not self.last_failure:  # not again each time while it lasts
                self.troubles.append(f"{error}; the run goes on, and the checkpoint before stays")
            self.last_failure = [str(error)]
        self._saved = time.monotonic()
        self._taken = self._saved - begin

    def load(
        self, kind: str, folder: Path, same: Callable[[Any], bool] = lambda _: True
    ) -> tuple[dict[str, Any], list[Run]]:
        """The newest sound checkpoint: of the ``same`` recipe or spec (``kind``), and of the same model."""
        kept = self._checkpoints if folder == self.folder else Checkpoints(folder)
        found = kept.newest()
        if kind not in found.facts:
            other = {"spec": "a race", "recipe": "a training run"} | {k: f"an {k}" for k in ("ensemble", "evaluation")}
            raise UserError(f"{folder}: its checkpoint is not of {other[kind]}; use another folder")
        if not _holds(same, found.facts[kind]):
            raise UserError(f"{folder}: the checkpoint there is of another {kind}; use another folder")
        if (theirs := found.facts.get("model")) != self._model:
            told = _difference(theirs, self._model)
            raise UserError(f"{folder}: its checkpoint is of another model ({told}); use another folder")
        runs = checkpoint.runs_of(found)
        self.troubles += found.problems
        return found.facts, runs

    @property
    def _checkpoints(self) -> Checkpoints:
        if self._kept is None or self._kept.folder != self.folder:
            assert self.folder is not None
            self._kept = Checkpoints(self.folder, self.keep)
        return self._kept


def _holds(same: Callable[[Any], bool], kept: Any) -> bool:
    try:
        return same(kept)
    except ValueError:  # it has settings that only a newer ravine knows
        return False


def _difference(theirs: Any, ours: Mapping[str, Any]) -> str:
    """The first weight in which two models differ."""
    theirs, ours = ({name: shape for name, shape in model["weights"]} for model in (theirs, ours))
    for name in dict.fromkeys((*theirs, *ours)):
        if theirs.get(name) != ours.get(name):
            return f"{name} is {theirs.get(name, 'missing')} there and {ours.get(name, 'missing')} here"
    return "its weights have another order, or its buffers other names"
