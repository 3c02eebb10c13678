"""What the lectures say of whole runs, by training: rows O29, L1, L3 and L4. A small network and 2,143 images at most.

Slow: `python -m pytest -m slow tests/test_rows_trained.py -s` prints the figures; it needs Fashion-MNIST in RAVINE_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ravine
from ravine.problems import load
from ravine.problems.problem import Problem
from ravine.problems.vision import mnist_like
from ravine.recipe import Recipe
from ravine.results import RaceResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("RAVINE_DATA" not in os.environ, reason="needs Fashion-MNIST: set RAVINE_DATA"),
]
EPOCHS, SEEDS = 10, 5
RATES: Mapping[str, Mapping[str, Any]] = {  # the lectures' 30, 60 and 90 epochs of 100 are 3, 6 and 9 of 10 here
    "constant": {"name": "constant"},
    "step decay": {"name": "multi-step", "milestones": [3, 6, 9], "factor": 0.1},
    "warm-up and cosine": {"name": "warm-up", "duration": 1, "then": {"name": "cosine"}},
    "restarts": {"name": "cosine-restarts", "first": 5, "growth": 1},
    "triangular": {"name": "triangular", "low": 0.1, "up": 1},
    "triangular, shrinking": {"name": "exp-range", "low": 0.1, "up": 1, "gamma": 0.75},
}


def clothes(rows: int) -> Problem:
    return mnist_like("fashion-mnist", rows=rows)


def accuracy(problem: Problem, schedule: Mapping[str, Any], seed: int) -> float:
    """Test accuracy at the epoch of the lowest validation loss, by momentum at a rate of 0.03 times the schedule."""
    given = {"problem": problem.name, "model": "cnn:8,16", "epochs": EPOCHS, "batch": 16, "seed": seed}
    rule = {"name": "momentum", "lr": 0.03}
    made = Recipe.model_validate({**given, "rule": rule, "schedule": {"lr": dict(schedule)}})
    return ravine.train(made, problem).test()[1]


def test_row_l1_l3_a_rate_that_falls_against_a_constant_one() -> None:
    problem = clothes(3000)
    found = {
        name: np.array([accuracy(problem, schedule, seed) for seed in range(SEEDS)])
        for name, schedule in RATES.items()
    }
    for name, each in found.items():
        print(f"{name:24} {each.mean():.4f} +- {each.std(ddof=1):.4f}")
