"""How far a run that processes share is from that of one process: DDP and FSDP2, in float32 and float64.

    python -m ravine.bench.processes [--processes 2]

Each recipe takes 20 steps on digits. The difference is the largest over all losses, relative, and over all weights,
in parts of the largest weight of their tensor.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from ravine.problems import load
from ravine.recipe import Recipe
from ravine.training.meeting import team_of
from ravine.training.train import Training

RECIPES: dict[str, dict[str, Any]] = {
    "momentum": {"rule": {"name": "momentum", "lr": 0.05}},
    "adam": {"rule": {"name": "adam", "lr": 0.01}},
    "adamw, clipped": {
        "rule": {"name": "adamw", "lr": 0.01, "with": [{"name": "clip-global-norm", "clip": 0.5}]},
    },
    "momentum, batch normalisation": {"rule": {"name": "momentum", "lr": 0.05}, "norm": "batch"},
    "adam, batch normalisation": {"rule": {"name": "adam", "lr": 0.01}, "norm": "batch"},
}  # fmt: skip
WAYS = ("ddp", "fsdp")


def recipe(name: str, precision: str) -> Recipe:
    """Twenty steps on digits, with dropout."""
    more: dict[str, Any] = {"epochs": 2, "batch": 107, "seed": 1, "precision": precision, **RECIPES[name]}
    return Recipe(problem="digits", model="mlp:64:0.2", schedule={"lr": {"name": "cosine"}}, **more)


def walk(rank: int, size: int, parallel: str, port: int, folder: str) -> None:
    """Every recipe, one after another, in one of so many processes; the first keeps what came of each."""
    torch.set_num_threads(1)
    if size > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    with team_of(parallel if size > 1 else None) as team:
        for rule in RECIPES:
            for precision in ("float32", "float64"):
                running = Training(recipe(rule, precision), load("digits"), team=team)
                began = time.perf_counter()
                for _ in running.run():
                    pass
                seconds, weights = time.perf_counter() - began, running.weights()
                if rank == 0:
                    path = Path(folder) / f"{rule} {precision}"
                    losses = [[point.train_loss, point.valid_loss] for point in running.state.curve]
                    save_file(weights, path.with_suffix(".safetensors"))
                    facts = {"losses": losses, "steps": running.clock.steps, "seconds": seconds}
                    path.with_suffix(".json").write_text(json.dumps(facts))


def walked(folder: Path, size: int, parallel: str) -> None:
    """Let so many processes walk."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    folder.mkdir()
    started = [
        context.Process(target=walk, args=(rank, size, parallel, port, str(folder))) for rank in range(size)
    ]  # fmt: skip
    for each in started:
        each.start()
    for each in started:
        each.join()
    if any(each.exitcode for each in started):
        sys.exit("a process failed")


def difference(folder: Path, alone: Path, name: str) -> tuple[float, float, float]:
    """The largest relative difference of a loss, that of a weight, and how many times the seconds of one process."""
    facts, other = (json.loads((where / f"{name}.json").read_text()) for where in (folder, alone))
    points = zip(facts["losses"], other["losses"], strict=True)
    pairs = [pair for own, its in points for pair in zip(own, its, strict=True)]
    losses = max(abs(a - b) / abs(b) for a, b in pairs if a is not None and b is not None)
    weights, theirs = (load_file(where / f"{name}.safetensors") for where in (folder, alone))
    most = max(float((weights[k] - w).abs().max() / w.abs().max()) for k, w in theirs.items() if w.abs().max() > 0)
    return losses, most, facts["seconds"] / other["seconds"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    size: int = parser.parse_args().processes
    if not dist.is_available() or not dist.is_gloo_available():
        sys.exit("torch was built without gloo")
    with tempfile.TemporaryDirectory() as place:
        alone = Path(place) / "alone"
        walked(alone, 1, "")
        print("| recipe | " + " | ".join(f"{way}: losses | weights | time" for way in WAYS) + " |")
        print("|---" * (1 + 3 * len(WAYS)) + "|")
        for way in WAYS:
            walked(Path(place) / way, size, way)
        for rule in RECIPES:
            for precision in ("float32", "float64"):
                name = f"{rule} {precision}"
                found = [difference(Path(place) / way, alone, name) for way in WAYS]
                print(f"| {name} | " + " | ".join(f"{a:.1e} | {b:.1e} | {c:.1f} x" for a, b, c in found) + " |")


if __name__ == "__main__":
    main()
