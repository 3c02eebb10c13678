"""Several processes train what one process trains: DDP, FSDP2, other numbers of processes, stops and mistakes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from ravine.bench.faults.ranks import own
from ravine.errors import UserError
from ravine.problems import load
from ravine.problems.problem import Problem
from ravine.recipe import Recipe
from ravine.results import Point
from ravine.training.distributed import Parallel
from ravine.training.meeting import team_of, wanted
from ravine.training.processes import Processes, Told
from ravine.training.train import Training

pytestmark = pytest.mark.skipif(
    not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo"
)

WORLD = 4


def digits() -> Problem:
    return load("digits")


def recipe(rule: str, **more: Any) -> Recipe:
    hypers = more.pop("hypers", {})
    with_ = {"with": more.pop("combine")} if "combine" in more else {}
    fields: dict[str, Any] = {"model": "own", "epochs": 6, "batch": 33, "seed": 3, **more}
    return Recipe(problem="own", rule={"name": rule, **hypers, **with_}, **fields)


COSINE = {"lr": {"name": "cosine"}}
L2 = [{"name": "l2", "strength": 0.01}]
WEIGHTS = {"0": 1.0, "1": 2.0, "2": 5.0}
ON_DIGITS: dict[str, Any] = {"model": "mlp:32:0.2", "epochs": 2, "batch": 64}
BOTH: tuple[Parallel, ...] = ("ddp", "fsdp")
CASES: dict[str, tuple[Callable[[], Problem], Recipe, tuple[Parallel, ...]]] = {
    "digits in float32": (digits, recipe("nadam", hypers={"lr": 0.01}, schedule=COSINE, **ON_DIGITS), BOTH),
    "digits in bfloat16": (digits, recipe("sgd", precision="bfloat16", **ON_DIGITS), ("ddp",)),
    "in parts, clipped": (
        own,
        recipe("adamw", accumulate=3, combine=[{"name": "clip-global-norm", "clip": 0.1}], schedule=COSINE),
        BOTH,
    ),
    "sums over all weights, l2": (own, recipe("prodigy", penalty=L2), BOTH),
    "weights of classes": (own, recipe("rmsprop", class_weights=WEIGHTS, accumulate=2), ("ddp",)),
    "read elsewhere": (own, recipe("schedule-free-adamw"), BOTH),
    "two gradients": (own, recipe("momentum", combine=[{"name": "sam", "rho": 0.05}]), BOTH),
    "plateau and patience": (
        own,
        recipe("adam", hypers={"lr": 0.1}, epochs=20, patience=4, plateau={"patience": 1, "factor": 0.5}),
        BOTH,
    ),
    "whole matrices": (own, recipe("muon", hypers={"lr": 0.01}), ("ddp",)),
    "noise and max-norm": (
        own,
        recipe(
            "sgd", combine=[{"name": "gradient-noise", "noise_variance": 0.01}],
            penalty=[{"name": "max-norm", "max_norm": 0.7, "on": "last.weight"}],
        ),
        ("ddp",),
    ),
}  # fmt: skip
TOLERANCE = {"digits in float32": 1e-6, "digits in bfloat16": 1e-3}  # relative; of the others 1e-8
RESUMED = "in parts, clipped"
OTHERS: tuple[tuple[int, Parallel], ...] = ((3, "fsdp"), (4, "ddp"))  # what goes on from two processes
STOP = 6  # ticks after which the interrupted run stops


# --- What each process does ------------------------------------------------------------------------------------------


def meet(folder: Path, stage: str, rank: int, size: int, parallel: Parallel) -> Processes:
    dist.init_process_group("gloo", init_method=f"file://{folder}/{stage}", rank=rank, world_size=size)
    return Processes(rank, size, parallel, torch.device("cpu"))


def train(name: str, team: Any = None, folder: Path | None = None, restore: bool = False, stop: int = -1) -> Training:
    problem, wished, _ = CASES[name]
    running = Training(wished, problem(), folder, team=team)
    if restore:
        assert folder is not None
        running.restore(folder)
    for _ in running.run():
        if running.state.tick == stop and (team is None or team.rank == team.size - 1):
            os.kill(os.getpid(), 2)  # one process is asked to stop, and all do
    return running


def keep(running: Training, path: Path) -> None:
    path.with_suffix(".json").write_text(json.dumps([point.model_dump() for point in running.state.curve]))
    save_file(running.weights(), path)


def process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    if rank < 2:
        for parallel in BOTH:
            team = meet(folder, parallel, rank, 2, parallel)
            for name, (*_, ways) in CASES.items():
                if parallel in ways:
                    running = train(name, team)
                    if rank == 0:
                        keep(running, folder / f"{name}-{parallel}.safetensors")
            stopped = train(RESUMED, team, folder / f"stopped-{parallel}", stop=STOP)
            assert stopped.interrupted and stopped.state.tick == STOP
            check_mistakes(team)
            team.leave()
    for size, parallel in OTHERS:
        if rank < size:
            team = meet(folder, f"{size}-{parallel}", rank, size, parallel)
            where = folder / f"on-{size}-{parallel}"
            if rank == 0:  # each goes on from what two processes of the other kind have left
                shutil.copytree(folder / f"stopped-{BOTH[1 - BOTH.index(parallel)]}", where)
            team.any(False)
            running = train(RESUMED, team, where, restore=True)
            if rank == 0:
                keep(running, folder / f"{RESUMED}-{size}-{parallel}.safetensors")
            team.leave()


def check_mistakes(team: Processes) -> None:
    refused = {
        "lbfgs": "takes the whole training part in one process",
        "nadam": "float16 scales its loss in one process only",
        "adam": "a batch of 1 cannot be shared by 2 processes",
    }
    if team.parallel == "fsdp":
        refused |= {"muon": "sees more than one entry of a weight, which fsdp shards"}
    for rule, sentence in refused.items():
        with pytest.raises(UserError, match=sentence):
            more = {"precision": "float16", "model": "mlp:8"} if rule == "nadam" else {}
            Training(recipe(rule, batch=1 if rule == "adam" else 33, **more), own(), team=team)
    assert team.texts("é" * team.rank) == ["", "é"]

    def only_the_last() -> int:
        if team.rank == 1:
            raise UserError("mycode:problem: no module mycode")
        return 7

    with pytest.raises((UserError, Told)) as told:
        team.together(only_the_last)
    if team.rank == 1:
        assert str(told.value).startswith("process 1 of 2, on ") and str(told.value).endswith("no module mycode")
    else:
        assert isinstance(told.value, Told)
    assert team.together(lambda: 7) == 7


# --- What came of it -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("processes")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ravine.training.processes", __name__])  # imported once, not by each process
    started = [context.Process(target=process, args=(rank, where)) for rank in range(WORLD)]
    for each in started:
        each.start()
    while any(each.is_alive() for each in started):
        connection.wait([each.sentinel for each in started if each.is_alive()])
        if any(each.exitcode for each in started):  # the others would wait for it
            for each in started:
                each.terminate()
    assert [each.exitcode for each in started] == [0] * WORLD
    return where


@pytest.fixture(scope="module")
def alone() -> dict[str, Training]:
    return {name: train(name) for name in CASES}


def kept(path: Path) -> tuple[list[Point], dict[str, Tensor]]:
    curve = [Point.model_validate(point) for point in json.loads(path.with_suffix(".json").read_text())]
    return curve, load_file(path)


def compare(running: Training, curve: list[Point], weights: dict[str, Tensor], tolerance: float) -> None:
    assert [p.epoch for p in curve] == [p.epoch for p in running.state.curve]
    for ours, theirs in zip(curve, running.state.curve, strict=True):
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=tolerance)
        assert (ours.train_loss or 0.0) == pytest.approx(theirs.train_loss or 0.0, rel=tolerance)
        assert ours.metric == pytest.approx(theirs.metric, abs=10 * tolerance)
    for name, tensor in running.weights().items():
        torch.testing.assert_close(weights[name], tensor, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(("name", "parallel"), [(n, way) for n, (*_, ways) in CASES.items() for way in ways])
def test_two_processes_walk_where_one_walks(
    folder: Path, alone: dict[str, Training], name: str, parallel: Parallel
) -> None:
    running = alone[name]
    assert running.clock.step_at(running.state.tick) >= 20
    curve, weights = kept(folder / f"{name}-{parallel}.safetensors")
    compare(running, curve, weights, TOLERANCE.get(name, 1e-8))


@pytest.mark.parametrize(("size", "parallel"), OTHERS)
def test_what_two_processes_saved_goes_on_in_three_and_four(
    folder: Path, alone: dict[str, Training], size: int, parallel: Parallel
) -> None:
    curve, weights = kept(folder / f"{RESUMED}-{size}-{parallel}.safetensors")
    assert len(curve) - STOP > 10
    compare(alone[RESUMED], curve, weights, 1e-9)


@pytest.mark.parametrize("parallel", BOTH)
def test_what_two_processes_saved_goes_on_in_one(folder: Path, alone: dict[str, Training], parallel: Parallel) -> None:
    resumed = train(RESUMED, None, folder / f"stopped-{parallel}", restore=True)
    assert len(resumed.state.curve) - STOP > 10
    compare(alone[RESUMED], resumed.state.curve, resumed.weights(), 1e-9)
    frozen = resumed.module.get_parameter("frozen.weight")
    assert torch.equal(frozen, alone[RESUMED].module.get_parameter("frozen.weight"))


def test_a_run_that_nothing_shares_is_told_by_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert wanted(None) is None
    with team_of(None) as team:
        assert team.rank == 0
    with pytest.raises(UserError, match="so torchrun starts it: torchrun --nproc-per-node 2 -m ravine train"):
        wanted("ddp")
    with pytest.raises(UserError, match="--parallel dpp: choose ddp"):
        wanted("dpp")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert wanted(None) == "ddp"
