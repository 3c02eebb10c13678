"""The rules as Triton kernels, in Triton's interpreter: the same numbers as from the equation, without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ravine.emit.split import split
from ravine.emit.trace import trace
from ravine.emit.triton import source
from ravine.engines.gpu import TritonStep
from ravine.errors import UserError
from ravine.rules.adam import Adam
from ravine.rules.rule import Rule, slots_of
from tests.interpreted import every_rule, label

needs_triton = pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="needs triton: the extra 'gpu'")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    """What tests/interpreted.py has measured."""
    return json.loads(output("tests.interpreted", {"TRITON_INTERPRET": "1"}))


def output(module: str, settings: dict[str, str]) -> str:
    """What a program prints that uses Triton in a process of its own."""
    environment = {**os.environ, "TRITON_INTERPRET": "0", "OMP_NUM_THREADS": "1", **settings}
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr[-2000:]
    return done.stdout


@needs_triton
@pytest.mark.parametrize("rule", every_rule(), ids=label)
def test_three_steps_of_groups_of_odd_tensors_are_the_rules_own_within_4_ulp(
    rule: Rule, interpreted: dict[str, Any]
) -> None:
    worst = interpreted["rules"][label(rule)]
    assert worst["weights"] <= 4 and worst["slots"] <= 8


@needs_triton
@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        ("float64", 4e-15),
        ("float16", 2e-6),
        ("bfloat16", 2e-6),
        ("bfloat16 state", 2e-6),
        ("max-norm", 4e-6),
        ("not a number", 4e-6),
        ("lanes of ClipNorm", 4e-6),
        ("lanes of ClipGlobalNorm", 4e-6),
    ],
)
def test_every_type_norm_and_lane_gives_what_the_cpus_kernel_gives(
    case: str, tolerance: float, interpreted: dict[str, Any]
) -> None:
    assert interpreted[case] <= tolerance


@needs_triton
def test_the_kernels_compile_to_a_gpus_machine_code_without_a_gpu(tmp_path: Path) -> None:
    done, of, asked = output("tests.compiled", {"TRITON_CACHE_DIR": str(tmp_path)}).splitlines()[-1].split()
    assert (of, done) == ("of", asked) and int(done) > len(every_rule()) // 12


@pytest.mark.parametrize("rule", every_rule(), ids=label)
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_the_printed_module_is_python(rule: Rule, kind: Any) -> None:
    text = source(split(trace(rule)), [kind] * (2 + len(slots_of(rule))))
    compile(text, "printed", "exec")
    assert ("tl.div_rn" in text or "tl.sqrt_rn" in text) <= (kind == "float32"), "these know float32 only"


def test_tensors_on_the_cpu_are_refused_before_triton_is_looked_for() -> None:
    import torch

    if TritonStep.devices == ("cpu",):
        pytest.skip("TRITON_INTERPRET is set: the interpreter takes them")
    w = torch.ones(2)
    with pytest.raises(UserError, match=r"serves dense CUDA tensors of .*, not float32, torch.strided, cpu"):
        TritonStep(Adam()).step([w], [w], {"m": [w], "v": [w]}, {})
