"""Problems from the user's own modules, and their exceptions in their own lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ravine import problems
from ravine.errors import UserError

MODULE = """
import numpy as np
import torch
from torch.utils.data import TensorDataset
from ravine.problems import from_arrays

x = np.random.default_rng(0).normal(size=(50, 3))
y = np.arange(50) % 2
pair = lambda: (x, y)
def four(): return x, y, x[:11], y[:11]
def dataset(): return TensorDataset(torch.tensor(x), torch.tensor(y))
def problem(): return from_arrays(x, y, name="their own")
def everything(): return {"data": (x, y), "model": lambda: torch.nn.Linear(3, 2), "loss": "cross_entropy"}
def helper():
    raise RuntimeError("the disk is on fire")
def broken():
    return helper()
def inside_torch():
    return torch.zeros(2) @ torch.zeros(3)
def leaves():
    raise SystemExit("go away")
def wrong(): return 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of the user in the current folder."""
    package = f"user_{tmp_path.name}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "code.py").write_text(MODULE)
    (tmp_path / package / "typo.py").write_text("import numpy\nx = (1,\n")
    (tmp_path / package / "raises.py").write_text("a = 1\nb = a / 0\n")
    (tmp_path / package / "lacks.py").write_text("import a_package_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return package


@pytest.mark.parametrize("function", ["pair", "four", "dataset", "problem", "everything"])
def test_functions_of_the_user(module: str, function: str) -> None:
    problem = problems.load(f"{module}.code:{function}")
    assert problem.shape == (3,)
    assert problem.classes == ("0", "1")
    assert problem.name == ("their own" if function == "problem" else function)
    assert len(problem.test) == (11 if function == "four" else 10)
    if function == "everything":
        assert problem.model is not None
        assert problem.loss == "cross_entropy"


@pytest.mark.parametrize(
    ("source", "first", "shown", "hidden"),
    [
        (
            "code:broken",
            "{}.code:broken raised RuntimeError: the disk is on fire",
            ["in broken\n    return helper()", 'raise RuntimeError("the disk is on fire")'],
            "ravine",
        ),
        ("code:inside_torch", "{}.code:inside_torch raised RuntimeError: ", ["torch.zeros(2) @"], "site-packages"),
        ("code:leaves", "{}.code:leaves raised SystemExit: go away", ['raise SystemExit("go away")'], "ravine"),
        ("raises:f", "importing {}.raises raised ZeroDivisionError: division by zero", ["b = a / 0"], "importlib"),
        ("typo:f", "importing {}.typo raised SyntaxError: '(' was never closed", ["line 2", "x = (1,"], "importlib"),
        (
            "lacks:f",
            "importing {}.lacks raised ModuleNotFoundError: No module named",
            ["import a_package"],
            "importlib",
        ),
    ],
)
def test_code_that_raises_is_shown_in_the_users_lines(
    module: str, source: str, first: str, shown: list[str], hidden: str
) -> None:
    with pytest.raises(UserError) as caught:
        problems.load(f"{module}.{source}")
    text = str(caught.value)
    assert text.split("\n", 1)[0].startswith(first.format(module))
    for line in shown:
        assert line in text
    assert hidden not in text.split("\n", 1)[1]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("code:brokn", "code 'brokn': did you mean 'broken'?"),
        ("nothing:f", "nothing in "),
        ("code:", "is no package.module:function"),
        ("code:wrong", "data is a int: give a name"),
    ],
)
def test_code_that_is_not_there(module: str, source: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        problems.load(f"{module}.{source}")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
