"""Class weights: torch's weighted loss, alone and in lanes; fitted on the training part; both means told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import Problem, from_arrays, load
from ravine.problems.balance import ClassWeights, fitted
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.rules.rule import make
from ravine.training.loop import evaluate_model
from ravine.training.train import Training
from tests.racing import raced

WEIGHTS = (0.3, 2.0, 1.0)
LOGITS = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
OUT = LOGITS.clone().requires_grad_()
Y = torch.arange(40) % 3 * (torch.arange(40) % 5 > 1)


def weighing(loss: str = "auto", over: Any = "weights") -> Problem:
    return replace(load("wine"), loss=loss, class_weights=ClassWeights(WEIGHTS, over))


@pytest.mark.parametrize(
    ("loss", "smoothing"),
    [("auto", 0.0), ("cross_entropy:label_smoothing=0.2", 0.2), ("cross_entropy:smoothing_to_others=0.2", 0.3)],
)
def test_the_loss_and_its_slope_are_torchs(loss: str, smoothing: float) -> None:
    theirs = nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS, dtype=torch.float64), label_smoothing=smoothing)
    ours = loss_of(weighing(loss))
    assert float(ours(OUT, Y).detach()) == pytest.approx(float(theirs(OUT, Y).detach()), rel=1e-12)
    (g,), (h,) = torch.autograd.grad(ours(OUT, Y), [OUT]), torch.autograd.grad(theirs(OUT, Y), [OUT])
    assert torch.allclose(g, h, rtol=1e-12, atol=1e-15)


def test_over_samples_is_the_sum_over_n_and_differs_batch_by_batch() -> None:
    each = nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS, dtype=torch.float64), reduction="none")(LOGITS, Y)
    ours = loss_of(weighing(over="samples"))
    assert float(ours(LOGITS, Y)) == pytest.approx(float(each.mean()), rel=1e-12)
    ratio = [
        float(ours(LOGITS[i : i + 8], Y[i : i + 8]) / loss_of(weighing())(LOGITS[i : i + 8], Y[i : i + 8]))
        for i in (0, 8)
    ]
    assert ratio[0] != pytest.approx(ratio[1], rel=1e-3)


def test_shares_for_labels_and_binary_cross_entropy_are_torchs() -> None:
    shares = torch.rand(40, 3, dtype=torch.float64).softmax(-1)
    theirs = nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS, dtype=torch.float64))
    assert float(loss_of(weighing())(LOGITS, shares)) == pytest.approx(float(theirs(LOGITS, shares)), rel=1e-12)
    w = torch.tensor(WEIGHTS, dtype=torch.float64)[Y]
    each = nn.functional.binary_cross_entropy_with_logits(
        LOGITS, nn.functional.one_hot(Y, 3).double(), reduction="none"
    )
    found = loss_of(weighing("binary_cross_entropy"))(LOGITS, Y)
    assert float(found) == pytest.approx(float((each.mean(1) * w).sum() / w.sum()), rel=1e-12)


def test_balanced_is_scikit_learns_on_the_training_part_alone() -> None:
    problem = load("wine")
    found = fitted("balanced", "weights", problem.train.y, problem.classes, "wine")
    want = compute_class_weight("balanced", classes=np.arange(3), y=problem.train.y.numpy())
    assert found.weights == pytest.approx(tuple(want), rel=1e-12)
    assert fitted({problem.classes[1]: 3}, "weights", problem.train.y, problem.classes, "wine").weights == (1, 3, 1)


@pytest.mark.parametrize(("over", "pieces"), [("weights", 1), ("weights", 3), ("samples", 3)])
def test_lanes_take_the_step_of_the_run_alone_and_parts_that_of_the_whole(over: Any, pieces: int) -> None:
    problem = weighing(over=over)
    model = Model(model_factory("mlp:8", problem.shape, problem.outputs))
    loss = loss_of(problem)
    lanes = [model.lane(make("sgd", {"lr": 0.1 * (k + 1)}), {}, seed) for k, seed in ((0, 1), (1, 2), (2, 1))]
    index = torch.tensor([[0, 3, 5, 50, 60, 61, 80], [9, 8, 7, 6, 5, 4, 3]])
    together = Lanes(model, loss, lanes)
    together.step(problem.train, index, 0.0, pieces)
    for k, lane in enumerate(lanes):
        alone = Lanes(model, loss, [lane])
        alone.step(problem.train, index[[k % 2]], 0.0)
        assert torch.allclose(together.export()[k].weights, alone.export()[0].weights, rtol=1e-5, atol=1e-7)


def test_a_part_is_measured_by_one_mean_over_all_of_it() -> None:
    problem = weighing()
    model = model_factory("mlp:8", problem.shape, problem.outputs)()
    twice = replace(problem.train, x=problem.train.x.repeat(500, 1), y=problem.train.y.repeat(500))  # in several pieces
    whole = nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS))(model(problem.train.x), problem.train.y)
    assert evaluate_model(model, loss_of(problem), problem, twice)[0] == pytest.approx(float(whole.detach()), rel=1e-5)


def uneven() -> Problem:
    """Two overlapping classes, one in ten samples of the second."""
    random = np.random.default_rng(0)
    y = (random.random(1500) < 0.1).astype(int)
    return from_arrays(random.normal(size=(1500, 4)) + 0.7 * y[:, None], y, name="uneven")


def test_balanced_weights_find_the_rare_class() -> None:
    scores: dict[bool, float] = {}
    for weighed in (False, True):
        recipe = Recipe(
            problem="uneven", model="linear", epochs=20, rule={"name": "adam", "lr": 0.05},
            class_weights="balanced" if weighed else None, metrics=["balanced-accuracy"],
        )  # fmt: skip
        running = Training(recipe, uneven())
        for _ in running.run():
            pass
        scores[weighed] = running.result.metrics["balanced-accuracy"] or 0.0
    assert scores[True] > scores[False] + 0.05
    assert Recipe(problem="x", class_weights="balanced").measured == ["balanced-accuracy"]


def test_a_race_weighs_every_lane_and_its_winner_is_repeated() -> None:
    race = raced(class_weights={"class_0": 3.0}, metrics=["f1-macro"])
    assert isinstance(race.spec, RaceSpec) and race.problem.class_weights == ClassWeights((3.0, 1.0, 1.0))
    final = next(run for run in race.runs if run.stage == "final")
    assert all({*point.metrics} == {"f1-macro", "balanced-accuracy"} for run in race.runs for point in run.curve)
    best: Lane | None = final.best
    assert best is not None and final.best_point is not None
    assert evaluate_model(race.model.load(best), race.loss, race.problem, race.problem.valid)[0] == pytest.approx(
        final.best_point.valid_loss, rel=1e-5
    )


@pytest.mark.parametrize(
    ("problem", "loss", "weights", "words"),
    [
        ("diabetes", "auto", "balanced", "numbers, not classes"),
        ("wine", "auto", "even", "write 'balanced'"),
        ("wine", "auto", {"class_9": 1.0}, "did you mean"),
        ("wine", "auto", {"class_0": -1.0}, "0 or more"),
        ("wine", "hinge", "balanced", "not with hinge"),
    ],
)
def test_what_has_no_weights_is_said_in_one_sentence(problem: str, loss: str, weights: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Training(Recipe(problem=problem, loss=loss, class_weights=weights), replace(load(problem), loss=loss))
