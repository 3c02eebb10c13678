"""The log of samples: a run that was killed and resumed saw the same order as one that was not, byte for byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ravine.cli import app
from ravine.errors import UserError
from ravine.problems import load, sampling
from ravine.randomness import generator
from ravine.recipe import Recipe
from ravine.training.clock import Batches, Clock
from ravine.training.samples import FILE, SampleLog, first_difference, read
from ravine.training.train import Training

RECIPE = Recipe(problem="wine", model="mlp:8", epochs=6, batch=16, seed=3, sampling="random")
# The run saves at every point of measurement, and is killed by itself in the middle of an epoch.
KILLED = """
import os, signal
from ravine.training import checkpoint, samples
checkpoint.SELDOM = 0.0
checkpoint.due = lambda saved, saving: True
plain = samples.SampleLog.record
def record(self, step, ids):
    plain(self, step, ids)
    if step == {step}:
        self.file.flush()
        self.file.write(b"half a record")
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
samples.SampleLog.record = record
from ravine.cli import main
main()
"""


def trained(folder: Path, resume: bool = False) -> Path:
    """The log of the run to its end, in this process."""
    running = Training(RECIPE, load("wine"), folder, log_samples=not resume)
    if resume:
        running.restore(folder)
    for _ in running.run():
        pass
    return folder / FILE


def test_u24_a_killed_run_saw_what_an_uninterrupted_one_saw_byte_for_byte(tmp_path: Path) -> None:
    RECIPE.save(tmp_path / "r.toml")
    command = ["train", "r.toml", "--out", "killed", "--log-samples"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": str(tmp_path / "data")}
    code = KILLED.format(step=25)
    done = subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    torn, whole = (tmp_path / "killed" / FILE).read_bytes(), trained(tmp_path / "whole").read_bytes()
    assert torn.endswith(b"half a record") and not whole.startswith(torn)
    assert trained(tmp_path / "killed", resume=True).read_bytes() == whole

    problem = load("wine")
    steps = Clock(len(problem.train), 16, 6).steps
    seen = list(read(tmp_path / "killed" / FILE))
    assert [record.step for record in seen] == list(range(steps))
    assert problem.train.ids is not None
    assert set(problem.train.ids.tolist()) >= {int(i) for record in seen for i in record.ids}


def test_u24_the_log_tells_a_run_that_repeats_its_first_epoch(tmp_path: Path) -> None:
    honest = trained(tmp_path / "honest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "generator", lambda seed, what, epoch: generator(seed, what, 0))
        wrong = trained(tmp_path / "wrong")
    per_epoch = Clock(len(load("wine").train), 16, 6).steps_per_epoch
    assert first_difference(honest, wrong) == (per_epoch, per_epoch)


def logged(path: Path, steps: int, seed: int = 0) -> Path:
    batches = Batches(Clock(60, 8, 4))
    log = SampleLog.begin(path, {"problem": "made"})
    for step in range(steps):
        log.record(step, batches.at([seed], step)[0])
    log.close()
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    batches = Batches(Clock(60, 8, 4))
    found = [record.ids.tolist() for record in read(logged(tmp_path / "a", 20))]
    assert found == [batches.at([0], step)[0].tolist() for step in range(20)]


def test_one_altered_byte_is_found_wherever_it_lies(tmp_path: Path) -> None:
    path = logged(tmp_path / "a", 6)
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for place in (3, first, first + 9, first + 20, len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(UserError, match=r"torn or altered|is no log of samples"):
            list(read(path))
    path.write_bytes(content[:-5])
    with pytest.raises(UserError, match="record of step 5 is torn"):
        list(read(path))


def test_a_log_that_is_shorter_than_the_checkpoint_is_refused(tmp_path: Path) -> None:
    path = logged(tmp_path / "a", 6)
    with pytest.raises(UserError, match="holds 6 steps, and the checkpoint stands at 7: start again"):
        SampleLog.go_on(path, 7)
    again = SampleLog.go_on(path, 4)
    again.close()
    assert len(list(read(path))) == 4


def test_two_logs_are_compared_step_by_step(tmp_path: Path) -> None:
    one, other, third = logged(tmp_path / "a", 9), logged(tmp_path / "b", 7), logged(tmp_path / "c", 7, seed=1)
    assert first_difference(one, other) == (7, None)
    assert first_difference(one, third) == (0, 0)
    runner = CliRunner()
    same = runner.invoke(app, ["data", "samples", str(one), str(other)])
    assert same.exit_code == 0 and "the same samples in the same order in all 7 steps" in same.output.replace("\n", " ")
    differs = runner.invoke(app, ["data", "samples", str(one), str(third)])
    assert differs.exit_code == 1 and "step 0 saw other samples" in differs.output.replace("\n", " ")
    (tmp_path / "r.toml").write_text("no log")
    none = runner.invoke(app, ["data", "samples", str(one), str(tmp_path / "r.toml")])
    assert none.output == "" and "is no log of samples" in str(none.exception)  # nothing is said before both are read
    ids = runner.invoke(app, ["data", "samples", str(one), "--step", "2"]).output.split()
    assert ids == [str(i) for i in Batches(Clock(60, 8, 4)).at([0], 2)[0].tolist()]
