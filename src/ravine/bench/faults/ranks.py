"""F9: a run that several processes share loses one of them, and goes on with as many as are left, or as come."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ravine.bench.faults.kills import LONGEST, server
from ravine.bench.faults.trial import Part, Trial
from ravine.checkpoints import holds
from ravine.checkpoints.sound import numbers
from ravine.problems import from_arrays
from ravine.problems.problem import Problem
from ravine.recipe import Recipe
from ravine.training import checkpoint
from ravine.training.meeting import Lost, team_of
from ravine.training.train import Training

RECIPE = Recipe(
    problem="own", model="own", epochs=5, batch=33, seed=3, schedule={"lr": {"name": "cosine"}},
    rule={"name": "adamw", "with": [{"name": "clip-global-norm", "clip": 0.1}]},
)  # fmt: skip
BEGINS, GOES_ON = (2, 2, 2, 3), (1, 1, 2, 2, 3, 4)  # processes before one is lost, and after
LATEST = 0.4  # share of the run's checkpoints after which one is lost at the latest: ten steps and more are left
CLOSE = 1e-6  # relative: how far losses and weights may be from those of one process
HEARD = 60.0  # seconds after which the others have to have heard of it
LOST, END = 3, "end.safetensors"  # the code of a process that says that another is lost


class Net(nn.Module):
    """Batch normalisation, a frozen layer, dropout, and a layer that nothing uses, in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm1d(4)
        self.frozen = nn.Linear(24, 8).requires_grad_(False)
        self.idle = nn.Linear(3, 3)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(8, 3)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        """Three classes of rows of six numbers."""
        return self.last(self.drop(torch.tanh(self.frozen(self.norm(self.first(x.double().unsqueeze(1))).flatten(1)))))


def own() -> Problem:
    """Which of three numbers is the largest, among six."""
    x = torch.randn(230, 6, generator=torch.Generator().manual_seed(0))
    return from_arrays(x, (x[:, :3]).argmax(1), model=Net)


@dataclass(frozen=True)
class Company:
    """So many processes that share the run in one way."""

    size: int
    parallel: str

    def started(self, context: ForkServerContext, folder: Path) -> list[ForkServerProcess]:
        """The processes, which meet at a port of their own."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = [
            context.Process(target=session, args=(rank, self.size, self.parallel, port, str(folder)))
            for rank in range(self.size)
        ]
        for process in made:
            process.start()
        return made


def session(rank: int, size: int, parallel: str, port: int, folder: str) -> None:
    """One process of a run, as torchrun starts it; the first leaves what came of the run."""
    torch.set_num_threads(1)
    checkpoint.due = lambda saved, saving: True
    where = Path(folder)
    if size > 1:
        own_place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in own_place.items()}, MASTER_ADDR="127.0.0.1")
    try:
        with team_of(parallel if size > 1 else None) as team:
            (where / f"met-{rank}").touch()
            running = Training(RECIPE, own(), where, team=team)
            if holds(where):
                running.restore(where)
            begun = max(running.state.tick, 0)
            for _ in running.run():
                pass
            weights = running.weights()
    except Lost:
        os._exit(LOST)  # the runtime of gloo waits for the dead
    if rank == 0:
        save_file(weights, where / END)
        facts = {"curve": [point.model_dump() for point in running.state.curve], "steps": _steps(running, begun)}
        (where / END).with_suffix(".json").write_text(json.dumps(facts))


def _steps(running: Training, begun: int) -> int:
    return running.clock.steps - running.clock.step_at(begun)


def trials(indices: Sequence[int], place: Path) -> Iterator[Trial]:
    """Each a run that loses a process, and goes on with as many or fewer or more, shared in the same way or not."""
    if not dist.is_available() or not dist.is_gloo_available():
        yield Trial(0, "", {"without gloo": 1})
        return
    context = server()
    alone = place / "alone"
    alone.mkdir(parents=True)
    for process in Company(1, "").started(context, alone):
        process.join(LONGEST)
    for index in indices:
        folder = place / f"ranks-{index}"
        folder.mkdir()
        yield _lost_one(context, index, folder, alone)
        shutil.rmtree(folder)


def _lost_one(context: ForkServerContext, index: int, folder: Path, alone: Path) -> Trial:
    draw = random.Random(f"ranks {index}")
    first = Company(BEGINS[index % 4], ("ddp", "fsdp")[index % 2])
    then = Company(draw.choice(GOES_ON), draw.choice(("ddp", "fsdp")))
    started = first.started(context, folder)
    after = draw.randint(0, round(LATEST * len(_end(alone)["curve"])))  # checkpoints
    while len(list(folder.glob("met-*"))) < first.size or max(numbers(folder), default=0) < after:
        time.sleep(0.005)  # before they have met, it is torchrun that ends the others
    time.sleep(draw.uniform(0, 0.03))
    lost = draw.choice(started)
    lost.kill()
    for each in started:
        each.join(HEARD)
        each.kill()
        each.join()
    codes = [each.exitcode for each in started if each is not lost]
    told = f"{first.size} by {first.parallel}, then {then.size} by {then.parallel}: "
    if codes != [LOST] * len(codes):
        return Trial(index, f"{told}the others ended with {codes}", {"kills": 1})
    resumed = then.started(context, folder)
    for each in resumed:
        each.join(LONGEST)
    if any(each.exitcode for each in resumed):
        return Trial(index, f"{told}ended with {[each.exitcode for each in resumed]}", {"kills": 1})
    wrong, off = _compared(folder, alone)
    counts = {"kills": 1.0, "world size changed": float(then.size != first.size), "parts in 10^12 off": 1e12 * off}
    return Trial(index, told + wrong if wrong else "", counts)


def _compared(folder: Path, alone: Path) -> tuple[str, float]:
    """What is wrong with a run that went on, and how far it is from that of one process."""
    found, want = _end(folder), _end(alone)
    pairs = list(zip(found["curve"], want["curve"], strict=False))
    off = max(_off(ours[name] or 0.0, theirs[name] or 0.0) for ours, theirs in pairs for name in LOSSES)
    weights, others = load_file(folder / END), load_file(alone / END)
    off = max(off, *(float((weights[name] - w).abs().max() / (1 + w.abs().max())) for name, w in others.items()))
    wrong: list[str] = []
    if [point["epoch"] for point in found["curve"]] != [point["epoch"] for point in want["curve"]]:
        wrong.append(f"{len(found['curve'])} points, not {len(want['curve'])}")
    if found["steps"] < 10:
        wrong.append(f"only {found['steps']} steps were left")
    if off > CLOSE:
        wrong.append(f"off by {off:.1e}")
    if not torch.equal(weights["frozen.weight"], others["frozen.weight"]):
        wrong.append("a frozen layer moved")
    return "; ".join(wrong), off


LOSSES = ("train_loss", "valid_loss")


def _off(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 1e-12)


def _end(folder: Path) -> dict[str, Any]:
    return json.loads((folder / END).with_suffix(".json").read_text())


PART = Part(
    "ranks",
    "F9",
    "a run shared by 2 or 3 processes (DDP, FSDP2) loses one and goes on with 1 to 4, shared in either way",
    f"the others end with a sentence; losses and weights are those of one process within {CLOSE:g}, 10 steps and more",
    100,
    trials,
    frozenset({"parts in 10^12 off"}),
)
