"""Races that look like real ones: with classes, with numbers, interrupted, and with names that attack the page."""

from __future__ import annotations

import math
import random
from typing import Any, Literal

import pytest

from ravine.results import Cost, Interval, Point, RaceResult, RunResult, Standing, Status

RATES = {  # rule -> default learning rate, best one, lowest loss, highest that survives
    "adadelta": (1.0, 2.0, 0.21, 1e3),
    "adagrad": (0.01, 0.05, 0.19, 1e3),
    "adam": (1e-3, 4e-3, 0.139, 1e3),
    "adamw": (1e-3, 4e-3, 0.144, 1e3),
    "momentum": (1e-2, 0.12, 0.118, 0.9),
    "nadam": (2e-3, 3.1e-3, 0.121, 1e3),
    "rmsprop": (1e-2, 2e-3, 0.14, 1e3),
    "sgd": (1e-2, 0.8, 0.16, 4.0),
}
SEEDS = [0, 101, 102, 103, 104, 105]


def interval(values: list[float], t: float = 2.776) -> Interval:
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    half = t * sd / math.sqrt(len(values))
    return Interval(mean=mean, low=mean - half, high=mean + half, values=values)


def curve(low: float, start: float, speed: float, epochs: int, rng: random.Random) -> list[Point]:
    points = [Point(epoch=0, train_loss=None, valid_loss=start, metric=0.1)]
    for epoch in range(1, epochs + 1):
        loss = low + (start - low) * math.exp(-speed * epoch) * rng.uniform(0.95, 1.05) + rng.uniform(0, 0.01) * low
        points.append(Point(epoch=epoch, train_loss=0.8 * loss, valid_loss=loss, metric=1 - loss / 5))
    return points


def run(
    config: int, rule: str, lr: float, seed: int, stage: Any, points: list[Point], status: Status, rung: int = 0
) -> RunResult:
    best = min(points, key=lambda p: p.valid_loss)
    reason = f"loss became NaN at epoch {len(points)}" if status == "diverged" else ""
    return RunResult(
        id=f"c{config:03d}-s{seed}", config=config, rule=rule, hypers={"lr": lr, "beta1": 0.9}, schedule="cosine",
        seed=seed, stage=stage, rung=rung, status=status, reason=reason, curve=points, best_epoch=best.epoch,
        valid_loss=best.valid_loss, metric=best.metric,
    )  # fmt: skip


def halving(rng: random.Random, start: float, scale: float) -> list[RunResult]:
    """64 configurations, eight a rule, over four decades around the best learning rate."""
    runs: list[RunResult] = []
    for config in range(64):
        rule = list(RATES)[config % 8]
        _, best, low, limit = RATES[rule]
        lr = best * 10 ** (-2.2 + 0.55 * (config // 8) + rng.uniform(-0.08, 0.08))
        miss = abs(math.log10(lr / best))
        if lr > limit:
            runs.append(run(config, rule, lr, 0, "rung", curve(low, start, 0.1, 1, rng), "diverged"))
            continue
        rung, epochs = next((r, e) for r, e, most in ((2, 30, 0.25), (1, 10, 0.7), (0, 3, 9)) if miss < most)
        speed = 0.9 * 10 ** (-miss * (0.25 if "adam" in rule else 0.8))
        status: Status = "finished" if rung == 2 else "stopped"
        points = curve(scale * low * (1 + miss), start, speed, epochs, rng)
        runs.append(run(config, rule, lr, 0, "rung", points, status, rung))
    return runs


def standings(runs: list[RunResult], rng: random.Random, start: float, scale: float) -> list[Standing]:
    """The three best rules over five fresh seeds, tuned and at their defaults, and the other rules' one run."""
    order = ["momentum", "nadam", "adam", "adamw", "rmsprop", "sgd", "adagrad", "adadelta"]
    made: list[Standing] = []
    first: list[float] = []
    for place, rule in enumerate(order):
        own = min((r for r in runs if r.rule == rule and r.stage == "rung"), key=lambda r: r.valid_loss or 9)
        once = [own.valid_loss or 9.0]
        common: dict[str, Any] = {
            "rule": rule, "config": own.config, "hypers": own.hypers, "schedule": "cosine", "finalist": place < 3
        }  # fmt: skip
        if place >= 3:
            alone = Interval(mean=once[0], low=once[0], high=once[0], values=once)
            share = Interval(mean=0.91, low=0.91, high=0.91, values=[0.91])
            made.append(Standing(rank=place + 1, tie=False, valid_loss=alone, metric=share, difference=None,
                                 default_loss=None, tuning=None, tuning_paid=None, **common))  # fmt: skip
            continue
        default, _, low, _ = RATES[rule]
        tuned = [_repeat(runs, own, own.hypers["lr"], s, "final", scale * low, start, rng) for s in SEEDS[1:]]
        plain = [_repeat(runs, own, default, s, "default", scale * low * 1.5, start, rng) for s in SEEDS[1:]]
        first = first or tuned
        tuning = interval([a / b - 1 for a, b in zip(tuned, plain, strict=True)])
        made.append(Standing(
            rank=1 if place < 2 else 3, tie=place == 1, valid_loss=interval(tuned),
            metric=interval([1 - v / 5 for v in tuned]), default_loss=interval(plain), tuning=tuning,
            difference=interval([a - b for a, b in zip(tuned, first, strict=True)]) if place else None,
            tuning_paid=tuning.high < 0, **common,
        ))  # fmt: skip
    return made


def _repeat(
    runs: list[RunResult], own: RunResult, lr: float, seed: int, stage: Literal["final", "default"],
    low: float, start: float, rng: random.Random,
) -> float:  # fmt: skip
    points = curve(low * rng.uniform(0.93, 1.07), start, rng.uniform(0.3, 0.5), 30, rng)
    runs.append(run(own.config + (100 if stage == "default" else 0), own.rule, lr, seed, stage, points, "finished"))
    return runs[-1].valid_loss or 0.0


def build(start: float = 2.31, scale: float = 1.0) -> RaceResult:
    rng = random.Random(7)
    runs = halving(rng, start, scale)
    ranking = standings(runs, rng, start, scale)
    return RaceResult(
        id="race-digits-7f3a", created="2026-03-01T09:30:00Z", status="finished", command="ravine race digits",
        problem="digits", understood=["1,797 images 8x8, 10 classes", "60 % train, 20 % validation, 20 % test"],
        task="classification", metric_name="accuracy", model="mlp:128,128", parameters=26122, epochs=30, batch=64,
        seeds=SEEDS, rungs=[(64, 3), (21, 10), (7, 30)],
        spaces={rule: {"lr": (best / 200, best * 80)} for rule, (_, best, _, _) in RATES.items()},
        notes=["The space of sgd was widened: its best learning rate lay at the edge."], runs=runs, ranking=ranking,
        verdict="momentum and nadam tie; take nadam if you cannot tune, its loss is flat over 0.001 to 0.008.",
        test=interval([0.972, 0.969, 0.975, 0.971, 0.974]), test_loss=interval([0.12, 0.13, 0.11, 0.12, 0.12]),
        winner={"problem": "digits", "seed": 0, "model": {"name": "mlp:128,128", "activation": None},
                "rule": {"name": "momentum", "lr": 0.12}},
        cost=Cost(seconds=4.2, lane_steps=31250, full_runs=28.4, plan="lanes together",
                  plan_timings={"lanes together": 1.4e-4, "one after another": 8.2e-4}),
        versions={"ravine": "0.1", "torch": "2.13.0"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def race() -> RaceResult:
    return build()


@pytest.fixture(scope="session")
def regression() -> RaceResult:
    new = {"problem": "diabetes", "task": "regression", "metric_name": "R²", "id": "race-diabetes-01"}
    return build(start=1.02, scale=4.0).model_copy(update=new)


@pytest.fixture(scope="session")
def interrupted(race: RaceResult) -> RaceResult:
    runs = [r.model_copy(update={"status": "interrupted"}) for r in race.runs if r.stage == "rung"][:20]
    new = {"status": "interrupted", "ranking": [], "test": None, "test_loss": None, "winner": None, "runs": runs}
    return race.model_copy(update={**new, "verdict": "Stopped in the first rung: nothing is known yet."})


@pytest.fixture(scope="session")
def hostile(race: RaceResult) -> RaceResult:
    evil = "<script>alert(1)</script>"
    swap = {"rule": f"adam/{evil}", "reason": evil, "schedule": evil}
    return race.model_copy(
        update={
            "problem": evil, "notes": [evil, "</script><script>alert(2)</script>"], "verdict": evil, "command": evil,
            "understood": [evil, "[bold]markup[/bold]"], "versions": {evil: evil}, "winner": {"note": evil},
            "runs": [r.model_copy(update=swap) for r in race.runs],
            "ranking": [s.model_copy(update={"rule": swap["rule"]}) for s in race.ranking],
        }
    )  # fmt: skip
