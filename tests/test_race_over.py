"""Races over any decision: what lanes share, what makes another program, and the recipe that comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ravine
from ravine import api
from ravine.decisions import Choices, Decision, Field, Range, decision, names, values_from
from ravine.errors import UserError
from ravine.racing.race import Race
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe
from ravine.training.train import Training

OVER: dict[str, Any] = {
    "dropout": (0.0, 0.6), "l2": (1e-6, 1e-2), "label_smoothing": (0.0, 0.3), "init": ["he", "orthogonal"],
    "activation": ["relu", "tanh"], "gaussian": (0.0, 0.3),
}  # fmt: skip


def started(**changes: Any) -> Race:
    plan: dict[str, Any] = {
        "problem": "wine", "model": "mlp:8", "rules": ["sgd", "adam"], "budget": 10, "epochs": 3, "batch": 16,
        "seeds": 2, "finalists": 1, "lanes": 8, "workers": 1, "over": OVER,
    }  # fmt: skip
    spec = RaceSpec.model_validate(plan | changes)
    return api.start(spec, api.prepare(spec.problem, spec.target, spec.split_seed, spec.loss))


def raced(folder: Path | None = None, **changes: Any) -> Race:
    running = started(**changes)
    running.saving.folder = folder
    for _ in running.run():
        pass
    return running


@pytest.fixture(scope="module")
def race() -> Race:
    return raced()


def _read(made: Decision, value: Any) -> Any:
    assert isinstance(made, Field)
    return made.read(value)


def test_every_decision_is_an_edit_that_can_be_read_back() -> None:
    values: dict[str, Any] = {
        "activation": "tanh", "augment": "flip+crop:2", "batch": "32", "init": "he", "loss": "hinge", "model": "mlp:4",
        "norm": "layer", "norm_place": "after", "preprocess": "centre+scale", "sampling": "cyclic",
        "growth": "step:every=5+factor=2",
    }  # fmt: skip
    shares = ("dropout", "dropconnect", "standard-dropout", "spatial-dropout", "stochastic-depth", "prune")
    plain = Recipe(problem="wine")
    for name in (*names(), "dropout@input", "dropout.keep", "l2@*.bias"):
        made = decision(name)
        value = values.get(name, 0.25 if name.startswith(shares) or "smoothing" in name else 0.5)
        edited = made.apply(plain, value)
        assert edited != plain and plain == Recipe(problem="wine"), name
        read = made.now(edited)
        assert read == (value if name not in values else _read(made, value)), name
        if name not in ("tie",):  # which needs the pattern of a second set
            edited.check()
    for name in ("l2", "dropout", "label_smoothing"):
        made = decision(name)
        assert made.now(plain) == 0 and made.now(made.apply(made.apply(plain, 0.3), 0.0)) == 0
    assert decision("init").apply(plain, "none").init is None and decision("augment").apply(plain, "none").augment == []
    both = decision("dropout").apply(decision("dropout@input").apply(plain, 0.2), 0.5)
    assert [(spec.get("on"), spec["drop"]) for spec in both.noise] == [("input", 0.2), (None, 0.5)]


def test_values_are_read_from_python_and_back_from_json() -> None:
    over = {"lr": (1e-4, 1e-1), "batch": [16, 32], "init": ["he", None]}
    spec = RaceSpec.model_validate({"problem": "wine", "over": over})
    again = RaceSpec.model_validate(json.loads(spec.model_dump_json()))
    assert again == spec and isinstance(again.over["batch"], Choices) and isinstance(again.over["lr"], Range)
    assert values_from({"low": 1, "high": 2}) == Range(low=1, high=2)


def test_lanes_share_a_program_but_for_what_makes_another(race: Race) -> None:
    drawn = [run for run in race.runs if run.stage == "rung" and run.candidate.choices]
    worlds = {id(race.designs.of(run)): race.designs.of(run) for run in drawn}
    assert len(worlds) == 2 and len({run.candidate.choices["activation"] for run in drawn}) == 2
    lanes = [race.designs.lane(run.candidate, 0) for run in drawn]
    for lane, run in zip(lanes, drawn, strict=True):
        wanted, held = run.candidate.choices, lane.buffers
        assert float(held["penalty|0|strength"]) == pytest.approx(wanted["l2"])
        assert float(held["penalty|loss|label_smoothing"]) == pytest.approx(wanted["label_smoothing"])
        assert float(held["2.noise_behind.0.p"]) == pytest.approx(wanted["dropout"])
        assert float(held["noise_before.0.std"]) == pytest.approx(wanted["gaussian"])
    by_init = {run.candidate.choices["init"]: lane.weights for lane, run in zip(lanes, drawn, strict=True)}
    assert not torch.equal(by_init["he"], by_init["orthogonal"])
    same = [lane for lane, run in zip(lanes, drawn, strict=True) if run.candidate.choices["init"] == "he"]
    assert all(torch.equal(lane.weights, same[0].weights) for lane in same)  # common random numbers


def test_every_lane_is_its_recipe_trained_alone(race: Race) -> None:
    """Whatever a configuration decides, its recipe alone has its curve, measured by the loss that all share."""
    finals = [run for run in race.runs if run.stage != "rung"]
    others = [run for run in race.runs if run.stage == "rung" and run.candidate.choices][:3]
    assert len({run.candidate.config for run in (*finals, *others)}) >= 4
    for run in (*finals, *others):
        recipe = race.designs.recipe(run.candidate, run.seed)
        alone = Training(recipe, api.prepare("wine", loss=recipe.loss))
        for _ in alone.run():
            pass
        mine = [point.valid_loss for point in run.curve]
        theirs = [point.valid_loss for point in alone.state.curve][: len(mine)]
        assert mine == pytest.approx(theirs, rel=2e-5), run.id
        assert (recipe.criterion == "cross_entropy") is (recipe.loss not in ("auto", "cross_entropy"))


def test_losses_are_compared_by_one_criterion() -> None:
    race = raced(over={"loss": ["cross_entropy", "hinge"]}, rules=["adam"], budget=6)
    starts = {run.candidate.choices.get("loss"): run.curve[0].valid_loss for run in race.runs if run.stage == "rung"}
    assert len(starts) == 3 and len(set(starts.values())) == 1
    trained = {run.candidate.choices.get("loss"): run.curve[1].train_loss for run in race.runs}
    assert len(set(trained.values())) > 1
    with pytest.raises(UserError, match="criterion mse is for regression"):
        Recipe(problem="wine", loss="hinge", criterion="mse").check()


def test_the_winner_takes_its_decisions_home(race: Race, tmp_path: Path) -> None:
    out = api.outcome(race)
    assert out.winner is not None
    row = out.result.ranking[0]
    written = out.winner.recipe.save(tmp_path / "w.toml")
    again = ravine.train(ravine.load_recipe(written))
    assert again.result.valid_loss == pytest.approx(row.valid_loss.values[0], rel=2e-5)
    x = again.problem.valid.x
    torch.testing.assert_close(out.winner.models[0](x), again.module(x), rtol=1e-3, atol=1e-4)
    made = out.result.importance
    assert made is not None and {"lr", "rule", *OVER} <= {one.decision for one in made.shares}
    assert set(out.result.decisions) == set(OVER) and out.result.decisions["dropout"].base == 0


def test_a_stopped_race_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    over = {"batch": [16, 32], "dropout": (0.1, 0.5), "init": ["he", None]}
    whole = raced(over=over, epochs=18, budget=6, rules=["momentum"])
    stopped = started(over=over, epochs=18, budget=6, rules=["momentum"])
    stopped.saving.folder = tmp_path / "r"
    for moment in stopped.run():
        if moment.phase == "finals":
            stopped.stop()
    assert stopped.interrupted
    resumed = api.resume(tmp_path / "r")
    for _ in resumed.run():
        pass
    assert [run.curve for run in resumed.runs] == [run.curve for run in whole.runs]
    assert [run.candidate.choices for run in resumed.runs] == [run.candidate.choices for run in whole.runs]


def test_batches_differ_in_steps_and_are_measured_alike() -> None:
    race = raced(over={"batch": [16, 32, 48]}, epochs=18, budget=6, rules=["momentum"], defaults=False)
    clocks = {run.candidate.choices.get("batch"): race.designs.of(run).clock for run in race.runs}
    assert clocks[16].steps > clocks[48].steps and len({clock.ticks for clock in clocks.values()}) == 1


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"dropuot": (0.1, 0.5)}, "did you mean 'dropout'"),
        ({"dropout": (0.1, 1.0)}, r"--over dropout=1.0: .*drop must lie in \(0, 1\)"),
        ({"l2": (-1.0, 1.0)}, "strength must be positive"),
        ({"init": ["he", "xavir"]}, "did you mean 'xavier'"),
        ({"init": (0.1, 0.5)}, "words have no range"),
        ({"activation": ["relu", "rele"]}, "did you mean 'relu'"),
        ({"model": ["mlp:8", "cnn:8"]}, "needs images"),
        ({"norm": ["none", "group:3"]}, "8 channels do not fall into 3 equal groups"),
        ({"batch": ["16", "many"]}, "--over batch=many"),
        ({"batch": [16, 512]}, "more than the 10"),
        ({"batch": [16, 64]}, "too few steps in an epoch"),
        ({"loss": ["hinge", "mse"]}, "does not fit wine"),
        ({"loss": ["hinge"], "label_smoothing": (0.0, 0.1)}, "label_smoothing belongs to cross_entropy"),
        ({"label_smoothing": (0.0, 0.1), "smoothing_to_others": (0.0, 0.1)}, "two conventions of one thing"),
        ({"l2.strenth": (0.1, 0.5)}, "unknown setting of l2 'strenth': did you mean 'strength'"),
        ({"elastic-net.l1_ratio": (0.1, 0.5)}, "no elastic-net is there to set it of"),
        ({"dropout@encoder": (0.1, 0.5)}, "no module is named encoder"),
        ({"stochastic-depth": (0.1, 0.5)}, "has no residual branches"),
        ({"augment": ["none", "flip"]}, "--over augment="),
        ({"preprocess": ["centre", "centr"]}, "did you mean 'centre'"),
        ({"dropout": ["many", "few"]}, "'many' is no number"),
        ({"lr": ["fast", "slow"]}, "'fast' is no number"),
        ({"l2": [0.1, "0"], "l1-proximal": (1e-4, 1e-2), "init": []}, "give one value at least"),
    ],
)
def test_a_decision_that_cannot_be_is_one_sentence_before_anything_starts(over: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        started(over=over)
    assert "\n" not in str(error.value)


def test_smoothing_of_numbers_and_of_a_loss_of_ones_own_is_refused() -> None:
    with pytest.raises(UserError, match="labels of classes are smoothed, and diabetes has numbers"):
        started(problem="diabetes", over={"label_smoothing": (0.0, 0.2)})
    with pytest.raises(UserError, match="the loss is a function of your own"):
        ravine.race(
            "wine", loss=torch.nn.functional.cross_entropy, over={"loss": ["hinge", "logistic"]}, progress=False
        )
