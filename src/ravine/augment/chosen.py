"""RandAugment: a few operations for each sample, chosen at random, all of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from ravine.augment.colour import recoloured
from ravine.augment.geometry import grid
from ravine.augment.step import Pointwise, per_image
from ravine.augment.warp import read
from ravine.schedules.schedule import setting

Operation = Callable[[Tensor, Tensor], Tensor]  # (images [n, c, h, w], strength in [-1, 1] of each [n]) -> images
MOVES = (
    "rotate",
    "shear-x",
    "shear-y",
    "translate-x",
    "translate-y",
)  # neighbours below, so that they are read at once


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
        many = len(operations(x.shape[1]))
        x, rows = x.clamp(0, 1), torch.arange(len(x), device=x.device)  # rows[i] is where image i came from
        for place in range(int(self.count)):
            chosen = (u[rows, 2 * place] * many).long()
            order = chosen.argsort(stable=True)
            rows = rows[order]
            strength = torch.where(u[rows, 2 * place + 1] < 0.5, -self.strength, self.strength)
            x = _each(x[order], strength, chosen.bincount(minlength=many).tolist())
        return x[rows.argsort()]


def _each(x: Tensor, m: Tensor, counts: list[int]) -> Tensor:
    """Images sorted by operation, after their own; ``counts`` of each. Those that move pixels are read together."""
    ends = list(accumulate(counts, initial=0))
    parts = {name: slice(*ends) for name, ends in zip(operations(x.shape[1]), pairwise(ends), strict=True)}
    done: list[Tensor] = []
    moving = slice(parts[MOVES[0]].start, parts[MOVES[-1]].stop)
    for name, operation in operations(x.shape[1]).items():
        rows = parts[name]
        if name == MOVES[0] and moving.start < moving.stop:
            lines = [_line(move, m[parts[move]], (x.shape[-2], x.shape[-1])) for move in MOVES]
            done.append(_moved(x[moving], torch.cat(lines)))
        elif name not in MOVES and rows.start < rows.stop:
            done.append(operation(x[rows], m[rows]))
    return torch.cat(done)


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
        **{name: partial(_one_move, name) for name in MOVES},
    }
    return found | {"saturation": _saturation} if channels == 3 else found


def _one_move(name: str, x: Tensor, m: Tensor) -> Tensor:
    return _moved(x, _line(name, m, (x.shape[-2], x.shape[-1])))


def _line(name: str, m: Tensor, size: tuple[int, int]) -> Tensor:
    """[n, 6]: the numbers a to f by which the new place (x, y) is read at (a x + b y + c, d x + e y + f)."""
    lines = m.new_tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(len(m), 1)
    if name == "rotate":
        angle = m * math.radians(30)
        lines[:, 0] = lines[:, 4] = angle.cos()
        lines[:, 3] = sine = angle.sin()
        lines[:, 1] = -sine
    else:
        place, share = {
            "shear-x": (1, 0.3),
            "shear-y": (3, 0.3),
            "translate-x": (2, size[1] / 3),
            "translate-y": (5, size[0] / 3),
        }[name]
        lines[:, place] = share * m
    return lines


def _moved(x: Tensor, lines: Tensor) -> Tensor:
    across, down = grid(len(x), (x.shape[-2], x.shape[-1]), x)
    a, b, c, d, e, f = (line.view(-1, 1, 1) for line in lines.unbind(1))
    return read(x, (a * across + b * down + c, d * across + e * down + f))


def _autocontrast(x: Tensor, m: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _equalise(x: Tensor, m: Tensor) -> Tensor:
    from kornia.enhance import equalize

    return equalize(x)


def _solarise(x: Tensor, m: Tensor) -> Tensor:
    return torch.where(x < per_image(1 - m.abs(), x), x, 1 - x)


def _posterise(x: Tensor, m: Tensor) -> Tensor:
    """Fewer bits of each of 256 levels; numbers that lose none stay as they are."""
    lost = per_image((4 * m.abs()).round().to(torch.uint8), x)
    levels = (x * 255).to(torch.uint8)
    fewer = levels.bitwise_right_shift_(lost).bitwise_left_shift_(lost).to(x.dtype).div_(255)
    return torch.where(lost > 0, fewer, x)


def _saturation(x: Tensor, m: Tensor) -> Tensor:
    return recoloured(x, (1 + 0.9 * m).view(-1, 1, 1), None)


def _sharpness(x: Tensor, m: Tensor) -> Tensor:
    """Away from the mean of each pixel and its neighbours, or towards it; the border stays."""
    inner = x[:, :, 1:-1, 1:-1]
    soft = (functional.avg_pool2d(x, 3, 1) * 9 + 4 * inner) / 13
    found = x.clone()
    found[:, :, 1:-1, 1:-1] = (soft + (inner - soft) * per_image(1 + 0.9 * m, x)).clamp_(0, 1)
    return found
