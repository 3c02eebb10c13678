"""`torchrun -m ravine train` as a user types it: a process is killed, all start anew and go on from the checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo"),
]
RECIPE = """
problem = "digits"
model = "mlp:64:0.2"
epochs = 60
[rule]
name = "nadam"
[schedule.lr]
name = "cosine"
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(cwd: Path, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(cwd)}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def curve(text: str) -> list[dict[str, Any]]:
    return json.loads(text)["result"]["curve"]


def children(of: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def test_a_killed_process_costs_what_came_after_the_last_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    alone = run(tmp_path, sys.executable, "-m", "ravine", "train", "r.toml", "--out", "alone", "--json")
    expected = curve(alone.communicate()[0])
    words = ["-m", "ravine", "train", "r.toml", "--out", "mine", "--json"]
    shared = run(tmp_path, *TORCHRUN, "--max-restarts", "1", *words)
    while not list((tmp_path / "mine").glob("checkpoints/*/manifest.json")):
        assert shared.poll() is None
        time.sleep(0.05)
    first = children(shared.pid)
    os.kill(first[-1], signal.SIGKILL)
    out, told = shared.communicate(timeout=400)
    assert shared.returncode == 0, told
    found = curve(out)
    assert len(found) == len(expected) == 61
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["epoch"] == theirs["epoch"]
        assert ours["valid_loss"] == pytest.approx(theirs["valid_loss"], rel=1e-4)
