"""Precision: torch's autocast and its scaler, step for step; lanes that leave steps out by themselves; resumed bits."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.engines.precision import CLEAN, SCALE, SKIPPED, Precision
from ravine.errors import UserError
from ravine.models import model_factory
from ravine.problems import load
from ravine.recipe import Recipe, recipe_from
from ravine.rules.rule import make
from ravine.training.train import Training
from ravine.types import Numbers

PROBLEM = load("wine")


def loud(out: Tensor, y: Tensor) -> Tensor:
    """A loss whose gradients overflow in float16 at the first factors."""
    return 100.0 * functional.cross_entropy(out, y)


def model(precision: Numbers, word: str = "mlp:16") -> Model:
    return Model(model_factory(word, PROBLEM.shape, PROBLEM.outputs), precision=Precision(precision))


def minibatch(step: int) -> Tensor:
    return torch.randperm(len(PROBLEM.train), generator=torch.Generator().manual_seed(step))[:16]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_run_is_torchs_autocast_with_its_scaler(precision: Any, rule: str) -> None:
    ours = model(precision)
    lane = ours.lane(make(rule, {"lr": 0.01}), {}, 3)
    theirs = ours.load(lane)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "float16")
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[rule](theirs.parameters(), lr=0.01)
    lanes = Lanes(ours, loud, [lane])
    for step in range(12):
        index = minibatch(step)
        lanes.step(PROBLEM.train, index[None], 0.0)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=Precision(precision).short):
            out = theirs(PROBLEM.train.x[index])
        scaler.scale(loud(out.float(), PROBLEM.train.y[index])).backward()
        scaler.step(optimizer)
        scaler.update()
    state = lanes.export()[0]
    weights = torch.cat([p.detach().reshape(-1) for p in theirs.parameters()])
    assert torch.allclose(state.weights, weights, rtol=1e-5, atol=1e-6)
    assert state.weights.dtype == torch.float32
    if precision == "float16":  # the factor fell until nothing overflowed, and Adam's count did not move meanwhile
        assert float(state.buffers[SCALE]) == scaler.get_scale() < 65536
        assert 0 < int(state.buffers[SKIPPED]) < 12
        assert int(state.buffers[CLEAN]) == 12 - int(state.buffers[SKIPPED])


@pytest.mark.parametrize("rule", ["adam", "muon", "prodigy", "momentum"])
def test_a_lane_leaves_out_its_own_steps_and_no_neighbours(rule: str) -> None:
    ours = model("float16")
    lanes = [ours.lane(make(rule, {}), {}, 3), ours.lane(make(rule, {}), {}, 3)]
    lanes[1].buffers = {**lanes[1].buffers, SCALE: torch.tensor(2.0**30)}  # overflows often before it is low enough
    together, alone = Lanes(ours, functional.cross_entropy, lanes), [
        Lanes(ours, functional.cross_entropy, [lane], together=True) for lane in lanes
    ]  # fmt: skip
    for step in range(25):
        for one in (together, *alone):
            losses = one.step(PROBLEM.train, minibatch(step)[None], 0.0)
            assert torch.isfinite(losses).all()
    found = together.export()
    assert int(found[0].buffers[SKIPPED]) == 0 and int(found[1].buffers[SKIPPED]) > 10
    for row in range(2):
        want = alone[row].export()[0]
        assert torch.allclose(found[row].weights, want.weights, rtol=1e-4, atol=1e-6)
        assert float(found[row].buffers[SCALE]) == float(want.buffers[SCALE])
    assert torch.isfinite(found[1].weights).all() and not torch.equal(found[1].weights, lanes[1].weights)


def test_a_step_left_out_leaves_batch_norm_as_it_was() -> None:
    ours = Model(model_factory("mlp:16", PROBLEM.shape, PROBLEM.outputs, norm="batch"), precision=Precision("float16"))
    lane = ours.lane(make("adam", {}), {}, 3)
    lane.buffers = {**lane.buffers, SCALE: torch.tensor(2.0**40)}
    lanes = Lanes(ours, functional.cross_entropy, [lane])
    lanes.step(PROBLEM.train, minibatch(0)[None], 0.0)
    state = lanes.export()[0]
    assert torch.equal(state.weights, lane.weights)
    same = {n: torch.equal(b, lane.buffers[n]) for n, b in state.buffers.items()}
    assert {n for n, equal in same.items() if not equal} == {SCALE, SKIPPED}


@pytest.mark.parametrize("word", ["mlp:12", "cnn:4,8", "lstm:6"])
def test_lanes_in_bfloat16_stay_with_the_runs_alone(word: str) -> None:
    problem = load("digits")
    ours = Model(model_factory(word, problem.shape, problem.outputs), precision=Precision("bfloat16"))
    lanes = [ours.lane(make("sgd", {"lr": 0.05 * (k + 1)}), {}, k + 3) for k in range(2)]
    index = torch.stack([torch.arange(20), torch.arange(20, 40)])
    together = Lanes(ours, functional.cross_entropy, lanes)
    for _ in range(6):  # recorded and replayed on the way
        together.step(problem.train, index, 0.0)
    for row in range(2):
        alone = Lanes(ours, functional.cross_entropy, [lanes[row]])
        for _ in range(6):
            alone.step(problem.train, index[[row]], 0.0)
        end, other = together.export()[row].weights, alone.export()[0].weights
        assert (end - other).norm() < 0.05 * (end - lanes[row].weights).norm()  # a rounding is 1 part in 256
    exact = Lanes(Model(ours.factory), functional.cross_entropy, [lanes[0]])
    exact.step(problem.train, index[[0]], 0.0)
    short = Lanes(ours, functional.cross_entropy, [lanes[0]])
    short.step(problem.train, index[[0]], 0.0)
    assert not torch.equal(exact.export()[0].weights, short.export()[0].weights)  # it is another arithmetic


RECIPE = Recipe(problem="wine", model="mlp:16:0.2", norm="batch", epochs=6, batch=8, rule={"name": "nadam"}, seed=5)


def trained(recipe: Recipe, folder: Path | None = None, stop_at: int = -1) -> Training:
    running = Training(recipe, PROBLEM, folder)
    for measured, _ in enumerate(running.run()):
        if measured == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
    return running


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float64"])
def test_a_run_resumes_to_the_same_bits_and_learns(tmp_path: Path, precision: str) -> None:
    recipe = RECIPE.model_copy(update={"precision": precision, "accumulate": 2})
    whole = trained(recipe)
    trained(recipe, tmp_path, stop_at=7)
    resumed = Training(recipe, PROBLEM, tmp_path)
    resumed.restore(tmp_path)
    for _ in resumed.run():
        pass
    assert resumed.fingerprint() == whole.fingerprint()
    assert resumed.result.curve == whole.result.curve
    assert whole.result.curve[-1].valid_loss < 0.8 * whole.result.curve[0].valid_loss
    kinds = {p.dtype for p in whole.module.parameters()}
    assert kinds == {torch.float64 if precision == "float64" else torch.float32}


def test_float64_begins_at_the_same_draw_and_keeps_more_digits() -> None:
    wide, plain = model("float64"), model("float32")
    rule = make("sgd", {"lr": 0.1})
    a, b = wide.lane(rule, {}, 3), plain.lane(rule, {}, 3)
    assert torch.equal(a.weights, b.weights.double())
    lanes = Lanes(wide, functional.cross_entropy, [a])
    lanes.step(PROBLEM.train, minibatch(0)[None], 0.0)
    net: nn.Module = plain.load(b).double()
    index = minibatch(0)
    functional.cross_entropy(net(PROBLEM.train.x[index].double()), PROBLEM.train.y[index]).backward()
    want = torch.cat([(p - 0.1 * p.grad).detach().reshape(-1) for p in net.parameters() if p.grad is not None])
    assert torch.allclose(lanes.export()[0].weights, want, rtol=1e-13, atol=1e-15)


def test_a_method_that_compares_losses_refuses_short_numbers() -> None:
    with pytest.raises(UserError, match="precision bfloat16 belongs to rules on minibatches, not to lbfgs"):
        recipe_from({"problem": "wine", "precision": "bfloat16", "rule": {"name": "lbfgs"}}, "here")
    recipe = recipe_from({"problem": "wine", "precision": "float64", "epochs": 1, "rule": {"name": "lbfgs"}}, "here")
    assert {tensor.dtype for tensor in trained(recipe).weights().values()} == {torch.float64}
