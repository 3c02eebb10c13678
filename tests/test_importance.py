"""Which decision mattered: on races whose truth is known."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ravine import report
from ravine.racing.importance import importance, standing_at_first
from ravine.report.page import html
from ravine.results import Cost, Importance, Point, RaceResult, RunResult, Searched, Share

Loss = Callable[[dict[str, Any]], float]


def a_result(loss: Loss, count: int = 64, seed: int = 0, rules: tuple[str, ...] = ("adam",)) -> RaceResult:
    """A race whose losses after the first rung are a function of what was decided."""
    drawn = np.random.default_rng(seed)
    runs: list[RunResult] = []
    for config in range(count):
        rule = rules[config % len(rules)]
        lr = float(10 ** drawn.uniform(-4, -1))
        choices = {
            "l2": float(10 ** drawn.uniform(-6, -2)),
            "dropout": float(drawn.uniform(0, 0.6)),
            "init": str(drawn.choice(["he", "xavier", "orthogonal"])),
            "activation": str(drawn.choice(["relu", "tanh"])),
        }
        value = loss({"rule": rule, "lr": lr, **choices, "noise": float(drawn.normal())})
        points = [Point(epoch=0, train_loss=None, valid_loss=2.3, metric=0.1)]
        points += [Point(epoch=3, train_loss=value, valid_loss=value, metric=0.5)] if math.isfinite(value) else []
        runs.append(RunResult(
            id=f"c{config}", config=config, rule=rule, hypers={"lr": lr}, schedule="cosine", seed=0, stage="rung",
            status="stopped" if math.isfinite(value) else "diverged", curve=points, best_epoch=3, valid_loss=value,
            metric=0.5, choices=choices,
        ))  # fmt: skip
    decisions = {
        "l2": Searched(low=1e-6, high=1e-2, scale="log", base=0.0),
        "dropout": Searched(low=0, high=0.6, scale="linear", base=0.0),
        "init": Searched(choices=["he", "xavier", "orthogonal"]),
        "activation": Searched(choices=["relu", "tanh"], base="relu"),
    }
    cost = Cost(seconds=1, lane_steps=1, full_runs=1, plan="", plan_timings={})
    return RaceResult(
        id="race", created="", status="finished", command="", problem="", understood=[], task="classification",
        metric_name="accuracy", model="mlp", parameters=1, epochs=30, batch=64, seeds=[0], rungs=[(count, 3.0)],
        spaces={rule: {"lr": (1e-4, 1e-1)} for rule in rules}, decisions=decisions, notes=[], runs=runs, ranking=[],
        verdict="", cost=cost,
    )  # fmt: skip


def found(result: RaceResult) -> tuple[Importance, dict[str, Share]]:
    made = importance(result)
    assert made is not None
    return made, {one.decision: one for one in made.shares}


def test_the_dominant_decision_comes_first_and_one_that_does_nothing_at_nought() -> None:
    def loss(c: dict[str, Any]) -> float:
        return (math.log10(c["lr"]) + 2.5) ** 2 + 0.8 * (c["activation"] == "tanh") + 0.02 * c["noise"]

    for seed in range(2):
        made, shares = found(a_result(loss, 128, seed))
        assert [one.decision for one in made.shares][:2] == ["lr", "activation"]
        assert shares["lr"].low > 0.3 and shares["lr"].share > shares["activation"].share > 0.03
        for idle in ("l2", "dropout", "init"):
            assert shares[idle].low <= 0.01 and abs(shares[idle].share) < 0.06, (seed, idle)
        assert shares["lr"].low <= shares["lr"].share <= shares["lr"].high
        assert sum(one.share for one in made.shares) < 1


def test_where_nothing_mattered_nothing_is_said_to() -> None:
    for seed in range(2):
        _, shares = found(a_result(lambda c: c["noise"], seed=seed))
        assert all(one.low <= 0.02 and one.share < 0.2 for one in shares.values()), shares


def test_rules_and_diverged_runs_count() -> None:
    def loss(c: dict[str, Any]) -> float:
        return math.inf if c["rule"] == "sgd" and c["dropout"] > 0.3 else 1.0 + c["dropout"] + 0.01 * c["noise"]

    made, shares = found(a_result(loss, rules=("adam", "sgd")))
    assert made.shares[0].decision == "dropout" and shares["rule"].low > 0
    assert shares["l2"].low <= 0.01
    result = a_result(loss, rules=("adam", "sgd"))
    places = standing_at_first(result, result.runs)
    lost = [run.status == "diverged" for run in result.runs]
    assert max(places[lost]) < min(places[np.logical_not(lost)]) and len(set(places[lost].tolist())) == 1


def test_a_decision_alone_shows_where_it_does_well() -> None:
    made, _ = found(a_result(lambda c: (math.log10(c["lr"]) + 2.5) ** 2 + 0.3 * (c["init"] == "he")))
    middle, ends = made.isolated["lr"][4], (made.isolated["lr"][0], made.isolated["lr"][-1])
    assert middle.low > max(end.high for end in ends) and 1e-3 < middle.value < 1e-2
    words = {one.value: one for one in made.isolated["init"]}
    assert words["he"].mean < words["xavier"].mean and set(words) == {"he", "orthogonal", "xavier"}
    several, _ = found(a_result(lambda c: c["lr"], rules=("adam", "sgd")))
    assert several.isolated["lr"][0].value is None  # a rate means something else to another rule


def test_it_is_the_same_again_and_says_nothing_of_too_few() -> None:
    result = a_result(lambda c: c["lr"] + c["noise"], count=20)
    assert importance(result) == importance(result)
    assert importance(a_result(lambda c: c["lr"], count=11)) is None
    assert importance(a_result(lambda c: 1.0)) is None


@pytest.mark.parametrize("factor", [1e-9, 1e6])
def test_the_scale_of_losses_weighs_nothing(factor: float) -> None:
    plain, _ = found(a_result(lambda c: 1 + c["lr"] + 0.1 * c["dropout"]))
    scaled, _ = found(a_result(lambda c: factor * (1 + c["lr"] + 0.1 * c["dropout"])))
    assert plain == scaled


def test_the_terminal_the_page_and_the_json_say_it() -> None:
    bare = a_result(lambda c: math.log10(c["lr"]) + 0.2 * c["noise"])
    made, shares = found(bare)
    result = bare.model_copy(update={"importance": made})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.table(result))
    text = " ".join(console.export_text().split())
    assert "What mattered to the rank after 3 epochs: lr " in text and "not told from chance:" in text
    console.print(report.table(bare.model_copy(update={"importance": made.model_copy(update={"epochs": 1.0})})))
    assert "the rank after 1 epoch: " in " ".join(console.export_text().split())
    page = html(result)
    assert "lr mattered most" in page and page.count("Standing against") == len(shares)
    assert "mattered most" not in html(bare)
    assert RaceResult.model_validate_json(result.model_dump_json()) == result
