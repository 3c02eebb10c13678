"""Batch sizes: what the study measures and suggests, how it shows itself, what it refuses, what it leaves alone."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import ravine
from ravine.api import start
from ravine.batches import BatchStudy, Scaled, Size, Speed, batch_study, gradient_noise, knee, scaled_runs, throughput
from ravine.batches.study import sizes_from, suggested
from ravine.decisions import Choices
from ravine.engines.lane import Model
from ravine.errors import UserError
from ravine.models import model_factory
from ravine.racing.spec import RaceSpec
from ravine.racing.statistics import interval
from ravine.rules.rule import make
from ravine.training.train import Training

GROWING = "step:every=6+factor=2"


@pytest.fixture(scope="module")
def study() -> BatchStudy:
    return batch_study("digits", model="softmax", rule="sgd", lr=0.02, epochs=3, seeds=3)


def test_what_is_suggested_was_trained_at_just_that_rate(study: BatchStudy) -> None:
    row = next(size for size in study.sizes if size.batch == study.batch)
    assert row.holds and row.scaled.rate == study.batch_rate == pytest.approx(0.02 * study.batch / 64)
    assert len(row.scaled.losses) == 3 and all(len(losses) == 4 for losses in row.scaled.losses)
    assert study.law == "linear" and study.base == 64 and [s.batch for s in study.sizes] == [64, 128, 256]


def test_a_size_that_keeps_its_rate_falls_behind(study: BatchStudy) -> None:
    last = study.sizes[-1]
    assert min(last.plain.last) > 1.2 * max(last.scaled.last)
    assert last.plain.rate == study.rate


def test_the_noise_grows_against_the_gradient_while_one_trains(study: BatchStudy) -> None:
    first, *_, last = study.moments
    assert (first.epoch, last.epoch) == (0.0, 3.0)
    assert first.scale is not None and last.scale is not None and first.scale.high < last.scale.low
    assert all(moment.slope.mean == pytest.approx(-0.5, abs=0.05) for moment in study.moments)


def test_it_shows_itself(study: BatchStudy, tmp_path: Path) -> None:
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(study)
    text = console.export_text()
    assert "suggested" in text and "noise scale" in text and max(map(len, text.splitlines())) <= 80
    facts = json.loads(json.dumps(study.facts()))
    assert facts["verdict"] == study.verdict and facts["knee"] == knee(study.speeds) and facts["batch"] == study.batch
    page = study.report(tmp_path / "b.html").read_text()
    assert study.verdict in html.unescape(page) and page.count('class="plot"') == 3


def size(batch: int, holds: bool, samples: float | None) -> Size:
    run = Scaled(batch, 0.1, (0.0,), ((1.0,),), 0.5)
    speed = None if samples is None else Speed(batch, samples, samples, samples)
    return Size(batch, run, run, interval([0.0]), holds, speed)


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        ([size(64, True, 100), size(128, True, 200), size(256, True, 300)], 256),
        ([size(64, True, 100), size(128, True, 200), size(256, False, 300)], 128),
        ([size(64, True, 100), size(128, False, 200), size(256, True, 300)], 64),  # a gap ends it
        ([size(64, True, 100), size(128, True, 290), size(256, True, 300)], 128),  # within a tenth: the smaller
        ([size(64, True, 100), size(128, True, 90), size(256, True, 80)], 64),
        ([size(64, True, 100), size(128, True, None)], 64),  # what was not timed is not suggested
    ],
)
def test_the_suggestion_is_the_quickest_size_up_to_which_all_hold(rows: list[Size], want: int) -> None:
    assert suggested(rows).batch == want


def test_sizes_leave_four_steps_an_epoch() -> None:
    assert sizes_from(64, 4 * 512) == [64, 128, 256, 512] and sizes_from(3, 12) == [3]
    with pytest.raises(UserError, match="leaves less than 4 steps an epoch: give 1 to 25"):
        sizes_from(64, 100)


def test_only_sizes_that_ran_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from ravine.batches import speed as module

    problem = ravine.load("wine")
    model = Model(model_factory("softmax", problem.shape, problem.outputs))
    real = module._time  # pyright: ignore[reportPrivateUsage]

    def tight(*given: Any) -> Speed:
        if given[3] > 16:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(*given)

    monkeypatch.setattr(module, "_time", tight)
    speeds, ended = throughput(problem, model, make("sgd", {}), [8, 16, 32, 64], seconds=0.01)
    assert [speed.batch for speed in speeds] == [8, 16] and ended == "batch 32 had no room in memory"
    assert all(speed.low <= speed.samples <= speed.high for speed in speeds)


def test_a_run_that_is_lost_is_told_and_not_suggested() -> None:
    problem = ravine.load("diabetes")
    model = Model(model_factory("mlp:16", problem.shape, problem.outputs))
    base, large = scaled_runs(problem, model, make("sgd", {"lr": 0.3}), 8, [8, 64], 3, range(2), "linear")
    assert not base.lost and "seed 0: loss" in large.lost and large.behind(base) is None


def test_the_noise_of_a_model_of_ones_own_is_measured_and_the_model_stays_as_it_was() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)).train()
    x, y = torch.randn(300, 5), torch.randint(2, (300,))
    model(x).sum().backward()
    state = {n: t.clone() for n, t in model.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    generator = torch.random.get_rng_state()
    noise = gradient_noise(model, functional.cross_entropy, x, y, sizes=(16, 32, 64), draws=16)
    again = gradient_noise(model, functional.cross_entropy, x, y, sizes=(16, 32, 64), draws=16)
    assert noise == again and noise.trace > 0
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True) if p.grad is not None)  # pyright: ignore[reportArgumentType]
    assert torch.equal(generator, torch.random.get_rng_state()) and model.training


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sizes": (8,)}, "two different batch sizes"),
        ({"draws": 2}, "needs 8 minibatches"),
        ({"x": torch.full((20, 3), torch.nan)}, "not finite"),
        ({"x": torch.zeros(19, 3)}, "19 inputs and 20 targets"),
    ],
)
def test_noise_that_tells_nothing_is_refused(changes: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"x": torch.zeros(20, 3), "y": torch.zeros(20, dtype=torch.long), **changes}
    with pytest.raises(UserError, match=words):
        gradient_noise(nn.Linear(3, 2), functional.cross_entropy, given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": "prodigy"}, "no learning rate of its own"),
        ({"seeds": 1}, "needs 2 or more"),
        ({"lr": -1.0}, "positive number"),
        ({"batch": 100}, "leaves less than 4 steps an epoch"),
        ({"epochs": 0}, "give 1 or more"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_anything_runs(changes: dict[str, Any], words: str) -> None:
    merged: dict[str, Any] = {"lr": 0.1, **changes}
    with pytest.raises(UserError, match=words):
        batch_study("wine", **merged)


# --- Growth schedules and sizes as contenders ------------------------------------------------------------------------


def test_a_batch_that_grows_races_against_sizes_that_stay_and_its_recipe_is_the_run() -> None:
    over: dict[str, Any] = {"batch": Choices(choices=[8, 16]), "growth": Choices(choices=["none", GROWING])}
    spec = RaceSpec(
        problem="wine", model="mlp:8", rules=["momentum"], over=over, budget=8, epochs=18, seeds=2, finalists=1,
        defaults=False, widen=False, lanes=4,
    )  # fmt: skip
    race = start(spec, ravine.load("wine"))
    for _ in race.run():
        pass
    searched = [run for run in race.runs if run.candidate.choices and run.stage == "rung"]  # the first has the defaults
    assert len({json.dumps([run.candidate.choices["batch"], run.candidate.choices["growth"]]) for run in searched}) == 4
    grown = next(run for run in searched if run.candidate.choices["growth"])
    sizes = race.designs.of(grown).clock.sizes
    first = grown.candidate.choices["batch"]
    assert sizes[0] == first and sizes[6] == 2 * first and sizes[17] == 4 * first
    recipe = race.designs.recipe(grown.candidate, grown.seed)
    assert recipe.schedule["batch"] == {"name": "step", "every": 6.0, "factor": 2.0} and recipe.batch == first
    alone = Training(recipe, ravine.load("wine"))
    for point in alone.run():
        if point.epoch >= grown.curve[-1].epoch:
            break
    want = [point.valid_loss for point in alone.state.curve][: len(grown.curve)]
    assert [point.valid_loss for point in grown.curve] == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize(
    ("growth", "words"), [("stpe:every=2", "did you mean 'step'"), ("step:every", "every=5"), ("step:evry=2", "every")]
)
def test_a_growth_that_is_none_is_one_sentence(growth: str, words: str) -> None:
    spec = RaceSpec(problem="wine", rules=["sgd"], over={"growth": Choices(choices=[growth])}, epochs=18)
    with pytest.raises(UserError, match=words):
        start(spec, ravine.load("wine"))
