"""The initialiser that looks at what follows each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

from ravine.initial.gain import gain
from ravine.initial.initial import Fans, Initial
from ravine.initial.scaled import He, Lecun, Scaled, Xavier


@final
@dataclass(frozen=True)
class Auto(Initial):
    """Chosen for each layer by the nonlinearity that follows it.

        ReLU: he      leaky ReLU: he with its slope      tanh: xavier uniform      sigmoid: that, times 4
        any other f: lecun with the gain 1 / sqrt(E[f(z)^2])      none, such as the last layer: lecun

    What `init_` returns says which layer got what.
    """

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """What the chosen one draws."""
        return chosen(fans.after).draw(shape, fans, generator, dtype)

    def told(self, fans: Fans) -> str:
        """The chosen one, and for what."""
        why = "nothing" if fans.after is None else type(fans.after).__name__
        return f"{chosen(fans.after).told(fans)}, for {why} after it"


def chosen(after: nn.Module | None) -> Scaled:
    """The initialiser for a layer that this nonlinearity follows."""
    match after:
        case None:
            return Lecun()
        case nn.Tanh():
            return Xavier(distribution="uniform")
        case nn.Sigmoid():
            return Xavier(distribution="uniform", gain=4.0)
        case nn.ReLU():
            return He()
        case nn.LeakyReLU():
            return He(slope=after.negative_slope)
        case _:
            return Lecun(gain=gain(after))
