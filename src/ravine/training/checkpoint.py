"""Runs on disk: a manifest in JSON and the lanes' tensors in safetensors, found whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ravine.engines.lane import Lane
from ravine.errors import UserError
from ravine.files import digest, digest_of, reason, write_whole
from ravine.results import Point
from ravine.rules.rule import values, with_values
from ravine.schedules import check, from_spec, to_spec
from ravine.solvers.spec import contender_from_spec, contender_to_spec
from ravine.training.run import Candidate, Run
from ravine.training.tensors import in_parts

FORMAT = 1
MANIFEST = "state.json"
SELDOM = 10.0  # seconds between two checkpoints at least; also twenty times what one takes


def due(saved: float, saving: float) -> bool:
    """Whether it is time for a checkpoint, when the last one was made at ``saved`` and took ``saving`` seconds."""
    return time.monotonic() - saved > max(SELDOM, 20 * saving)


def save(folder: Path, facts: Mapping[str, Any], runs: Sequence[Run]) -> None:
    """Write the state of all runs; the last one stays readable until the new one is whole."""
    tensors: dict[str, Tensor] = {}
    rows = [_run_row(i, run, tensors) for i, run in enumerate(runs)]
    name = _next_name(folder)
    sha = write_whole(folder / name, in_parts(tensors))
    manifest = {"format": FORMAT, "tensors": name, "sha256": sha, **facts, "runs": rows}
    write_whole(folder / MANIFEST, json.dumps({"check": _check(manifest), **manifest}).encode())
    for old in folder.glob("lanes-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load(folder: Path) -> tuple[dict[str, Any], list[Run]]:
    """Read the state back; a `UserError` says what is wrong with one that is torn or altered."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder}: no checkpoint is there to resume; start without --resume") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    manifest = _checked(text, path)
    if manifest["format"] != FORMAT:
        raise UserError(f"{path}: made by another version of ravine (format {manifest['format']}, this reads {FORMAT})")
    file = folder / manifest["tensors"]
    try:
        found = digest_of(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {reason(error)}; start again") from error
    if found != manifest["sha256"]:
        raise UserError(f"{file}: the checkpoint is damaged (its SHA-256 differs); start again")
    tensors = load_file(file)
    return manifest, [_run(i, row, tensors) for i, row in enumerate(manifest["runs"])]


def _next_name(folder: Path) -> str:
    """A name that no file there has: the old tensors stay until the manifest names the new ones."""
    numbers = (old.stem.partition("-")[2] for old in folder.glob("lanes-*.safetensors"))
    return f"lanes-{max((int(number) for number in numbers if number.isdecimal()), default=0) + 1:06}.safetensors"


def _check(manifest: Mapping[str, Any]) -> str:
    return digest(json.dumps(manifest).encode())


def _checked(text: bytes, path: Path) -> dict[str, Any]:
    """The manifest, if it is the one that was written."""
    try:
        manifest: Any = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: the checkpoint is damaged ({error}); start again") from error
    if not isinstance(manifest, dict) or manifest.pop("check", "") != _check(manifest):
        raise UserError(f"{path}: the checkpoint is damaged (its SHA-256 differs); start again")
    return manifest


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
    return {"schedules": schedules, "hypers": hypers, "scalars": lane.scalars, "step": lane.step}


def _run(place: int, row: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Run:
    rule = contender_from_spec(row["rule"])
    kept = row["schedules"], row["origin"], tuple(row["searched"]), row.get("choices", {})
    candidate = Candidate(row["config"], rule, *kept)
    run = Run(row["id"], candidate, row["seed"], row["stage"], None, row["rung"], row["tick"])
    run.curve = [Point.model_validate(point) for point in row["curve"]]
    run.diverged = row["diverged"]
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
    return Lane(rule, schedules, run.seed, weights, buffers, slots, dict(row["scalars"]), row["step"])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
