"""The table of regularisers on MNIST (lecture S0, from Srivastava et al. 2014), at the scale of a machine's minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn

from ravine.lab.arms import Arm, Trained, best_of, train
from ravine.lab.build import checks, dots, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.noise import InvertedDropout
from ravine.problems.problem import Part, Problem
from ravine.recipe import Recipe

WIDTH = 256
LATE = 0.8  # share of the run from which L1 acts, for "L1 towards the end"
PUBLISHED = {
    "L2": 1.62, "L2 + late L1": 1.60, "L2 + KL sparsity": 1.55,
    "max-norm": 1.35, "dropout + L2": 1.25, "dropout + max-norm": 1.05,
}  # fmt: skip  # test error in per cent of the paper's net on all 60,000 images


class Rate(nn.Module):
    """Passes its input on; its part ``squashed`` puts out tanh of it, a rate in [0, 1) that a KL penalty can act on."""

    def __init__(self) -> None:
        super().__init__()
        self.squashed = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        """The input itself."""
        self.squashed(x)
        return x


def net(dropout: bool, width: int = WIDTH) -> nn.Module:
    """Two hidden ReLU layers; with dropout of 0.2 on the inputs and 0.5 on each hidden layer."""
    drop = [InvertedDropout(drop=share) if dropout else nn.Identity() for share in (0.2, 0.5, 0.5)]
    one, two, last = nn.Linear(784, width), nn.Linear(width, width), nn.Linear(width, 10)
    return nn.Sequential(nn.Flatten(), drop[0], one, nn.ReLU(), Rate(), drop[1], two, nn.ReLU(), Rate(), drop[2], last)


@final
class Regularisers(Experiment):
    """Six ways to regularise one net."""

    name = "mnist-dropout"
    title = "Six regularisers on MNIST"
    rows = ("R7", "R9")
    lecture = "S0, table of regularisers (Srivastava et al. 2014, JMLR 15:1929, table 9)"
    claim = (
        "Test error falls in the order L2, L2 with L1 towards the end, L2 with KL sparsity, max-norm, dropout with L2, "
        "dropout with max-norm."
    )
    how = (
        "One net (784-256-256-10, ReLU) for all; each method's own number is the best of three on validation data, by "
        "one run of a seed that is not compared. KL sparsity acts on tanh of the ReLUs, since a ReLU has no rate in "
        "[0, 1]. Test error after the last step; the table's neighbours are compared in pairs by seed."
    )
    data = "mnist"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Choose each method's number, then train all over the seeds."""
        problem = pixels(few("mnist", *((5000, 5000, 10_000) if scale == "full" else (500, 500, 500))))
        epochs, grid = (60, 3) if scale == "full" else (6, 1)
        told = parts_of(tell, [f"{name}{what}" for name in PUBLISHED for what in (": tuning", "")])
        runs: dict[str, Trained] = {}
        taken: dict[str, str] = {}
        for name in PUBLISHED:
            arms = choices(name, epochs)[:grid]
            best = best_of(arms, problem, 1000, told(f"{name}: tuning")) if grid > 1 else arms[0]
            taken[name] = best.name
            runs[name] = train(replace(best, name=name), problem, range(seeds), told(name))
        return self._verdict(problem, runs, taken, epochs, seeds)

    def _verdict(
        self, problem: Problem, runs: Mapping[str, Trained], taken: Mapping[str, str], epochs: int, seeds: int
    ) -> Verdict:
        error = {name: [100 - a for a in run.accuracy(run.problem.test)] for name, run in runs.items()}
        plain, dropped = ("L2", "L2 + late L1", "L2 + KL sparsity", "max-norm"), ("dropout + L2", "dropout + max-norm")
        found = checks(
            [
                *((f"error, {a} less {b}", error[a], error[b], 0.0) for a, b in pairwise(PUBLISHED)),
                ("error, best without dropout less worst with it", *_across(error, plain, dropped), 0.0),
            ]
        )
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"784-{WIDTH}-{WIDTH}-10 on {sizes(problem)}; {epochs} epochs of minibatches of 100, momentum 0.9 "
            "at 0.05, one epoch of warm-up and a line to zero.",
            rows=table({"test error (%)": error, "published, full size (%)": {n: [v] for n, v in PUBLISHED.items()}}),
            charts=[dots(finding("Test error by regulariser", found), "test error (%)", {"test": error})],
            notes=[f"{name}: {words}" for name, words in taken.items()],
        )  # fmt: skip


def _across(
    error: Mapping[str, list[float]], plain: tuple[str, ...], dropped: tuple[str, ...]
) -> tuple[list[float], list[float]]:
    """Seed by seed the lowest error of one group, and the highest of the other."""
    one = [min(each) for each in zip(*(error[name] for name in plain), strict=True)]
    other = [max(each) for each in zip(*(error[name] for name in dropped), strict=True)]
    return one, other


def choices(name: str, epochs: int) -> list[Arm]:
    """One method with each of the numbers that it is tried with, the middle one first."""
    l2 = {"name": "l2-half", "strength": 1e-4}

    def arm(words: str, penalty: list[dict[str, Any]], late: float = 0.0) -> Arm:
        recipe = Recipe(
            problem="mnist", model="own", epochs=epochs, batch=100, penalty=penalty,
            rule={"name": "momentum", "lr": 0.05, "momentum": 0.9},
            schedule={"lr": {"name": "warm-up", "duration": 1, "then": {"name": "linear"}}},
        )  # fmt: skip
        return Arm(words, recipe, partial(net, name.startswith("dropout")), late)

    if name.endswith("L2"):
        numbers = (1e-4, 3e-4, 3e-5)
        return [arm(f"L2 of {n:g}", [{"name": "l2-half", "strength": n}]) for n in numbers]
    if name.endswith("max-norm"):
        return [arm(f"rows of at most {n:g}", [{"name": "max-norm", "max_norm": n}]) for n in (2.5, 3.5, 1.5)]
    if name == "L2 + late L1":
        return [arm(f"L1 of {n:g}", [l2, {"name": "l1", "strength": n}], LATE) for n in (1e-5, 1e-4, 1e-6)]
    sparse = {"name": "kl-sparsity", "on": "*.squashed", "rho": 0.1}
    return [arm(f"KL of {n:g} to a rate of 0.1", [l2, {**sparse, "strength": n}]) for n in (1e-4, 1e-3, 1e-5)]


def pixels(problem: Problem) -> Problem:
    """Images with pixels in [0, 1], so that a dropped input is black."""
    low, high = problem.train.x.min(), problem.train.x.max()

    def scaled(part: Part) -> Part:
        return Part(torch.clamp((part.x - low) / (high - low), 0, 1), part.y)

    parts = (scaled(part) for part in (problem.train, problem.valid, problem.test))
    first, second, third = parts
    return replace(problem, train=first, valid=second, test=third, inputs=None)
