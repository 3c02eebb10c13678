"""Skip connections: the residual block, a residual CNN, and a fully connected net of residual blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn

from ravine.blocks.activations import widening
from ravine.blocks.layers import conv, unit
from ravine.blocks.norms import needs_bias, norm_layer


class Residual(nn.Module):
    """y = f(body(x) + shortcut(x)).

    ``body`` and ``shortcut`` give the same shape; f is ``after``. Reference: He et al. 2016, arXiv:1512.03385.
    """

    branch: ClassVar[str] = "body"  # what stochastic depth drops

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.shortcut = shortcut or nn.Identity()
        self.body = body
        self.after = after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both ways, through what stands after it."""
        return self.after(self.body(x) + self.shortcut(x))


class Mean(nn.Module):
    """The mean over the places of an image: [n, c, h, w] to [n, c]."""

    def forward(self, x: Tensor) -> Tensor:
        """One number a channel."""
        return x.mean((2, 3))


def resnet(
    shape: Sequence[int],
    channels: Sequence[int],
    outputs: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    norm: str = "batch",
    place: str = "before",
) -> nn.Sequential:
    """A convolution, then a residual block of two for each width, mean over places, linear layer.

    From the second block on each halves height and width. Reference: He et al. 2016, arXiv:1512.03385, figure 2.
    """
    layers = unit(conv(shape[0]), channels[0], activation, norm, place, "images")
    before = channels[0]
    for place_of, after in enumerate(channels):
        layers.append(_block(before, after, 2 if place_of else 1, activation, norm, place))
        before = after
    return nn.Sequential(*layers, Mean(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(before, outputs))


def _block(
    before: int, after: int, stride: int, activation: Callable[[], nn.Module], norm: str, place: str
) -> Residual:
    last = activation()
    wide = after * widening(last)
    bias = needs_bias(norm, "before")  # what the sum takes is normalised, wherever the others stand
    body = nn.Sequential(
        *unit(conv(before, stride), after, activation, norm, place, "images"),
        conv(after)(wide, bias),
        norm_layer(norm, wide, "images"),
    )
    if (stride, before) == (1, wide):
        return Residual(body, None, last)
    shortcut = nn.Sequential(conv(before, stride, 1)(wide, bias), norm_layer(norm, wide, "images"))
    return Residual(body, shortcut, last)


def resmlp(
    sizes: Sequence[int],
    depth: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    norm: str = "none",
    place: str = "before",
    *,
    skip: bool = True,
) -> nn.Sequential:
    """``depth`` blocks x + f(W x + b) of one width, between two linear layers; ``sizes`` is (in, width, out).

    Without ``skip`` the same layers in a row, to compare with.
    """
    width = sizes[1]
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(sizes[0], width)]
    for _ in range(depth):
        body = unit(lambda n, bias: nn.Linear(width, n, bias), width, activation, norm, place, "features")
        body += [nn.Dropout(dropout)] if dropout else []
        layers.append(Residual(nn.Sequential(*body)) if skip else nn.Sequential(*body))
    return nn.Sequential(*layers, nn.Linear(width, sizes[2]))


def most_blocks(shape: Sequence[int]) -> int:
    """How many blocks of a `resnet` an image has room for, of which each but the first halves it."""
    return 1 + int(math.log2(min(shape[1:])))
