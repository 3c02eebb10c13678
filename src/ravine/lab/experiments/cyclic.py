"""Practical work 1 of lecture S2: cyclical learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from ravine.lab.arms import Arm, Trained, best_of, train
from ravine.lab.build import accuracy_curves, checks, dots, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.problems.problem import Problem
from ravine.recipe import Recipe

RATES = (0.03, 0.01, 0.003)  # constant ones, of which the best on validation data is taken
FOOT, TOP = 0.1, 1.0  # of a cycle, as factors of the highest rate


def shapes(epochs: int) -> Mapping[str, Mapping[str, Any]]:
    """The schedules of the lecture's figure over a run of so many epochs, three cycles each."""
    up = epochs / 6
    cycle = {"low": FOOT, "high": TOP, "up": up}
    return {
        "step decay": {"name": "multi-step", "milestones": [epochs / 2, epochs * 3 / 4], "factor": 0.1},
        "triangular": {"name": "triangular", **cycle},
        "triangular, shrinking": {"name": "exp-range", **cycle, "gamma": 0.05 ** (1 / epochs)},
        "cosine restarts": {"name": "cosine-restarts", "first": epochs / 3, "growth": 1.0},
    }


@final
class Cyclic(Experiment):
    """Cyclical rates against a tuned constant one and step decay."""

    name = "practical-1"
    title = "Cyclical learning rates"
    rows = ("L3",)
    lecture = "S2, practical work 1 (Smith 2017, arXiv:1506.01186)"
    claim = "A learning rate that rises and falls in cycles trains better than a constant one, even a tuned one."
    how = (
        "Momentum on a small convolutional net; constant rates of 0.03, 0.01 and 0.003, the best of which on "
        "validation data stands for all, against triangles, shrinking triangles, cosine restarts and step decay, all "
        "from 0.03. Test accuracy after the last step, paired by seed."
    )
    data = "cifar10"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train the three constant rates once, then all schedules over the seeds."""
        problem = few("cifar10", *((4000, 2000, 2000) if scale == "full" else (640, 500, 500)))
        epochs = 12 if scale == "full" else 3
        told = parts_of(tell, ["tuning the constant rate", "constant", *shapes(epochs)])
        fixed = [_arm(f"constant {rate:g}", epochs, rate, {"name": "constant"}) for rate in RATES]
        constant = best_of(fixed, problem, 1000, told("tuning the constant rate"))
        runs = {"constant": train(constant, problem, range(seeds), told("constant"))}
        for name, shape in shapes(epochs).items():
            runs[name] = train(_arm(name, epochs, RATES[0], shape), problem, range(seeds), told(name))
        return self._verdict(problem, runs, constant.name, f"{epochs} epochs of minibatches of 64", seeds)

    def _verdict(self, problem: Problem, runs: Mapping[str, Trained], constant: str, words: str, seeds: int) -> Verdict:
        accuracy = {name: run.accuracy(run.problem.test) for name, run in runs.items()}
        cyclic = [name for name in runs if name not in ("constant", "step decay")]
        wanted = [
            (f"test accuracy, {name} less {constant}", accuracy[name], accuracy["constant"], 0.0) for name in cyclic
        ]
        wanted.append(("test accuracy, best cyclic on validation less step decay", *_best(runs, cyclic, accuracy), 0.0))
        found = checks(wanted)
        fit = {name: run.loss(run.problem.train) for name, run in runs.items()}
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"cnn:8,16 on {sizes(problem)}; {words}; momentum 0.9.",
            rows=table({"test accuracy (%)": accuracy, "training loss": fit}),
            charts=[
                dots(finding("Test accuracy by schedule", found), "test accuracy (%)", {"test": accuracy}),
                accuracy_curves("Accuracy over epochs, by schedule", list(runs.values())),
            ],
            notes=[f"The best constant rate on validation data: {constant.removeprefix('constant ')}."],
        )  # fmt: skip


def _best(
    runs: Mapping[str, Trained], names: list[str], accuracy: Mapping[str, list[float]]
) -> tuple[list[float], list[float]]:
    """The test accuracy of the cyclic schedule that validates best, and of step decay."""
    best = max(names, key=lambda name: sum(runs[name].accuracy(runs[name].problem.valid)))
    return accuracy[best], accuracy["step decay"]


def _arm(name: str, epochs: int, rate: float, shape: Mapping[str, Any]) -> Arm:
    recipe = Recipe(
        problem="cifar10", model="cnn:8,16", epochs=epochs, batch=64,
        rule={"name": "momentum", "lr": rate, "momentum": 0.9}, schedule={"lr": dict(shape)},
    )  # fmt: skip
    return Arm(name, recipe, together=False)
