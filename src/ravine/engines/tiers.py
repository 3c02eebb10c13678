"""Tiers: parameters of a model that step alike, at a share of the learning rate and from an epoch on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.randomness import Seeded
from ravine.rules.rule import Declared, Rule, hypers, name_of, needs_of, reads_elsewhere, scalars_of, sums_of

if TYPE_CHECKING:
    from ravine.engines.kernel import KernelStep
    from ravine.engines.lane import Lane, Model

STEPS = "steps"  # what a lane's scalars hold of a tier that begins late, beside the rule's own


@dataclass(frozen=True)
class Tier:
    """Parameters by their places in the model, the factor of their learning rate, and the epoch they train from.

    Before it they have no gradient: weights and state stay, and the rule's t begins to count there, as where torch
    finds no ``grad``.
    """

    places: tuple[int, ...]
    factor: float = 1.0
    start: float = 0.0


class Paced(Seeded):
    """A model's factory that says how its parameters are paced."""

    @abstractmethod
    def tiers(self, module: nn.Module) -> tuple[Tier, ...]:
        """The tiers of a module that it made, from the top; () where all parameters step alike."""


def tiers_by(factory: object, module: nn.Module) -> tuple[Tier, ...]:
    """The tiers of a module as its factory, or one that this is made of, has them."""
    while factory is not None and not isinstance(factory, Paced):
        factory = getattr(factory, "factory", None)
    return () if factory is None else factory.tiers(module)


@dataclass
class Share:
    """A tier's part in the steps of a group of lanes: its kernel, its scalars, and the steps that it has taken."""

    tier: Tier | None  # None: all parameters
    kernel: KernelStep | None
    scalars: dict[str, NDArray[np.float64]] = field(default_factory=dict[str, "NDArray[np.float64]"])
    prefix: str = ""  # of the names that a lane's scalars have
    steps: int = 0
    is_placed: bool = False  # whether the kernel's last step was on these very weights and slots

    def trains(self, time: float) -> bool:
        """Whether its parameters step at that time."""
        return self.tier is None or time >= self.tier.start

    def counted(self, step: int) -> int:
        """The step that the rule is told, when the run takes that one."""
        if self.tier is None or self.tier.start == 0:
            return step
        self.steps += 1
        return self.steps

    def kept(self, row: int) -> dict[str, float]:
        """What one lane's scalars hold of it."""
        own = {f"{self.prefix}{name}": float(column[row]) for name, column in self.scalars.items()}
        return own | ({f"{self.prefix}{STEPS}": float(self.steps)} if self.tier and self.tier.start else {})


@dataclass(frozen=True)
class Taking:
    """What one step is taken on: parameters by their places, their parts of weights, gradients, slots, curvature."""

    places: Sequence[int]
    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]
    slots: Mapping[str, Sequence[Tensor]]
    curvature: Sequence[Tensor] | None


def shares_of(rule: Rule, model: Model, lanes: Sequence[Lane], kernels: Sequence[KernelStep | None]) -> list[Share]:
    """One share a tier, with what the lanes hold of it; ``kernels`` are one for each."""
    made: list[Share] = []
    for place, (tier, kernel) in enumerate(zip(model.tiers or (None,), kernels, strict=True)):
        prefix = f"{place}|" if place else ""
        scalars = {
            name: np.array([lane.scalars.get(f"{prefix}{name}", begin) for lane in lanes])
            for name, begin in scalars_of(rule).items()
        }
        steps = int(lanes[0].scalars.get(f"{prefix}{STEPS}", 0))
        made.append(Share(tier, kernel, scalars, prefix, steps))
    return made


def check_tiers(rule: Declared, model: Model) -> None:
    """Raise a `UserError` where a contender cannot give each layer a rate or a beginning of its own."""
    if not model.tiers:
        return
    name, why = name_of(rule), ""
    if not isinstance(rule, Rule):
        why = "is a method on all weights at once"
    elif "lr" not in hypers(rule):
        why = "has no learning rate"
    elif sums_of(rule):
        why = "sets one rate by a sum over all layers"
    elif reads_elsewhere(rule) or needs_of(rule) & {"gradient_ahead", "first_gradient", "curvature"}:
        why = "takes its gradient, or is evaluated, away from the weights"
    elif model.terms is not None and model.terms.finishes:
        name, why = "a projection", "follows the step of all weights at one rate"
    if why:
        raise UserError(f"layer_rates and unfreeze pace each layer by itself, but {name} {why}: leave one out")
