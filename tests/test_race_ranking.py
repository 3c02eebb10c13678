"""What the numbers of a race allow to be said, and the space it draws from."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ravine.errors import UserError
from ravine.racing.ranking import failures, ranking
from ravine.racing.space import draw, make_space, widen
from ravine.racing.statistics import change, interval, paired
from ravine.rules.rule import Search, name_of, values
from tests.racing import a_race, a_run, finals, said

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
    assert [(row.rule, row.rank, row.tie) for row in rows] == [
        ("adam", 1, False),
        ("sgd", 1, True),
        ("nadam", 3, False),
    ]
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


def test_a_finalist_that_learns_nothing_over_one_seed_ties_with_none_however_wide_its_interval() -> None:
    runs = finals({"adam": [0.30, 0.32, 0.31], "sgd": [0.1, 0.1, 40.0], "nadam": [0.31, 0.30, 0.32]})
    assert [(row.rule, row.rank, row.tie) for row in ranking(runs)] == [
        ("adam", 1, False),
        ("nadam", 1, True),
        ("sgd", 3, False),
    ]
    (note,) = failures([run for run in runs if run.stage == "final"])
    assert note.startswith("sgd learned nothing over 1 of 3 fresh seeds")
    worse = finals({"adam": [0.1, 0.1, 50.0], "sgd": [0.1, 0.1, 40.0]})
    assert [row.tie for row in ranking(worse)] == [False, True]


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
def test_tuned_is_compared_with_the_defaults(tuned: list[float], default: list[float], paid: bool, words: str) -> None:
    runs = finals({"adam": tuned}, {"adam": default})
    [row] = ranking(runs)
    assert row.tuning is not None and row.tuning_paid is paid
    assert row.default_loss is not None and row.default_loss.mean == pytest.approx(np.mean(default))
    assert words in said(runs)
    stands = default if row.tuning.low > 0 else tuned  # a drawn setting that is measurably worse does not stand
    assert row.valid_loss.values == stands
    winner = next(run for run in runs if run.candidate.config == row.config)
    assert (winner.candidate.origin == "default") == (stands is default)


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
        assert isinstance(search, Search)
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
