"""Reduction on a plateau: torch's counting and Keras', resumed exactly, in a recipe and around any optimizer."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

import ravine
from ravine.errors import UserError
from ravine.problems import load
from ravine.recipe import Recipe
from ravine.schedules import Plateau, Waiting, plateau_from
from ravine.training.train import Training
from tests.optimizing import parameter

LOSSES = [1.0, 0.9, 0.9, 0.95, 0.89995, 0.9, 0.5, 0.6, math.nan, 0.7, 0.49, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
SETTINGS: list[dict[str, Any]] = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5},
    {"patience": 1, "cooldown": 2, "factor": 0.3, "min_lr": 0.01},
    {"patience": 2, "threshold": 0.2, "threshold_mode": "abs"},
    {"patience": 1, "threshold": 0.3, "threshold_mode": "rel", "mode": "max"},
    {"patience": 1, "cooldown": 1, "eps": 0.02},
]


def rates(optimizer: torch.optim.Optimizer, plateau: Any, losses: list[float]) -> list[float]:
    found: list[float] = []
    for loss in losses:
        plateau.step(loss)
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


@pytest.mark.parametrize("given", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", [0, 1])
def test_torchs_counting_is_torchs(given: dict[str, Any], seed: int) -> None:
    draw = random.Random(seed)
    losses = LOSSES if seed == 0 else [draw.choice([0.5, 0.7, 1.0, 1.2, draw.random()]) for _ in range(60)]
    one, other = torch.optim.SGD([parameter(1.0)], lr=0.4), torch.optim.SGD([parameter(1.0)], lr=0.4)
    theirs: dict[str, Any] = {name: int(v) if name in ("patience", "cooldown") else v for name, v in given.items()}
    want = rates(one, ReduceLROnPlateau(one, **theirs), losses)
    assert rates(other, ravine.optim.ReduceOnPlateau(other, **given), losses) == want
    assert len(set(want)) > 1


def test_keras_counting_acts_one_measurement_earlier_and_differs_in_threshold_and_cooldown() -> None:
    def history(losses: list[float], **given: Any) -> list[float]:
        optimizer = torch.optim.SGD([parameter(1.0)], lr=1.0)
        return rates(optimizer, ravine.optim.ReduceOnPlateau(optimizer, factor=0.5, **given), losses)

    flat = [1.0] * 7
    assert history(flat, patience=2) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert history(flat, patience=2, dialect="keras") == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    # The threshold: 1e-4 of the best for torch, the amount 1e-4 for Keras
    creeping = [100.0 - 0.001 * step for step in range(4)]
    assert history(creeping, patience=1) == [1, 1, 0.5, 0.5]
    assert history(creeping, patience=1, dialect="keras") == [1, 1, 1, 1]
    # The measurement that ends a cooldown of 1 counts in Keras, not in torch
    assert history(flat, patience=0, cooldown=1) == [1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert history(flat, patience=1, cooldown=1, dialect="keras") == [1, *(0.5 ** (i + 1) for i in range(6))]
    assert history([math.nan, math.nan, math.nan], patience=1, dialect="keras") == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("at", range(len(LOSSES)))
def test_u25_its_state_resumes_at_every_measurement(at: int) -> None:
    given: dict[str, Any] = {"patience": 1, "cooldown": 2, "factor": 0.5}
    optimizer = torch.optim.SGD([parameter(1.0)], lr=0.4)
    whole = rates(optimizer, ravine.optim.ReduceOnPlateau(optimizer, **given), LOSSES)
    optimizer = torch.optim.SGD([parameter(1.0)], lr=0.4)
    plateau = ravine.optim.ReduceOnPlateau(optimizer, **given)
    first = rates(optimizer, plateau, LOSSES[:at])
    state = json.loads(json.dumps(plateau.state_dict()))
    again = ravine.optim.ReduceOnPlateau(optimizer)
    again.load_state_dict(state)
    assert first + rates(optimizer, again, LOSSES[at:]) == whole
    with pytest.raises(UserError, match="no state of a ReduceOnPlateau"):
        again.load_state_dict({"best": 1.0})


def test_torchs_own_class_works_with_our_optimizers_and_ours_with_a_tensor_rate() -> None:
    want = torch.optim.Adam([parameter(1.0, 2.0)], lr=0.1)
    mine = ravine.optim.Adam([parameter(1.0, 2.0)], lr=0.1)
    for optimizer in (want, mine):
        scheduler = ReduceLROnPlateau(optimizer, patience=1)
        for loss in LOSSES:
            [p] = optimizer.param_groups[0]["params"]
            p.grad = torch.tensor([0.5, -0.25])
            optimizer.step()
            scheduler.step(loss)
    assert want.param_groups[0]["lr"] == mine.param_groups[0]["lr"] < 0.1
    assert torch.allclose(want.param_groups[0]["params"][0], mine.param_groups[0]["params"][0], atol=1e-7)
    loose = torch.optim.Adam([parameter(1.0)], lr=torch.tensor(0.5))
    held = loose.param_groups[0]["lr"]
    ravine.optim.ReduceOnPlateau(loose, patience=0).step(1.0)
    assert ravine.optim.ReduceOnPlateau(loose, patience=0, factor=0.5).step(math.nan)
    assert loose.param_groups[0]["lr"] is held and held.item() == 0.25


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"patence": 3}, "did you mean 'patience'"),
        ({"factor": 1.0}, r"factor must lie in \(0, 1\)"),
        ({"patience": 2.5}, "whole number"),
        ({"patience": -1}, "must not be negative"),
        ({"dialect": "tf"}, "'torch' or 'keras'"),
        ({"min_lr": math.inf}, "finite"),
    ],
)
def test_a_wrong_setting_is_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        plateau_from(given)
    with pytest.raises(UserError, match=words):
        ravine.optim.ReduceOnPlateau(torch.optim.SGD([parameter(1.0)], lr=0.1), **given)
    with pytest.raises(UserError, match=words):
        Recipe(problem="wine", plateau=given).check()


def test_what_cannot_be_reduced_is_refused() -> None:
    with pytest.raises(UserError, match="not both"):
        ravine.optim.ReduceOnPlateau(torch.optim.SGD([parameter(1.0)]), Plateau(), patience=2)
    assert Plateau().after(Waiting(), math.inf) == (Waiting(None, 1), False)  # as torch, whose first best is infinite


RECIPE = Recipe(
    problem="wine", model="mlp:8", epochs=30, batch=16, rule={"name": "adam", "lr": 0.3}, seed=5,
    plateau={"patience": 1, "factor": 0.5, "cooldown": 1},
)  # fmt: skip


def trained(folder: Path | None = None, stop_at: int | None = None, resume: bool = False) -> Training:
    running = Training(RECIPE, load("wine"), folder)
    if resume and folder is not None:
        running.restore(folder)
    for measured, _ in enumerate(running.run()):
        if measured == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
    return running


def test_a_recipe_reduces_the_rate_as_torch_would_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = trained()
    optimizer = torch.optim.SGD([parameter(1.0)], lr=0.3)
    scheduler, want = ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1), list[tuple[float, float]]()
    for point in whole.result.curve[1:]:
        before = optimizer.param_groups[0]["lr"]
        scheduler.step(point.valid_loss)
        if optimizer.param_groups[0]["lr"] < before:
            want.append((point.epoch, optimizer.param_groups[0]["lr"]))
    assert whole.reductions == want and len(want) > 3
    constant = Training(RECIPE.model_copy(update={"plateau": None}), load("wine"))
    for _ in constant.run():
        pass
    changed = int(want[0][0]) + 1  # the first epoch at the lower rate
    assert constant.result.curve[:changed] == whole.result.curve[:changed]
    assert constant.result.curve[changed:] != whole.result.curve[changed:]
    for stop in (4, changed + 2):
        folder = tmp_path / str(stop)
        assert trained(folder, stop).interrupted
        resumed = trained(folder, resume=True)
        assert resumed.result == whole.result and resumed.reductions == whole.reductions
        assert resumed.fingerprint() == whole.fingerprint()
