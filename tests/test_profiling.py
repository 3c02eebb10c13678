"""A profile: phases that add up, operations that are counted right, and a run that it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ravine.errors import UserError
from ravine.problems import load
from ravine.profiling import Profile, profile
from ravine.profiling.draw import micro, phases, rows, table, write
from ravine.profiling.measure import PHASES
from ravine.recipe import Recipe, recipe_from
from ravine.training.train import Training

RECIPE = Recipe(
    problem="digits", model="mlp:32,16", norm="batch", batch=50, epochs=2,
    penalty=[{"name": "l2", "strength": 1e-4}],
)  # fmt: skip
DIGITS = load("digits")


@pytest.fixture(scope="module")
def found() -> Profile:
    return profile(RECIPE, DIGITS, steps=4)


def test_every_phase_is_there_and_takes_time(found: Profile) -> None:
    assert tuple(found.phases) == PHASES
    assert all(seconds > 0 for seconds in found.phases.values())
    assert sum(float(share[:-1]) for _, _, share in phases(found)) == pytest.approx(100, abs=1)
    assert found.as_run > 0 and found.doubled is not None


def test_operations_and_bytes_of_each_layer_are_those_of_its_shapes(found: Profile) -> None:
    linear = [layer for layer in found.layers if layer.kind == "Linear"]
    sizes = [(64, 32), (32, 16), (16, 10)]
    assert len(linear) == 3 and {layer.kind for layer in found.layers} >= {"Linear", "BatchNorm1d", "ReLU"}
    for place, (layer, (n, m)) in enumerate(zip(linear, sizes, strict=True)):
        products = 2 if place == 0 else 3  # the first layer needs no gradient of its input
        assert layer.operations == products * 2 * 50 * n * m
        assert layer.moved == 4 * (50 * n + 50 * m + layer.parameters)
        assert layer.parameters in (n * m, n * m + m)  # a norm takes the place of a bias
        assert 0 < found.share(layer)[0] < 2 and layer.forward > 0 and layer.backward > 0


def test_the_sentence_names_the_dearest_phase_and_what_was_measured(found: Profile) -> None:
    slow: dict[str, float] = {**dict.fromkeys(PHASES, 0.01), "data": 0.9}
    made = Profile(slow, 1.0, 1.2, found.layers, 0.0, 1e11, 1e10, 50, 10.0)
    assert made.verdict == ("Data takes 93% of the time: fewer or cheaper steps of augmentation, or data in memory.")
    passes = Profile({**slow, "data": 0.01, "forward": 0.9}, 1.0, 1.25, found.layers, 0.0, 1e11, 1e10, 50, 10.0)
    assert "a batch of 100 brings 1.6 times as many samples a second" in passes.verdict
    level = Profile({**slow, "data": 0.01, "forward": 0.9}, 1.0, 1.9, found.layers, 0.0, 1e11, 1e10, 50, 10.0)
    assert "a larger batch brings little (1.1 times" in level.verdict


def test_a_profile_changes_no_later_run_and_no_random_state() -> None:
    def trained() -> Training:
        running = Training(RECIPE, DIGITS)
        for _ in running.run():
            pass
        return running

    before = trained().fingerprint()
    torch.manual_seed(4)
    want = torch.rand(2)
    torch.manual_seed(4)
    profile(RECIPE, DIGITS, steps=2)
    assert torch.equal(torch.rand(2), want)
    assert trained().fingerprint() == before


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_other_precisions_and_models_can_be_profiled(precision: str) -> None:
    recipe = RECIPE.model_copy(update={"precision": precision, "model": "cnn:4", "norm": "auto", "penalty": []})
    made = profile(recipe, DIGITS, steps=2)
    assert {"Conv2d", "Linear"} <= {layer.kind for layer in made.layers}


def test_the_page_and_the_table_hold_every_layer(found: Profile, tmp_path: Path) -> None:
    from rich.console import Console

    page = write(found, "digits · mlp", tmp_path / "p.html").read_text()
    shown = Console(width=80, record=True, file=(tmp_path / "t.txt").open("w"))
    shown.print(table(found))
    text = shown.export_text()
    for row in rows(found):
        assert all(cell.replace("&", "&amp;") in page for cell in row[:4])
        assert row[0] in text
    assert found.verdict.split(";")[0][:60] in page and "http" not in page.split("<script>")[0].replace(
        "http-equiv", ""
    )
    assert max(map(len, text.splitlines())) <= 80
    assert micro(2.0) == "2 s"


def test_a_method_has_no_steps_to_take_apart() -> None:
    recipe: Any = recipe_from({"problem": "digits", "rule": {"name": "lbfgs"}}, "here")
    with pytest.raises(UserError, match="profile takes a step on a minibatch apart, and lbfgs has none"):
        profile(recipe, DIGITS)
