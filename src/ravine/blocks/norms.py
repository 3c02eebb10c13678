"""Normalisation by name, for features [n, c], images [n, c, h, w] and sequences [n, t, c]."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from ravine.errors import UserError, unknown

Data: TypeAlias = Literal["features", "images", "sequences"]
NORMS = {
    "none": "no normalisation",
    "batch": "each channel over the batch and all places (Ioffe & Szegedy 2015, arXiv:1502.03167)",
    "layer": "each sample over all its channels and places (Ba et al. 2016, arXiv:1607.06450)",
    "group": "each sample over groups of channels, as group:8 (Wu & He 2018, arXiv:1803.08494)",
    "instance": "each channel of each sample over its places (Ulyanov et al. 2016, arXiv:1607.08022)",
    "rms": "each sample divided by its root mean square (Zhang & Sennrich 2019, arXiv:1910.07467)",
}
PLACES = ("before", "after")
REMOVES_BIAS = ("batch", "instance")  # each subtracts the mean of a channel, and with it the bias before it


class RMSNorm(nn.Module):
    """y = w x / sqrt(mean x^2 + eps) for images: the mean over channels and places, one w a channel.

    [n, c, ...] to the same shape. `torch.nn.RMSNorm` over the same dimensions would have a w for every place.
    Reference: Zhang & Sennrich 2019, arXiv:1910.07467.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        scale = torch.rsqrt(x.square().flatten(1).mean(1) + self.eps)
        return x * scale.view(-1, *[1] * (x.dim() - 1)) * self.weight.view(-1, *[1] * (x.dim() - 2))


def check_norm(word: str, data: Data = "images") -> None:
    """Raise a `UserError` where the word names no norm, or one that such data do not have."""
    name, colon, groups = word.partition(":")
    if name not in NORMS:
        raise unknown("norm", name, NORMS)
    if colon and (name != "group" or not groups.isdigit() or int(groups) < 1):
        raise UserError(f"norm {word}: only group takes a number, the whole number of groups, as in group:8")
    if name == "instance" and data == "features":
        raise UserError("norm instance: a sample of features has one place a channel, which leaves 0; use layer")
    if data == "sequences" and name not in ("layer", "rms", "none"):
        raise UserError(f"norm {word}: a sequence's tokens take layer, rms or none")


def norm_layer(word: str, channels: int, data: Data = "images") -> nn.Module:
    """The norm that a word names, with its own scale (and shift) for each of so many channels; none is the identity.

    ``group`` alone makes gcd(32, channels) groups. Raises a `UserError` for an unknown name, groups that do not
    divide the channels, and a norm that such data do not have.
    """
    check_norm(word, data)
    name, _, groups = word.partition(":")
    match name:
        case "batch":
            return nn.BatchNorm2d(channels) if data == "images" else nn.BatchNorm1d(channels)
        case "layer":  # of an image: all channels and places, with one scale a channel, which is one group
            return nn.GroupNorm(1, channels) if data == "images" else nn.LayerNorm(channels)
        case "group":
            return _groups(int(groups) if groups else math.gcd(32, channels), channels)
        case "instance":
            return nn.InstanceNorm2d(channels, affine=True)
        case "rms":
            return RMSNorm(channels) if data == "images" else nn.RMSNorm(channels)
        case _:
            return nn.Identity()


def _groups(groups: int, channels: int) -> nn.GroupNorm:
    if channels % groups:
        fitting = ", ".join(str(g) for g in range(1, channels + 1) if channels % g == 0)
        raise UserError(
            f"norm group:{groups}: {channels} channels do not fall into {groups} equal groups; use one of {fitting}"
        )
    return nn.GroupNorm(groups, channels)


def needs_bias(word: str, place: str) -> bool:
    """Whether a layer's bias can change anything where that norm stands before or after the nonlinearity."""
    return place == "after" or word not in REMOVES_BIAS
