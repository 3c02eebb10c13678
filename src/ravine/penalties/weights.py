"""Penalties on parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.penalties.part import Part, Penalty, chosen, trained
from ravine.schedules.schedule import setting
from ravine.schedules.spec import check

STRENGTH = "factor of the penalty, in units of the loss over those of what is penalised"


def total(found: Mapping[str, Tensor], of: Any) -> Tensor:
    """The sum of a function over tensors."""
    return torch.stack([of(w) for w in found.values()]).sum()


@final
@dataclass(frozen=True)
class L2(Penalty):
    """lambda |w|^2: under SGD each step shrinks w by 1 - 2 eta lambda. Keras' ``l2(lambda)`` is the same sum."""

    name = "l2"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The sum of squares, times the strength."""
        return self.strength * total(found, lambda w: (w * w).sum())


@final
@dataclass(frozen=True)
class L2Half(Penalty):
    """lambda/2 |w|^2: under SGD each step shrinks w by 1 - eta lambda, as ``weight_decay=lambda`` of torch's SGD."""

    name = "l2-half"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """Half the sum of squares, times the strength."""
        return self.strength / 2 * total(found, lambda w: (w * w).sum())


@final
@dataclass(frozen=True)
class L2Keras(Penalty):
    """Keras' ``kernel_regularizer="l2"``: the sum of squares of the weights, at Keras' default strength of 0.01."""

    name = "l2-keras"
    strength: float = setting(0.01, "number", STRENGTH, "(0, inf)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The sum of squares, times the strength."""
        return self.strength * total(found, lambda w: (w * w).sum())


@final
@dataclass(frozen=True)
class L1(Penalty):
    """lambda |w|_1 by its subgradient lambda sign(w), 0 at 0: weights come near zero; `L1Proximal` sets them to it."""

    name = "l1"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The sum of absolute values, times the strength."""
        return self.strength * total(found, lambda w: w.abs().sum())


@final
@dataclass(frozen=True)
class ElasticNet(Penalty):
    """lambda (r |w|_1 + (1 - r)/2 |w|^2) with the share r of L1 (Zou & Hastie 2005, J. R. Stat. Soc. B 67:301).

    Written as scikit-learn's ElasticNet.
    """

    name = "elastic-net"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")
    l1_ratio: float = setting(0.5, "number", "share of L1", "(0, 1)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """Both sums, weighted."""
        r = self.l1_ratio
        return self.strength * total(found, lambda w: r * w.abs().sum() + (1 - r) / 2 * (w * w).sum())


@final
@dataclass(frozen=True)
class Pull(Penalty):
    """lambda |w - b|^2 towards given weights b.

    ``towards`` is a mapping from names to tensors, the path of a safetensors file, or, in a recipe, "start": the
    weights before the first step (L2-SP: Li, Grandvalet & Davoine 2018, arXiv:1802.01483).
    """

    name = "pull"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")
    towards: Any = "start"

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The squared distance, times the strength."""
        if isinstance(self.towards, str):
            raise UserError('pull: give towards, as in dict(model.state_dict()); "start" is for recipes')
        away = {name: w - self.towards[name] for name, w in found.items()}
        return self.strength * total(away, lambda d: (d * d).sum())

    def fits(self, weights: Mapping[str, Tensor]) -> None:
        """A weight to go to for each, of the same shape."""
        if self._from_start:
            return
        given = self._given()
        for name, w in weights.items():
            if name not in given or given[name].shape != w.shape:
                raise UserError(f"pull: towards holds no {name} of shape {tuple(w.shape)}")

    def holds(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Where each weight is pulled to."""
        given = weights if self._from_start else self._given()
        return {f"towards|{name}": given[name].detach().to(w.dtype).clone() for name, w in weights.items()}

    def with_held(self, amount: Tensor, held: Mapping[str, Tensor]) -> Part:
        """With where this lane's weights are pulled to."""
        return replace(self, strength=amount, towards={n.partition("|")[2]: t for n, t in held.items()})

    @property
    def _from_start(self) -> bool:
        return isinstance(self.towards, str) and self.towards == "start"

    def _given(self) -> Mapping[str, Tensor]:
        if not isinstance(self.towards, str):
            return self.towards
        try:
            return load_file(Path(self.towards))
        except (OSError, SafetensorError) as error:
            raise UserError(f"pull: {self.towards} cannot be read as safetensors ({error})") from error


@final
@dataclass(frozen=True)
class Tie(Penalty):
    """lambda |w1 - w2|^2 between two sets: each parameter that ``on`` names and its partner in ``other``, in order."""

    name = "tie"
    strength: float = setting(1e-4, "number", STRENGTH, "(0, inf)")
    other: str = ""

    def bound(self, module: nn.Module) -> dict[str, Tensor]:
        """One set after the other."""
        check(self)
        parameters = trained(module)
        one, two = (chosen(self.name, pattern, parameters) for pattern in (self.on, self.other))
        if set(one) & set(two):
            raise UserError(f"tie: {self.on} and {self.other} both name {min(set(one) & set(two))}: name two sets")
        shapes = [[tuple(parameters[name].shape) for name in names] for names in (one, two)]
        if shapes[0] != shapes[1]:
            raise UserError(f"tie: {self.on} has shapes {shapes[0]}, but {self.other} has {shapes[1]}")
        return {name: parameters[name] for name in (*one, *two)}

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The squared distance between partners, times the strength; ``found`` holds one set after the other."""
        both = list(found.values())
        pairs = zip(both[: len(both) // 2], both[len(both) // 2 :], strict=True)
        return self.strength * torch.stack([((a - b) ** 2).sum() for a, b in pairs]).sum()


@final
@dataclass(frozen=True)
class Orthogonal(Penalty):
    """lambda |W W' - 1|_F^2 for rows W, of the Gram matrix of columns where there are fewer of these.

    Reference: Brock et al. 2017, arXiv:1609.07093; Bansal, Chen & Wang 2018, arXiv:1810.09102 (soft orthogonality).
    """

    name = "orthogonal"
    matrices = True
    strength: float = setting(1e-3, "number", STRENGTH, "(0, inf)")

    def value(self, found: Mapping[str, Tensor]) -> Tensor:
        """The squared distance of the Gram matrices from the identity, times the strength."""
        return self.strength * total(found, _apart)


def _apart(weight: Tensor) -> Tensor:
    rows = weight.flatten(1)
    rows = rows if rows.shape[0] <= rows.shape[1] else rows.mT
    return ((rows @ rows.mT - torch.eye(rows.shape[0], dtype=rows.dtype, device=rows.device)) ** 2).sum()
