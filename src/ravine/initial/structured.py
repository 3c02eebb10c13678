"""Initialisers that shape a whole matrix: orthogonal rows, or few inputs a unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

from ravine.initial.initial import POSITIVE, Fans, Initial, normal
from ravine.schedules import setting


def orthogonal(shape: Sequence[int], scale: float, generator: Generator, dtype: torch.dtype) -> Tensor:
    """A matrix [shape[0], the rest] with orthonormal rows or columns, whichever are fewer, times ``scale``."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32  # what the factorisation knows
    return nn.init.orthogonal_(torch.empty(tuple(shape), dtype=wide), scale, generator=generator).to(dtype)


@final
@dataclass(frozen=True)
class Orthogonal(Initial):
    """Orthogonal matrices: every singular value is the gain.

        W W^T = gain^2 I  or  W^T W = gain^2 I

    A convolution's weight [out, in, ...] is taken as the matrix [out, in * places]. The numbers are those of
    `torch.nn.init.orthogonal_`. Reference: Saxe et al. 2014, arXiv:1312.6120.
    """

    gain: float = setting(1.0, "number", "the singular values", POSITIVE)

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """An orthogonal matrix."""
        return orthogonal(shape, self.gain, generator, dtype)


@final
@dataclass(frozen=True)
class Sparse(Initial):
    """Few inputs a unit: all weights of a unit are zero but ``connections`` of them.

        W[o, i] ~ N(0, std^2) for connections random i of each o, 0 elsewhere

    A unit with fewer inputs keeps them all. Which are kept is drawn by the seed, unlike in
    `torch.nn.init.sparse_`, which also empties columns rather than rows. Reference: Martens 2010, ICML, section 5.
    """

    connections: float = setting(15.0, "number", "the inputs that each unit keeps", "[1, inf)")
    std: float = setting(1.0, "number", "standard deviation of what is kept", POSITIVE)

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Numbers for the inputs that are kept, zeros for the others."""
        drawn = normal(shape, self.std, generator, dtype)
        rows, inputs = shape[0], math.prod(shape[1:])
        ranks = torch.rand(rows, inputs, generator=generator, dtype=torch.float64).argsort(1).argsort(1)
        return drawn * (ranks < self.connections).view(tuple(shape)).to(dtype)

    def flaw(self) -> str | None:
        """Connections that are not whole."""
        if self.connections != int(self.connections):
            return f"connections counts inputs: give a whole number, got {self.connections!r}"
        return None
