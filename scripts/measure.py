"""Prints ravine's column of the scorecard: how often an equation is written, what a new rule costs, how long files are.

Every number is found in the code: by reading its syntax trees, or by adding a toy rule and seeing where it appears.
"""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor

import ravine
from ravine import optim
from ravine.emit.latex import latex
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.problems.problem import Part
from ravine.racing.space import make_space
from ravine.rules.rule import Rule, catalogue, hyper
from ravine.types import Array, Scalar, State

ROOT = Path(__file__).resolve().parent.parent
LONG_FILE, LONG_FUNCTION = 250, 40
SUITE = ("driving.py", "test_conformance.py", "test_oracles.py", "test_lanes_of_rules.py")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@final
@dataclass(frozen=True)
class Toy(Rule):
    """A rule that ravine has never seen: a fading sum of gradients."""

    family = "toy"
    slots: ClassVar[tuple[str, ...]] = ("m",)
    lr: Scalar = hyper(0.01, "(0, inf)", "step size", symbol=r"\alpha", search="log 1e-4 1e0")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        """The fading sum of gradients, downhill."""
        m = 0.5 * s["m"] + g
        return -self.lr * m, {"m": m}


def trees(folder: str) -> dict[Path, ast.Module]:
    """Every module below a folder, parsed."""
    return {path: ast.parse(path.read_text()) for path in sorted((ROOT / folder).rglob("*.py"))}


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(node: Any) -> int:
    """Lines, docstring included."""
    return node.end_lineno - node.lineno + 1


def mentions(tree: ast.AST, name: str) -> bool:
    """Whether a variable, function or attribute of that name occurs."""
    return any(name in (getattr(node, "attr", ""), getattr(node, "id", "")) for node in ast.walk(tree))


def is_adam(node: ast.AST) -> bool:
    """beta1's mean over (the root of beta2's mean + epsilon), or torch's in-place word for it."""
    if isinstance(node, ast.Attribute) and node.attr in ("addcdiv", "addcdiv_"):
        return True
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and mentions(node.left, "beta1")):
        return False
    below = node.right
    rooted = isinstance(below, ast.BinOp) and isinstance(below.op, ast.Add) and isinstance(below.left, ast.Call)
    return rooted and all(mentions(below, name) for name in ("sqrt", "v", "beta2"))


def code_lines(path: Path, node: ast.AST) -> int:
    """Lines that hold code: no docstring, comment or blank line."""
    texts = (inner.body[0] for inner in ast.walk(node) if isinstance(inner, ast.ClassDef | ast.FunctionDef))
    skipped = {
        line
        for text in texts
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        for line in range(text.lineno, text.lineno + length(text))
    }
    first: Any = node
    lines = enumerate(path.read_text().splitlines()[first.lineno - 1 : first.end_lineno], first.lineno)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in skipped for n, line in lines)


def adam_lines(src: dict[Path, ast.Module]) -> str:
    """The class Adam of every layer; what its family shares is counted with the family."""
    found = {
        path.parent.name: code_lines(path, node)
        for path, tree in src.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Adam"
    }
    return f"{sum(found.values())} ({', '.join(f'{layer} {lines}' for layer, lines in found.items())})"


def appearances() -> dict[str, bool]:
    """Where the toy rule appeared without an edit."""
    space = make_space(None, (), {}, [{"name": "constant"}], 64, 0)
    return {
        "catalogue": catalogue().get("toy") is Toy,
        "torch optimizer": hasattr(optim, "Toy"),
        "race": "toy" in space.rules,
        "equation": bool(latex(Toy())),
    }


def engines() -> list[str]:
    """The engines that walk the toy's path, to float64 rounding, from its one definition."""
    start = torch.linspace(-1, 1, 7, dtype=torch.float64)
    want, m = start.clone(), torch.zeros_like(start)
    for _ in range(3):
        m = 0.5 * m + 2 * want
        want = want - 0.01 * m
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
        paths = {
            "eager": walk(start.clone(), engine="eager"),
            "kernel": walk(start.clone(), engine="kernel"),
            "lanes": walk_lanes(start),
            "sharded": walk(distribute_tensor(start.clone(), mesh, [Replicate()])),
        }
        dist.destroy_process_group()
    return [name for name, got in paths.items() if np.allclose(got, want, rtol=1e-12, atol=1e-14)]


def walk(start: torch.Tensor, **options: Any) -> Any:
    """Three steps of the toy's torch optimizer."""
    weights = torch.nn.Parameter(start)
    optimizer = optim.of("toy")([weights], **options)
    for _ in range(3):
        optimizer.zero_grad()
        (weights * weights).sum().backward()
        optimizer.step()
    found = weights.detach()
    return (found.full_tensor() if isinstance(found, DTensor) else found).numpy()


def walk_lanes(start: torch.Tensor) -> Any:
    """The same steps of the second of two lanes."""

    def factory() -> torch.nn.Module:
        net = torch.nn.Linear(7, 1, bias=False, dtype=torch.float64)
        net.weight.data.copy_(start)
        return net

    def loss(out: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return (out * out).sum()

    model, part = Model(factory), Part(torch.eye(7, dtype=torch.float64), torch.zeros(7))
    lanes = Lanes(model, loss, [model.lane(Toy(), {}, 0), model.lane(Toy(), {}, 0)])
    for step in range(3):
        lanes.step(part, torch.arange(7).unsqueeze(0), float(step))
    return lanes.export()[1].weights.numpy()


def keyed_skips(tests: dict[Path, ast.Module], names: set[str]) -> int:
    """In the suite that every rule must pass: skips and expected failures, and comparisons with a rule's name."""
    suite = [tree for path, tree in tests.items() if path.name in SUITE]
    nodes = [node for tree in suite for node in ast.walk(tree)]
    skips = sum(isinstance(node, ast.Attribute) and node.attr in ("skip", "skipif", "xfail") for node in nodes)
    compared = [inner for node in nodes if isinstance(node, ast.Compare) for inner in ast.walk(node)]
    return skips + sum(isinstance(node, ast.Constant) and node.value in names for node in compared)


def layers_test(tests: dict[Path, ast.Module]) -> str:
    """The test that holds the import layers."""
    named = [(path, f.name) for path, tree in tests.items() for f in functions(tree) if f.name.startswith("test_")]
    found = [f"{path.name}::{name}" for path, name in named if "layer" in name]
    return f"yes ({found[0].rpartition('::')[0]})" if found else "no"


def docs_run() -> str:
    """Whether the tests that CI runs take in the docstrings' examples, and how many there are."""
    options, ci = (ROOT / "pyproject.toml").read_text(), (ROOT / ".ci/run").read_text()
    count = sum(path.read_text().count(">>> ") for path in (ROOT / "src").rglob("*.py"))
    return f"yes ({count} examples)" if "--doctest-modules" in options and "scripts/test" in ci else "no"


def column() -> Iterator[tuple[str, str, str]]:
    """Criterion, ours, aim."""
    src, tests = trees("src"), trees("tests")
    real = {name for name in catalogue() if name != "toy"}
    toy, fed = appearances(), engines()
    missing = [place for place, there in toy.items() if not there]
    files = {path: len(path.read_text().splitlines()) for path in src}
    spans = [length(f) for tree in src.values() for f in functions(tree)]
    over = [path.name for path, lines in files.items() if lines > LONG_FILE]
    written = sum(is_adam(node) for tree in src.values() for node in ast.walk(tree))
    yield "times the Adam equation is written", str(written), "1"
    yield "Adam code lines, all layers", adam_lines(src), "<= 20"
    yield "files to edit to add an optimizer", f"1 + 1 oracle; missing in {missing}" if missing else "1 + 1 oracle", "2"
    yield "engines fed by one definition", f"{len(fed)} of 4 ({', '.join(fed)})", "4 of 4"
    yield "name-keyed skips in the conformance suite", str(keyed_skips(tests, real)), "0"
    yield "largest file / files over 250 lines", f"{max(files.values())} / {len(over)} {' '.join(over)}", "250 / 0"
    long = sum(span > LONG_FUNCTION for span in spans)
    yield "longest function / share over 40 lines", f"{max(spans)} / {long / len(spans):.1%}", "40 / 0"
    yield "public names", f"{len(ravine.__all__)} + {len(real)} rules", "<= 30 + rules"
    yield "import layers enforced by a test", layers_test(tests), "yes"
    yield "examples and docs run in CI", docs_run(), "yes"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for criterion, ours, aim in column():
        print(f"{criterion:42} {ours:42} aim {aim}")
