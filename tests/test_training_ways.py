"""Ways to train a recipe: batch growth, minibatches in parts, snapshots; and what the linter finds before the start."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import ravine
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.optim.snapshots import Ensemble, Snapshots
from ravine.problems import load
from ravine.recipe import Recipe
from ravine.rules.rule import make
from ravine.schedules import Exponential, Step
from ravine.training.clock import Batches, Clock
from ravine.training.lint import lint
from ravine.training.train import Training

GROWING = {"name": "step", "every": 3, "factor": 5.0}


def recipe(**changes: Any) -> Recipe:
    start: dict[str, Any] = {"problem": "wine", "model": "mlp:16:0.2", "epochs": 6, "batch": 8, "seed": 5}
    return Recipe.model_validate({**start, "rule": {"name": "momentum", "lr": 0.05}, **changes})


def trained(made: Recipe, folder: Path | None = None, stop_at: int | None = None, resume: bool = False) -> Training:
    running = Training(made, load(made.problem), folder)
    if resume and folder is not None:
        running.restore(folder)
    for measured, _ in enumerate(running.run()):
        if measured == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
    return running


# --- Batch growth ----------------------------------------------------------------------------------------------------


def test_an_epoch_of_a_growing_batch_has_whole_minibatches_of_one_size_and_sees_each_sample_once() -> None:
    clock = Clock(samples=50, batch=4, epochs=6, growth=Step(2, 3.0))
    assert clock.sizes == (4, 4, 12, 12, 36, 36)
    assert clock.starts == (0, 12, 24, 28, 32, 33, 34) and clock.steps == 34
    batches = Batches(clock)
    seen = [batches.at([4], step)[0] for step in range(clock.steps)]
    assert [len(each) for each in seen] == [4] * 24 + [12] * 8 + [36] * 2
    for begin, end in zip(clock.starts, clock.starts[1:], strict=False):
        epoch = torch.cat(seen[begin:end]).tolist()
        assert len(set(epoch)) == len(epoch)
    assert torch.equal(batches.at([4], 25)[0], Batches(clock).at([4], 25)[0])
    assert [clock.time(step) for step in (0, 6, 24, 26, 33)] == [0, 0.5, 2, 2.5, 5]


@pytest.mark.parametrize("growth", [None, Step(1, 2.0), Exponential(0.5), Step(1, 1e30), Exponential(1e200)])
@pytest.mark.parametrize("samples", [7, 40, 1000])
def test_ticks_divide_any_run(growth: Any, samples: int) -> None:
    clock = Clock(samples, 5, 8, growth)
    steps = [clock.step_at(tick) for tick in range(clock.ticks + 1)]
    assert steps[0] == 0 and steps[-1] == clock.steps and steps == sorted(set(steps))
    assert all(1 <= size <= samples for size in clock.sizes)
    epochs = [clock.epoch_at(tick) for tick in range(0, clock.ticks + 1, clock.ticks_per_epoch)]
    assert epochs == list(range(9))


def test_a_growing_batch_resumes_to_the_same_bits(tmp_path: Path) -> None:
    made = recipe(schedule={"batch": {**GROWING, "every": 2}, "lr": {"name": "cosine"}}, epochs=20)
    whole = trained(made)
    assert trained(made, tmp_path, stop_at=5).interrupted
    resumed = trained(made, tmp_path, resume=True)
    assert resumed.result == whole.result and resumed.fingerprint() == whole.fingerprint()


def curves(**changes: Any) -> NDArray[np.float64]:
    """Training loss of each epoch of four seeds, [seeds, epochs]."""
    given = {"problem": "digits", "model": "softmax", "epochs": 9, "batch": 16, "rule": {"name": "sgd", "lr": 3.0}}
    runs = [trained(Recipe.model_validate({**given, "seed": seed, **changes})) for seed in range(4)]
    ends = [[p.train_loss for p in run.result.curve if p.epoch > 0 and p.epoch == int(p.epoch)] for run in runs]
    return np.array(ends, dtype=np.float64)


def test_row_l5_growing_the_batch_is_decaying_the_rate_within_the_band_of_seeds() -> None:
    decayed = curves(schedule={"lr": {"name": "step", "every": 3, "factor": 0.2}})
    grown = curves(schedule={"batch": GROWING})
    assert np.array_equal(decayed[:, :3], grown[:, :3])  # nothing differs before the first change
    gap = np.abs(decayed.mean(0) - grown.mean(0))
    assert (gap <= decayed.max(0) - decayed.min(0)).all()
    constant = curves()
    gap = np.abs(constant.mean(0) - grown.mean(0))
    assert gap[4] > 2 * (decayed.max(0) - decayed.min(0))[4]  # the band could tell them apart


# --- Minibatches in parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_a_minibatch_in_parts_is_the_same_run(pieces: int) -> None:
    plain = recipe(model="mlp:16", epochs=3)
    one, other = trained(plain), trained(plain.model_copy(update={"accumulate": pieces}))
    for a, b in zip(one.result.curve, other.result.curve, strict=True):
        assert b.valid_loss == pytest.approx(a.valid_loss, rel=1e-5)
        assert b.train_loss == (None if a.train_loss is None else pytest.approx(a.train_loss, rel=1e-5))


def test_parts_draw_noise_of_their_own_and_lanes_share_it() -> None:
    problem = load("wine")
    model, loss = Model(model_factory("mlp:8:0.5", problem.shape, problem.outputs)), loss_of(problem)
    rule = make("sgd", {"lr": 0.1})
    index = torch.arange(12).unsqueeze(0)
    ends: list[torch.Tensor] = []
    for lanes, pieces in ((1, 1), (1, 3), (2, 3)):
        running = Lanes(model, loss, [model.lane(rule, {}, 3) for _ in range(lanes)])
        running.step(problem.train, index, 0.0, pieces)
        ends.append(running.export()[0].weights)
    assert not torch.allclose(ends[0], ends[1], rtol=1e-4)
    assert torch.allclose(ends[1], ends[2], rtol=1e-5, atol=1e-7)


# --- Snapshots -------------------------------------------------------------------------------------------------------


def test_row_l4_snapshots_are_the_weights_at_the_end_of_each_cycle(tmp_path: Path) -> None:
    made = recipe(snapshots=3, epochs=6, model="mlp:16")
    whole = trained(made)
    assert len(whole.state.snapshots) == 3
    rates = [whole.state.snapshots[0].schedules["lr"](t) for t in (0, 1, 2, 3.999, 4)]
    assert rates == pytest.approx([1, 0.5, 1, 0, 1], abs=1e-5)
    first = trained(recipe(epochs=2, model="mlp:16", schedule={"lr": {"name": "cosine"}}))
    assert first.state.lane is not None
    assert torch.allclose(whole.state.snapshots[0].weights, first.state.lane.weights, atol=1e-6)
    assert whole.state.lane is not None
    assert torch.equal(whole.state.snapshots[2].weights, whole.state.lane.weights)
    assert trained(made, tmp_path, stop_at=10).interrupted
    resumed = trained(made, tmp_path, resume=True)
    kept = zip(resumed.state.snapshots, whole.state.snapshots, strict=True)
    assert all(torch.equal(a.weights, b.weights) for a, b in kept)


def test_row_l4_the_ensemble_averages_probabilities_and_is_measured_beside_the_last_snapshot() -> None:
    given = {"problem": "digits", "model": "mlp:32", "epochs": 10, "batch": 32, "snapshots": 5}
    running = trained(Recipe.model_validate({**given, "rule": {"name": "momentum", "lr": 0.1}}))
    part = running.problem.test
    ensemble = running.ensemble
    with torch.no_grad():
        mean = torch.stack([m(part.x).softmax(-1) for m in ensemble.members]).mean(0)
        assert torch.allclose(ensemble(part.x).exp(), mean, atol=1e-6)
    figures = running.compare_snapshots(part)
    assert len(figures) == 6
    right = (mean.argmax(-1) == part.y).double().mean().item()
    assert figures[-1] == (pytest.approx(-mean[torch.arange(len(part)), part.y].log().mean().item(), rel=1e-5), right)
    # Jensen: the loss of the mean is at most the mean of the losses, whatever the luck of the draw
    assert figures[-1][0] <= math.fsum(loss for loss, _ in figures[:-1]) / 5


def test_snapshots_of_a_loop_of_ones_own() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    snapshots = Snapshots(net, cycles=3, steps=12)
    optimizer = ravine.optim.SGD(net.parameters(), lr=0.1, schedules={"lr": snapshots.schedule})
    ended: list[int] = []
    outs: list[torch.Tensor] = []
    x = torch.randn(16, 4)
    for step in range(12):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()
        if snapshots.step():
            ended.append(step)
            outs.append(net.eval()(x).softmax(-1).detach())
            net.train()
    assert ended == [3, 7, 11]
    ensemble = snapshots.ensemble()
    assert torch.allclose(ensemble(x).exp(), torch.stack(outs).mean(0), atol=1e-6)
    again = Snapshots(net, cycles=3, steps=12)
    again.load_state_dict(snapshots.state_dict())
    assert torch.equal(again.ensemble()(x), ensemble(x)) and again.done == 12
    assert torch.allclose(snapshots.ensemble("regression")(x), torch.stack([m(x) for m in ensemble.members]).mean(0))
    with pytest.raises(UserError, match="all 12 steps are done"):
        snapshots.step()
    with pytest.raises(UserError, match="of 3 cycles in 12 steps, not of 2 in 12"):
        Snapshots(net, cycles=2, steps=12).load_state_dict(snapshots.state_dict())
    for make_wrong, words in (
        (lambda: Snapshots(net, 5, 12), "such as 10 for 5"),
        (lambda: Snapshots(net, 2, 4).ensemble(), "no cycle has ended"),
        (lambda: Ensemble([]), "one model at least"),
    ):
        with pytest.raises(UserError, match=words):
            make_wrong()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"snapshots": 4}, "give epochs = 8"),
        ({"snapshots": 2, "schedule": {"lr": {"name": "cosine"}}}, "leave out schedule.lr"),
        ({"accumulate": 9}, "accumulate 9 is more than the 8 samples of a batch"),
        ({"schedule": {"bach": {"name": "step"}}}, "did you mean 'batch'"),
        ({"schedule": {"batch": {"name": "stepp"}}}, "did you mean 'step'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Training(recipe(**changes), load("wine"))


def test_an_average_that_a_recipe_asks_for_is_evaluated() -> None:
    start = {"name": "swa", "swa_start": 40.0}
    made = recipe(model="mlp:8", rule={"name": "momentum", "lr": 0.05, "with": [start]}, epochs=12, patience=5)
    running = trained(made)
    assert running.averaged is not None and running.state.lane is not None
    weights = torch.cat([p.detach().reshape(-1) for p in running.averaged.parameters()])
    assert torch.equal(weights, running.state.lane.slots["average"])
    assert not torch.equal(weights, running.state.lane.weights)
    assert trained(recipe(epochs=1)).averaged is None


# --- Row L6: the linter ----------------------------------------------------------------------------------------------

KERAS = {"factor": 0.2, "patience": 5, "min_lr": 0.001, "dialect": "keras"}
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"schedule": {"lr": {"name": "cosine"}}, "plateau": {"patience": 2}, "patience": 4}, []),
    ({"rule": {"name": "adam"}, "patience": 3, "plateau": KERAS}, ["plateau-min-lr", "plateau-after-stop"]),
    ({"patience": 5, "plateau": {"patience": 5}}, ["plateau-after-stop"]),
    ({"patience": 6, "plateau": {"patience": 5, "dialect": "keras"}}, []),
    ({"plateau": {"eps": 1.0}}, ["plateau-eps"]),
    ({"plateau": {"patience": 30}}, ["plateau-too-patient"]),
    ({"patience": 40}, ["patience-too-long"]),
    ({"schedule": {"lr": {"name": "step", "every": 50}}}, ["schedule-never-acts"]),
    ({"schedule": {"lr": {"name": "constant"}}}, []),
    ({"schedule": {"lr": {"name": "warm-up", "duration": 20}}}, ["warm-up-too-long"]),
    ({"schedule": {"momentum": {"name": "warm-up", "duration": 25}}}, ["warm-up-too-long"]),
    ({"schedule": {"lr": {"name": "cosine", "duration": 10}}}, ["rate-of-zero"]),
    (
        {"schedule": {"lr": {"name": "sequence", "parts": [{"name": "cosine"}, {"name": "constant"}], "until": [20]}}},
        ["part-never-begins"],
    ),
    ({"schedule": {"batch": {"name": "step", "every": 50, "factor": 2.0}}}, ["schedule-never-acts"]),
    ({"schedule": {"batch": {"name": "step", "every": 5, "factor": 5.0}}}, ["batch-capped"]),
    ({"snapshots": 5, "patience": 3}, ["stop-between-snapshots"]),
]


@pytest.mark.parametrize(("changes", "kinds"), CASES, ids=[str(kinds) + str(i) for i, (_, kinds) in enumerate(CASES)])
def test_row_l6_the_linter_finds_what_has_no_effect_and_nothing_else(changes: dict[str, Any], kinds: list[str]) -> None:
    found = lint(recipe(**{"epochs": 20, **changes}), 106)
    assert [finding.kind for finding in found] == kinds
    assert all("\n" not in str(finding) and len(str(finding)) < 200 for finding in found)
