"""What makes image classification hard (lecture S4): accuracy under each difficulty, before and after augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch

from ravine.augment import words
from ravine.lab.arms import Arm, Trained, train
from ravine.lab.build import checks, dots, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.problems.prepare import augmentation
from ravine.problems.problem import Part, Problem
from ravine.recipe import Recipe

KINDS = {
    "as they are": "",
    "viewpoint": "rotate:25,shear:20",
    "scale": "zoom:1.5",
    "deformation": "lens:0.33",
    "illumination": "jitter:0.6:0.6:0:0",
    "occlusion": "erase:0.2:0.3:2:p=1",
    "clutter": "noise:0.12",
}  # the lecture's difficulties, each by the steps of augmentation that make it
LEARNT = "rotate:20,zoom:1.3,jitter:0.4:0.4:0:0,erase"


def corrupted(problem: Problem, kind: str) -> Part:
    """The test part under one difficulty, the same draw always."""
    if not KINDS[kind]:
        return problem.test
    made = augmentation(problem, words(KINDS[kind]))
    ids = torch.arange(len(problem.test))
    return Part(made(problem.test.x, ids, seed=0, epoch=0), problem.test.y)


@final
class Corruptions(Experiment):
    """Seven versions of the test part, two nets."""

    name = "corruptions"
    title = "What makes images hard, and what augmentation mends"
    rows = ("R23",)
    lecture = "S4"
    claim = (
        "Viewpoint, scale, deformation, illumination, occlusion and clutter each cost accuracy; augmentation wins it "
        "back."
    )
    how = (
        "Adam on a small convolutional net with and without augmentation by turns, zoom, light and erased boxes. Test "
        "accuracy on the images as they are and under each difficulty, paired by seed. Clutter and lenses were not "
        "trained on."
    )
    data = "fashion-mnist"
    seeds = 5

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train both nets over the seeds, then measure each on every version of the test part."""
        problem = few("fashion-mnist", *((2000, 1000, 5000) if scale == "full" else (320, 320, 500)))
        epochs = 15 if scale == "full" else 3
        ways = {"without": "", "with": LEARNT}
        told = parts_of(tell, list(ways))
        runs = {n: train(_arm(n, steps, epochs), problem, range(seeds), told(n)) for n, steps in ways.items()}
        return self._verdict(problem, runs, epochs, seeds)

    def _verdict(self, problem: Problem, runs: Mapping[str, Trained], epochs: int, seeds: int) -> Verdict:
        parts = {kind: corrupted(problem, kind) for kind in KINDS}
        found = {way: {kind: run.accuracy(part) for kind, part in parts.items()} for way, run in runs.items()}
        plain, *hard = KINDS
        wanted = [
            *((f"lost to {k} without augmentation", found["without"][plain], found["without"][k], 0.0) for k in hard),
            *((f"{k}, with less without augmentation", found["with"][k], found["without"][k], 0.0) for k in hard),
        ]
        made = checks(wanted)
        columns = {f"{way} augmentation (%)": numbers for way, numbers in found.items()}
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=made,
            measured=f"cnn:8,16 on {sizes(problem)}; {epochs} epochs of minibatches of 50, Adam at 0.002, cosine.",
            rows=table(columns),
            charts=[dots(finding("Accuracy by difficulty", made), "test accuracy (%)", columns)],
            notes=[f"{kind}: {steps}" for kind, steps in KINDS.items() if steps] + [f"trained with: {LEARNT}"],
        )  # fmt: skip


def _arm(name: str, steps: str, epochs: int) -> Arm:
    recipe = Recipe(
        problem="fashion-mnist", model="cnn:8,16", epochs=epochs, batch=50, augment=words(steps) if steps else [],
        rule={"name": "adam", "lr": 2e-3}, schedule={"lr": {"name": "cosine"}},
    )  # fmt: skip
    return Arm(name, recipe, together=False)
