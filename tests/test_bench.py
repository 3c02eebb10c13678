"""The benchmarks measure what they say; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ravine.bench import accuracy, first, gpu, steps
from ravine.bench.common import Ratio, ratio
from ravine.bench.figure import Figure, absent
from ravine.bench.shapes import SMALL, entries, parameters, resnet50
from ravine.bench.suite import CASES, chosen
from ravine.cli import app
from ravine.engines.kernel import KernelStep
from ravine.errors import UserError
from ravine.rules.rule import resolve


def test_the_shapes_are_those_of_resnet50() -> None:
    assert len(resnet50()) == 161 and entries(resnet50()) == 25_557_032


@pytest.mark.parametrize(
    ("found", "at_least", "holds"),
    [
        (Ratio(3.5, 3.0, 4.0), True, True),
        (Ratio(3.5, 2.9, 4.0), True, False),
        (Ratio(2.5, 2.0, 3.0), False, True),
        (Ratio(2.5, 2.0, 3.1), False, False),
    ],
)
def test_a_target_holds_when_the_bad_end_of_the_interval_does(found: Ratio, at_least: bool, holds: bool) -> None:
    assert Figure("C1", "a step", "a peer", found, 3.0, at_least).holds is holds


def test_what_was_not_measured_holds_nothing() -> None:
    figure = absent("C1", "a step", "a peer", 1.2, "not installed")
    assert figure.holds is None and figure.row()["found"] is None


def test_a_ratio_is_taken_round_by_round() -> None:
    assert ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == Ratio(2.0, 2.0, 2.0)


def test_cases_by_name_in_any_case_all_if_none_is_named() -> None:
    assert chosen(["c5", "C1"]) == ["C5", "C1"] and chosen([]) == list(CASES)
    with pytest.raises(UserError, match="C99"):
        chosen(["C99"])


def test_small_steps_are_compared_with_both_of_torchs_paths_and_say_what_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    figures = list(steps.small(3))
    beside = [figure for figure in figures if figure.against in ("HeavyBall", "optax")]
    assert {figure.against for figure in figures} == {"torch fused", "torch default", "HeavyBall", "optax"}
    assert all(figure.found is None and "not installed" in figure.note for figure in beside)
    measured = [figure for figure in figures if figure not in beside]
    assert len(measured) == 10 and all(figure.found and figure.found.median > 0 for figure in measured)


def test_another_library_s_step_is_measured_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(name: str, shapes: Any, momentum: float) -> Any:
        return torch.optim.SGD(parameters(shapes), lr=0.1, momentum=momentum).step

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for library in ("_heavyball", "_optax"):
        monkeypatch.setattr(f"ravine.bench.rivals.{library}", quick)
    monkeypatch.setattr(steps, "BIG", {"small": lambda: SMALL})
    figures = {figure.against: figure for figure in steps.looped(3) if figure.what == "NAdam, small"}
    assert figures["HeavyBall"].target == 1.2 and "first step" in figures["optax"].note
    assert all(figure.found and figure.found.median > 0 for figure in figures.values())


def test_steps_on_a_gpu_are_measured_by_the_same_code_on_any_device_and_missed_where_there_is_none() -> None:
    if not torch.cuda.is_available():
        nothing = [*gpu.foreach(3), *gpu.fused(3), *gpu.small(3)]
        assert {figure.case for figure in nothing} == {"G1", "G2", "G3"}
        assert all(figure.holds is None and "CUDA" in figure.note for figure in nothing)
    here = [
        *gpu.foreach(3, "cpu", SMALL), *gpu.fused(3, "cpu", SMALL), *gpu.small(3, "cpu", [(4,)] * 5)
    ]  # fmt: skip
    assert len(here) == 4 * 2 + 2 + 3 and all(figure.found and figure.found.median > 0 for figure in here)
    assert {figure.against for figure in here} == {"torch foreach", "torch fused", "streaming bandwidth", "a step"}


@pytest.mark.parametrize("rule", ["adam", "momentum", "adadelta"])
def test_the_campaign_of_accuracy_finds_errors_within_its_limit_and_tells_a_wrong_step(rule: str) -> None:
    class Wrong(accuracy.Eager):
        def step(self, weights: Any, gradients: Any, slots: Any, given: Any) -> Any:
            new = super().step(weights, gradients, slots, given)
            weights[2].mul_(1 + 2e-6)
            return new

    kind = resolve(rule)
    for make, good in ((accuracy.Eager, True), (KernelStep, True), (Wrong, False)):
        worst = accuracy.measure(kind(), "", make, seeds=2)
        assert (0 < worst.weights <= accuracy.LIMIT and worst.slots <= accuracy.SLOT_LIMIT) == good


def test_no_kernel_is_made_in_10_000_scheduled_steps() -> None:
    assert next(first.recompilations()).holds  # that of engine="compile": tests/test_compile.py


def test_the_command_writes_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    path = tmp_path / "figures.json"
    app(["bench", "C7", "--threads", "1", "--json", str(path)], standalone_mode=False)
    assert "10,000" in capsys.readouterr().out
    written = json.loads(path.read_text())
    assert [figure["note"] for figure in written["figures"]] == ["", "needs a C++ compiler"]
    assert written["figures"][0]["case"] == "C7" and written["machine"]["bandwidth GB/s"] > 0
