"""A small transformer encoder in plain operations, so that lanes can map it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ravine.blocks.activations import over_last, widening
from ravine.blocks.norms import norm_layer
from ravine.blocks.sequences import Steps, stacked, steps_of


class Attention(nn.Module):
    """Self-attention with several heads.

        out = W_o concat over heads of softmax(Q K^T / sqrt(d)) V

    [n, t, width] to the same shape; d = width / heads. Reference: Vaswani et al. 2017, arXiv:1706.03762.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = stacked(nn.Linear(width, 3 * width), 3)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Each step as a mixture of all."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.inputs(x).chunk(3, -1))
        shares = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)  # [n, heads, t, t]
        return self.out((shares @ v).transpose(1, 2).flatten(2))


class Around(nn.Module):
    """A sublayer beside a skip connection: x + f(norm(x)), or norm(x + f(x)) with the norm ``after``.

    Reference: Xiong et al. 2020, arXiv:2002.04745, figure 1.
    """

    branch: ClassVar[str] = "inner"  # what stochastic depth drops

    def __init__(self, inner: nn.Module, norm: nn.Module, place: str) -> None:
        super().__init__()
        self.norm, self.inner, self.place = norm, inner, place

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.inner(self.norm(x)) if self.place == "before" else self.norm(x + self.inner(x))


class Position(nn.Module):
    """A trained vector for each step, added: [n, t, width] to the same shape."""

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(steps, width))

    def forward(self, x: Tensor) -> Tensor:
        """The steps, told apart."""
        return x + self.position


class Average(nn.Module):
    """The mean over steps: [n, t, width] to [n, width]."""

    def forward(self, x: Tensor) -> Tensor:
        """One vector a sample."""
        return x.mean(1)


def transformer(
    shape: Sequence[int],
    width: int,
    depth: int,
    outputs: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    norm: str = "layer",
    place: str = "before",
) -> nn.Sequential:
    """``depth`` encoder layers (attention, then two linear layers of 4 x width), mean over steps, linear layer.

    A head has 16 channels where the width is a multiple of 16; otherwise there is one head.
    """
    steps, features = steps_of(shape)
    heads = width // 16 if width % 16 == 0 else 1
    drop = [nn.Dropout(dropout)] if dropout else []
    layers: list[nn.Module] = [Steps(), nn.Linear(features, width), Position(steps, width), *drop]
    for _ in range(depth):
        act = over_last(activation())
        forward = nn.Sequential(nn.Linear(width, 4 * width * widening(act)), act, nn.Linear(4 * width, width))
        for inner in (Attention(width, heads), forward):
            inside = nn.Sequential(inner, nn.Dropout(dropout)) if dropout else inner
            layers.append(Around(inside, norm_layer(norm, width, "sequences"), place))
    last = [norm_layer(norm, width, "sequences")] if place == "before" else []
    return nn.Sequential(*layers, *last, Average(), nn.Linear(width, outputs))
