"""Whether a run has a team, as torchrun's environment says, and what is to be done when it is lost."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ravine.errors import UserError
from ravine.training.team import Alone, Team

if TYPE_CHECKING:
    from ravine.training.distributed import Parallel
    from ravine.training.processes import Processes

COMMAND = "torchrun --nproc-per-node 2 -m ravine train recipe.toml --parallel"
ERRORS = ("DistError", "DistBackendError", "DistNetworkError", "DistStoreError", "DistQueueEmptyError")


class Lost(UserError):
    """The run ended because another process did."""


@contextmanager
def team_of(parallel: str | None) -> Generator[Team]:
    """The team that torchrun has started, met for as long as this lasts; else the one process.

    Raises:
        UserError: if the others cannot be met, or one of them is lost.
    """
    kind = wanted(parallel)
    if kind is None:
        yield Alone()
        return
    team: Processes | None = None
    try:
        from ravine.training.processes import Processes  # torch's parts for this take a second to import

        team = Processes.join(kind)
        yield team
    except RuntimeError as error:  # what torch raises for a connection that is gone
        if type(error).__name__ not in ERRORS and "gloo" not in str(error):
            raise
        raise Lost(f"another process of this run is lost ({_short(error)}); go on with --resume") from error
    finally:
        if team is not None:
            team.leave()


def wanted(parallel: str | None) -> Parallel | None:
    """How a run is shared, by the option and torchrun's environment; None for one process that trains alone."""
    if parallel not in (None, "ddp", "fsdp"):
        raise UserError(f"--parallel {parallel}: choose ddp (weights whole in every process) or fsdp (sharded)")
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        if parallel is not None:
            raise UserError(f"--parallel {parallel} shares a run among processes, so torchrun starts it: {COMMAND} ...")
        return None
    return parallel or ("ddp" if int(os.environ["WORLD_SIZE"]) > 1 else None)


def is_shared() -> bool:
    """Whether torchrun has started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def restarts() -> tuple[int, int]:
    """How often torchrun has started these processes anew after one was lost, and how often it may."""
    found = [int(os.environ.get(f"TORCHELASTIC_{word}", "0")) for word in ("RESTART_COUNT", "MAX_RESTARTS")]
    return found[0], found[1]


def _short(error: RuntimeError) -> str:
    """The last words of torch's sentence, after the places in its code."""
    return str(error).splitlines()[0].rpartition("] ")[2].rstrip(".")
