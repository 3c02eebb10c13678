"""Runs as checkpoints: what is a number goes into the manifest's facts, what is a tensor into the file beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ravine.checkpoints import Checkpoints, Found
from ravine.engines.lane import Lane
from ravine.errors import UserError
from ravine.results import Point
from ravine.rules.rule import values, with_values
from ravine.schedules import check, from_spec, to_spec
from ravine.solvers.spec import contender_from_spec, contender_to_spec
from ravine.training.run import Candidate, Run

SELDOM = 10.0  # seconds between two checkpoints at least; also twenty times what one takes


def due(saved: float, saving: float) -> bool:
    """Whether it is time for a checkpoint, when the last one was made at ``saved`` and took ``saving`` seconds."""
    return time.monotonic() - saved > max(SELDOM, 20 * saving)


def save(into: Checkpoints | Path, facts: Mapping[str, Any], runs: Sequence[Run], score: float | None = None) -> int:
    """Write the state of all runs as one checkpoint and return its number."""
    rows, tensors = rows_of(runs)
    kept = into if isinstance(into, Checkpoints) else Checkpoints(into)
    return kept.save({**facts, "runs": rows}, tensors, score)


def rows_of(runs: Sequence[Run]) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The runs as plain values, and the tensors that belong to them by name; `runs_of` makes runs of both."""
    tensors: dict[str, Tensor] = {}
    return [_run_row(i, run, tensors) for i, run in enumerate(runs)], tensors


def load(folder: Path) -> tuple[dict[str, Any], list[Run]]:
    """The facts and the runs of the newest sound checkpoint; a `UserError` where there is none."""
    found = Checkpoints(folder).newest()
    return found.facts, runs_of(found)


def runs_of(found: Found) -> list[Run]:
    """The runs that a checkpoint holds."""
    try:
        return [_run(i, row, found.tensors) for i, row in enumerate(found.facts["runs"])]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{found.path}: this ravine cannot read the runs in it ({error!r:.200})") from error


def _run_row(place: int, run: Run, tensors: dict[str, Tensor]) -> dict[str, Any]:
    candidate = run.candidate
    return {
        "id": run.id,
        "config": candidate.config,
        "rule": contender_to_spec(candidate.rule),
        "schedules": {name: dict(spec) for name, spec in candidate.schedules.items()},
        "origin": candidate.origin,
        "searched": list(candidate.searched),
        "choices": dict(candidate.choices),
        "seed": run.seed,
        "stage": run.stage,
        "rung": run.rung,
        "tick": run.tick,
        "diverged": run.diverged,
        "stopped": run.stopped,
        "curve": [point.model_dump() for point in run.curve],
        "lane": _lane_row(f"{place}/lane", run.lane, tensors),
        "best": _lane_row(f"{place}/best", run.best, tensors),
        "snapshots": [_lane_row(f"{place}/snapshot{i}", lane, tensors) for i, lane in enumerate(run.snapshots)],
    }


def _lane_row(prefix: str, lane: Lane | None, tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    if lane is None:
        return None
    tensors[f"{prefix}/weights"] = lane.weights
    tensors.update({f"{prefix}/buffer/{name}": b for name, b in lane.buffers.items()})
    tensors.update({f"{prefix}/slot/{name}": s for name, s in lane.slots.items()})
    schedules = {name: to_spec(schedule) for name, schedule in lane.schedules.items()}
    hypers = {name: float(value) for name, value in values(lane.rule).items()}  # a plateau may have changed them
    return {"schedules": schedules, "hypers": hypers, "scalars": lane.scalars, "step": lane.step, "fold": lane.fold}


def _run(place: int, row: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Run:
    rule = contender_from_spec(row["rule"])
    kept = row["schedules"], row["origin"], tuple(row["searched"]), row.get("choices", {})
    candidate = Candidate(row["config"], rule, *kept)
    run = Run(row["id"], candidate, row["seed"], row["stage"], None, row["rung"], row["tick"])
    run.curve = [Point.model_validate(point) for point in row["curve"]]
    run.diverged = row["diverged"]
    run.stopped = row.get("stopped", False)
    run.lane = _lane(f"{place}/lane", row["lane"], run, tensors)
    run.best = _lane(f"{place}/best", row["best"], run, tensors)
    kept = [_lane(f"{place}/snapshot{i}", each, run, tensors) for i, each in enumerate(row.get("snapshots", []))]
    run.snapshots = [lane for lane in kept if lane is not None]
    return run


def _lane(prefix: str, row: Mapping[str, Any] | None, run: Run, tensors: Mapping[str, Tensor]) -> Lane | None:
    if row is None:
        return None
    schedules = {name: check(from_spec(spec)) for name, spec in row["schedules"].items()}
    buffers = _under(f"{prefix}/buffer/", tensors)
    slots = _under(f"{prefix}/slot/", tensors)
    weights = tensors[f"{prefix}/weights"]
    rule = with_values(run.candidate.rule, row.get("hypers", {}))
    numbers = dict(row["scalars"]), row["step"], row.get("fold", 0)
    return Lane(rule, schedules, run.seed, weights, buffers, slots, *numbers)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
