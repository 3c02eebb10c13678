"""MLflow: an experiment a problem, a run a run; into a local database unless another address is given."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from ravine.tracking.log import About

LOCAL = "sqlite:///mlflow.db"  # in the current folder, as MLflow itself
MOST = 900  # numbers that one call may hold: 1,000 with the parameters, of which there are 100 at most
TAG = 4000  # characters of a tag that every store takes


class MLflow:
    """Metrics by optimizer step, hyperparameters as parameters, the rest as tags."""

    name = "mlflow"

    def __init__(self, address: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no network that nobody asked for
        os.environ.setdefault("DO_NOT_TRACK", "true")
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        entities = import_module("mlflow.entities")  # raises ImportError where mlflow is missing
        self._metric: Any = entities.Metric
        self._param: Any = entities.Param
        self._client: Any = import_module("mlflow.tracking").MlflowClient(tracking_uri=address)
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        self._params: dict[str, list[Any]] = {}  # of runs that wait for their first points: each call is a transaction

    def begin(self, about: About) -> None:
        """The run in the experiment of its problem; one of that name which is open is gone on with."""
        if about.run in self._runs:
            return
        name = f"ravine {about.tags.get('problem', '')}".strip()
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            self._experiments[name] = found.experiment_id if found is not None else self._client.create_experiment(name)
        experiment = self._experiments[name]
        full = about.run if about.run == about.group else f"{about.group}/{about.run}"
        open_ = self._client.search_runs([experiment], f"attributes.run_name = '{full}'", max_results=1)
        known = open_[0].data.params if open_ else {}  # of a run that was killed before its first points: none
        self._params[about.run] = [
            self._param(key, str(value)) for key, value in about.hypers.items() if key not in known
        ]
        if open_:
            self._runs[about.run] = open_[0].info.run_id
            return
        tags = {f"ravine.{key}": value for key, value in about.tags.items()}
        if about.recipe:
            tags["ravine.recipe"] = about.recipe[:TAG]
        made = self._client.create_run(experiment, run_name=full, tags=tags)
        self._runs[about.run] = made.info.run_id

    def points(self, run: str, points: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """All numbers in as few calls as may be."""
        now = int(time.time() * 1000)
        rows = [self._metric(name, value, now, step) for step, given in points for name, value in given.items()]
        for begin in range(0, len(rows), MOST):
            self._client.log_batch(
                self._runs[run], metrics=rows[begin : begin + MOST], params=self._params.pop(run, [])
            )

    def end(self, run: str, status: str) -> None:
        """How it ended, in MLflow's words."""
        if params := self._params.pop(run, []):
            self._client.log_batch(self._runs[run], params=params)
        words = {"finished": "FINISHED", "stopped": "FINISHED", "diverged": "FAILED", "interrupted": "KILLED"}
        self._client.set_tag(self._runs[run], "ravine.status", status)
        self._client.set_terminated(self._runs[run], words.get(status, "FINISHED"))

    def close(self) -> None:
        """Nothing is held open."""
