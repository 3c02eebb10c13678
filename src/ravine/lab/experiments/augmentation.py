"""What augmentation gains on few images (lectures S0, S2, S4): the claim of 10 to 20 per cent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from ravine.augment import words
from ravine.lab.arms import Arm, Trained, train
from ravine.lab.build import accuracy_curves, checks, dots, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding, parts_of
from ravine.recipe import Recipe

WAYS = {"none": "", "flip and crop": "flip,crop:4", "flip, crop, colour": "flip,crop:4,jitter"}


@final
class Augmentation(Experiment):
    """A thousand photographs with and without augmentation."""

    name = "augmentation"
    title = "What augmentation gains"
    rows = ("R13",)
    lecture = "S0, S2, S4"
    claim = "Augmentation gains 10 to 20 per cent where images are few."
    how = (
        "Adam on a small convolutional net, 1,000 photographs of CIFAR-10, as long for all. Test accuracy after the "
        "last step, paired by seed; the gain in points, and in per cent of the accuracy without."
    )
    data = "cifar10"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train each way over the seeds."""
        problem = few("cifar10", *((1000, 1000, 2000) if scale == "full" else (320, 320, 500)))
        epochs = 40 if scale == "full" else 4
        told = parts_of(tell, list(WAYS))
        runs = {
            name: train(_arm(name, steps, epochs), problem, range(seeds), told(name)) for name, steps in WAYS.items()
        }
        return self._verdict(sizes(problem), runs, epochs, seeds)

    def _verdict(self, data: str, runs: Mapping[str, Trained], epochs: int, seeds: int) -> Verdict:
        unseen = {name: run.accuracy(run.problem.test) for name, run in runs.items()}
        seen = {name: run.accuracy(run.problem.train) for name, run in runs.items()}
        none, moved, every = WAYS
        base = sum(unseen[none]) / seeds
        share = {name: [100 * a / base for a in each] for name, each in unseen.items()}
        found = [
            *checks([(f"test accuracy, {way} less {none}", unseen[way], unseen[none], 0.0) for way in (moved, every)]),
            *checks([(f"the same as a share of {none}", share[moved], share[none], 10.0)], "per cent"),
        ]
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"cnn:16,32 on {data}; {epochs} epochs of minibatches of 50, Adam at 0.002, cosine.",
            rows=table({"training accuracy (%)": seen, "test accuracy (%)": unseen}),
            charts=[
                dots(finding("Training and test accuracy", found), "accuracy (%)", {"training": seen, "test": unseen}),
                accuracy_curves("Accuracy over epochs, with and without augmentation", list(runs.values())),
            ],
        )  # fmt: skip


def _arm(name: str, steps: str, epochs: int) -> Arm:
    augment: list[dict[str, Any]] = words(steps) if steps else []
    recipe = Recipe(
        problem="cifar10", model="cnn:16,32", epochs=epochs, batch=50, augment=augment,
        rule={"name": "adam", "lr": 2e-3}, schedule={"lr": {"name": "cosine"}},
    )  # fmt: skip
    return Arm(name, recipe, together=False)
