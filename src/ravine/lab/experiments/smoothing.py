"""Label smoothing (lecture S4): what it does to accuracy, to loss, and to how sure a net is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

import torch
from torch import nn

from ravine.lab.arms import Arm, Trained, train
from ravine.lab.build import checks, dots, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.problems.problem import Part, Problem
from ravine.recipe import Recipe

LOSSES = {"hard labels": "cross_entropy", "0.9 and 0.1": "cross_entropy:smoothing_to_others=0.1"}


@torch.no_grad()
def surplus(module: nn.Module, part: Part) -> float:
    """Mean confidence less accuracy, in points: above zero, a net is surer than it is right."""
    chances = module(part.x).softmax(1)
    sure, chosen = chances.max(1)
    return 100 * float(sure.mean() - (chosen == part.y).float().mean())


@final
class Smoothing(Experiment):
    """Targets of 0.9 and 0.1 against hard ones."""

    name = "label-smoothing"
    title = "Label smoothing"
    rows = ("R16",)
    lecture = "S4 (Szegedy et al. 2016, arXiv:1512.00567)"
    claim = "Targets of 0.9 for the right class regularise: better on unseen data, and less overconfident."
    how = (
        "Adam on a fully connected net until it knows its images by heart, with hard and with smoothed labels. "
        "Accuracy on the test part, and how much surer than right it is there, paired by seed."
    )
    data = "fashion-mnist"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train with both kinds of labels over the seeds."""
        problem = few("fashion-mnist", *((5000, 2000, 10_000) if scale == "full" else (640, 500, 500)))
        epochs = 30 if scale == "full" else 20
        told = parts_of(tell, list(LOSSES))
        runs: dict[str, Trained] = {}
        for name, loss in LOSSES.items():
            recipe = Recipe(
                problem="fashion-mnist", model="mlp:256,256", loss=loss, epochs=epochs, batch=64,
                rule={"name": "adam", "lr": 1e-3}, schedule={"lr": {"name": "cosine"}},
            )  # fmt: skip
            runs[name] = train(Arm(name, recipe), replace(problem, loss=loss), range(seeds), told(name))
        return self._verdict(problem, runs, epochs, seeds)

    def _verdict(self, problem: Problem, runs: Mapping[str, Trained], epochs: int, seeds: int) -> Verdict:
        unseen = {name: run.accuracy(problem.test) for name, run in runs.items()}
        surer = {name: [surplus(m, problem.test) for m in run.modules] for name, run in runs.items()}
        hard, soft = LOSSES
        found = checks(
            [
                (f"test accuracy, {soft} less {hard}", unseen[soft], unseen[hard], 0.0),
                (f"confidence less accuracy on the test part, {hard} less {soft}", surer[hard], surer[soft], 0.0),
            ]
        )
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"mlp:256,256 on {sizes(problem)}; {epochs} epochs of minibatches of 64, Adam at 0.001, cosine.",
            rows=table({"test accuracy (%)": unseen, "confidence less accuracy (points)": surer}),
            charts=[
                dots(finding("Test accuracy", found), "test accuracy (%)", {"test": unseen}),
                dots("How much surer than right", "mean confidence less accuracy (points)", {"test": surer}),
            ],
        )  # fmt: skip
