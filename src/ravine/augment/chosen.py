"""RandAugment: a few operations for each sample, chosen at random, all of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ravine.augment.geometry import Places, grid
from ravine.augment.step import Pointwise, per_image
from ravine.augment.warp import read
from ravine.schedules.schedule import setting

Operation = Callable[[Tensor, Tensor], Tensor]  # (images [n, c, h, w], strength in [-1, 1] of each [n]) -> images


@final
@dataclass(frozen=True)
class RandAugment(Pointwise):
    """A few operations for each sample, drawn from fourteen, at one strength.

    Identity, autocontrast, equalise, rotate, solarise, saturation, posterise, contrast, brightness, sharpness, shears
    and translations; 13 without saturation for images without colour.
    Reference: Cubuk et al. 2019, arXiv:1909.13719; strength is their M / 30.
    """

    MOST: ClassVar[int] = 8
    draws: ClassVar[int] = 2 * MOST
    count: float = setting(2, "number", "operations a sample", "[1, 8]")
    strength: float = setting(0.3, "number", "of every operation, as a share of the strongest", "(0, 1]")

    def flaw(self) -> str | None:
        return None if self.count == int(self.count) else f"count must be a whole number, got {self.count:g}"

    def apply(self, x: Tensor, u: Tensor, key: int, ids: Tensor, mean: Tensor) -> Tensor:
        known = operations(x.shape[1])
        x = x.clamp(0, 1)
        for place in range(int(self.count)):
            chosen = (u[:, 2 * place] * len(known)).long()
            strength = torch.where(u[:, 2 * place + 1] < 0.5, -self.strength, self.strength)
            new = x.clone()
            for number, operation in enumerate(known.values()):
                rows = (chosen == number).nonzero().squeeze(1)
                if len(rows):
                    new[rows] = operation(x[rows], strength[rows])
            x = new
        return x


def operations(channels: int) -> Mapping[str, Operation]:
    """The operations for images of so many channels, by name."""
    found: dict[str, Operation] = {
        "identity": lambda x, m: x,
        "autocontrast": _autocontrast,
        "equalise": _equalise,
        "solarise": _solarise,
        "posterise": _posterise,
        "contrast": lambda x, m: (0.5 + (x - 0.5) * per_image(1 + 0.9 * m, x)).clamp(0, 1),
        "brightness": lambda x, m: (x * per_image(1 + 0.9 * m, x)).clamp(0, 1),
        "sharpness": _sharpness,
        "rotate": _rotate,
        "shear-x": lambda x, m: _moved(x, lambda a, b: (a + per_image(0.3 * m, a) * b, b)),
        "shear-y": lambda x, m: _moved(x, lambda a, b: (a, b + per_image(0.3 * m, a) * a)),
        "translate-x": lambda x, m: _moved(x, lambda a, b: (a + per_image(m * x.shape[-1] / 3, a), b)),
        "translate-y": lambda x, m: _moved(x, lambda a, b: (a, b + per_image(m * x.shape[-2] / 3, a))),
    }
    return found | {"saturation": _saturation} if channels == 3 else found


def _moved(x: Tensor, source: Callable[[Tensor, Tensor], Places]) -> Tensor:
    size = x.shape[-2], x.shape[-1]
    return read(x, source(*grid(len(x), size, x)))


def _rotate(x: Tensor, m: Tensor) -> Tensor:
    angle = m * math.radians(30)
    c, s = per_image(angle.cos(), x[:, 0]), per_image(angle.sin(), x[:, 0])
    return _moved(x, lambda a, b: (c * a - s * b, s * a + c * b))


def _autocontrast(x: Tensor, m: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _equalise(x: Tensor, m: Tensor) -> Tensor:
    from kornia.enhance import equalize

    return equalize(x)


def _solarise(x: Tensor, m: Tensor) -> Tensor:
    from kornia.enhance import solarize

    return solarize(x, 1 - m.abs())


def _posterise(x: Tensor, m: Tensor) -> Tensor:
    from kornia.enhance import posterize

    return posterize(x, 8 - (4 * m.abs()).round().int())


def _saturation(x: Tensor, m: Tensor) -> Tensor:
    from kornia.enhance import adjust_saturation

    return adjust_saturation(x, 1 + 0.9 * m)


def _sharpness(x: Tensor, m: Tensor) -> Tensor:
    from kornia.enhance import sharpness

    return sharpness(x, 1 + 0.9 * m)
