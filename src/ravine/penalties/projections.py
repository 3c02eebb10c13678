"""What is done to weights after a step: the proximal step of L1, balls, pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import vmap

from ravine.engines.maxnorm import RowLimit, shortened
from ravine.penalties.part import Projection
from ravine.penalties.weights import STRENGTH
from ravine.schedules.schedule import setting


@final
@dataclass(frozen=True)
class L1Proximal(Projection):
    """lambda |w|_1 by its proximal step after the optimizer's: w <- sign(w) max(|w| - eta lambda, 0), exact zeros.

    After plain SGD it is ISTA (Beck & Teboulle 2009, SIAM J. Imaging Sci. 2:183); after a rule that scales each entry
    the threshold is still eta lambda, as decoupled weight decay is.
    """

    name = "l1-proximal"
    needs_rate = True
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")

    def project(self, w: Tensor, rate: Any) -> Tensor:
        """Soft thresholding."""
        return w.sign() * (w.abs() - rate * self.strength).clamp_min(0)


@final
@dataclass(frozen=True)
class MaxNorm(Projection):
    """Each row longer than ``max_norm`` is shortened to it: the incoming weights of a unit stay inside a ball.

    The rule combinator of the same name does this to every matrix; this to those that ``on`` names.
    Reference: Srivastava et al. 2014, JMLR 15:1929, section 5.1.
    """

    name = "max-norm"
    amount = "max_norm"
    matrices = True
    max_norm: float = setting(3.0, "number", "largest norm of a row, in units of w", "(0, inf)")

    def project(self, w: Tensor, rate: Any) -> Tensor:
        """Rows inside the ball."""
        return shortened(w, self.max_norm)

    @torch.no_grad()
    def finish(
        self, weights: Mapping[str, Tensor], amount: Tensor, held: Mapping[str, Tensor], rates: Tensor, time: float
    ) -> None:
        """The rows of all lanes in one pass, which writes those alone that are too long."""
        limit = RowLimit(list(weights.values()), range(len(weights)), lanes=len(amount))
        limit(amount.double().cpu().numpy())


@final
@dataclass(frozen=True)
class Ball(Projection):
    """A parameter of norm above ``radius``, all entries taken together, is shortened to it: the constraint of L2."""

    name = "ball"
    amount = "radius"
    radius: float = setting(10.0, "number", "largest norm of a parameter, in units of w", "(0, inf)")

    def project(self, w: Tensor, rate: Any) -> Tensor:
        """Inside the ball."""
        return shortened(w.unsqueeze(0), self.radius).squeeze(0)


@final
@dataclass(frozen=True)
class Prune(Projection):
    """The ``fraction`` of smallest weights of each parameter set to zero, and kept there while training goes on.

    In a recipe they are chosen once, at the end of the first step at epoch ``start`` or later. In a loop of your own:
    ``masks = Prune(fraction=0.8).masks(model)``, and ``apply_masks(model, masks)`` after each step.
    Reference: Han et al. 2015, arXiv:1506.02626.
    """

    name = "prune"
    amount = "fraction"
    fraction: float = setting(0.8, "number", "of each parameter's entries", "(0, 1)")
    start: float = setting(0.0, "number", "epoch from which they are zero", "[0, inf)")

    def project(self, w: Tensor, rate: Any) -> Tensor:
        """The smallest set to zero."""
        return w * self.kept(w)

    def kept(self, w: Tensor) -> Tensor:
        """True where a weight stays: all but the floor(fraction n) smallest, ties by their place."""
        size = w.abs().flatten()
        place = torch.argsort(torch.argsort(size, stable=True), stable=True)
        return (place >= torch.floor(torch.as_tensor(self.fraction * size.numel() + 1e-4))).view(w.shape)

    def masks(self, module: nn.Module) -> dict[str, Tensor]:
        """The weights that stay, as booleans by parameter; the others are set to zero at once."""
        found = self.bound(module)
        masks = {name: self.kept(w.detach()) for name, w in found.items()}
        apply_masks(module, masks)
        return masks

    def holds(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The masks, nothing pruned yet."""
        return {f"mask|{name}": torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}

    @torch.no_grad()
    def finish(
        self, weights: Mapping[str, Tensor], amount: Tensor, held: Mapping[str, Tensor], rates: Tensor, time: float
    ) -> None:
        """The masks of lanes are made at the first step from ``start`` on, and then kept."""
        if time < self.start:
            return
        for name, w in weights.items():
            mask = held[f"mask|{name}"]
            if bool(mask.all()):
                mask.copy_(vmap(lambda own, f: Prune(fraction=f).kept(own))(w, amount))
            w.mul_(mask)


@torch.no_grad()
def apply_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the weights that were pruned to zero again, after a step of any optimizer."""
    for name, mask in masks.items():
        module.get_parameter(name).mul_(mask)
