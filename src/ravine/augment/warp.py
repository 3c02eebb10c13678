"""Images read at other places, by Kornia."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.augment.geometry import Places, grid
from ravine.augment.step import Geometric

Drawn = tuple[Geometric, Tensor, Tensor]  # a step, which samples it changes [n], and their numbers [n, draws]


def warp(x: Tensor, steps: Sequence[Drawn]) -> Tensor:
    """The images after all of the steps, each read once: at whole pixels where every step keeps to them."""
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
    return read(x, places, whole=all(step.exact for step, _, _ in steps))


def read(x: Tensor, places: Places, whole: bool = False) -> Tensor:
    """The images at those places, in pixels from their centres, each [n, h, w]; black outside of the image."""
    from kornia.geometry.transform import remap

    height, width = x.shape[-2:]
    across, down = places[0] * (2 / width), places[1] * (2 / height)
    mode = "nearest" if whole else "bilinear"
    return remap(x, across, down, mode=mode, align_corners=False, normalized_coordinates=True)


def _stay(stays: Tensor, old: Places, new: Places) -> Places:
    return torch.where(stays, old[0], new[0]), torch.where(stays, old[1], new[1])


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[-2], shape[-1]
