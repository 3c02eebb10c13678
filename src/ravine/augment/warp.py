"""Images read at other places, by Kornia."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.augment.geometry import Places, grid
from ravine.augment.step import Geometric

Drawn = tuple[Geometric, Tensor, Tensor]  # a step, which samples it changes [n], and their numbers [n, draws]


def warp(x: Tensor, steps: Sequence[Drawn], black: Tensor | float = 0.0) -> Tensor:
    """The images after all of the steps, each read once: at whole pixels where every step keeps to them.

    ``black`` is what lies outside of an image; another number than 0 is for steps of whole pixels alone.
    """
    if all(step.exact for step, _, _ in steps):
        return _picked(x, steps, black)
    sizes = [_size(tuple(x.shape))]
    for step, _, _ in steps:
        sizes.append(_size(step.out((*x.shape[:2], *sizes[-1]))))
    places = grid(len(x), sizes[-1], x)
    for (step, hit, u), size, new in zip(reversed(steps), sizes[-2::-1], sizes[:0:-1], strict=True):
        moved = step.source(*places, u, size)
        if step.p < 1:
            stays = ~hit.view(-1, 1, 1)
            moved = _stay(stays, grid(len(x), new, x) if size != new else places, moved)
        places = moved
    return read(x, places)


def _picked(x: Tensor, steps: Sequence[Drawn], black: Tensor | float) -> Tensor:
    """The same for steps of whole pixels, which keep an image's size: rows and columns, and each pixel as it is.

    Places are [., 1, w] and [., h, 1] rather than [n, h, w], since such a step moves rows and columns apart, or swaps
    them; what mixes them becomes [n, h, w] by itself.
    """
    height, width = x.shape[-2:]
    across, down = grid(1, (height, width), x)
    places = across[:, :1, :], down[:, :, :1]
    for step, hit, u in reversed(steps):
        moved = step.source(*places, u, (height, width))
        places = _stay(~hit.view(-1, 1, 1), places, moved) if step.p < 1 else moved
    column, row = (places[0] + (width - 1) / 2).round().long(), (places[1] + (height - 1) / 2).round().long()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    at = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).expand(len(x), height, width)
    found = x.flatten(2).gather(2, at.reshape(len(x), 1, -1).expand(-1, x.shape[1], -1)).view(x.shape)
    return torch.where(outside.unsqueeze(1), black, found)


def read(x: Tensor, places: Places) -> Tensor:
    """The images at those places, in pixels from their centres, each [n, h, w]; black outside of the image."""
    from kornia.geometry.transform import remap

    height, width = x.shape[-2:]
    across, down = places[0] * (2 / width), places[1] * (2 / height)
    return remap(x, across, down, mode="bilinear", align_corners=False, normalized_coordinates=True)


def _stay(stays: Tensor, old: Places, new: Places) -> Places:
    return torch.where(stays, old[0], new[0]), torch.where(stays, old[1], new[1])


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[-2], shape[-1]
