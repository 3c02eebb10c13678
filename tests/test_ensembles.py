"""Ensembles: the formula on errors of known correlation and on trained members; kinds; resumed, saved, loaded."""

from __future__ import annotations

import html
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ravine
from ravine.checkpoints import holds
from ravine.ensembles import KINDS, Members, correlation, factor, load, save, study
from ravine.ensembles.measure import combined, errors
from ravine.errors import UserError
from ravine.lab.experiments.averaging import Averaging
from ravine.problems.sampling import resample, visits
from ravine.recipe import Recipe
from ravine.training.train import Training


def recipe(**changes: Any) -> Recipe:
    start: dict[str, Any] = {"problem": "wine", "model": "mlp:16:0.3", "epochs": 4, "batch": 16, "seed": 3}
    return Recipe.model_validate({**start, "rule": {"name": "adam", "lr": 0.01}, **changes})


def trained(made: Recipe, kind: str, count: int = 4, folder: Path | None = None, stop: int | None = None) -> Members:
    members = Members(made, ravine.load(made.problem), kind, count, folder)
    if folder is not None and holds(folder):
        members.restore(folder)
    for measured, _ in enumerate(members.run()):
        if measured == stop:
            os.kill(os.getpid(), signal.SIGINT)
    return members


# --- Row R18: the formula --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_r18_errors_of_known_correlation_average_as_the_formula_says(rho: float) -> None:
    """Ten members' normal errors that share a part: the mean square of k of them, against 1/k + (k - 1)/k rho."""
    draw = np.random.default_rng(7)
    shared, own = draw.normal(size=(1, 40_000)), draw.normal(size=(10, 40_000))
    made = 2.0 * (np.sqrt(rho) * shared + np.sqrt(1 - rho) * own)
    found = correlation(torch.from_numpy(made))
    assert found.square == pytest.approx(4.0, rel=0.02) and found.rho == pytest.approx(rho, abs=0.02)
    for k in (2, 5, 10):
        measured = float((made[:k].mean(0) ** 2).mean()) / 4.0
        assert measured == pytest.approx(factor(k, rho), rel=0.05)


def test_r18_the_variance_of_a_mean_of_independent_predictors_is_one_over_their_number() -> None:
    draw = np.random.default_rng(3)
    for many in (1, 4, 25, 100):
        means = draw.normal(scale=3.0, size=(20_000, many)).mean(1)
        assert float(means.var()) == pytest.approx(9.0 / many, rel=0.05)


@pytest.mark.parametrize("kind", ["seeds", "bagging", "dropout"])
def test_r18_trained_members_gain_what_their_correlation_elsewhere_predicts(kind: str) -> None:
    """Digits: rho from the validation part, the error of 1 to 6 members on the test part, within 5 % of the formula."""
    made = recipe(problem="digits", model="mlp:32:0.2", epochs=5, batch=64)
    found = study(trained(made, kind, 6), test=True)
    assert len(found.levels) == 6 and max(abs(level.off) for level in found.levels) < 0.05
    assert found.levels[-1].measured < 0.97  # there is something to predict
    assert found.levels[-1].squared == pytest.approx(found.whole.squared, rel=1e-6)


def test_r18_members_of_a_regression_gain_it_in_their_squared_error() -> None:
    made = recipe(problem="diabetes", model="mlp:16", epochs=10, batch=32)
    found = study(trained(made, "bagging", 6), test=True)
    assert max(abs(level.off) for level in found.levels) < 0.05
    assert found.levels[0].squared == pytest.approx(float(np.mean([m.squared for m in found.members])), rel=1e-9)


def test_levels_are_means_over_all_choices_of_members() -> None:
    outs, y = torch.randn(4, 30, 1, generator=torch.Generator().manual_seed(1)), torch.zeros(30, 1)
    pairs = [(i, j) for i in range(4) for j in range(i)]
    by_hand = np.mean([float((outs[list(pair)].mean(0) ** 2).mean()) for pair in pairs])
    assert correlation(errors(outs, y, "regression")).error(2) == pytest.approx(by_hand, rel=1e-6)


# --- Members ---------------------------------------------------------------------------------------------------------


def test_a_bootstrap_sample_is_the_seeds_and_every_epoch_visits_it_whole() -> None:
    y = torch.zeros(1000)
    own = resample(4, 1000)
    first, second = (visits("bootstrap", 4, epoch, 0, y) for epoch in (0, 1))
    assert torch.equal(first.sort().values, own.sort().values) and torch.equal(
        second.sort().values, first.sort().values
    )
    assert not torch.equal(first, second) and not torch.equal(own, resample(5, 1000))
    assert 0.58 < len(own.unique()) / 1000 < 0.68  # 1 - 1/e


@pytest.mark.parametrize("kind", ["seeds", "bagging"])
def test_a_member_is_the_run_of_its_seed_alone(kind: str) -> None:
    members = trained(recipe(), kind, 3)
    for seed, module in zip(members.seeds, members.modules, strict=True):
        alone = Training(members.recipe.model_copy(update={"seed": seed}), ravine.load("wine"))
        for _ in alone.run():
            pass
        for name, tensor in alone.module.state_dict().items():
            assert torch.allclose(tensor.float(), module.state_dict()[name].float(), atol=1e-4), name


def test_bagging_makes_members_err_more_apart_than_seeds_do() -> None:
    made = recipe(problem="digits", model="mlp:32", epochs=5, batch=64)
    rho = {kind: study(trained(made, kind, 5)).rho for kind in ("seeds", "bagging")}
    assert rho["bagging"] is not None and rho["seeds"] is not None and rho["bagging"] < rho["seeds"]


@pytest.mark.parametrize("kind", ["bagging", "snapshots"])
def test_a_killed_ensemble_goes_on_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    whole = trained(recipe(), kind, 4)
    folder = tmp_path / "e"
    assert trained(recipe(), kind, 4, folder, stop=3).interrupted
    again = trained(recipe(), kind, 4, folder)
    assert again.finished and not again.interrupted
    for one, other in zip(whole.modules, again.modules, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_checkpoint_of_another_ensemble_is_refused(tmp_path: Path) -> None:
    trained(recipe(), "seeds", 3, tmp_path)
    with pytest.raises(UserError, match="of another ensemble"):
        trained(recipe(), "seeds", 4, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_ensemble_is_one_model_that_says_what_its_members_say(kind: str, tmp_path: Path) -> None:
    members = trained(recipe(), kind, 4)
    save(members, tmp_path)
    x = members.problem.test.x
    outs = members.outputs(x)
    wanted = outs[-1] if kind == "swa" else combined(outs, "classification")
    with torch.no_grad():
        assert torch.allclose(load(tmp_path)(x), wanted, atol=1e-6)


def test_a_saved_ensemble_that_was_altered_is_refused(tmp_path: Path) -> None:
    save(trained(recipe(), "seeds", 2), tmp_path)
    first, second = tmp_path / "member-1.safetensors", tmp_path / "member-2.safetensors"
    second.write_bytes(first.read_bytes())
    with pytest.raises(UserError, match="not the weights that were saved"):
        load(tmp_path)
    (tmp_path / "ensemble.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path)


def test_costs_are_counted_in_gradients_of_a_sample() -> None:
    for kind, runs in (("bagging", 4), ("dropout", 1)):
        found = study(trained(recipe(), kind, 4))
        assert found.alone == 4 * (106 // 16) * 16 and found.gradients == runs * found.alone and found.passes == 4


def test_the_mean_of_weights_is_that_of_the_last_quarter() -> None:
    members = trained(recipe(batch=8, epochs=8), "swa")
    steps = members.clock.steps
    assert members.recipe.rule["with"] == [{"name": "swa", "swa_start": float(int(0.75 * steps))}]
    last, averaged = (module.state_dict() for module in members.modules)
    assert any(not torch.equal(last[name], averaged[name]) for name in last)


# --- What it shows ---------------------------------------------------------------------------------------------------


def test_it_shows_itself_in_a_terminal_as_json_and_as_a_page(tmp_path: Path) -> None:
    from rich.console import Console

    found = study(trained(recipe(), "bagging", 3))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(found)
    text = console.export_text()
    assert "ensemble of 3" in text and "by the formula" in text and max(map(len, text.splitlines())) <= 80
    facts = json.loads(json.dumps(found.facts()))
    assert [level["size"] for level in facts["levels"]] == [1, 2, 3] and facts["verdict"] == found.verdict
    page = found.report(tmp_path / "e.html").read_text()
    assert '"dtick": 1' in page  # a mark for each number of members, none between
    assert found.verdict in html.unescape(page) and "data-gain" in page and "https:" not in page.split("<script>")[0]


def test_the_lab_puts_the_formula_to_the_test_over_repetitions() -> None:
    found = Averaging().run("quick", 3)
    assert [row.name for row in found.rows] == ["seeds alone", "bootstrap samples"] and len(found.checks) == 4
    off = [check for check in found.checks if "formula" in check.says]
    assert len(off) == 2 and all(check.answer == "yes" for check in off)
    assert all(0.5 < cell.mean < 1.0 for row in found.rows for name, cell in row.cells.items() if name == "rho")
