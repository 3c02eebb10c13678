"""Penalties on what layers put out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from ravine.penalties.part import Penalty
from ravine.penalties.weights import STRENGTH, total
from ravine.schedules.schedule import setting

EDGE = 1e-6  # a mean activation counts as at least so far from 0 and 1, where the divergence is infinite


@final
@dataclass(frozen=True)
class ActivityL1(Penalty):
    """lambda |h|_1 of the outputs of the modules that ``on`` names: summed over units, the mean over samples."""

    name = "activity-l1"
    sees = "activations"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The mean absolute activity, times the strength."""
        return self.strength * total(found, lambda h: h.abs().flatten(1).sum(1).mean())


@final
@dataclass(frozen=True)
class KLSparsity(Penalty):
    """lambda sum_j KL(rho | rho_j): rho_j is unit j's mean activation over the minibatch, which lies in [0, 1].

        KL = rho log(rho / rho_j) + (1 - rho) log((1 - rho) / (1 - rho_j))

    For sigmoid units. Reference: Ng 2011, CS294A lecture notes, Sparse autoencoder, section 3.
    """

    name = "kl-sparsity"
    sees = "activations"
    strength: float = setting(1e-3, "number", STRENGTH, "(0, inf)")
    rho: float = setting(0.05, "number", "the mean activation wanted", "(0, 1)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The divergences, summed over units, times the strength."""
        return self.strength * total(found, self._divergence)

    def _divergence(self, h: Tensor) -> Tensor:
        mean = h.flatten(1).mean(0).clamp(EDGE, 1 - EDGE)
        rho = self.rho
        return (rho * (rho / mean).log() + (1 - rho) * ((1 - rho) / (1 - mean)).log()).sum()


def in_unit_interval(found: Mapping[str, Tensor]) -> bool:
    """Whether all activations are what a mean activation in [0, 1] can be made of."""
    return all(bool(((h >= 0) & (h <= 1)).all()) for h in found.values())
