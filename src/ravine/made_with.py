"""What a run was made with: versions, machine, the hash of its data, the fingerprint of its weights."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version

import torch

from ravine._version import version as own_version
from ravine.problems.problem import Problem
from ravine.training.train import Training


def versions() -> dict[str, str]:
    """Of what numbers depend on."""
    return {
        "ravine": own_version,
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}",
    }


def data_digest(problem: Problem) -> str:
    """A hash of the inputs and targets of the three parts, as a model sees them.

    Inputs that are read as they are needed are not read for it: their targets stand for them.
    """
    digest = hashlib.sha256()
    for part in (problem.train, problem.valid, problem.test):
        for tensor in (part.y,) if part.streamed else (part.x, part.y):
            digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def made_with(running: Training) -> dict[str, str]:
    """Of a run, and its fingerprint where it has a best point."""
    found = {**versions(), "data": data_digest(running.problem)}
    return found if running.best is None else {**found, "fingerprint": running.fingerprint()}
