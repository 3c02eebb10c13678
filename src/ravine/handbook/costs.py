"""Measures what a step of each rule costs beside Adam's; run as a program it keeps the figures for the docs."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ravine import optim
from ravine.bench.common import interleaved, processor, seconds
from ravine.files import write_whole
from ravine.rules.rule import Rule, catalogue, needs_of

SIDE, ROUNDS = 1024, 15
BASE = "adam"


def costs(kinds: dict[str, type[Rule]], side: int = SIDE, rounds: int = ROUNDS) -> dict[str, Any]:
    """The median time of a step of each rule over Adam's in the same round, and where that was found.

    The parameter is one matrix of ``side`` squared float32 numbers. A rule that looks ahead moves the weights there
    and back; the gradient itself is never timed.
    """
    torch.set_num_threads(1)
    base = _step(catalogue()[BASE], side)
    steps: dict[str, dict[str, float]] = {}
    for name, kind in kinds.items():
        step = _step(kind, side)
        seen = interleaved({"it": lambda step=step: seconds(step), "base": lambda: seconds(base)}, rounds)
        ratios = sorted(it / other for it, other in zip(seen["it"], seen["base"], strict=True))
        steps[name] = {"ratio": round(ratios[rounds // 2], 3)}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "torch": torch.__version__.partition("+")[0],
        "load": round(os.getloadavg()[0], 1),
        "parameters": side * side,
        "rounds": rounds,
        "engine": "ravine.optim on the CPU",
        "steps": steps,
    }


def _step(kind: type[Rule], side: int) -> Any:
    w = torch.nn.Parameter(torch.ones(side, side))
    w.grad = torch.full_like(w, 1e-3)
    optimizer = optim.of(kind)([w], nonfinite="ignore")
    if needs_of(kind()) & {"gradient_ahead", "curvature"}:
        return lambda: optimizer.step(lambda: None)
    return optimizer.step


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = costs(catalogue())
    write_whole(Path(sys.argv[1]), f"{json.dumps(found, indent=1)}\n".encode())
    print(f"{len(found['steps'])} rules measured: {sys.argv[1]}")
