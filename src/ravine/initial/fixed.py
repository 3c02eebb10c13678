"""Initialisers that look at no layer: a constant, and draws of a given deviation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor, nn

from ravine.initial.initial import POSITIVE, Fans, Initial, normal, uniform
from ravine.schedules import setting


@final
@dataclass(frozen=True)
class Zeros(Initial):
    """All weights zero.

        W = 0

    Two layers of zeros get no gradient through each other, so nothing but the last bias ever moves: the lectures'
    first wrong answer (S0, S1).
    """

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Zeros."""
        return torch.zeros(tuple(shape), dtype=dtype)


@final
@dataclass(frozen=True)
class Constant(Initial):
    """All weights the same number.

        W = value

    All units of a layer are then one unit for ever: each gets the same gradient (lectures S0, S1).
    """

    value: float = setting(0.01, "number", "every weight")

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """The one number."""
        return torch.full(tuple(shape), self.value, dtype=dtype)


@final
@dataclass(frozen=True)
class Normal(Initial):
    """Normal weights of a given deviation, whatever the layer.

        W ~ N(mean, std^2)      Var[out] = n_in std^2 E[x^2]

    The default is AlexNet's 0.01 (Krizhevsky et al. 2012, doi:10.1145/3065386); a variance of 0.01 is std = 0.1.
    """

    mean: float = setting(0.0, "number", "the mean of the weights")
    std: float = setting(0.01, "number", "their standard deviation", POSITIVE)

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Normal numbers."""
        return normal(shape, self.std, generator, dtype, self.mean)


@final
@dataclass(frozen=True)
class TruncatedNormal(Initial):
    """Normal weights of which none is further than two deviations from zero.

        W ~ N(0, std^2) given |W| <= 2 std

    ``std`` is that before the cut, as in `torch.nn.init.trunc_normal_`; after it, 0.88 std. The default is that of
    vision transformers (Dosovitskiy et al. 2021, arXiv:2010.11929, in its code).
    """

    std: float = setting(0.02, "number", "standard deviation before the cut", POSITIVE)

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Normal numbers without tails."""
        empty = torch.empty(tuple(shape), dtype=dtype)
        return nn.init.trunc_normal_(empty, 0.0, self.std, -2 * self.std, 2 * self.std, generator=generator)


@final
@dataclass(frozen=True)
class Uniform(Initial):
    """Uniform weights of a given deviation, whatever the layer.

    W ~ U[-b, b],  b = sqrt(3) std
    """

    std: float = setting(0.01, "number", "their standard deviation", POSITIVE)

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Uniform numbers."""
        return uniform(shape, math.sqrt(3) * self.std, generator, dtype)
