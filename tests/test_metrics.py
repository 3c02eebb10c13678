"""Metrics against scikit-learn's, and what monitoring one does to stopping, the plateau and the best point."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from rich.console import Console
from scipy import stats
from sklearn import metrics as theirs

from ravine.api import start
from ravine.errors import UserError
from ravine.metrics import METRICS, Monitor, check_metrics, confused, measured, metric_of, monitor_of
from ravine.problems import load
from ravine.racing.outcome import result_of
from ravine.racing.ranking import ranking
from ravine.racing.spec import RaceSpec
from ravine.recipe import Recipe, recipe_from
from ravine.report.notebook import notebook
from ravine.report.page import html
from ravine.report.rows import rows
from ravine.report.terminal import table
from ravine.results import Point
from ravine.store import Store
from ravine.training.loop import confusion_of
from ravine.training.train import Training
from tests.racing import a_run

RANDOM = np.random.default_rng(3)
LABELS = RANDOM.choice(4, 300, p=(0.6, 0.3, 0.08, 0.02))  # uneven, as where metrics matter
LOGITS = RANDOM.normal(size=(300, 4)) + 1.5 * np.eye(4)[LABELS]
CHANCES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
NAMED = CHANCES.argmax(1)


def ece(labels: Any, chances: Any) -> float:
    """Guo's equation 3 by loops over samples and bins."""
    total = 0.0
    for m in range(15):
        inside = [i for i in range(len(labels)) if m / 15 < chances[i].max() <= (m + 1) / 15]
        if inside:
            right = sum(chances[i].argmax() == labels[i] for i in inside) / len(inside)
            sure = sum(chances[i].max() for i in inside) / len(inside)
            total += len(inside) / len(labels) * abs(right - sure)
    return total


ORACLES: dict[str, float] = {
    "accuracy": theirs.accuracy_score(LABELS, NAMED),
    "balanced-accuracy": theirs.balanced_accuracy_score(LABELS, NAMED),
    "f1-macro": theirs.f1_score(LABELS, NAMED, average="macro"),
    "f1-weighted": theirs.f1_score(LABELS, NAMED, average="weighted"),
    "precision-macro": theirs.precision_score(LABELS, NAMED, average="macro"),
    "recall-macro": theirs.recall_score(LABELS, NAMED, average="macro"),
    "auroc": theirs.roc_auc_score(LABELS, CHANCES, multi_class="ovr", average="macro"),
    "average-precision": theirs.average_precision_score(np.eye(4)[LABELS], CHANCES, average="macro"),
    "matthews": theirs.matthews_corrcoef(LABELS, NAMED),
    "kappa": theirs.cohen_kappa_score(LABELS, NAMED),
    "log-loss": theirs.log_loss(LABELS, CHANCES),
    "brier": float(((CHANCES - np.eye(4)[LABELS]) ** 2).sum(1).mean()),
    "calibration-error": ece(LABELS, CHANCES),
    "top2": theirs.top_k_accuracy_score(LABELS, CHANCES, k=2),
}


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.task == "classification"] + ["top2"]
)
def test_a_metric_of_classes_is_scikit_learns(name: str) -> None:
    found = measured([metric_of(name)], torch.tensor(LOGITS), torch.tensor(LABELS), "classification")
    assert found[name] == pytest.approx(ORACLES[name], rel=1e-12)


def test_metrics_of_numbers_are_scikit_learns_in_the_users_units() -> None:
    y, p = RANDOM.normal(size=(80, 2)), RANDOM.normal(size=(80, 2))
    names = [name for name, metric in METRICS.items() if metric.task == "regression"]
    found = measured([*map(metric_of, names)], torch.tensor(p), torch.tensor(y), "regression", (100.0, 7.0))
    true, guess = y * 7 + 100, p * 7 + 100
    want = {
        "mae": theirs.mean_absolute_error(true, guess),
        "mse": theirs.mean_squared_error(true, guess),
        "rmse": math.sqrt(theirs.mean_squared_error(true, guess)),
        "median-error": float(np.median(np.abs(true - guess))),
        "max-error": float(np.abs(true - guess).max()),
        "mape": theirs.mean_absolute_percentage_error(true, guess),
        "r2": theirs.r2_score(true, guess),
    }
    assert found == pytest.approx(want, rel=1e-9)


def test_what_is_not_defined_is_none_and_what_diverged_is() -> None:
    one_class = measured(
        [metric_of("auroc"), metric_of("f1-macro")], torch.zeros(5, 3), torch.zeros(5).long(), "classification"
    )
    assert one_class["auroc"] is None and one_class["f1-macro"] == 1
    broken = measured([metric_of("log-loss")], torch.full((5, 3), torch.nan), torch.zeros(5).long(), "classification")
    assert broken == {"log-loss": None}


def test_the_confusion_matrix_has_a_row_for_each_true_class() -> None:
    found = confused(torch.tensor(LOGITS), torch.tensor(LABELS))
    assert found.tolist() == theirs.confusion_matrix(LABELS, NAMED).tolist()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["mae"], "does not fit a target of classes"),
        (["f1-makr"], "did you mean .f1-macro."),
        (["top3"], "always 1"),
    ],
)
def test_a_metric_that_does_not_fit_is_one_sentence(names: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_metrics(names, torch.tensor([0, 1, 2]), "classification", 3)


def test_a_function_of_ones_own_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("own_metric_of_mine.py").write_text(
        "def cost(true, chances):\n    return float((chances.argmax(1) != true).sum())\n"
        "cost.larger_is_better = False\n"
        "def broken(true, chances):\n    return true.nothing\n"
    )
    mine = metric_of("own_metric_of_mine:cost")
    assert not mine.larger
    assert measured([mine], torch.tensor(LOGITS), torch.tensor(LABELS), "classification") == {
        mine.name: float((NAMED != LABELS).sum())
    }
    with pytest.raises(UserError, match="broken: it raised AttributeError"):
        check_metrics(["own_metric_of_mine:broken"], torch.tensor([0, 1]), "classification", 2)


def curve(*values: float) -> list[Point]:
    return [
        Point(epoch=e, train_loss=None, valid_loss=-v, metric=v, metrics={"f1-macro": v}) for e, v in enumerate(values)
    ]


def test_waiting_counts_from_the_last_gain_above_min_delta() -> None:
    found = curve(0, 0.5, 0.52, 0.54, 0.9, 0.905, 0.7)
    up = Monitor("f1-macro", larger=True)
    assert [up.waited(found[:n], min_delta=0.1) for n in range(2, 8)] == [0, 1, 2, 0, 1, 2]
    assert [up.waited(found[:n]) for n in range(2, 8)] == [0, 0, 0, 0, 0, 1]
    best = up.best(found)
    assert best is not None and best.epoch == 5  # the best is the best, however small the gain
    assert monitor_of("log-loss") == Monitor("log-loss", larger=False)


RECIPE: dict[str, Any] = {
    "problem": "wine", "model": "mlp:16", "epochs": 30, "batch": 16, "rule": {"name": "adam", "lr": 0.05}, "seed": 5,
    "metrics": ["f1-macro", "log-loss"], "monitor": "f1-macro", "patience": 3,
}  # fmt: skip


def trained(**changes: Any) -> Training:
    running = Training(recipe_from({**RECIPE, **changes}, "here"), load("wine"))
    for _ in running.run():
        pass
    return running


def test_the_monitored_metric_decides_the_best_point_and_when_to_stop() -> None:
    running = trained()
    points = running.result.curve
    scores = [point.metrics["f1-macro"] or 0.0 for point in points]
    assert running.result.status == "stopped" and len(points) < 31
    assert len(points) - 1 - scores.index(max(scores[1:]), 1) == 3
    assert running.result.metrics["f1-macro"] == max(scores[1:])
    own = confusion_of(running.module, running.problem, running.problem.valid)
    right = sum(own[k][k] for k in range(3)) / len(running.problem.valid)
    assert right == running.result.metric  # the weights are those of that point
    assert points[-1].metrics["log-loss"] == pytest.approx(points[-1].valid_loss, rel=1e-5)


def test_a_plateau_follows_a_metric_that_should_rise() -> None:
    running = trained(patience=0, epochs=18, plateau={"patience": 2, "factor": 0.5})
    scores = [point.metrics["f1-macro"] or 0.0 for point in running.result.curve[1:]]
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer := torch.optim.SGD([torch.zeros(1)], lr=0.05), mode="max", factor=0.5, patience=2
    )
    rates: list[float] = []
    for score in scores:
        scheduler.step(score)
        rates.append(optimizer.param_groups[0]["lr"])
    assert [rate for _, rate in running.reductions] == sorted({*rates} - {0.05}, reverse=True)


def test_min_delta_stops_a_run_that_only_creeps() -> None:
    patient = trained(monitor="valid_loss", rule={"name": "sgd", "lr": 1e-4}, patience=5)
    assert patient.result.status == "finished"
    strict = trained(monitor="valid_loss", rule={"name": "sgd", "lr": 1e-4}, patience=5, min_delta=0.5)
    assert strict.result.status == "stopped" and len(strict.result.curve) == 7


def test_recipes_name_metrics_that_exist() -> None:
    with pytest.raises(UserError, match="here: unknown metric 'f1-makro': did you mean 'f1-macro'"):
        recipe_from({"problem": "wine", "monitor": "f1-makro"}, "here")
    assert Recipe(problem="wine", monitor="auroc").measured == ["auroc"]
    assert Recipe(problem="wine", monitor="accuracy").measured == []


def test_a_races_metrics_stand_in_its_ranking_its_report_and_its_export(tmp_path: Path) -> None:
    spec = RaceSpec(
        problem="wine", model="mlp:8", rules=["adam", "sgd", "momentum"], budget=6, epochs=3, seeds=3, finalists=2,
        lanes=32, baselines=False, metrics=["f1-macro", "auroc"],
    )  # fmt: skip
    running = start(spec, load("wine"))
    for _ in running.run():
        pass
    result = result_of(running)
    for row in result.ranking:
        own = [run for run in result.runs if run.config == row.config and (run.stage != "rung") == row.finalist]
        values = [value for run in own if (value := run.metrics["auroc"]) is not None]
        told = row.metrics["auroc"]
        assert told is not None and told.values == values and len(values) == (3 if row.finalist else 1)
        if row.finalist:
            spread = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
            assert (told.low, told.high) == pytest.approx(spread)
    page = html(result)
    first = rows(result)[0].further
    mean, _, half = first["f1-macro"].partition(" ± ")
    assert ">f1-macro</th>" in page and f"{mean}" in page and half in page
    out = io.StringIO()
    Console(file=out, width=80).print(table(result))
    assert "f1-macro" in out.getvalue() and first["auroc"] in out.getvalue() and "auroc" in notebook(result)
    with Store(str(tmp_path / "s.db")) as store:
        store.save_race(result)
        read = pl.read_csv(store.export(result.id, tmp_path / "points.csv"))
    run = result.runs[-1]
    kept = read.filter(pl.col("run") == run.id)["f1-macro"].to_list()
    assert kept == pytest.approx([point.metrics["f1-macro"] for point in run.curve])


def test_a_metric_that_is_not_defined_for_every_seed_has_no_interval() -> None:
    runs = [a_run("adam", 0, "final", seed, 0.5) for seed in (1, 2)]
    for run, value in zip(runs, (0.9, None), strict=True):
        run.curve = [point.model_copy(update={"metrics": {"auroc": value}}) for point in run.curve]
    [row] = ranking(runs)
    assert row.metrics == {"auroc": None}
