"""Logs for other tools: read back by the tools themselves; a log that fails, and one that is there, change no bit."""

from __future__ import annotations

import csv
import json
import os
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ravine.problems import load
from ravine.racing.race import Race
from ravine.recipe import Recipe
from ravine.tracking import About, Log, logged_race, logged_training, open_log
from ravine.tracking.records import masked, packed
from ravine.training.train import Training
from tests.racing import a_race

RECIPE = Recipe(
    problem="wine", model="mlp:8", epochs=18, batch=16, rule={"name": "adam", "lr": 0.02}, metrics=["f1-macro"],
    schedule={"lr": {"name": "cosine"}},
)  # fmt: skip


def trained(log: Log | None, recipe: Recipe = RECIPE) -> Training:
    running = Training(recipe, load("wine"))
    for _ in running.run() if log is None else logged_training(running, log, "mine"):
        pass
    return running


def test_csv_and_json_lines_hold_every_point_and_change_no_bit(tmp_path: Path) -> None:
    running = trained(open_log([f"csv:{tmp_path}/a.csv", f"jsonl:{tmp_path}/a.jsonl"], tmp_path, ["f1-macro"]))
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    curve = running.result.curve
    assert [float(row["valid_loss"]) for row in rows] == [point.valid_loss for point in curve]
    assert [float(row["f1-macro"]) for row in rows] == [point.metrics["f1-macro"] for point in curve]
    assert [int(row["step"]) for row in rows] == [running.clock.step_at(tick) for tick in range(19)]
    assert float(rows[0]["lr"]) == 0.02 and float(rows[9]["lr"]) == pytest.approx(0.01) and rows[0]["train_loss"] == ""
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", *["point"] * 19, "end"]
    assert lines[0]["hypers"]["lr"] == 0.02 and lines[0]["tags"]["seed"] == "0" and lines[-1]["status"] == "finished"
    assert Recipe.model_validate(__import__("tomllib").loads(lines[0]["recipe"])) == RECIPE
    assert trained(None).fingerprint() == running.fingerprint()


def test_a_csv_is_gone_on_with_under_the_same_head(tmp_path: Path) -> None:
    for _ in range(2):
        trained(open_log([f"csv:{tmp_path}/a.csv"], tmp_path, ["f1-macro"]), RECIPE.model_copy(update={"epochs": 3}))
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert sum(line.startswith("run,step") for line in lines) == 1 and len(lines) == 1 + 2 * (3 * 6 + 1)


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    accumulator: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    running = trained(open_log(["tensorboard"], tmp_path, ["f1-macro"]))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "mine"), {"tensors": 0, "scalars": 0}).Reload()
    assert {"valid_loss", "train_loss", "metric", "lr", "epoch", "f1-macro"} <= set(events.Tags()["scalars"])
    seen = events.Scalars("valid_loss")
    assert [event.value for event in seen] == pytest.approx([p.valid_loss for p in running.result.curve], rel=1e-6)
    assert [event.step for event in seen] == [running.clock.step_at(tick) for tick in range(19)]
    assert "hparams" in events.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name
    assert "recipe/text_summary" in events.Tags()["tensors"]


def test_records_are_read_by_tensorboard_itself(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow")
    draw = random.Random(0)
    parts = [draw.randbytes(length) for length in (0, 1, 3, 4, 5, 7, 8, 200, 201, 1023, 1024, 1025, 3000)]
    assert masked(parts) == [library.masked_crc32c(part) for part in parts]
    (tmp_path / "r").write_bytes(packed(parts) + packed(parts[:1]))
    reader: Any = library.PyRecordReader_New(str(tmp_path / "r"), 0)
    seen: list[bytes] = []
    for _ in range(len(parts) + 1):
        reader.GetNext()
        seen.append(reader.record())
    assert seen == [*parts, parts[0]]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_race_holds_no_file_of_tensorboard_open(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = open_log([f"tensorboard:{tmp_path}"], tmp_path, [])
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for run in range(20):
        log.begin(About(f"r{run}", "race", {"lr": 0.1}, {"rule": "sgd"}, ""))
        log.point(f"r{run}", 1, {"valid_loss": 0.5})
    log.flush()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (before, threads)
    assert all(len(list((tmp_path / f"r{run}").iterdir())) == 1 for run in range(20))


class Broken:
    """A log whose disk is full from the third point on."""

    name = "broken"

    def __init__(self) -> None:
        self.calls = 0

    def begin(self, about: About) -> None:
        """Nothing."""

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        self.calls += 1
        if self.calls == 3:
            raise OSError("no space left on device")

    def end(self, run: str, status: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def test_a_log_that_fails_is_one_warning_and_harms_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    broken = Broken()
    running = trained(Log([broken], every=-1.0))
    assert broken.calls == 3
    assert capsys.readouterr().err.splitlines() == [
        "Warning: the broken log failed and is closed, the run goes on: OSError: no space left on device"
    ]
    assert running.fingerprint() == trained(None).fingerprint()


def test_every_run_of_a_race_is_logged_once_for_each_point(tmp_path: Path) -> None:
    race: Race = a_race()
    for _ in logged_race(race, race.run(), open_log([f"jsonl:{tmp_path}/r.jsonl"], tmp_path, [])):
        pass
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    told = {
        run.id: [line["valid_loss"] for line in lines if line["event"] == "point" and line["run"] == run.id]
        for run in race.runs
    }
    assert told == {run.id: [point.valid_loss for point in run.curve] for run in race.runs}
    begun = [line for line in lines if line["event"] == "begin"]
    assert {line["tags"]["stage"] for line in begun} >= {"rung", "final"}
    assert len(begun) == len(race.runs) == sum(line["event"] == "end" for line in lines)


@pytest.mark.slow
def test_mlflow_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    address = f"sqlite:///{tmp_path}/m.db"
    log = open_log([f"mlflow:{address}"], tmp_path, ["f1-macro"])
    running = trained(log)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client: Any = import_module("mlflow.tracking").MlflowClient(tracking_uri=address)
        experiment = client.get_experiment_by_name("ravine wine")
        (run,) = client.search_runs([experiment.experiment_id])
        history = client.get_metric_history(run.info.run_id, "valid_loss")
    assert [one.value for one in history] == [point.valid_loss for point in running.result.curve]
    assert run.data.params["lr"] == "0.02" and run.info.status == "FINISHED"
    assert run.data.tags["ravine.rule"] == "adam" and "wine" in run.data.tags["ravine.recipe"]
    again = open_log([f"mlflow:{address}"], tmp_path, [])
    for name in ("mine", "none"):  # one that is there already, and one that ends before its first point
        again.begin(About(name, name, {"lr": 0.5}, {"problem": "wine"}, ""))
    again.end("none", "interrupted")
    again.close()
    known = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.data.params["lr"] for name, run in known.items()} == {"mine": "0.02", "none": "0.5"}
    assert known["none"].info.status == "KILLED"
