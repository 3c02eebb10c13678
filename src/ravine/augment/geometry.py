"""Steps that move pixels. Neighbours in a recipe are composed, so that an image is read once, at one blur."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ravine.augment.step import Geometric, between, per_image
from ravine.schedules.schedule import setting

Places = tuple[Tensor, Tensor]


@final
@dataclass(frozen=True)
class Flip(Geometric):
    """Mirrors left and right; not for digits and letters."""

    exact: ClassVar[bool] = True
    p: float = setting(0.5, "number", "chance that a sample is mirrored", "(0, 1]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        return -x, y


@final
@dataclass(frozen=True)
class FlipVertical(Geometric):
    """Mirrors top and bottom: for images without an up, as from a microscope or a satellite."""

    exact: ClassVar[bool] = True
    p: float = setting(0.5, "number", "chance that a sample is mirrored", "(0, 1]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        return x, -y


@final
@dataclass(frozen=True)
class Crop(Geometric):
    """Pads each side with black and cuts out the old size at a random place, in whole pixels."""

    draws: ClassVar[int] = 2
    exact: ClassVar[bool] = True
    pad: float = setting(4, "number", "pixels added at each side", "[1, inf)")

    def flaw(self) -> str | None:
        return None if self.pad == int(self.pad) else f"pad must be whole pixels, got {self.pad:g}"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        least = min(shape[-2:])
        return f"pad {self.pad:g} must be less than the {least} pixels of the image" if self.pad >= least else None

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        by = (u * (2 * self.pad + 1)).floor() - self.pad  # [n, 2]
        return x + per_image(by[:, 0], x), y + per_image(by[:, 1], y)


@final
@dataclass(frozen=True)
class ScaleCrop(Geometric):
    """Scales the short side to a length drawn from [low, high], then cuts out a square patch at a random place.

    Reference: Simonyan & Zisserman 2015, arXiv:1409.1556, section 3.1, with 256, 512 and 224; images of another shape
    keep their ratio of sides. Where the image becomes smaller it is not smoothed first.
    """

    draws: ClassVar[int] = 3
    low: float = setting(36, "number", "shortest short side, in pixels", "(0, inf)")
    high: float = setting(48, "number", "longest short side, in pixels", "(0, inf)")
    size: float = setting(0, "number", "side of the patch, in pixels; 0: the image's own sides", "[0, inf)")

    def flaw(self) -> str | None:
        if self.low > self.high:
            return f"low {self.low:g} must not exceed high {self.high:g}"
        return None if self.size == int(self.size) else f"size must be whole pixels, got {self.size:g}"

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        least = self.size or min(shape[-2:])
        if self.low < least:
            return f"a crop of {least:g} pixels is larger than the image, whose short side may be {self.low:g}"
        if self.low == self.high == least == shape[-1] == shape[-2]:
            return f"every crop of {least:g} pixels is the whole image, so it does nothing"
        return None

    def out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-2], int(self.size), int(self.size)) if self.size else shape

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        height, width = size
        patch = self.out(size)
        step = min(size) / between(u[:, 0], self.low, self.high)  # old pixels a new one
        right, down = (
            (u[:, i] - 0.5) * (old - new * step)
            for i, old, new in ((1, width, patch[1]), (2, height, patch[0]))
        )  # fmt: skip
        grow = per_image(step, x)
        return x * grow + per_image(right, x), y * grow + per_image(down, y)


@final
@dataclass(frozen=True)
class Translate(Geometric):
    """Shifts by up to a share of each side."""

    draws: ClassVar[int] = 2
    share: float = setting(0.1, "number", "largest shift, as a share of the side", "(0, 1)")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        by = between(u, -self.share, self.share)
        return x + per_image(by[:, 0] * size[1], x), y + per_image(by[:, 1] * size[0], y)


@final
@dataclass(frozen=True)
class Rotate(Geometric):
    """Turns about the centre."""

    draws: ClassVar[int] = 1
    degrees: float = setting(15, "number", "largest angle, to either side", "(0, 180]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        angle = between(u[:, 0], -self.degrees, self.degrees) * (math.pi / 180)
        c, s = per_image(angle.cos(), x), per_image(angle.sin(), x)
        return c * x - s * y, s * x + c * y


@final
@dataclass(frozen=True)
class Stretch(Geometric):
    """Makes wider and lower, or narrower and higher: the sides change by a factor and its inverse."""

    draws: ClassVar[int] = 1
    factor: float = setting(1.2, "number", "largest factor", "(1, 10]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        by = per_image((between(u[:, 0], -1, 1) * math.log(self.factor)).exp(), x)
        return x / by, y * by


@final
@dataclass(frozen=True)
class Zoom(Geometric):
    """Makes larger or smaller about the centre, by the same factor in both directions."""

    draws: ClassVar[int] = 1
    factor: float = setting(1.2, "number", "largest factor, up or down", "(1, 10]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        by = per_image((between(u[:, 0], -1, 1) * math.log(self.factor)).exp(), x)
        return x / by, y / by


@final
@dataclass(frozen=True)
class Shear(Geometric):
    """Slants to the left or the right."""

    draws: ClassVar[int] = 1
    degrees: float = setting(10, "number", "largest angle, to either side", "(0, 80]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        slope = (between(u[:, 0], -self.degrees, self.degrees) * (math.pi / 180)).tan()
        return x + per_image(slope, x) * y, y


@final
@dataclass(frozen=True)
class Lens(Geometric):
    """Bends as a lens does, to a barrel or a pincushion: what lies at radius r is read at r (1 + k r^2).

    r is 1 at the corners; up to a third, no place is read twice.   Reference: Brown 1966, the first radial term.
    """

    draws: ClassVar[int] = 1
    strength: float = setting(0.2, "number", "largest k, to either side", "(0, 0.33]")

    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> Places:
        square = (x * x + y * y) * (4 / (size[0] ** 2 + size[1] ** 2))
        bent = 1 + per_image(between(u[:, 0], -self.strength, self.strength), x) * square
        return x * bent, y * bent


def grid(n: int, size: tuple[int, int], like: Tensor) -> Places:
    """The places of an image's pixels from its centre, x and y, each [n, h, w]."""
    height, width = size
    x = torch.arange(width, device=like.device, dtype=torch.float32) - (width - 1) / 2
    y = torch.arange(height, device=like.device, dtype=torch.float32) - (height - 1) / 2
    return x.expand(n, height, width), y.unsqueeze(1).expand(n, height, width)
