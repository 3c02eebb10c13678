"""The comparison of the catalogue: cells that are kept, a page made of them alone, ties and divergences told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ravine.bench.characters import CONTEXT, Transformer, characters, next_character
from ravine.bench.compare import compare, main
from ravine.bench.compare_page import page
from ravine.bench.compare_rows import corrected, rows_of, together
from ravine.engines.lane import Model
from ravine.losses import metric_of
from ravine.racing.plan import refused
from ravine.rules.rule import make
from ravine.training.clock import Clock
from ravine.training.interrupt import Request

DOCS = Path(__file__).parents[1] / "docs"
TINY = {"trials": 2, "seeds": 2, "length": 0.1}
BUDGET = ("--trials", "2", "--seeds", "2", "--length", "0.1")


@pytest.fixture
def one_thread() -> Any:
    """Workers are as many as torch has threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(path: Path, rules: str, *more: str) -> int:
    return main(["--problems", "wine", "--rules", rules, "--json", str(path), *BUDGET, *more])


def cell(loss: float, default: float | None = None, spread: float = 0.01) -> dict[str, Any]:
    """A cell with these mean losses over three seeds; nan stands for a seed that diverged."""

    def side(mean: float, rate: float) -> dict[str, Any]:
        losses = [None if mean != mean else mean + spread * k for k in (-1, 0, 1)]
        return {"hypers": {"lr": rate}, "losses": losses, "metrics": losses, "train": losses}

    trials = [{"lr": 0.1, "valid": 0.5}, {"lr": 1.0, "valid": None}]
    return {"trials": trials, "tuned": side(loss, 1.0), "default": side(default or loss, 0.1), "step": {"median": 2.0}}


@pytest.mark.usefixtures("one_thread")
def test_cells_are_kept_and_only_what_is_missing_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cells.json"
    assert run(path, "sgd,momentum") == 0
    before = json.loads(path.read_text())["cells"]["wine"]
    assert set(before) == {"sgd", "momentum"} and "2/2" in capsys.readouterr().err
    for found in before.values():
        assert len(found["trials"]) == 3 and len(found["tuned"]["losses"]) == len(found["default"]["losses"]) == 2
        assert found["step"]["median"] > 0
    assert run(path, "SGD,lbfgs") == 0
    said = capsys.readouterr().err
    data = json.loads(path.read_text())
    assert "1/1" in said and "sgd" not in said
    assert {name: data["cells"]["wine"][name] for name in before} == before
    assert data["cells"]["wine"]["lbfgs"]["step"] is None
    text = path.with_suffix(".md").read_text()
    assert text == page(data) and all(f"| {name} |" in text for name in ("sgd", "momentum", "lbfgs"))


@pytest.mark.usefixtures("one_thread")
def test_the_best_by_validation_is_tuned_and_each_rule_alone_gives_the_same(tmp_path: Path) -> None:
    say: list[str] = []
    both = compare(tmp_path / "a.json", ["wine"], ["sgd", "adagrad"], TINY, say.append)["cells"]["wine"]
    alone = compare(tmp_path / "b.json", ["wine"], ["adagrad"], TINY, say.append)["cells"]["wine"]
    best = min(both["adagrad"]["trials"], key=lambda trial: trial["valid"])
    assert best["lr"] == both["adagrad"]["tuned"]["hypers"]["lr"]
    for part in ("trials", "tuned", "default"):
        assert both["adagrad"][part] == alone["adagrad"][part]


@pytest.mark.usefixtures("one_thread")
def test_a_stop_keeps_what_is_finished(tmp_path: Path) -> None:
    path, request = tmp_path / "cells.json", Request()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        request.made = True

    data = compare(path, ["wine"], ["sgd", "momentum"], TINY, say, request)
    assert set(data["cells"]["wine"]) == {"sgd"} == set(json.loads(path.read_text())["cells"]["wine"])
    assert said[-1].endswith("wine momentum")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--problems", "digit"], "did you mean 'digits'"),
        (["--rules", "adm"], "did you mean 'adam'"),
        (["--trials", "0"], "trials must be greater than or equal to 1, got 0"),
        (["--schedule", "cosin"], "did you mean 'cosine'"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    given: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cells.json"
    assert main(["--problems", "wine", "--rules", "sgd", "--json", str(path), *given]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_cells_of_another_budget_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cells.json"
    kept = {"format": 1, "protocol": {**TINY, "seed": 0, "schedule": "cosine"}, "problems": {}, "cells": {}}
    path.write_text(json.dumps({**kept, "sessions": []}))
    assert run(path, "sgd", "--trials", "3") == 2
    assert "trials 2, asked is 3" in capsys.readouterr().err
    path.write_text("{}")
    assert run(path, "sgd") == 2 and "not a file of this comparison" in capsys.readouterr().err


def test_ties_places_and_divergences_are_told() -> None:
    cells = {"far": cell(2.0), "near": cell(1.001), "best": cell(1.0, 1.5), "lost": cell(float("nan"), 1.0)}
    cells["near"]["tuned"]["losses"] = [1.05, 0.95, 1.003]
    rows = rows_of({**cells, "not": {"refused": "it cannot"}})
    assert [row.rule for row in rows] == ["best", "near", "far", "lost", "not"]
    assert [row.is_tied(rows) for row in rows] == [True, True, False, False, False]
    assert together(rows) == 2 <= corrected(rows)
    assert [row.place(rows, "tuned") for row in rows] == [1, 2, 3, None, None]
    assert rows[0].gain == pytest.approx(1 / 3) and rows[0].lost == 1 and rows[3].lost == 4
    assert rows[0].rate == "0.1 → 1\\*"


def test_the_page_says_what_is_missing_and_judges_by_what_most_rules_ran_on() -> None:
    facts = {"what": "", "understood": ["rows"], "model": "mlp", "parameters": 7, "samples": [3, 2, 1], "epochs": 1}
    facts |= {"batch": 1, "steps": 3, "metric": "accuracy", "seeds": [1, 2, 3]}
    cells = {"whole": {"sgd": cell(1.0), "adam": cell(float("nan"))}, "part": {"adam": cell(2.0)}, "none": {}}
    protocol = {"trials": 1, "seeds": 3, "seed": 0, "length": 1.0, "schedule": "cosine"}
    data = {"protocol": protocol, "problems": dict.fromkeys(cells, facts), "cells": cells, "sessions": []}
    text = page(data)
    assert "## whole together" in text and "| diverged (3 of 3) | - |" in text
    assert "- part, for want of time; the same command goes on here: sgd." in text and "here: adam, sgd." in text
    cells["part"]["sgd"] = {"refused": "no layer fits"}
    assert "- sgd on part: no layer fits" in page(data) and "## All problems together" in page(data)
    assert "7 parameters" in page({**data, "cells": {}})


def test_the_page_in_the_docs_is_that_of_its_file() -> None:
    data = json.loads((DOCS / "data" / "compare.json").read_text())
    assert (DOCS / "comparison.md").read_text() == page(data)


def test_the_transformer_is_causal_maps_over_lanes_and_is_scored_by_character() -> None:
    problem = characters(rows=64)
    module = Transformer(problem.outputs)
    x, y = problem.train.x[:4], problem.train.y[:4]
    assert torch.equal(x[:, 1:], y[:, :-1]) and x.shape == (4, CONTEXT)
    changed = x.clone()
    changed[:, 20] = (changed[:, 20] + 1) % problem.outputs
    before, after = module(x), module(changed)
    assert torch.equal(before[:, :20], after[:, :20]) and not torch.equal(before[:, 20:], after[:, 20:])
    assert next_character(before, y).isfinite()
    right = torch.nn.functional.one_hot(y, problem.outputs).float()
    right[0, : CONTEXT // 2] = right[0, : CONTEXT // 2].roll(1, -1)
    assert metric_of(problem)(torch.stack([right, right.roll(-1, -1)]), y).tolist() == [3.5, 0.5]
    model = Model(lambda: Transformer(problem.outputs))
    lanes = [model.lane(make("sgd", {}), {}, 0)] * 2
    assert refused(model, next_character, lanes, problem, Clock(64, 8, 1)) == ""
