"""Each layer imports only those before it: equation, optimizer, run, race, report."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ravine

ROOT = Path(ravine.__file__).parent
LAYERS = (
    "problems.encode",
    "errors", "discovery", "types", "_version", "files", "checkpoints", "randomness", "validation", "gradients",
    "surfaces",
    "rules", "schedules", "augment", "emit",
    "results", "reading", "problems.blame", "code", "metrics",
    "problems.inputs", "problems.balance", "problems.heads", "problems.problem",
    "engines", "penalties", "optim", "entries", "solvers",
    "problems", "blocks", "initial", "noise", "losses", "models", "transfer", "recipe", "decisions", "baselines",
    "training", "linting", "explain",
    "made_with", "racing", "tracking", "store", "report", "profiling", "reproduction",
    "estimators",
    "rates", "ensembles", "batches", "prove", "api", "evaluation", "sharing", "lab", "bench", "cli",
    "__main__", "", "handbook",
)  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name below the package: "rules.adam"; empty for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int:
    """The place of the longest layer name that the module is or lies in."""
    fitting = [name for name in LAYERS if name == module or (module.startswith(f"{name}.") and name)]
    assert fitting, f"{module} belongs to no layer: put it into LAYERS"
    return LAYERS.index(max(fitting, key=len))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the module of every import of our own, inside functions and for types included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and node.module
            and node.module.split(".")[0] == "ravine"
        ):
            base = node.module.partition(".")[2]
            for alias in node.names:
                below = f"{base}.{alias.name}".strip(".")
                yield node.lineno, below if is_module(below) else base
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "ravine":
                    yield node.lineno, alias.name.partition(".")[2]


def is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path) or "ravine")
def test_a_module_imports_only_earlier_layers(path: Path) -> None:
    own = layer_of(module_of(path))
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {found}, of the later layer '{LAYERS[layer_of(found)]}'"
        for line, found in imports(path)
        if layer_of(found) > own
    ]
    assert wrong == []


def test_the_walk_sees_what_it_should() -> None:
    assert layer_of("problems.problem") < layer_of("engines.lane") < layer_of("problems.load")
    assert "racing.race" in {found for _, found in imports(ROOT / "api.py")}
    assert "errors" in {found for _, found in imports(ROOT / "rules" / "rule.py")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path) or "ravine")
def test_no_relative_imports_and_no_star(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and all(alias.name != "*" for alias in node.names)


def test_rules_know_no_engine_and_draw_no_numbers() -> None:
    for path in (ROOT / "rules").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert not node.attr.endswith("_") or node.attr.startswith("_"), f"{path.name}: in-place {node.attr}"
