"""The rules as Triton kernels, in Triton's interpreter: the same numbers as from the equation, without a GPU."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import ravine.optim
from ravine.emit.split import split
from ravine.emit.trace import trace
from ravine.emit.triton import source
from ravine.engines.gpu import TritonStep
from ravine.errors import UserError
from ravine.rules.adam import Adam
from ravine.rules.rule import Rule, slots_of
from tests.interpreted import every_rule, label
from tests.optimizing import drive, flat, weights

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
        ("classes", 1e-6),
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


class HereStep(TritonStep):
    """Takes tensors on the CPU, to see what happens without Triton."""

    devices = ("cpu",)


@pytest.mark.skipif(bool(importlib.util.find_spec("triton")), reason="Triton is there")
def test_without_triton_plain_torch_steps_and_one_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ravine.optim.stepper.kernel_for", lambda engine, device: HereStep)
    ends: list[torch.Tensor] = []
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for engine in ("auto", "eager"):
            ps = weights((3,), (2, 2))
            drive(ravine.optim.NAdam([{"params": [p]} for p in ps], engine=engine), 3)
            ends.append(flat(ps))
    assert torch.equal(*ends)
    assert len(seen) == 1 and "plain torch steps instead" in str(seen[0].message)
    optimizer = ravine.optim.NAdam(weights((3,)), engine="kernel")
    with pytest.raises(UserError, match=r"engine='kernel' needs .*; install it or use engine='auto'"):
        drive(optimizer, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: none is here")
@pytest.mark.parametrize("engine", ["auto", "kernel", "compile"])
def test_parameters_on_a_gpu_step_as_those_on_the_cpu(engine: Any) -> None:
    ends: list[torch.Tensor] = []
    for place in (["cuda", "cpu"], ["cpu", "cpu"]):
        ps = [
            torch.nn.Parameter(p.detach().to(device)) for p, device in zip(weights((3000,), (7, 5)), place, strict=True)
        ]
        optimizer = ravine.optim.AdamW(ps, engine=engine, clip_global_norm=0.5)
        for seed in range(4):
            for p, q in zip(ps, weights((3000,), (7, 5)), strict=True):
                p.grad = (q.detach() * (seed + 1)).to(p.device)
            optimizer.step()
        ends.append(flat([torch.nn.Parameter(p.detach().cpu()) for p in ps]))
    torch.testing.assert_close(*ends, rtol=2e-6, atol=1e-6)


def test_tensors_on_the_cpu_are_refused_before_triton_is_looked_for() -> None:
    if TritonStep.devices == ("cpu",):
        pytest.skip("TRITON_INTERPRET is set: the interpreter takes them")
    w = torch.ones(2)
    with pytest.raises(UserError, match=r"serves dense CUDA tensors of .*, not float32, torch.strided, cpu"):
        TritonStep(Adam()).step([w], [w], {"m": [w], "v": [w]}, {})
