"""What a rule needs to know of gradients beside their numbers: norms, noise, curvature; lane by lane."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from ravine.engines.noise import gradient_noise
from ravine.engines.tiers import Taking
from ravine.types import State


def facts_of(needs: Collection[str], seeds: Sequence[int], on: Taking, step: int, whole: Tensor | None) -> list[State]:
    """What is needed of each parameter's gradient [K, *shape]: numbers as [K, 1, ...], arrays in its shape.

    ``whole`` [K] is the norm over all parameters, where those here are not all.
    """
    found = _norms(needs, on.gradients, whole)
    if "noise" in needs:
        for place, g, facts in zip(on.places, on.gradients, found, strict=True):
            draws = [gradient_noise(seed, step, place, own) for seed, own in zip(seeds, g, strict=True)]
            facts["noise"] = torch.stack(draws)
    if "curvature" in needs:
        for place, (g, facts) in enumerate(zip(on.gradients, found, strict=True)):
            facts["curvature"] = torch.zeros_like(g) if on.curvature is None else on.curvature[place]
    return found


def whole_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm over all of these, [K]."""
    return torch.linalg.vector_norm(torch.stack(_each(gradients)), dim=0)


def _each(gradients: Sequence[Tensor]) -> list[Tensor]:
    return [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]


def _norms(needs: Collection[str], gradients: Sequence[Tensor], whole: Tensor | None) -> list[State]:
    known: dict[str, list[Tensor]] = {}
    if "norm" in needs:
        known["norm"] = _each(gradients)
    if "global_norm" in needs:
        known["global_norm"] = [whole_norm(gradients) if whole is None else whole] * len(gradients)
    return [
        {need: norms[i].view(-1, *[1] * (g.dim() - 1)) for need, norms in known.items()}
        for i, g in enumerate(gradients)
    ]
