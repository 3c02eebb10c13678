"""Layers in a row: affine map, norm and nonlinearity; the fully connected and the convolutional network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from ravine.blocks.activations import widening
from ravine.blocks.norms import Data, needs_bias, norm_layer


def unit(
    affine: Callable[[int, bool], nn.Module],
    width: int,
    activation: Callable[[], nn.Module],
    norm: str,
    place: str,
    data: Data,
) -> list[nn.Module]:
    """An affine map to ``width`` channels, its norm before or after the nonlinearity, and that.

    ``affine`` makes the map from its outputs and whether it has a bias, which is left out where the norm removes it.
    """
    act = activation()
    wide = width * widening(act)
    first = affine(wide, needs_bias(norm, place))
    if norm == "none":
        return [first, act]
    if place == "before":
        return [first, norm_layer(norm, wide, data), act]
    return [first, act, norm_layer(norm, width, data)]


def mlp(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    norm: str = "none",
    place: str = "before",
) -> nn.Sequential:
    """Fully connected layers with norm, activation and dropout between them; ``sizes`` from input to output."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes[:-1]):
        layers += unit(lambda n, bias, a=before: nn.Linear(a, n, bias), after, activation, norm, place, "features")
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def conv(before: int, stride: int = 1, size: int = 3) -> Callable[[int, bool], nn.Module]:
    """What makes a convolution of ``size`` x ``size`` from its outputs and whether it has a bias."""
    return lambda n, bias: nn.Conv2d(before, n, size, stride, padding=size // 2, bias=bias)


def cnn(
    shape: Sequence[int],
    channels: Sequence[int],
    outputs: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    norm: str = "none",
    place: str = "before",
) -> nn.Sequential:
    """Convolutions of 3 x 3, each with norm, activation and 2 x 2 max-pooling, and a linear layer at the end."""
    layers: list[nn.Module] = []
    before, (height, width) = shape[0], (shape[1], shape[2])
    for after in channels:
        layers += [*unit(conv(before), after, activation, norm, place, "images"), nn.MaxPool2d(2)]
        before, height, width = after, height // 2, width // 2
    layers += [nn.Flatten(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(before * height * width, outputs))
