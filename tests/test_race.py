"""The race: halving, fairness between contenders, interruptions that change nothing, the recipe."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ravine.problems import load
from ravine.problems.problem import Part
from ravine.racing.outcome import result_of, winner_recipe
from ravine.racing.race import Moment, Race
from ravine.racing.setup import Setup
from ravine.racing.spec import RaceSpec
from ravine.rules.rule import values
from ravine.training.clock import Clock
from ravine.training.run import Run
from ravine.training.track import Track
from ravine.training.train import Training
from tests.racing import SMALL, a_race, facts, raced

# The halving


@pytest.mark.parametrize("budget", [3, 12, 40])
def test_rungs_grow_by_eta_to_the_whole_run(budget: int) -> None:
    setup = Setup.of(RaceSpec.model_validate({**SMALL, "budget": budget, "epochs": 27}), load("wine"))
    assert setup.rungs[-1] == setup.clock.ticks
    assert all(
        later / sooner == pytest.approx(3, rel=0.2) for sooner, later in zip(setup.rungs, setup.rungs[1:], strict=False)
    )
    assert len(setup.rungs) == {3: 1, 12: 2, 40: 3}[budget]


def test_a_race_halves_repeats_and_looks_once() -> None:
    running = raced(widen=False)
    result = result_of(running)
    assert result.status == "finished"
    assert [count for count, _ in result.rungs] == [12, 4]
    assert result.rungs[-1][1] == 4.0
    short = [run.tick for run in running.runs if run.stage == "rung"]
    assert short.count(running.setup.rungs[0]) == 8
    for row in result.ranking[:2]:
        assert row.finalist and len(row.valid_loss.values) == 3
    assert sum(row.finalist for row in result.ranking) == 2
    assert result.test is not None and len(result.test.values) == 3
    assert [row.rule for row in result.ranking[2:]]


def test_losers_are_those_with_the_higher_loss() -> None:
    running = raced(widen=False)
    first = running.setup.rungs[0]
    rungs = [run for run in running.runs if run.stage == "rung"]
    scores = {run.id: min(p.valid_loss for p in run.curve[1 : first + 1]) for run in rungs}
    went_on = {run.id for run in rungs if run.tick > first}
    assert max(scores[name] for name in went_on) <= min(scores[name] for name in scores if name not in went_on)


def test_contenders_share_seeds_and_initial_draws() -> None:
    running = raced(widen=False)
    rungs = [run for run in running.runs if run.stage == "rung"]
    assert len({run.seed for run in rungs}) == 1
    assert len({run.curve[0].valid_loss for run in rungs}) == 1  # the same weights before the first step
    final = [run for run in running.runs if run.stage != "rung"]
    by_seed = {seed: {run.curve[0].valid_loss for run in final if run.seed == seed} for seed in running.setup.fresh}
    assert all(len(starts) == 1 for starts in by_seed.values())
    assert running.spec.seed not in by_seed and len(by_seed) == 3


@pytest.mark.parametrize("lanes", [1, 5, 64])
def test_the_plan_changes_no_more_than_rounding(lanes: int) -> None:
    want, got = raced(), raced(lanes=lanes)
    assert [run.id for run in got.runs] == [run.id for run in want.runs]
    for one, other in zip(got.runs, want.runs, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3)


def test_diverged_lanes_are_counted_with_a_reason_and_change_no_other() -> None:
    def lost(rates: tuple[float, float]) -> Race:
        return raced(problem=load("diabetes"), rules=["adam", "sgd"], over={"lr": rates}, widen=False, budget=8)

    running = lost((1e-2, 1e9))
    result = result_of(running)
    gone = [run for run in result.runs if run.status == "diverged"]
    assert gone and all("by epoch" in run.reason for run in gone)
    assert all(run.valid_loss is None or math.isfinite(run.valid_loss) for run in result.runs)
    alive = [run for run in running.runs if run.stage == "rung" and not run.diverged]
    assert alive
    for run in alive:
        spec = a_race(problem=load("diabetes"), rules=["adam", "sgd"], widen=False, budget=8)
        alone = Run(
            run.id, run.candidate, run.seed, "rung", spec.model.lane(run.candidate.rule, run.candidate.bound(4), 0)
        )
        for _ in Track([spec.model], spec.loss, spec.problem, spec.clock).go([alone], run.tick):
            pass
        assert alone.score == pytest.approx(run.score, rel=1e-4)


def test_the_test_part_decides_nothing() -> None:
    whole = load("wine")
    poisoned = replace(whole, test=Part(torch.full_like(whole.test.x, torch.nan), whole.test.y))
    want, got = facts(raced(whole)), facts(raced(poisoned))
    assert got.ranking == want.ranking and got.runs == want.runs
    assert want.verdict.startswith(got.verdict)  # beside classical models nothing can be said of samples that are NaN
    assert got.baselines is not None and want.baselines is not None
    assert got.baselines.rows == want.baselines.rows and got.baselines.lead is None
    assert want.test is not None and got.test is not None and got.test != want.test


def test_the_same_race_twice_is_the_same_to_the_bit() -> None:
    assert facts(raced()) == facts(raced())


def test_another_seed_is_another_race() -> None:
    one, other = raced(), raced(seed=1)
    assert {run.seed for run in one.runs}.isdisjoint({run.seed for run in other.runs} - {0})
    assert [values(r.candidate.rule) for r in one.runs] != [values(r.candidate.rule) for r in other.runs]


# Time, interruption, the recipe


def test_a_time_budget_sets_the_number_of_configurations() -> None:
    setup = a_race(budget=None, seconds=10.0).setup
    fast, slow = setup.within(10.0, 1e-5), setup.within(10.0, 1e-3)
    assert fast.budget > slow.budget >= 3
    assert slow.lane_steps * 1e-3 <= 10.0
    assert "Within 10 s fit" in fast.notes[-1]
    assert "Even the smallest race needs" in setup.within(0.001, 1e-3).notes[-1]


def test_a_race_that_is_late_stops_with_what_is_known(tmp_path: Path) -> None:
    running = raced(folder=tmp_path, budget=None, seconds=1e-3)
    assert running.interrupted and running.out_of_time
    assert any("time budget was used up" in note for note in running.notes)
    resumed = a_race(folder=tmp_path, budget=None, seconds=1e-3)
    resumed.restore(tmp_path)
    for _ in resumed.run():
        pass
    assert resumed.phase == "done"


@pytest.mark.parametrize("moment", [0, 3, 11, 25, 31])
def test_stopped_at_any_moment_and_resumed_is_the_uninterrupted_race(tmp_path: Path, moment: int) -> None:
    want = facts(raced())
    running = a_race(folder=tmp_path)
    for place, _ in enumerate(running.run()):
        if place == moment:
            running.stop()
    assert running.interrupted and result_of(running).status == "interrupted"
    resumed = a_race(folder=tmp_path)
    resumed.restore(tmp_path)
    seen: list[Moment] = list(resumed.run())
    assert seen[-1].phase == "done"
    assert facts(resumed) == want


def test_the_recipe_gives_the_finalists_numbers_again() -> None:
    """To 1e-3 relative: a sum in another order, carried through a whole run; the spread over seeds is far larger."""
    running = raced()
    recipe = winner_recipe(running)
    assert recipe is not None
    best = result_of(running).ranking[0]
    again = Training(recipe, load("wine"))
    for _ in again.run():
        pass
    assert again.result.valid_loss == pytest.approx(
        best.valid_loss.values[running.setup.fresh.index(recipe.seed)], rel=1e-3
    )
    spread = best.valid_loss.high - best.valid_loss.low
    assert abs((again.result.valid_loss or 0) - best.valid_loss.values[0]) < 0.01 * spread


def test_moments_tell_how_far_the_race_is() -> None:
    seen = list(a_race().run())
    assert seen[0].phase == "pilot" and seen[-1].phase == "done"
    assert seen[-1].done == 1.0
    assert all(0 <= m.done <= 1 for m in seen)
    assert [m.seconds for m in seen] == sorted(m.seconds for m in seen)


def test_ticks_are_enough_to_stop_losers_early_and_end_at_the_last_step() -> None:
    for clock in (Clock(1000, 10, 1), Clock(1000, 10, 30), Clock(40, 20, 3)):
        assert clock.step_at(clock.ticks) == clock.steps
        assert clock.ticks >= min(18, clock.steps)
        steps = [clock.step_at(tick) for tick in range(clock.ticks + 1)]
        assert steps == sorted(set(steps))
