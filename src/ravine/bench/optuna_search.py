"""Optuna over plain torch, as an expert writes it: TPE, Hyperband, tensors that stay in memory, no data loader.

The winner is retrained over fresh seeds. ``way`` says how the two cores are used: "threads" (torch's own), "jobs" (two
trials at once in one process), "processes" (two workers of one thread each that share the study).
"""

from __future__ import annotations

import math
import multiprocessing as mp
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ravine.bench import peers
from ravine.problems.problem import Problem
from ravine.randomness import build, order
from ravine.rules.rule import Search

optuna: Any = import_module("optuna") if find_spec("optuna") else None
CORES = 2


@dataclass(frozen=True)
class Task:
    """What is searched: the same model, data, length, batch and ranges as the race's."""

    problem: Problem
    model: Callable[[], nn.Module]
    ranges: Mapping[str, Mapping[str, Search]]  # rule -> hyperparameter -> range
    epochs: int
    batch: int
    trials: int
    seed: int
    fresh: tuple[int, ...]

    def train(self, rule: str, lr: float, seed: int, tell: Callable[[int, float], None] = lambda *_: None) -> float:
        """One run: its lowest validation loss; ``tell`` hears the lowest so far after each epoch."""
        train, valid = self.problem.train, self.problem.valid
        per_epoch = len(train) // self.batch
        net = build(self.model, seed)
        run = peers.Plain(net, rule, lr, self.epochs * per_epoch)
        best = math.inf
        for epoch in range(self.epochs):
            shuffled = order(seed, epoch, len(train))
            x, y = train.x[shuffled], train.y[shuffled]
            for at in range(0, per_epoch * self.batch, self.batch):
                run.step(x[at : at + self.batch], y[at : at + self.batch])
            with torch.inference_mode():
                loss = functional.cross_entropy(net(valid.x), valid.y).item()
            if not math.isfinite(loss):
                return math.inf if epoch == 0 else best
            best = min(best, loss)
            tell(epoch + 1, best)
        return best

    def objective(self, trial: Any) -> float:
        """One trial, stopped by the pruner."""
        rule = trial.suggest_categorical("rule", list(self.ranges))
        search = self.ranges[rule]["lr"]
        lr = trial.suggest_float(f"lr of {rule}", search.low, search.high, log=True)

        def tell(epoch: int, best: float) -> None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        return self.train(rule, lr, self.seed, tell)


def import_everything() -> None:
    """Torch imports its compiler with the first optimizer, and imports are not part of a search's time."""
    torch.optim.SGD([torch.zeros(1)], lr=1.0)


def search(task: Task, way: str) -> tuple[dict[str, Any], list[float]]:
    """The best trial's parameters, and its validation losses over the fresh seeds."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(CORES if way == "threads" else 1)
    if way == "processes":
        return _in_processes(task)
    study = _study(task)
    study.optimize(task.objective, n_trials=task.trials, n_jobs=CORES if way == "jobs" else 1)
    torch.set_num_threads(CORES)
    rule, lr = _winner(study)
    return {"rule": rule, "lr": lr}, [task.train(rule, lr, seed) for seed in task.fresh]


def _study(task: Task, storage: Any = None, worker: int = 0) -> Any:
    return optuna.create_study(
        study_name="answer",
        storage=storage,
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=task.seed + 1000 * worker),
        pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=task.epochs, reduction_factor=3),
    )


def _winner(study: Any) -> tuple[str, float]:
    found = study.best_params
    return found["rule"], found[f"lr of {found['rule']}"]


def _in_processes(task: Task) -> tuple[dict[str, Any], list[float]]:
    # forked, so that no worker imports torch again; safe, since this process has started no thread pool yet
    context = mp.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "study.log")
        _shared(task, journal, 0)
        workers = [context.Process(target=_work, args=(task, journal, worker)) for worker in range(CORES)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        rule, lr = _winner(_shared(task, journal, 0))
    with context.Pool(CORES, _take, (task, rule, lr)) as pool:
        return {"rule": rule, "lr": lr}, pool.map(_again, task.fresh, chunksize=1)


def _shared(task: Task, journal: str, worker: int) -> Any:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))
    return _study(task, storage, worker)


_winning: Any = None  # (task, rule, lr), in a worker


def _take(*winning: Any) -> None:
    global _winning
    _winning = winning


def _again(seed: int) -> float:
    task, rule, lr = _winning
    return task.train(rule, lr, seed)


def _work(task: Task, journal: str, worker: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    share = task.trials // CORES + (worker < task.trials % CORES)
    _shared(task, journal, worker).optimize(task.objective, n_trials=share)
