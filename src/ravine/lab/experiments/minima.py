"""Small batches and flat minima (lectures S1, S4): curvature and width where small and large batches end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.lab.build import checks, dots, table
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding
from ravine.losses import loss_of
from ravine.models import model_factory
from ravine.problems import load
from ravine.problems.problem import Problem
from ravine.rules.rule import make
from ravine.solvers.spectrum import sharpness, width
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.loop import evaluate

RATE = 0.1
SMALL, LARGE = 16, 512
LOOK = 20  # steps between two looks at the training loss
MOST = 4000  # steps


class End(NamedTuple):
    """Where a run ended: the largest eigenvalue of the Hessian, the width of the valley, the loss on unseen data."""

    sharp: float
    wide: float
    unseen: float


def ends(
    problem: Problem, batch: int, seeds: Sequence[int], target: float, tell: Callable[[float], None] | None = None
) -> list[End]:
    """SGD on one hidden layer until the loss on the training part first is below the target: one end a seed."""
    loss, model = loss_of(problem), Model(model_factory("mlp:32", problem.shape, problem.outputs))
    lanes = Lanes(model, loss, [model.lane(make("sgd", {"lr": RATE}), {}, seed) for seed in seeds])
    feed = Feed(problem, Clock(len(problem.train), batch, 10**5))
    found: dict[int, Lane] = {}
    for step in range(MOST):
        lanes.step(*feed.at(lanes.seeds, step), 0.0)
        if step % LOOK == LOOK - 1:
            now = evaluate(lanes.predict, len(seeds), loss, problem, problem.train)[0].tolist()
            found |= {i: lanes.snapshot(i) for i, value in enumerate(now) if value <= target and i not in found}
            if tell is not None:
                tell(min(1.0, step / MOST))
            if len(found) == len(seeds):
                break
    x, y = problem.train.x, problem.train.y
    made: list[End] = []
    for place in range(len(seeds)):
        module = model.load(found.get(place) or lanes.snapshot(place)).eval()
        with torch.no_grad():
            unseen = float(loss(module(problem.test.x), problem.test.y))
        made.append(End(sharpness(module, loss, x, y, steps=30), width(module, loss, x, y), unseen))
    return made


@final
class FlatMinima(Experiment):
    """Where small and large batches end."""

    name = "flat-minima"
    title = "Small batches and flat minima"
    rows = ("B3",)
    lecture = "S1, S4 (Keskar et al. 2017, arXiv:1609.04836)"
    claim = "Small batches end in flatter minima, and do better on unseen data for it."
    how = (
        "SGD at one rate on a net with one hidden layer, with small and with large batches, until the loss on the "
        "training part is the same. There the largest eigenvalue of the Hessian, the distance at which the loss has "
        "risen by 0.1 along filter-normalised directions, and the loss on the test part, paired by seed."
    )
    data = "digits"

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train with both sizes over the seeds, and look at how the loss bends there."""
        problem = load("digits")
        target = 0.05 if scale == "full" else 0.3
        every = range(seeds)
        small = ends(problem, SMALL, every, target, lambda share: tell(f"batch {SMALL}", share / 2))
        large = ends(problem, LARGE, every, target, lambda share: tell(f"batch {LARGE}", (1 + share) / 2))
        arms = {f"batch {SMALL}": small, f"batch {LARGE}": large}
        sharp = {name: [end.sharp for end in of] for name, of in arms.items()}
        wide = {name: [end.wide for end in of] for name, of in arms.items()}
        unseen = {name: [end.unseen for end in of] for name, of in arms.items()}
        first, second = arms
        found = checks(
            [
                (f"largest eigenvalue, {second} less {first}", sharp[second], sharp[first], 0.0),
                (f"width, {first} less {second}", wide[first], wide[second], 0.0),
                (f"test loss, {second} less {first}", unseen[second], unseen[first], 0.0),
            ],
            unit="",
        )
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=found,
            measured=f"mlp:32 on digits ({len(problem.train):,} to train on); SGD at {RATE}, until the training loss "
            f"is {target}.",
            rows=table({"largest eigenvalue": sharp, "width": wide, "test loss": unseen}),
            charts=[
                dots(finding("Curvature", found[:1]), "largest eigenvalue of the Hessian", {"training part": sharp}),
                dots(finding("Width", found[1:2]), "filter-normalised distance at which the loss rises by 0.1",
                     {"training part": wide}),
            ],
        )  # fmt: skip
