"""engine="compile": the eager numbers from one program of torch.compile, whatever the shapes and hyperparameters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ravine.optim
from ravine.bench import accuracy
from ravine.engines.compiled import CompiledStep
from ravine.optim import RuleOptimizer
from ravine.rules.rule import resolve, values
from ravine.schedules import Exponential
from tests.optimizing import drive, flat, weights

compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(not compiler, reason="torch.compile needs a C++ compiler")
SHAPES = ((3,), (0, 2), (900,), (), (5, 7), (2, 3, 4, 5), (1,), (31, 31), (31, 31))


def parameters() -> list[nn.Parameter]:
    ps = weights(*SHAPES)
    ps[5].data = ps[5].data.to(memory_format=torch.channels_last)
    return ps


def graphs() -> int:
    """How many programs torch.compile has made in this process."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def made(name: str, ps: list[nn.Parameter], **options: Any) -> RuleOptimizer:
    return getattr(ravine.optim, name)([{"params": ps[:4], "lr": 0.02}, {"params": ps[4:]}], lr=0.05, **options)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "options"),
    [("AdamW", {"clip_global_norm": 0.5}), ("NAdam", {}), ("SGD", {"momentum": 0.9, "weight_decay": 0.1})],
    ids=str,
)
def test_the_numbers_are_the_eager_engine_s(name: str, options: dict[str, Any]) -> None:
    ends = [(ps := parameters(), made(name, ps, engine=engine, **options)) for engine in ("compile", "eager")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _, optimizer in ends:
            drive(optimizer, 6)
    (ps, compiled), (qs, eager) = ends
    torch.testing.assert_close(flat(ps), flat(qs), rtol=2e-6, atol=1e-6)
    for p, q in zip(ps, qs, strict=True):
        assert compiled.state[p]["step"] == eager.state[q]["step"] == 6


@needs_compiler
def test_a_rule_that_keeps_the_weights_as_they_were_keeps_them() -> None:
    rule = resolve("momentum/heavy-ball")()
    assert accuracy.measure(rule, "compile", CompiledStep, seeds=3).slots == 0


@needs_compiler
def test_no_schedule_group_or_shape_asks_for_another_program() -> None:
    """pytorch#120934, #130467, #163093, #133898."""
    ps = parameters()
    optimizer = ravine.optim.AdamW(ps, weight_decay=0.1, engine="compile", nonfinite="ignore", clip_global_norm=0.5)
    optimizer.param_groups[0]["schedules"] = dict.fromkeys(values(optimizer.rules()[0]), Exponential(0.9999))
    drive(optimizer, 2)
    before = graphs()
    assert before > 0
    for step in range(60):
        if step in (20, 40):
            late = [nn.Parameter(torch.ones(step + 3, 2)), nn.Parameter(torch.ones(1))]
            optimizer.add_param_group({"params": late, "lr": 0.1 / step})
        drive(optimizer, 1, seed=step)
    assert graphs() == before


@needs_compiler
def test_no_gradient_is_kept_alive() -> None:
    p = nn.Parameter(torch.ones(40))
    optimizer = ravine.optim.SGD([p], momentum=0.9, weight_decay=0.1, engine="compile")
    for _ in range(3):
        p.grad = torch.ones(40)
        kept = weakref.ref(p.grad.untyped_storage())
        optimizer.step()
        p.grad = None
        assert kept() is None


def test_what_it_cannot_serve_steps_by_plain_torch_and_is_said_once() -> None:
    ends = [parameters(), parameters()]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for ps, engine in zip(ends, ("compile", "eager"), strict=True):
            drive(made("Adam", ps, engine=engine, state_dtype=torch.bfloat16), 3)
    assert [str(each.message).partition(" does not")[0] for each in seen] == ["engine='compile'"]
    assert torch.equal(flat(ends[0]), flat(ends[1]))


WITHOUT = """
import warnings, torch, ravine.optim
p = torch.nn.Parameter(torch.ones(8))
optimizer = ravine.optim.SGD([p], lr=0.5, engine="compile")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(2):
        p.grad = torch.ones(8)
        optimizer.step()
print(p.tolist() == [0.0] * 8, *(each.message for each in seen if issubclass(each.category, RuntimeWarning)), sep="; ")
"""


def test_without_a_compiler_plain_torch_steps_and_one_sentence_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    sentence = "engine='compile' needs a C++ compiler, and none was found: install g++; plain torch steps instead"
    assert done.stdout.strip() == f"True; {sentence}"
