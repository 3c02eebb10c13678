"""The figure of test errors with and without dropout over architectures (lecture S0, from Srivastava et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from ravine.lab.arms import Arm, Trained, train
from ravine.lab.build import checks, curves, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.experiments.regularisers import pixels
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.problems.problem import Problem
from ravine.recipe import Recipe

NETS = ("256,256", "256,256,256", "256,256,256,256", "512,512")


@final
class Bands(Experiment):
    """Does dropout part the errors of all architectures into two bands?"""

    name = "dropout-bands"
    title = "Dropout across architectures"
    rows = ("R8",)
    lecture = "S0, figure 4 (Srivastava et al. 2014, JMLR 15:1929)"
    claim = "With dropout every architecture errs less than any does without: two separate bands of test error."
    how = (
        "Fully connected nets of 2 to 4 hidden layers on MNIST, with and without dropout of 0.5 after each hidden "
        "layer, momentum with a line to zero. Test error after the last step, paired by seed."
    )
    data = "mnist"
    seeds = 3

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train every net twice over the seeds."""
        problem = pixels(few("mnist", *((5000, 2000, 10_000) if scale == "full" else (500, 500, 500))))
        epochs = 50 if scale == "full" else 5
        nets = NETS if scale == "full" else NETS[:2]
        names = [f"{net}{drop}" for net in nets for drop in ("", ":0.5")]
        told = parts_of(tell, names)
        runs = {name: train(_arm(name, epochs), problem, range(seeds), told(name)) for name in names}
        return self._verdict(problem, runs, nets, epochs, seeds)

    def _verdict(
        self, problem: Problem, runs: Mapping[str, Trained], nets: tuple[str, ...], epochs: int, seeds: int
    ) -> Verdict:
        error = {name: [100 - a for a in run.accuracy(run.problem.test)] for name, run in runs.items()}
        bare = [min(each) for each in zip(*(error[net] for net in nets), strict=True)]
        dropped = [max(each) for each in zip(*(error[f"{net}:0.5"] for net in nets), strict=True)]
        found = checks(
            [
                *((f"error, {net} without less with dropout", error[net], error[f"{net}:0.5"], 0.0) for net in nets),
                ("error, best net without less worst with dropout", bare, dropped, 0.0),
            ]
        )
        ticks = [point.epoch for point in next(iter(runs.values())).runs[0].curve]
        lines = {
            name: (ticks[1:], run.curve(lambda one: [100 * (1 - point.metric) for point in one.curve[1:]]))
            for name, run in runs.items()
        }
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"{sizes(problem)}; {epochs} epochs of minibatches of 100, momentum 0.9 at 0.05.",
            rows=table({"test error (%)": error}),
            charts=[curves(finding("Validation error over epochs", found), "epoch", "validation error (%)", lines)],
        )  # fmt: skip


def _arm(word: str, epochs: int) -> Arm:
    recipe = Recipe(
        problem="mnist", model=f"mlp:{word}", epochs=epochs, batch=100, init="he",
        rule={"name": "momentum", "lr": 0.05, "momentum": 0.9},
        schedule={"lr": {"name": "warm-up", "duration": 1, "then": {"name": "linear"}}},
    )  # fmt: skip
    return Arm(word, recipe)
