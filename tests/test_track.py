"""Runs on a track: workers, cohorts that are lent, lanes made when they are needed, checkpoints in parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from ravine.checkpoints.tensors import in_parts
from ravine.engines.lane import Model
from ravine.files import digest_of, write_whole
from ravine.models import model_factory
from ravine.problems import load
from ravine.rules.rule import make
from ravine.training.clock import Clock
from ravine.training.crew import crew
from ravine.training.run import Candidate, Run
from ravine.training.track import Track

PROBLEM = load("wine")
CLOCK = Clock(len(PROBLEM.train), 16, 3)


def runs(rules: tuple[str, ...] = ("adam", "sgd", "adam", "momentum", "sgd")) -> list[Run]:
    return [Run(f"r{i}", Candidate(i, make(rule, {}), {}), i % 2, "rung") for i, rule in enumerate(rules)]


def track(workers: int, size: int) -> Track:
    models = [Model(model_factory("mlp:6", PROBLEM.shape, PROBLEM.outputs)) for _ in range(workers)]
    return Track(models, functional.cross_entropy, PROBLEM, CLOCK, size, draws=False)


@pytest.mark.parametrize(("workers", "size"), [(1, 2), (1, 5), (2, 1), (2, 2), (3, 2)])
def test_workers_change_no_more_than_rounding(workers: int, size: int) -> None:
    alone, company = runs(), runs()
    for _ in track(1, 1).go(alone, CLOCK.ticks):
        pass
    going = track(workers, size)
    for _ in going.go(company, CLOCK.ticks):
        pass
    assert going.lane_steps == 5 * CLOCK.steps
    for one, other in zip(company, alone, strict=True):
        assert one.tick == other.tick == CLOCK.ticks
        assert one.score == pytest.approx(other.score, rel=1e-4)


def test_two_workers_give_the_same_bits_twice() -> None:
    first, second = runs(), runs()
    for found in (first, second):
        for _ in track(2, 2).go(found, CLOCK.ticks):
            pass
    assert [run.curve for run in first] == [run.curve for run in second]


def test_lent_states_are_those_at_the_end_of_the_curve() -> None:
    going, found = track(2, 2), runs()
    for done, _ in enumerate(going.go(found, CLOCK.ticks), 1):
        with going.lent():
            inside = [run for run in found if run.tick >= 0]
            assert all(run.lane is not None and run.lane.step == CLOCK.step_at(run.tick) for run in inside)
            assert all(run.lane is None for run in found if run.tick < 0), "not begun: its draw is made when it is"
        if done == 3:
            break


def test_workers_leave_torchs_threads_and_generator_as_they_were() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    for _ in track(2, 2).go(runs(), 1):
        pass
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_an_error_in_a_worker_comes_out_after_the_others_are_done() -> None:
    done: list[int] = []

    def fails() -> None:
        raise RuntimeError("of the user's model")

    with crew(2) as together, pytest.raises(RuntimeError, match="the user's model"):
        together([fails, lambda: done.append(1)])
    assert done == [1]


def test_tensors_in_parts_are_a_safetensors_file(tmp_path: Path) -> None:
    given = {
        "a": torch.randn(3, 5).T,
        "half": torch.randn(3).bfloat16(),
        "flag": torch.tensor([True, False, True]),
        "none": torch.empty(0, 4),
        "one": torch.tensor(7),
        "deep/name": torch.randn(2, 2, dtype=torch.float64),
    }
    path = tmp_path / "x.safetensors"
    sha = write_whole(path, in_parts(given))
    assert sha == digest_of(path)
    found = load_file(path)
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
