"""The terminal, the notebook, the sentences above the figures, and the look of a rule."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import combinations

import pytest
from rich.console import Console

from ravine import report
from ravine.report import findings, numbers
from ravine.report.palette import COLOURS, FAMILIES, OUTCOMES, look
from ravine.results import RaceResult, RunResult


def printed(result: RaceResult, width: int, terminal: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=terminal).print(report.table(result))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("which", ["race", "regression", "interrupted", "hostile"])
def test_no_line_is_too_long(which: str, width: int, request: pytest.FixtureRequest) -> None:
    text = printed(request.getfixturevalue(which), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_answers(width: int, race: RaceResult) -> None:
    text = printed(race, width)
    flat = " ".join(text.split())
    assert "64 → 21 → 7 → 3 × 5 seeds" in flat and race.verdict in flat
    assert "4 of 64 diverged: momentum above" in flat and "Test accuracy (looked at once): 97.2 ± 0.3 %" in flat
    assert "Report: race-digits-7f3a/report.html" in flat and "Recipe: race-digits-7f3a/winner.toml" in flat
    assert "…" not in text, "no cell is cut for rules of usual names"
    assert ("schedule" in text) == (width == 120)
    assert text.count("one run, all 30 epochs") == 5
    nadam = next(line for line in text.splitlines() if "nadam " in line and "±" in line)
    assert "tie" in nadam


def test_width_and_folder_can_be_given(race: RaceResult) -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(report.table(race, 80, folder="elsewhere"))
    assert max(len(line) for line in out.getvalue().splitlines()) <= 80
    assert "elsewhere/report.html" in out.getvalue()


def test_brackets_are_no_markup(hostile: RaceResult) -> None:
    odd = hostile.model_copy(update={"verdict": "[bold]not bold[/bold]"})
    assert "[bold]not bold[/bold]" in printed(odd, 120, terminal=True)


def test_interrupted_says_so(interrupted: RaceResult) -> None:
    text = printed(interrupted, 80)
    assert "Interrupted" in text and "winner.toml" not in text


def test_notebook_is_static(race: RaceResult, interrupted: RaceResult) -> None:
    text = report.notebook(race)
    assert text.count("<svg") == 1 and text.count("<tr") == 9
    assert "<script" not in text and " on" not in text.replace(" on ", "").split("<table")[0]
    assert "<svg" not in report.notebook(interrupted)


def test_table_draws_without_plotly_or_torch() -> None:
    code = "import sys, ravine.report; print([m for m in ('torch', 'plotly', 'rich', 'jinja2') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def with_outcomes(race: RaceResult, outcomes: dict[float, bool]) -> RaceResult:
    base: RunResult = next(r for r in race.runs if r.rule == "sgd" and r.status == "finished")
    runs = [
        base.model_copy(
            update={"config": i, "id": f"c{i}", "hypers": {"lr": lr}, "status": "finished" if ok else "diverged"}
        )
        for i, (lr, ok) in enumerate(outcomes.items())
    ]
    return race.model_copy(update={"runs": runs})


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ({0.1: True, 1.3: True, 2.0: False}, "1 of 3 diverged: sgd above 1.3"),
        ({0.1: True, 0.5: False, 1.0: True}, "1 of 3 diverged: sgd at 0.5"),
        ({0.1: False, 1.0: False}, "2 of 2 diverged: sgd at every learning rate"),
        ({0.01: False, 0.1: True}, "1 of 2 diverged: sgd below 0.1"),
        ({0.1: False, 0.2: False, 0.3: False, 0.25: True}, "3 of 4 diverged: sgd 3 times between 0.1 and 0.3"),
        ({0.1: True}, "None of 1 configuration diverged"),
    ],
)
def test_failures_say_only_what_was_seen(race: RaceResult, outcomes: dict[float, bool], sentence: str) -> None:
    assert findings.failures(with_outcomes(race, outcomes)) == sentence


def test_tolerance_is_a_stretch_without_gaps(race: RaceResult) -> None:
    result = with_outcomes(race, {0.01: True, 0.1: True, 0.2: False, 0.3: True, 0.5: True})
    assert "sgd does well over the widest range of learning rates, 0.01 to 0.1" in findings.learning_rates(result)


def test_differences_name_ties_and_losers(race: RaceResult) -> None:
    sentence = findings.differences(race)
    assert sentence.startswith("nadam is within noise of momentum; adam's loss is 0.0")
    assert findings.curves(race).startswith("nadam needs 6 epochs")


def test_one_epoch_is_no_epochs_and_a_part_of_one_is_not_none(race: RaceResult) -> None:
    rungs = [(64, 1.0), (21, 10.0), (7, 30.0)]
    lost = [run.model_copy(update={"curve": run.curve[:1]}) for run in race.runs]  # nobody does well then
    short = race.model_copy(update={"rungs": rungs, "runs": lost, "epochs": 1})
    page, text = report.html(short), printed(short, 120)
    assert "1 epoch" in page and "at most 1 epoch" in text
    for wrong in ("1 epochs", "needs 0 epoch"):
        assert wrong not in page and wrong not in text
    early = [
        run.model_copy(update={"curve": [point.model_copy(update={"epoch": point.epoch / 30}) for point in run.curve]})
        for run in race.runs
    ]
    assert findings.curves(race.model_copy(update={"runs": early})).startswith("nadam needs 0.2 epochs")


@pytest.mark.parametrize(("mean", "half", "text"), [
    (0.1183, 0.0112, "0.118 ± 0.011"), (0.9996, 0.0004, "0.9996 ± 0.0004"), (12.3, 4.0, "12 ± 4"),
    (0.05, 0.00996, "0.050 ± 0.010"), (-0.0001, 0.02, "0.00 ± 0.02"), (1e-9, 1e-8, "(0.1 ± 1.0)e-08"),
    (1234567.0, 45678.0, "1,230,000 ± 50,000"), (float("nan"), 1.0, "–"), (1.0, float("inf"), "1"),
])  # fmt: skip
def test_spread(mean: float, half: float, text: str) -> None:
    assert numbers.spread(mean, mean - half, mean + half) == text


def contrast(colour: str, ground: str) -> float:
    def light(c: str) -> float:
        parts = [int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((light(colour), light(ground)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [*COLOURS, *(colour for colour, _ in OUTCOMES.values())])
def test_colours_show_on_paper_and_in_the_dark(colour: str) -> None:
    assert min(contrast(colour, "#faf9f6"), contrast(colour, "#14161a")) >= 3


def test_rules_are_told_apart_without_colour() -> None:
    assert all(look(a).marker != look(b).marker for a, b in combinations(FAMILIES, 2))
    assert look("toy") == look("toy") and look("toy").colour in COLOURS
    assert len({(look(name).dash, look(name).marker) for name in ("adam", "adam/eps-inside", "adam/printed")}) > 1
