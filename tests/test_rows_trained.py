"""What the lectures say of whole runs, by training at a small scale: rows O29, L1, L3 and L4.

Slow: `python -m pytest -m slow tests/test_rows_trained.py -s` prints the figures; needs Fashion-MNIST in RAVINE_DATA.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ravine
from ravine.problems import load
from ravine.problems.problem import Part, Problem
from ravine.problems.vision import mnist_like
from ravine.recipe import Recipe
from ravine.results import RaceResult
from ravine.training.train import Training

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


def clothes(samples: int = 2000) -> Problem:
    """So many images to train on, and 3,000 or so that test."""
    whole = mnist_like("fashion-mnist", rows=20_000)
    few = Part(whole.train.x[:samples], whole.train.y[:samples])
    return replace(whole, train=few, valid=Part(whole.valid.x[:1000], whole.valid.y[:1000]))


def trained(problem: Problem, seed: int, **changes: Any) -> Training:
    """A run of momentum on a small convolutional network."""
    given = {"problem": problem.name, "model": "cnn:8,16", "epochs": EPOCHS, "batch": 16, "seed": seed}
    made = Recipe.model_validate({**given, "rule": {"name": "momentum", "lr": 0.03}, **changes})
    return ravine.train(made, problem)


def test_row_l1_l3_a_rate_that_falls_against_a_constant_one() -> None:
    """L1, L3: test accuracy at the epoch of the lowest validation loss, paired by seed."""
    problem = clothes()
    found = {
        name: np.array([trained(problem, seed, schedule={"lr": shape}).test()[1] for seed in range(SEEDS)])
        for name, shape in RATES.items()
    }
    for name, each in found.items():
        gain = each - found["constant"]
        print(f"{name:24} {each.mean():.4f}, over constant {gain.mean():+.4f} +- {gain.std(ddof=1):.4f}")
        assert name == "constant" or gain.mean() > 2 * gain.std(ddof=1) / SEEDS**0.5


def test_row_l4_the_ensemble_errs_less_than_its_last_snapshot_at_the_cost_of_one_run() -> None:
    """L4: five snapshots of one run; the error of their mean below that of the last."""
    problem = clothes()
    running = [trained(problem, seed, snapshots=5) for seed in range(SEEDS)]
    figures = [run.compare_snapshots(problem.test) for run in running]
    last, together = (np.array([1 - each[k][1] for each in figures]) for k in (-2, -1))
    print(f"error of the last snapshot {last.mean():.4f}, of the ensemble {together.mean():.4f}")
    assert together.mean() < last.mean()


def test_o29_where_the_claims_of_which_optimizer_hold() -> None:
    """O29: tuned momentum is often the best; Adam starts best; on three problems, five seeds each."""
    races = [(load("digits"), "mlp:64"), (load("wine"), "mlp:16"), (clothes(), "mlp:64")]
    best, quick = 0, 0
    for problem, model in races:
        given: dict[str, Any] = {
            "rules": ["momentum", "adam", "adamw", "rmsprop"],
            "finalists": 4,
            "budget": 24,
            "epochs": 12,
        }
        result = ravine.race(problem, model=model, progress=False, seeds=SEEDS, **given).result
        first = {row.rule: first_epoch(result, row.rule, row.config) for row in result.ranking}
        fastest = min(first, key=lambda rule: first[rule])
        (momentum,) = (row for row in result.ranking if row.rule == "momentum")
        best += momentum.rank == 1
        quick += fastest in ("adam", "adamw")
        standing = ", ".join(f"{row.rank} {row.rule} {row.valid_loss.mean:.4f}" for row in result.ranking)
        print(f"{problem.name}: {standing}; lowest after one epoch: {fastest}; {result.verdict}")
    print(f"tuned momentum best or tied on {best} of 3; Adam or AdamW quickest on {quick} of 3")
    assert best >= 1


def first_epoch(result: RaceResult, rule: str, config: int) -> float:
    """Mean validation loss of a finalist after one epoch."""
    runs = [run for run in result.runs if run.config == config and run.stage == "final"]
    return float(np.mean([next(point.valid_loss for point in run.curve if point.epoch >= 1) for run in runs]))
