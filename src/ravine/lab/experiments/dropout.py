"""Practical work 2 of lecture S2: dropout on Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from ravine.lab.arms import Arm, Trained, train
from ravine.lab.build import accuracy_curves, checks, dots, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.problems.problem import Problem
from ravine.recipe import Recipe

SHARES = {"no dropout": 0.0, "dropout 0.2": 0.2, "dropout 0.5": 0.5}


@final
class Dropout(Experiment):
    """The gap between training and test accuracy, with and without dropout."""

    name = "practical-2"
    title = "Dropout on Fashion-MNIST"
    rows = ("R11",)
    lecture = "S2, practical work 2 (Srivastava et al. 2014, JMLR 15:1929)"
    claim = "Dropout keeps a net from memorising: the gap of training and test accuracy shrinks, the test improves."
    how = (
        "Adam on a fully connected net of two hidden layers, with no dropout, 0.2 and 0.5 after each hidden layer, "
        "trained until the plain net knows its images by heart. Accuracy after the last step, paired by seed."
    )
    data = "fashion-mnist"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train the three nets over the seeds."""
        problem = few("fashion-mnist", *((10_000, 2000, 10_000) if scale == "full" else (640, 500, 500)))
        epochs = 40 if scale == "full" else 20
        told = parts_of(tell, list(SHARES))
        runs = {
            name: train(_arm(name, epochs, share), problem, range(seeds), told(name)) for name, share in SHARES.items()
        }
        return self._verdict(problem, runs, epochs, seeds)

    def _verdict(self, problem: Problem, runs: Mapping[str, Trained], epochs: int, seeds: int) -> Verdict:
        seen = {name: run.accuracy(run.problem.train) for name, run in runs.items()}
        unseen = {name: run.accuracy(run.problem.test) for name, run in runs.items()}
        gap = {name: [a - b for a, b in zip(seen[name], unseen[name], strict=True)] for name in runs}
        half, none = "dropout 0.5", "no dropout"
        found = checks(
            [
                (f"gap of training and test accuracy, {none} less {half}", gap[none], gap[half], 0.0),
                (f"test accuracy, {half} less {none}", unseen[half], unseen[none], 0.0),
                (f"test accuracy, dropout 0.2 less {none}", unseen["dropout 0.2"], unseen[none], 0.0),
            ]
        )
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"mlp:256,256 on {sizes(problem)}; {epochs} epochs of minibatches of 64, Adam at 0.001, cosine.",
            rows=table({"training accuracy (%)": seen, "test accuracy (%)": unseen, "gap (points)": gap}),
            charts=[
                dots(finding("Training and test accuracy", found), "accuracy (%)", {"training": seen, "test": unseen}),
                accuracy_curves("Accuracy over epochs, with and without dropout", list(runs.values())),
            ],
        )  # fmt: skip


def _arm(name: str, epochs: int, share: float) -> Arm:
    word = "mlp:256,256" + (f":{share:g}" if share else "")
    rule = {"name": "adam", "lr": 1e-3}
    recipe = Recipe(
        problem="fashion-mnist", model=word, epochs=epochs, batch=64, rule=rule, schedule={"lr": {"name": "cosine"}}
    )
    return Arm(name, recipe)
