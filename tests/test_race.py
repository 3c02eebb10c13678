"""The race: what its numbers allow to be said, its halving, and that nothing but the contenders makes a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ravine.engines.lane import Model
from ravine.errors import UserError
from ravine.models import model_factory
from ravine.problems import Problem, load
from ravine.problems.problem import Part
from ravine.race.outcome import result_of, winner_recipe
from ravine.race.race import Moment, Race
from ravine.race.ranking import ranking
from ravine.race.setup import Setup
from ravine.race.space import draw, make_space, widen
from ravine.race.spec import RaceSpec
from ravine.race.statistics import change, interval, paired
from ravine.race.verdict import verdict
from ravine.results import Cost, Point, RaceResult, Stage
from ravine.rules.rule import make, name_of, values
from ravine.training.clock import Clock
from ravine.training.track import Candidate, Origin, Run, Track
from ravine.training.train import Training

SMALL: dict[str, Any] = {
    "problem": "wine", "model": "mlp:8", "rules": ["adam", "sgd", "momentum"], "budget": 12, "epochs": 4, "batch": 16,
    "seeds": 3, "finalists": 2, "lanes": 64,
}  # fmt: skip


def a_race(problem: Problem | None = None, folder: Path | None = None, **changes: Any) -> Race:
    spec = RaceSpec(**{**SMALL, **changes})
    made = problem or load(spec.problem)
    return Race(spec, made, Model(model_factory(spec.model, made.shape, made.outputs)), folder)


def raced(problem: Problem | None = None, folder: Path | None = None, **changes: Any) -> Race:
    running = a_race(problem, folder, **changes)
    for _ in running.run():
        pass
    return running


def facts(running: Race) -> RaceResult:
    """The result without what differs from one time to the next: dates and durations."""
    found = result_of(running)
    cost = found.cost.model_copy(update={"seconds": 0.0, "plan_timings": {}})
    return found.model_copy(update={"created": "", "cost": cost})


def a_run(rule: str, config: int, stage: Stage, seed: int, loss: float, origin: Origin = "drawn", tick: int = 3) -> Run:
    """A run whose curve falls to that loss; infinite: it diverged."""
    made = make(rule, {}) if origin == "default" else make(rule, {"lr": 0.01 * (config + 1)})
    run = Run(f"c{config}-s{seed}-{stage}", Candidate(config, made, {}, origin), seed, stage, None, 0, tick)
    run.curve = [Point(epoch=0, train_loss=None, valid_loss=2.0, metric=0.1)]
    if math.isfinite(loss):
        run.curve.append(Point(epoch=1, train_loss=loss, valid_loss=loss, metric=1 - loss))
    else:
        run.diverged = "loss became NaN by epoch 1"
    return run


def finals(losses: dict[str, Sequence[float]], default: dict[str, Sequence[float]] | None = None) -> list[Run]:
    """The runs of a race: each rule by one run of the rungs, then over seeds, with its defaults beside it."""
    runs: list[Run] = []
    for place, (rule, own) in enumerate(losses.items()):
        runs.append(a_run(rule, place, "rung", 0, min(own)))
        runs += [a_run(rule, place, "final", 10 + seed, loss) for seed, loss in enumerate(own)]
        other = (default or {}).get(rule, [])
        runs += [a_run(rule, 90 + place, "default", 10 + seed, loss, "default") for seed, loss in enumerate(other)]
    return runs


def said(runs: Sequence[Run]) -> str:
    """The verdict on a race of these runs."""
    cost = Cost(seconds=1.0, lane_steps=1, full_runs=1.0, plan="one after another", plan_timings={})
    result = RaceResult(
        id="race-toy", created="", status="finished", command="", problem="toy", understood=[], task="classification",
        metric_name="accuracy", model="mlp", parameters=1, epochs=3, batch=1, seeds=[0], rungs=[], spaces={}, notes=[],
        runs=[run.result("finished") for run in runs], ranking=ranking(runs), verdict="", cost=cost,
    )  # fmt: skip
    return verdict(result)


# What the numbers allow to be said


def test_an_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, 3 - 1.96324, 3 + 1.96324), abs=1e-4)
    assert interval([2.0]).low == interval([2.0]).high == 2.0
    assert interval([1.0, 2.0, 3.0], comparisons=4).low < interval([1.0, 2.0, 3.0]).low


def test_what_seeds_share_cancels_in_a_pair() -> None:
    found = paired([1.1, 5.1, 9.1], [1.0, 5.0, 9.0])
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert change([0.5, 1.0], [1.0, 2.0]).mean == pytest.approx(-0.5)


def test_two_within_noise_tie_and_share_the_first_rank() -> None:
    runs = finals({"adam": [0.10, 0.12, 0.11], "sgd": [0.12, 0.10, 0.125], "nadam": [0.30, 0.31, 0.32]})
    rows = ranking(runs)
    assert "adam and sgd tie: within noise over 3 seeds" in said(runs)
    assert [(row.rule, row.rank, row.tie) for row in rows] == [("adam", 1, False), ("sgd", 1, True), ("nadam", 3, False)]
    assert rows[0].difference is None
    assert rows[1].difference is not None and rows[1].difference.low <= 0 <= rows[1].difference.high


def test_two_beyond_noise_do_not_tie_though_seeds_differ_much() -> None:
    runs = finals({"adam": [0.10, 0.50, 0.90], "sgd": [0.12, 0.521, 0.919]})
    rows = ranking(runs)
    assert [(row.rule, row.rank) for row in rows] == [("adam", 1), ("sgd", 2)]
    assert "adam wins" in said(runs)


def test_a_finalist_that_diverged_over_one_seed_does_not_win() -> None:
    rows = ranking(finals({"adam": [0.01, 0.01, math.inf], "sgd": [0.1, 0.1, 0.1]}))
    assert [(row.rule, row.finalist) for row in rows] == [("sgd", True), ("adam", False)]
    assert rows[1].valid_loss.low == rows[1].valid_loss.high


def test_one_rule_alone_wins_without_a_comparison() -> None:
    runs = finals({"adam": [0.1, 0.2, 0.3]})
    rows = ranking(runs)
    assert len(rows) == 1 and rows[0].rank == 1 and not rows[0].tie
    assert "adam wins" in said(runs)


@pytest.mark.parametrize(
    ("tuned", "default", "paid", "words"),
    [
        ([0.10, 0.11, 0.12], [0.20, 0.21, 0.22], True, "Tuning paid: 48"),
        ([0.10, 0.30, 0.12], [0.20, 0.21, 0.12], False, "did not pay measurably"),
        ([0.20, 0.21, 0.22], [0.10, 0.11, 0.12], False, "higher loss than adam at its defaults"),
    ],
)
def test_tuned_is_compared_with_the_defaults(
    tuned: list[float], default: list[float], paid: bool, words: str
) -> None:
    runs = finals({"adam": tuned}, {"adam": default})
    [row] = ranking(runs)
    assert row.tuning is not None and row.tuning_paid is paid
    assert row.default_loss is not None and row.default_loss.mean == pytest.approx(np.mean(default))
    assert words in said(runs)


def test_the_default_may_itself_be_the_best() -> None:
    runs = [a_run("adam", 0, "rung", 0, 0.1, "default")]
    runs += [a_run("adam", 0, "final", seed, 0.1 + seed / 100, "default") for seed in range(3)]
    [row] = ranking(runs)
    assert row.tuning is None and row.tuning_paid is None
    assert row.default_loss == row.valid_loss
    assert "No setting that was drawn beat its defaults" in said(runs)


def test_finalists_stopped_on_the_way_are_not_compared_with_those_that_finished() -> None:
    runs = finals({"adam": [0.2, 0.2], "sgd": [0.1, 0.1]})
    for run in runs:
        if run.stage == "final" and name_of(run.candidate.rule) == "sgd":
            run.tick = 1
    assert [(row.rule, row.finalist) for row in ranking(runs)] == [("adam", True), ("sgd", False)]


def test_nothing_measured_is_said_plainly() -> None:
    assert ranking([]) == []
    assert "Nothing can be said yet" in said([])


# The space


def test_each_rule_has_its_defaults_and_evenly_spread_rates() -> None:
    space = make_space(["adam", "sgd"], [], {}, [{"name": "cosine"}], 34, seed=1)
    found = draw(space, 34)
    assert [c.config for c in found] == list(range(34))
    for rule in ("adam", "sgd"):
        own = [c for c in found if name_of(c.rule) == rule]
        assert len(own) == 17 and [c.origin for c in own].count("default") == 1
        search = space.ranges[rule]["lr"]
        places = sorted(search.position(values(c.rule)["lr"]) for c in own if c.origin == "drawn")
        assert [int(16 * place) for place in places] == list(range(16))  # one in each sixteenth of the range
    assert found == draw(space, 34)
    assert found != draw(replace(space, seed=2), 34)


def test_schedules_are_drawn_as_evenly_as_rates() -> None:
    space = make_space(["adam"], [], {}, [{"name": "cosine"}, {"name": "constant"}], 33, seed=1)
    drawn = [c.schedule for c in draw(space, 33) if c.origin == "drawn"]
    assert drawn.count("cosine") == drawn.count("constant") == 16


@pytest.mark.parametrize(
    ("best", "expected"), [(0, "below"), (7, "above"), (3, "nothing")], ids=["lowest", "highest", "inside"]
)
def test_a_best_rate_at_the_edge_widens_the_range(best: int, expected: str) -> None:
    space = make_space(["adam"], [], {"lr": (1e-4, 1e-2)}, [{"name": "constant"}], 8, seed=0)
    tried = sorted(draw(space, 8), key=lambda c: values(c.rule)["lr"])
    field = [(c, abs(place - best) + 1.0) for place, c in enumerate(tried)]
    new = widen(space, field, first=8)
    rates, edge = [values(c.rule)["lr"] for c in new], values(tried[best].rule)["lr"]
    assert [c.config for c in new] == ([8, 9] if new else [])
    assert {"below": lambda: max(rates) < edge, "above": lambda: min(rates) > edge, "nothing": lambda: not rates}[
        expected
    ]()
    again = [widen(space, [*field, *[(c, 0.1 - k) for k, c in enumerate(new)]], first=20 * k) for k in (1, 2)]
    assert space.widened.get("adam", 0) <= 2 and again[-1] == []


def test_a_range_is_not_widened_beyond_the_bounds_or_for_a_rule_that_only_diverged() -> None:
    space = make_space(["adam"], [], {}, [{"name": "constant"}], 4, seed=0)
    assert widen(space, [(c, math.inf) for c in draw(space, 4)], first=4) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": ["adm"]}, "did you mean 'adam'"),
        ({"budget": 2}, "too small for 3 rules"),
        ({"over": {"lrr": (0.1, 1)}}, "did you mean 'lr'"),
        ({"over": {"lr": (1.0, 0.1)}}, "low end must lie below"),
        ({"over": {"lr": (0.0, 0.1)}}, "decades"),
        ({"over": {"beta1": (0.5, 1.5)}}, r"beta1 must lie in \[0, 1\)"),
        ({"schedules": [{"name": "cosin"}]}, "did you mean 'cosine'"),
        ({"combine": [{"name": "clip"}]}, "unknown combinator"),
        ({"batch": 5000}, "more than the"),
        ({"model": "mlp:128,x"}, "whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_race(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        a_race(**changes)


# The halving


@pytest.mark.parametrize("budget", [3, 12, 40])
def test_rungs_grow_by_eta_to_the_whole_run(budget: int) -> None:
    setup = Setup.of(RaceSpec(**{**SMALL, "budget": budget, "epochs": 27}), load("wine"))
    assert setup.rungs[-1] == setup.clock.ticks
    assert all(later / sooner == pytest.approx(3, rel=0.2) for sooner, later in zip(setup.rungs, setup.rungs[1:], strict=False))
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
        alone = Run(run.id, run.candidate, run.seed, "rung", spec.model.lane(run.candidate.rule, run.candidate.bound(4), 0))
        for _ in Track(spec.model, spec.loss, spec.problem, spec.clock, 1).go([alone], run.tick):
            pass
        assert alone.score == pytest.approx(run.score, rel=1e-4)


def test_the_test_part_decides_nothing() -> None:
    whole = load("wine")
    poisoned = replace(whole, test=Part(torch.full_like(whole.test.x, torch.nan), whole.test.y))
    want, got = facts(raced(whole)), facts(raced(poisoned))
    assert got.ranking == want.ranking and got.runs == want.runs and got.verdict == want.verdict
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
    assert again.result.valid_loss == pytest.approx(best.valid_loss.values[running.setup.fresh.index(recipe.seed)], rel=1e-3)
    spread = best.valid_loss.high - best.valid_loss.low
    assert abs((again.result.valid_loss or 0) - best.valid_loss.values[0]) < 0.01 * spread


def test_moments_tell_how_far_the_race_is() -> None:
    seen = list(a_race().run())
    assert [m.phase for m in seen][0] == "pilot" and seen[-1].phase == "done"
    assert seen[-1].done == 1.0
    assert all(0 <= m.done <= 1 for m in seen)
    assert [m.seconds for m in seen] == sorted(m.seconds for m in seen)


def test_ticks_are_enough_to_stop_losers_early_and_end_at_the_last_step() -> None:
    for clock in (Clock(1000, 10, 1), Clock(1000, 10, 30), Clock(40, 20, 3)):
        assert clock.step_at(clock.ticks) == clock.steps
        assert clock.ticks >= min(18, clock.steps)
        steps = [clock.step_at(tick) for tick in range(clock.ticks + 1)]
        assert steps == sorted(set(steps))
