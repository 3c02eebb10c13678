"""Adversarial examples (lecture S2): the fast gradient sign method against noise of the same size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ravine.lab.arms import Arm, train
from ravine.lab.build import checks, curves, table
from ravine.lab.data import few, sizes
from ravine.lab.experiment import Experiment, Scale, Tell
from ravine.lab.experiments.regularisers import pixels
from ravine.lab.outcome import Verdict
from ravine.lab.report import finding
from ravine.problems.problem import Part, Problem
from ravine.racing.statistics import interval
from ravine.randomness import key
from ravine.recipe import Recipe

SIZES = (0.0, 0.02, 0.05, 0.1, 0.2)  # largest change of a pixel, of the range from black to white
JUDGED = 0.1
Attack = Callable[[nn.Module, Part, float], Tensor]


def fast_gradient_sign(module: nn.Module, part: Part, size: float) -> Tensor:
    """Every pixel moved by ``size`` up or down, as raises the loss, within [0, 1].

        x' = clip(x + size sign(grad_x L(f(x), y)), 0, 1)

    Reference: Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572, section 4.
    """
    x = part.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(functional.cross_entropy(module(x), part.y, reduction="sum"), x)
    return (part.x + size * slope.sign()).clamp(0, 1)


def random_sign(module: nn.Module, part: Part, size: float) -> Tensor:
    """Every pixel moved by ``size`` up or down by chance, the same for all nets, within [0, 1]."""
    drawn = torch.Generator().manual_seed(key(0, "random sign"))
    return (part.x + size * (2 * torch.randint(0, 2, part.x.shape, generator=drawn) - 1)).clamp(0, 1)


ATTACKS: Mapping[str, Attack] = {"fast gradient sign": fast_gradient_sign, "random sign": random_sign}


@final
class Adversarial(Experiment):
    """How far a net falls when its inputs are moved on purpose."""

    name = "adversarial"
    title = "Adversarial examples"
    rows = ("R15",)
    lecture = "S2 (Goodfellow et al. 2015, arXiv:1412.6572)"
    claim = "A good net fails when every pixel moves a little along the gradient, where as much noise hardly does harm."
    how = (
        "Adam on a fully connected net for MNIST; test accuracy when every pixel is moved by a share of the range, in "
        "the sign of the gradient and by chance. The claim is put as: at a tenth of the range the gradient's sign "
        "costs 30 points more than chance."
    )
    data = "mnist"
    seeds = 3

    def measure(self, scale: Scale, seeds: int, tell: Tell) -> Verdict:
        """Train over the seeds, then attack each net."""
        problem = pixels(few("mnist", *((5000, 1000, 5000) if scale == "full" else (1000, 500, 500))))
        epochs = 15 if scale == "full" else 10
        recipe = Recipe(
            problem="mnist", model="mlp:256,256", epochs=epochs, batch=64,
            rule={"name": "adam", "lr": 1e-3}, schedule={"lr": {"name": "cosine"}},
        )  # fmt: skip
        run = train(Arm("net", recipe), problem, range(seeds), lambda share: tell("training", share))
        found = {
            name: {size: [_accuracy(net, problem.test, attack, size) for net in run.modules] for size in SIZES}
            for name, attack in ATTACKS.items()
        }
        return self._verdict(problem, found, epochs, seeds)

    def _verdict(
        self, problem: Problem, found: Mapping[str, Mapping[float, list[float]]], epochs: int, seeds: int
    ) -> Verdict:
        sign, chance = (found[name] for name in ATTACKS)
        made = checks(
            [
                (f"accuracy at {JUDGED:g}, random sign less gradient's sign", chance[JUDGED], sign[JUDGED], 30.0),
                ("accuracy at 0.02, untouched less gradient's sign", sign[0.0], sign[0.02], 0.0),
            ]
        )
        columns = {f"{name} (%)": {f"{size:g}": v for size, v in of.items()} for name, of in found.items()}
        lines = {name: (list(of), [interval(v) for v in of.values()]) for name, of in found.items()}
        title = finding("Accuracy when every pixel is moved", made)
        return Verdict(
            name=self.name, title=self.title, claim=self.claim, seeds=seeds, checks=made,
            measured=f"mlp:256,256 on {sizes(problem)}; {epochs} epochs of minibatches of 64, Adam at 0.001, cosine.",
            rows=table(columns),
            charts=[curves(title, "change of each pixel, of the range", "test accuracy (%)", lines)],
        )  # fmt: skip


def _accuracy(net: nn.Module, part: Part, attack: Attack, size: float) -> float:
    with torch.no_grad() if attack is random_sign else torch.enable_grad():
        out = net(attack(net, part, size))
    return 100 * float((out.argmax(1) == part.y).float().mean())
