"""Methods as contenders: what they may spend, the same numbers alone, resumed and from a recipe."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ravine import api, report
from ravine.engines.lane import Model
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import Problem, load
from ravine.racing.outcome import winner_recipe
from ravine.racing.race import Race
from ravine.racing.space import make_space, shares
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe, load_recipe
from ravine.report.equation import winner_latex
from ravine.rules.rule import Rule, name_of, values
from ravine.solvers import minimize
from ravine.solvers.method import make
from ravine.solvers.spec import contender_from_spec, contender_to_spec, contenders
from ravine.training.clock import Batches, Clock
from ravine.training.layered import Layered
from ravine.training.whole import Whole
from tests.racing import facts, raced

SMALL: dict[str, Any] = {"budget": 3, "epochs": 18, "rules": ["lbfgs", "sgd"], "seeds": 2, "finalists": 2}


@pytest.fixture(scope="module")
def wine() -> Problem:
    return load("wine")


def drive(run: Whole, problem: Problem, steps: int, batch: int = 16) -> list[tuple[float, Tensor]]:
    """What a run had spent, and its weights, after each step."""
    batches = Batches(Clock(len(problem.train), batch, 1000))
    seen: list[tuple[float, Tensor]] = []
    for _ in range(steps):
        run.step(problem.train, batches.at(run.seeds, run.step_count), 0.0)
        seen.append((run.spent, run.export()[0].weights))
    return seen


def a_whole(problem: Problem, name: str, factory: Any = None) -> Whole:
    model = Model(factory or model_factory("mlp:6", problem.shape, problem.outputs, "tanh"))
    return Whole(model, loss_of(problem), model.lane(make(name, {}), {}, 3))


@pytest.mark.parametrize("name", sorted(contenders().keys() - {"kfac"}))
def test_a_method_has_spent_at_most_what_a_rule_has_at_every_step(name: str, wine: Problem) -> None:
    run = a_whole(wine, name)
    start, samples = run.export()[0].weights, len(wine.train)
    seen = drive(run, wine, 20 if name in ("newton/damped",) else 250)
    for step, (spent, weights) in enumerate(seen, 1):
        assert spent <= step * 16 / samples + 1e-9 or torch.equal(weights, start)
    if name != "newton/damped":  # one Hessian costs as much as all these steps
        assert not torch.equal(seen[-1][1], start)


def test_its_weights_are_those_of_minimize_at_the_same_cost(wine: Problem) -> None:
    run = a_whole(wine, "lbfgs")
    model, lane = run.model, run.export()[0]
    seen = drive(run, wine, 120)

    def f(w: Tensor) -> Tensor:
        return run.loss(functional_call(model.module, model.views(w), (wine.train.x,)), wine.train.y)

    for iterations in (1, 3, 8):
        found = minimize(f, lane.weights, tol=0, max_iterations=iterations)
        [at] = {round(spent, 6) for spent, w in seen if torch.equal(w, found.x)}
        assert at == found.evaluations.equivalents


@pytest.mark.parametrize("name", ["lbfgs", "newton-cg", "gradient-descent", "conjugate-gradient"])
def test_taken_apart_and_made_anew_it_goes_on_to_the_same_bits(name: str, wine: Problem) -> None:
    whole, parts = a_whole(wine, name), a_whole(wine, name)
    for steps in (37, 50, 41):
        expected = drive(whole, wine, steps)
        found = drive(parts, wine, steps)
        assert torch.equal(expected[-1][1], found[-1][1]) and expected[-1][0] == found[-1][0]
        parts = Whole(parts.model, parts.loss, parts.export()[0])


class Odd(nn.Module):
    """Running statistics, dropout, and random numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(13, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(torch.tanh(self.norm(self.first(x))))
        return self.last(h + 0.1 * torch.randn_like(h) if self.training else h)


def test_a_model_with_statistics_dropout_and_noise_of_its_own_is_one_function_through_a_run(wine: Problem) -> None:
    run = a_whole(wine, "lbfgs", Odd)
    before = {name: b.clone() for name, b in run.buffers.items()}
    batches = Batches(Clock(len(wine.train), 16, 1000))
    losses = [run.step(wine.train, batches.at([3], 0), 0.0).item() for _ in range(200)]
    assert all(b <= a for a, b in pairwise(losses)) and losses[-1] < 0.5 * losses[0]
    assert not torch.equal(run.buffers["norm.running_mean"], before["norm.running_mean"])
    assert run.predict(wine.valid.x[:4]).shape == (1, 4, 3)


def test_a_race_ranks_methods_beside_rules_and_says_how_they_ran(wine: Problem, tmp_path: Path) -> None:
    result = facts(raced(wine, **SMALL))
    assert {row.rule for row in result.ranking} == {"lbfgs", "sgd"}
    lbfgs = [run for run in result.runs if run.rule == "lbfgs"]
    assert {run.schedule for run in lbfgs} == {"constant"} and all(run.hypers["history"] == 10 for run in lbfgs)
    assert len([run for run in lbfgs if run.stage == "rung"]) == 1  # there is nothing to draw
    assert any("lbfgs: on the whole training part" in note for note in result.notes)
    page = report.write(result, tmp_path / "r.html").read_text()
    assert "lbfgs" in page and "Note" in page
    alone = result.model_copy(update={"ranking": [row for row in result.ranking if row.rule == "lbfgs"]})
    assert "H_{k+1}" in winner_latex(alone)
    for run in lbfgs:
        if run.stage == "final":
            assert run.valid_loss is not None and run.curve[0].valid_loss > 2 * run.valid_loss


def test_a_race_of_methods_alone_has_as_many_configurations_as_methods(wine: Problem) -> None:
    result = facts(raced(wine, None, **{**SMALL, "rules": ["lbfgs", "conjugate-gradient"]}))
    assert len({run.config for run in result.runs}) == 2 and result.cost.plan == "one after another"


def test_an_interrupted_race_goes_on_to_the_same_result(wine: Problem, tmp_path: Path) -> None:
    expected = facts(raced(wine, **SMALL))
    for stop in (3, 25):
        running = raced_until(stop, wine, tmp_path / str(stop))
        again = Race(running.spec, wine, running.model, running.folder)
        again.restore(tmp_path / str(stop))
        for _ in again.run():
            pass
        found = facts(again)
        assert found.ranking == expected.ranking
        assert [run.curve for run in found.runs] == [run.curve for run in expected.runs]


def raced_until(moments: int, problem: Problem, folder: Path) -> Race:
    from tests.racing import a_race

    running = a_race(problem, folder, **SMALL)
    for count, _ in enumerate(running.run()):
        if count == moments:
            running.stop()
    assert running.interrupted
    return running


def test_the_recipe_of_a_method_repeats_its_run(wine: Problem, tmp_path: Path) -> None:
    running = raced(wine, None, **{**SMALL, "rules": ["lbfgs"]})
    recipe = winner_recipe(running)
    assert recipe is not None and recipe.rule["name"] == "lbfgs" and recipe.schedule == {}
    read = load_recipe(recipe.save(tmp_path / "r.toml"))
    trained = api.train(read, wine, model=running.model.factory)
    final = next(run for run in running.runs if run.stage == "final" and run.seed == read.seed)
    assert trained.result.curve == final.curve


@pytest.mark.parametrize("name", contenders())
def test_every_contender_survives_a_round_trip(name: str) -> None:
    made = contender_from_spec({"name": name})
    assert contender_from_spec(contender_to_spec(made)) == made and name_of(made) == name
    assert not isinstance(made, Rule)


def test_a_recipe_with_a_schedule_for_a_method_is_refused() -> None:
    with pytest.raises(UserError, match="lbfgs has no schedule"):
        Recipe(problem="wine", rule={"name": "lbfgs"}, schedule={"lr": {"name": "cosine"}}).make_schedules()


def test_a_range_that_is_asked_for_is_drawn_from() -> None:
    space = make_space(["lbfgs", "adam"], [], {"history": (5, 20)}, [{"name": "constant"}], 8, 0)
    assert shares(space, 8) == [4, 4]
    space = replace(space, ranges={**space.ranges, "lbfgs": {}})
    assert shares(space, 8) == [1, 7]


def test_kfac_races_on_minibatches_with_drawn_rates_and_repeats_its_run_from_a_recipe(
    wine: Problem, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "rules": ["kfac"],
        "budget": 3,
        "epochs": 6,
        "seeds": 2,
        "model": "mlp:8:0.2",
        "widen": False,
    }
    running = raced(wine, tmp_path / "race", **changes)
    rates = {run.candidate.config: values(run.candidate.rule)["lr"] for run in running.runs}
    assert len(set(rates.values())) == 3 and running.runs[0].candidate.schedule == "cosine"
    assert any("kfac: on minibatches" in note for note in running.notes)
    recipe = winner_recipe(running)
    assert recipe is not None
    trained = api.train(recipe, wine, model=running.model.factory)
    final = next(run for run in running.runs if run.stage == "final" and run.seed == recipe.seed)
    assert trained.result.curve == final.curve
    again = Race(running.spec, wine, running.model, running.folder)
    again.restore(tmp_path / "race")
    assert facts(again).ranking == facts(running).ranking


def test_kfac_taken_apart_and_made_anew_goes_on_to_the_same_bits(wine: Problem) -> None:
    model = Model(Odd)
    lane = model.lane(contender_from_spec({"name": "kfac"}), {}, 3)
    whole, parts = Layered(model, loss_of(wine), lane), Layered(model, loss_of(wine), lane)
    batches = Batches(Clock(len(wine.train), 16, 1000))
    for part in range(3):
        for step in range(7 * part, 7 * part + 7):
            for run in (whole, parts):
                torch.manual_seed(step)
                run.step(wine.train, batches.at([3], step), 0.0)
        parts = Layered(model, loss_of(wine), parts.export()[0])
    expected, found = whole.export()[0], parts.export()[0]
    assert torch.equal(expected.weights, found.weights) and not torch.equal(expected.weights, lane.weights)
    assert expected.slots.keys() == found.slots.keys() and expected.scalars == found.scalars
    kept = [name for name in expected.buffers if name not in model.noise]  # each step sets the keys of its noise
    assert all(torch.equal(expected.buffers[name], found.buffers[name]) for name in kept) and len(kept) == 3


def test_kfac_without_a_layer_to_watch_is_refused_before_the_race(wine: Problem) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(13, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w

    spec = RaceSpec(problem="wine", rules=["kfac"], epochs=2)
    with pytest.raises(UserError, match="no Linear or Conv2d layer"):
        Race(spec, wine, Model(Plain))
