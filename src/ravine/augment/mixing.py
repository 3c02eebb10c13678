"""Steps that mix two samples and their labels: mixup and CutMix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ravine.augment.step import Mixing, per_image
from ravine.augment.values import rectangle
from ravine.schedules.schedule import setting


@final
@dataclass(frozen=True)
class Mixup(Mixing):
    """The weighted mean of two samples and of their labels.

        x~ = l x + (1 - l) x'      y~ = l y + (1 - l) y'      l ~ Beta(alpha, alpha)

    Reference: Zhang et al. 2018, arXiv:1710.09412.
    """

    draws: ClassVar[int] = 1
    tables: ClassVar[bool] = True
    alpha: float = setting(0.2, "number", "of Beta(alpha, alpha), from which the share is drawn", "[0.01, inf)")

    def mix(self, x: Tensor, other: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        share = beta(self.alpha, u[:, 0])
        return torch.lerp(other, x, per_image(share, x)), share


@final
@dataclass(frozen=True)
class CutMix(Mixing):
    """A box of one image in another; labels by area.   Reference: Yun et al. 2019, arXiv:1905.04899.

    The box lies wholly inside the image, where the paper lets it be cut off at the border.
    """

    draws: ClassVar[int] = 3
    alpha: float = setting(1.0, "number", "of Beta(alpha, alpha), from which the share is drawn", "[0.01, inf)")

    def mix(self, x: Tensor, other: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        side = (1 - beta(self.alpha, u[:, 0])).sqrt()
        inside = rectangle(x, side, side, u[:, 1], u[:, 2])
        return torch.where(inside, other, x), 1 - inside.float().mean((1, 2, 3))


def beta(alpha: float, u: Tensor) -> Tensor:
    """Numbers of Beta(alpha, alpha) from uniform ones, by the inverse of its distribution function."""
    from scipy.special import betaincinv

    found = betaincinv(alpha, alpha, (u.double() + 2.0**-25).cpu().numpy())
    return torch.from_numpy(found).to(u.device, torch.float32)
