"""A rule in one new file is listed, raced, tested and reported, without another edit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOY = '''
"""A rule for a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.rule import Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Cooling(Rule):
    """Descent whose steps shrink as the square root of time.

        u = -lr g / sqrt(t)

    State: none.   Reference: a test of this package.
    """

    family = "cooling"
    differs = "steps shrink by themselves"
    lr: Scalar = hyper(0.1, "(0, inf)", "step size", unit="w per g", symbol=r"\\\\eta", search="log 1e-2 1e0")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return -self.lr * g / t**0.5, {}
'''
START = "import sys, ravine.rules; ravine.rules.__path__.append({folder!r}); "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the one new file."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "cooling.py").write_text(TOY.replace("\\\\", "\\"))
    return tmp_path / "more"


def python(folder: Path, code: str, *arguments: str) -> str:
    """What a program prints that finds the file among the rules."""
    environment = {**os.environ, "XDG_DATA_HOME": str(folder.parent / "data"), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", START.format(folder=str(folder)) + code, *arguments],
        cwd=folder.parent, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ravine(folder: Path, *arguments: str) -> str:
    return python(folder, "from ravine.cli import main; main()", *arguments)


def test_it_is_in_the_list_and_has_a_page_of_its_own(folder: Path) -> None:
    assert re.search(r"^cooling +0.1 +", ravine(folder, "rules"), re.MULTILINE)
    page = ravine(folder, "rules", "cooling")
    assert "u = -lr g / sqrt(t)" in page and "(0, inf)" in page and r"\eta" in page


def test_it_runs_in_the_default_race_and_is_in_its_report(folder: Path) -> None:
    out = ravine(
        folder, "race", "wine", "--model", "softmax", "--epochs", "1", "--budget", "9", "--seeds", "2",
        "--finalists", "99", "--lanes", "64", "--json",
    )  # fmt: skip
    result = json.loads(out)
    rows = {row["rule"]: row for row in result["ranking"]}
    assert "cooling" in rows and rows["cooling"]["finalist"]
    assert {"cooling", "adam", "sgd"} <= set(result["spaces"])
    page = (folder.parent / result["id"] / "report.html").read_text()
    assert "cooling" in page


def test_the_comparison_of_the_catalogue_finds_it(folder: Path) -> None:
    code = "from ravine.bench.compare import discovered, main; print('cooling' in discovered(False)); main()"
    tiny = ("--trials", "1", "--seeds", "2", "--length", "0.05")
    assert "True" in python(folder, code, "--problems", "wine", "--rules", "cooling", "--json", "cells.json", *tiny)
    assert "| 1 | cooling |" in (folder.parent / "cells.md").read_text()


def test_it_is_an_optimizer_and_a_recipe(folder: Path) -> None:
    code = (
        "import torch, ravine; w = torch.nn.Parameter(torch.ones(2)); w.grad = torch.ones(2); "
        "o = ravine.optim.Cooling([w], lr=0.5); o.step(); o.step(); print(w.tolist())"
    )
    w = 1 - 0.5 - 0.5 / 2**0.5
    assert json.loads(python(folder, code)) == pytest.approx([w, w], rel=1e-6)
    (folder.parent / "r.toml").write_text('problem = "wine"\nmodel = "softmax"\nepochs = 1\n[rule]\nname = "cooling"\n')
    assert "fingerprint" in ravine(folder, "train", "r.toml")


def test_the_conformance_tests_take_it_in(folder: Path) -> None:
    tests = Path(__file__).parent
    code = "import pytest; sys.exit(pytest.main([*sys.argv[1:], '-k', 'cooling or Cooling', '-p', 'no:cacheprovider']))"
    suites = [str(tests / name) for name in ("test_conformance.py", "test_lanes_of_rules.py")]
    passed = re.search(
        r"(\d+) passed",
        python(folder, code, "--rootdir", str(tests.parent), "-c", str(tests.parent / "pyproject.toml"), *suites),
    )
    assert passed and int(passed[1]) >= 8
