"""Steps that change values where they are: colour, noise, erasing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ravine.augment.colour import recoloured
from ravine.augment.draws import normal
from ravine.augment.step import Pointwise, between, per_image
from ravine.schedules.schedule import setting

COLOUR = 0.2  # saturation of a colour image where the user says nothing
HUE = 0.02


@final
@dataclass(frozen=True)
class Jitter(Pointwise):
    """Changes brightness, contrast (about mid-grey), saturation and hue, in this order.

    Reference: Howard 2013, arXiv:1312.5402.
    """

    draws: ClassVar[int] = 4
    brightness: float = setting(0.2, "number", "largest change of the factor of all light", "[0, 1]")
    contrast: float = setting(0.2, "number", "largest change of the factor of contrast", "[0, 1]")
    saturation: float | None = setting(
        None, "number", "largest change of the factor; None: 0.2 for colour images", "[0, 1]", optional=True
    )
    hue: float | None = setting(
        None, "number", "largest turn, in turns of the circle; None: 0.02 for colour", "[0, 0.5]", optional=True
    )

    def flaw(self) -> str | None:
        given = (self.brightness, self.contrast, self.saturation, self.hue)
        return None if any(v is None or v > 0 for v in given) else "every setting is 0, so it does nothing"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        if shape[-3] == 3:
            return None
        for name in ("saturation", "hue"):
            if getattr(self, name):
                return f"{name} does nothing to images of {shape[-3]} channels, which have no colour: leave it out"
        return None if self.brightness or self.contrast else "it does nothing to images without colour"

    def apply(self, x: Tensor, u: Tensor, key: int, ids: Tensor, mean: Tensor) -> Tensor:
        light = per_image(between(u[:, 0], 1 - self.brightness, 1 + self.brightness), x)
        x = (x * light).clamp_(0, 1) if self.brightness else x.clamp(0, 1)
        if self.contrast:
            factor = per_image(between(u[:, 1], 1 - self.contrast, 1 + self.contrast), x)
            x = x.sub_(0.5).mul_(factor).add_(0.5).clamp_(0, 1)
        if x.shape[1] == 3:
            most = (COLOUR if self.saturation is None else self.saturation, HUE if self.hue is None else self.hue)
            saturation = between(u[:, 2], 1 - most[0], 1 + most[0]).view(-1, 1, 1) if most[0] else None
            hue = between(u[:, 3], -most[1], most[1]).view(-1, 1, 1) if most[1] else None
            if most != (0, 0):
                x = recoloured(x, saturation, hue)
        return x


@final
@dataclass(frozen=True)
class Noise(Pointwise):
    """Adds normal noise to every number: training on a Gaussian vicinity of each sample.

    For a linear model with squared error it is, on average, ridge regression with lambda = n sigma^2.
    Reference: Bishop 1995, doi:10.1162/neco.1995.7.1.108; Chapelle et al. 2000, Vicinal Risk Minimization.
    """

    tables: ClassVar[bool] = True
    sigma: float = setting(
        0.05, "number", "standard deviation; of pixels in [0, 1], or of a table's standardised columns", "(0, inf)"
    )

    def apply(self, x: Tensor, u: Tensor, key: int, ids: Tensor, mean: Tensor) -> Tensor:
        return normal(key + 1, ids, x[0].numel()).mul_(self.sigma).view(x.shape).add_(x)


@final
@dataclass(frozen=True)
class Erase(Pointwise):
    """Fills a random rectangle with the mean pixel.

    Reference: Zhong et al. 2020, arXiv:1708.04896; DeVries & Taylor 2017, arXiv:1708.04552.
    """

    draws: ClassVar[int] = 4
    p: float = setting(0.5, "number", "chance that a sample is changed", "(0, 1]")
    low: float = setting(0.02, "number", "smallest share of the area", "(0, 1)")
    high: float = setting(0.33, "number", "largest share of the area", "(0, 1)")
    ratio: float = setting(3.0, "number", "largest ratio of the sides", "[1, inf)")

    def flaw(self) -> str | None:
        return None if self.low <= self.high else f"low {self.low:g} must not exceed high {self.high:g}"

    def apply(self, x: Tensor, u: Tensor, key: int, ids: Tensor, mean: Tensor) -> Tensor:
        share = between(u[:, 0], self.low, self.high)
        ratio = (between(u[:, 1], -1, 1) * math.log(self.ratio)).exp()
        inside = rectangle(x, (share * ratio).sqrt(), (share / ratio).sqrt(), u[:, 2], u[:, 3])
        return torch.where(inside, mean, x)


def rectangle(x: Tensor, tall: Tensor, wide: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """A box of each image as bool [n, 1, h, w]: sides as shares of the image's, at most 1, and its place in [0, 1)."""
    height, width = x.shape[-2:]
    rows, columns = (tall.clamp(max=1) * height).round(), (wide.clamp(max=1) * width).round()
    top = (down * (height - rows + 1)).floor()
    left = (right * (width - columns + 1)).floor()
    y = torch.arange(height, device=x.device)
    across = torch.arange(width, device=x.device)
    in_rows = (y >= top.unsqueeze(1)) & (y < (top + rows).unsqueeze(1))  # [n, h]
    in_columns = (across >= left.unsqueeze(1)) & (across < (left + columns).unsqueeze(1))
    return (in_rows.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1)
