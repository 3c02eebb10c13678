"""Every example runs, and with ``--peer``, torch's own optimizer in its one line, along the same loss curve."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def needs(example: Path) -> list[str]:
    """The libraries that an example imports and that are not here."""
    nodes = list(ast.walk(ast.parse(example.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    names = {name.partition(".")[0] for name in plain | parts}
    return sorted(name for name in names if importlib.util.find_spec(name) is None)


@functools.cache
def losses(example: Path, *options: str) -> list[float]:
    """The losses that an example prints, run as a user runs it."""
    missing = needs(example)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: install ravine[clients]")
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            [sys.executable, str(example), *options],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            timeout=300,
        )
        left = os.listdir(folder)
    assert process.returncode == 0, process.stderr
    assert not left, f"{example.name} leaves {left} behind"
    return [json.loads(line)["loss"] for line in process.stdout.splitlines() if line.startswith('{"loss"')]


def worst(ours: list[float], theirs: list[float]) -> float:
    """The largest relative difference of two curves that fall."""
    assert len(ours) == len(theirs) >= 20
    assert all(map(math.isfinite, theirs))
    assert theirs[-1] < 0.9 * theirs[0]
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_trains_as_with_torch(example: Path) -> None:
    assert worst(losses(example), losses(example, "--peer")) < 1e-5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_only_the_optimizer_line_is_ours(example: Path) -> None:
    text = example.read_text("utf-8")
    used = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "optim"]
    assert len(used) == 1
    assert len(text.splitlines()) <= 60


def test_two_processes_walk_as_one() -> None:
    sharded = FOLDER / "sharded.py"
    assert worst(losses(sharded), losses(sharded, "--processes", "1")) < 1e-6
