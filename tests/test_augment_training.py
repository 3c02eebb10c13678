"""Augmented and preprocessed training: the same bits after an interruption, alone and in company; races; commands."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn import functional

from ravine import UserError, load_recipe, train
from ravine.api import prepare
from ravine.cli import main
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.models import model_factory, probe
from ravine.problems import Problem, load
from ravine.problems.prepare import prepared
from ravine.problems.preprocess import load_inputs
from ravine.racing.outcome import result_of, winner_recipe
from ravine.recipe import Recipe, recipe_from
from ravine.rules.rule import make
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.train import Training
from tests.racing import a_race, raced

MIX: list[dict[str, Any]] = [{"name": "crop", "pad": 1}, {"name": "noise"}, {"name": "mixup"}]
CALM: list[dict[str, Any]] = [{"name": "translate"}, {"name": "erase"}]


def digits(augment: list[dict[str, Any]]) -> Problem:
    return prepared(load("digits", rows=300), None, augment)


@pytest.mark.parametrize("augment", [MIX, CALM])
def test_each_seed_sees_its_own_minibatch_whatever_the_company(augment: list[dict[str, Any]]) -> None:
    problem = digits(augment)
    clock = Clock(len(problem.train), 16, 4)
    part, index = Feed(problem, clock).at([7, 3], 13)
    alone, own = Feed(problem, clock).at([3], 13)
    assert part.x[index[1]].equal(alone.x[own[0]]) and part.y[index[1]].equal(alone.y[own[0]])
    assert not part.x[index[0]].equal(part.x[index[1]])
    plain, places = Feed(replace(problem, augment=None), clock).at([3], 13)
    assert plain is problem.train and not plain.x[places[0]].equal(alone.x[own[0]])
    if augment is CALM:
        assert plain.y[places[0]].equal(alone.y[own[0]])


def test_a_sample_is_changed_anew_in_each_epoch() -> None:
    problem = digits([{"name": "noise"}])
    clock = Clock(len(problem.train), len(problem.train), 2)  # a minibatch is an epoch
    feed = Feed(problem, clock)
    first, second = (feed.at([3], epoch)[0].x[feed.batches.at([3], epoch)[0].argsort()] for epoch in (0, 1))
    torch.testing.assert_close(first, problem.augmented(torch.arange(len(problem.train)), 3, 0).x)
    torch.testing.assert_close(second, problem.augmented(torch.arange(len(problem.train)), 3, 1).x)
    assert not bool((first == second).flatten(1).all(1).any())


def test_a_lane_is_the_same_run_alone() -> None:
    problem = digits(MIX)
    clock = Clock(len(problem.train), 16, 3)
    model = Model(model_factory("cnn:4", problem.shape, problem.outputs))
    lanes = [model.lane(make(name, {}), {}, seed) for name, seed in (("adam", 1), ("sgd", 2), ("adam", 2))]
    together, alone = (Lanes(model, functional.cross_entropy, some) for some in (lanes, lanes[1:2]))
    for each in (together, alone):
        feed = Feed(problem, clock)
        for step in range(8):
            each.step(*feed.at(each.seeds, step), clock.time(step))
    torch.testing.assert_close(together.export()[1].weights, alone.export()[0].weights, rtol=1e-5, atol=1e-6)


def recipe(**changes: Any) -> Recipe:
    plain: dict[str, Any] = {"problem": "digits", "model": "cnn:4", "epochs": 2, "batch": 32, "augment": MIX}
    return recipe_from({**plain, **changes}, "recipe")


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    problem = load("digits", rows=300)
    whole, half = Training(recipe(), problem), Training(recipe(), problem, tmp_path)
    for _ in whole.run():
        pass
    for point in half.run():
        if point.epoch >= 1:
            os.kill(os.getpid(), signal.SIGINT)
    assert half.interrupted
    resumed = Training(recipe(), problem)
    resumed.restore(tmp_path)
    assert 0 < resumed.state.tick < whole.clock.ticks
    for _ in resumed.run():
        pass
    assert resumed.fingerprint() == whole.fingerprint()
    assert whole.fingerprint() != _fingerprint(recipe(augment=[]), problem)


def _fingerprint(wanted: Recipe, problem: Problem) -> str:
    other = Training(wanted, problem)
    for _ in other.run():
        pass
    return other.fingerprint()


def test_mixed_labels_reach_the_loss() -> None:
    """The training loss of an untrained net on mixed labels is the mean of both classes' losses, in their shares."""
    problem = digits([{"name": "mixup", "alpha": 1.0}])
    clock = Clock(len(problem.train), 32, 2)
    model = Model(model_factory("softmax", problem.shape, problem.outputs))
    lanes = Lanes(model, functional.cross_entropy, [model.lane(make("sgd", {}), {}, 0)])
    part, index = Feed(problem, clock).at([0], 0)
    chances = model.load(lanes.export()[0])(part.x).log_softmax(-1)
    expected = -(part.y * chances).sum(-1).mean()
    assert part.y.shape == (32, 10) and int((part.y > 0.01).sum()) > 40
    torch.testing.assert_close(lanes.step(part, index, 0.0)[0], expected.detach())


def test_a_race_of_augmented_contenders_hands_over_their_recipe() -> None:
    wanted: dict[str, Any] = {"model": "mlp:16", "augment": CALM, "preprocess": ["centre"]}
    problem = load("digits", rows=200)
    running = raced(problem, **wanted, rules=["adam", "sgd"], budget=4, epochs=2, seeds=2, finalists=1)
    won = winner_recipe(running)
    assert won is not None and won.augment == CALM and won.preprocess == ["centre"]
    assert "augmented by translate, erase" in result_of(running).understood
    best = next(run for run in running.runs if run.stage == "final" and run.seed == won.seed)
    again = train(won, problem)
    assert again.result.valid_loss == pytest.approx(best.result("finished").valid_loss, rel=1e-4)


def test_preparing_twice_is_preparing_once_and_black_stays_black() -> None:
    one = prepared(load("digits", rows=200), ["scale"], CALM)
    assert prepared(one, ["scale"], CALM) is one and prepared(one, None, []) is one
    other = prepared(prepared(load("digits", rows=200), None, CALM), ["scale"], CALM)
    ids = torch.arange(20)
    torch.testing.assert_close(other.augmented(ids, 0, 0).x, one.augmented(ids, 0, 0).x)
    assert sum(words.startswith("augmented by") for words in other.understood) == 1


def test_a_model_meets_its_inputs_as_preprocessed() -> None:
    wanted = recipe(problem="wine", model="mlp:8", augment=[{"name": "noise"}], preprocess=["whiten-pca"])
    trained = train(wanted)
    inputs = trained.problem.inputs
    assert inputs is not None and inputs.names == ("whiten-pca",)
    assert prepare("wine", wanted=wanted).train.x.equal(trained.problem.train.x)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"augment": [{"name": "flp"}]}, "recipe: unknown step of augment 'flp': did you mean 'flip'?"),
        ({"preprocess": ["whiten"]}, "recipe: unknown step of preprocess 'whiten'"),
        ({"rule": {"name": "lbfgs"}}, "augment changes minibatches, and lbfgs takes the whole training part"),
        ({"problem": "wine", "model": "mlp:8"}, "crop is for images, and wine holds rows of 13 columns"),
        ({"augment": [{"name": "crop", "pad": 8}]}, "pad 8 must be less than the 8 pixels of the image"),
        ({"augment": [{"name": "scale-crop", "size": 6}]}, "the images stay 8x8 at validation"),
        ({"preprocess": ["whiten-zca"]}, "augment works on pixels, which whitening mixes"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        train(recipe(**changes))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_methods_on_the_whole_part_do_not_race_augmented() -> None:
    with pytest.raises(UserError, match="lbfgs takes the whole training part"):
        a_race(load("digits", rows=200), augment=CALM, rules=["adam", "lbfgs"], model="mlp:4")


def test_a_loss_that_takes_no_shares_is_named() -> None:
    def picky(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.nll_loss(out.log_softmax(-1), y)

    problem = prepared(replace(load("digits", rows=200), loss=picky), None, MIX)
    with pytest.raises(UserError, match="loss picky"):
        probe(model_factory("mlp:4", problem.shape, problem.outputs), problem, "mlp:4")


def call(*arguments: str) -> int:
    """The exit code of `ravine ...`."""
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["ravine", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    return 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


@pytest.mark.parametrize("steps", ["rotate:20,erase", "crop:1,mixup"])
def test_a_preview_is_drawn(home: Path, steps: str) -> None:
    small, large = home / "small.png", home / "large.png"
    assert call("data", "show", "digits", "--augment", steps, "--rows", "2", "--columns", "3", "--out", str(small)) == 0
    assert call("data", "show", "digits", "--augment", steps, "--rows", "3", "--out", str(large)) == 0
    with Image.open(small) as one, Image.open(large) as other:
        assert one.size[0] < other.size[0] and one.size[1] < other.size[1]
        assert len(one.getcolors(100_000) or []) > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "show", "wine"), "flip is for images, and wine holds rows of 13 columns"),
        (("data", "show", "wine", "--augment", "noise"), "wine holds no images"),
        (("data", "show", "digits", "--augment", "rotat"), "did you mean 'rotate'?"),
        (("data", "show", "digits", "--augment", "crop:9"), "pad 9 must be less than the 8 pixels"),
        (("race", "wine", "--augment", "flip"), "flip is for images"),
        (("race", "wine", "--preprocess", "whiten"), "unknown step of preprocess 'whiten'"),
    ],
)
def test_mistakes_on_the_command_line(
    home: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and list(home.iterdir()) == []


def test_steps_are_listed_with_their_settings(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", "steps") == 0
    said = capsys.readouterr().out
    assert "pad=4 p=1" in said and "[low, high]" in said and "whiten-zca" in said


def test_a_run_leaves_its_preprocessing_for_prediction(home: Path) -> None:
    text = 'problem = "digits"\nmodel = "softmax"\nepochs = 1\npreprocess = ["scale"]\naugment = [{name = "noise"}]\n'
    (home / "recipe.toml").write_text("ravine = 1\n" + text)
    assert call("train", "recipe.toml", "--out", "run") == 0
    inputs, wanted = load_inputs(home / "run"), load_recipe(home / "run" / "recipe.toml")
    assert inputs.names == ("scale",) and wanted.augment == [{"name": "noise"}] and wanted.preprocess == ["scale"]
