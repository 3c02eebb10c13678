"""Recurrent networks in plain operations, so that lanes can map them: the simple RNN and the LSTM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ravine.blocks.activations import over_last, widening
from ravine.blocks.sequences import Steps, stacked, steps_of


class RNN(nn.Module):
    """h_t = f(W x_t + b + U h_(t-1)), h_0 = 0.

    [n, t, inputs] to all states, [n, t, width]. With tanh, `torch.nn.RNN`. Reference: Elman 1990,
    doi:10.1207/s15516709cog1402_1.
    """

    def __init__(self, inputs: int, width: int, activation: Callable[[], nn.Module] = nn.Tanh) -> None:
        super().__init__()
        act = over_last(activation())
        wide = width * widening(act)
        self.width = width
        self.inputs = nn.Linear(inputs, wide)
        self.hidden = nn.Linear(width, wide, bias=False)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """All states."""
        given = self.inputs(x)
        h = x.new_zeros(len(x), self.width)
        states: list[Tensor] = []
        for step in range(x.shape[1]):
            h = self.act(given[:, step] + self.hidden(h))
            states.append(h)
        return torch.stack(states, 1)


class LSTM(nn.Module):
    """The long short-term memory with a forget gate.

        i, f, o = sigmoid(W x_t + b + U h_(t-1))      f with 1 added to its argument
        c_t = f c_(t-1) + i tanh(W x_t + b + U h_(t-1))      h_t = o tanh(c_t)

    [n, t, inputs] to all states, [n, t, width]. With the 1, the gate begins open, as Jozefowicz et al. 2015 (ICML,
    PMLR 37:2342) advise. `torch.nn.LSTM` is one operation that `torch.func.vmap` cannot map; this is the same
    equation in plain operations. Reference: Gers et al. 2000, doi:10.1162/089976600300015015.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.inputs = stacked(nn.Linear(inputs, 4 * width), 4)
        self.hidden = stacked(nn.Linear(width, 4 * width, bias=False), 4)

    def forward(self, x: Tensor) -> Tensor:
        """All states."""
        given = self.inputs(x)
        h = c = x.new_zeros(len(x), self.width)
        states: list[Tensor] = []
        for step in range(x.shape[1]):
            i, f, g, o = (given[:, step] + self.hidden(h)).chunk(4, -1)
            c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 1)


class Last(nn.Module):
    """The last step: [n, t, width] to [n, width]."""

    def forward(self, x: Tensor) -> Tensor:
        """What has seen the whole sequence."""
        return x[:, -1]


def recurrent(
    cell: Callable[[int, int], nn.Module],
    shape: Sequence[int],
    width: int,
    depth: int,
    outputs: int,
    dropout: float = 0.0,
) -> nn.Sequential:
    """``depth`` recurrent layers over the steps of a sample, and a linear layer on the last state."""
    _, features = steps_of(shape)
    layers: list[nn.Module] = [Steps()]
    for _ in range(depth):
        layers += [cell(features, width), *([nn.Dropout(dropout)] if dropout else [])]
        features = width
    return nn.Sequential(*layers, Last(), nn.Linear(width, outputs))
