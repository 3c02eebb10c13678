"""Initialisers that keep a variance through a layer: LeCun's, Xavier's (Glorot's) and He's (Kaiming's)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor

from ravine.initial.gain import gain
from ravine.initial.initial import POSITIVE, SHAPES, Fans, Initial, normal, uniform
from ravine.schedules import setting


@dataclass(frozen=True)
class Scaled(Initial):
    """Weights of a deviation that the layer's fans give, times ``gain``, and with ``follow`` times f's own gain."""

    distribution: str = setting("normal", "choice", "the form of the distribution", options=SHAPES)
    gain: float = setting(1.0, "number", "what the weights are multiplied by", POSITIVE)
    follow: bool = setting(False, "flag", "multiply by the gain of the nonlinearity that follows the layer, too")

    def std(self, fans: Fans) -> float:
        """The deviation of a layer's weights."""
        return self.gain * (gain(fans.after) if self.follow else 1.0) * self.base(fans)

    def base(self, fans: Fans) -> float:
        """The deviation at a gain of 1."""
        raise NotImplementedError

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Numbers of the layer's deviation."""
        if self.distribution == "uniform":
            return uniform(shape, math.sqrt(3.0) * self.std(fans), generator, dtype)
        return normal(shape, self.std(fans), generator, dtype)

    def told(self, fans: Fans) -> str:
        """The name and the deviation."""
        return f"{self.name} {self.distribution}, std {self.std(fans):.3g}"


@final
@dataclass(frozen=True)
class Lecun(Scaled):
    """LeCun's: each unit's sum has the mean square of its inputs.

        Var[W] = gain^2 / n_in

    The lectures' N(1/d), which S1 and S4 call Xavier's. Reference: LeCun et al. 1998, doi:10.1007/3-540-49430-8_2.
    """

    def base(self, fans: Fans) -> float:
        """1 / sqrt(n_in)."""
        return 1 / math.sqrt(fans.fan_in)


@final
@dataclass(frozen=True)
class Xavier(Scaled):
    """Xavier's, or Glorot's: a compromise between keeping outputs and keeping gradients.

        Var[W] = gain^2 2 / (n_in + n_out)      uniform: W ~ U[-b, b],  b = gain sqrt(6 / (n_in + n_out))

    For tanh; ``gain`` 4 for sigmoid. ``fan`` "in" leaves n_out out: gain^2 / n_in.
    Reference: Glorot & Bengio 2010, PMLR 9:249, equation 16.
    """

    also = ("glorot",)
    fan: str = setting("average", "choice", "what the variance is divided by", options=("average", "in"))

    def base(self, fans: Fans) -> float:
        """sqrt(2 / (n_in + n_out)), or 1 / sqrt(n_in)."""
        if self.fan == "in":
            return 1 / math.sqrt(fans.fan_in)
        return math.sqrt(2.0 / float(fans.fan_in + fans.fan_out))


@final
@dataclass(frozen=True)
class He(Scaled):
    """He's, or Kaiming's: for units that are zero for half of their inputs.

        Var[W] = gain^2 2 / ((1 + slope^2) n)

    n is n_in, which keeps outputs, or with ``fan`` "out" n_out, which keeps gradients; ``slope`` is that of a leaky
    ReLU or PReLU below zero. ReLU's own gain is the 2, so ``follow`` is not for ReLU here: use lecun with it.
    Reference: He et al. 2015, arXiv:1502.01852, equations 10, 14 and 15.
    """

    also = ("kaiming",)
    fan: str = setting("in", "choice", "what the variance is divided by", options=("in", "out"))
    slope: float = setting(0.0, "number", "of the nonlinearity below zero", "[0, inf)")

    def base(self, fans: Fans) -> float:
        """sqrt(2 / ((1 + slope^2) n))."""
        n = fans.fan_in if self.fan == "in" else fans.fan_out
        return math.sqrt(2.0 / (1 + self.slope**2)) / math.sqrt(n)

    def flaw(self) -> str | None:
        """A gain counted twice."""
        return "its 2 is the gain of ReLU already: for the gain of any nonlinearity use lecun" if self.follow else None


@final
@dataclass(frozen=True)
class XavierMisprint(Initial):
    """Xavier's uniform with the root over the 6 alone, as lecture S4 prints it: to see what it does, not to use.

        W ~ U[-b, b],  b = sqrt(6) / (n_in + n_out)

    The variance of a layer's outputs falls with its width: signals vanish. The root belongs over the whole fraction.
    """

    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """Uniform numbers within a bound that is too small."""
        return uniform(shape, math.sqrt(6) / (fans.fan_in + fans.fan_out), generator, dtype)
