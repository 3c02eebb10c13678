"""What an initialiser is: a distribution of one layer's weights, with its settings as data."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from ravine.schedules import setting

POSITIVE = "(0, inf)"
NOT_NEGATIVE = "[0, inf)"
SHAPES = ("normal", "uniform")


@dataclass(frozen=True)
class Fans:
    """What an initialiser is told of a layer: the inputs of a unit, the units that read one input, what follows."""

    fan_in: int
    fan_out: int
    after: nn.Module | None = None  # the nonlinearity that the layer's outputs go through


@dataclass(frozen=True)
class Initial(ABC):
    """A distribution of a layer's weights; biases are ``bias``, or normal about it with ``bias_std``.

    The constructor only stores; `ravine.initial.check` tests the bounds. Subclasses are final or abstract, and named
    by their class: "xavier-misprint" for XavierMisprint; ``also`` holds other names of the same.
    """

    name: ClassVar[str] = ""
    also: ClassVar[tuple[str, ...]] = ()
    needs_data: ClassVar[bool] = False  # it looks at what a batch becomes in the model

    bias: float = setting(0.0, "number", "what every bias begins at")
    bias_std: float = setting(0.0, "number", "standard deviation of the biases about that", NOT_NEGATIVE)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    @abstractmethod
    def draw(self, shape: Sequence[int], fans: Fans, generator: Generator, dtype: torch.dtype) -> Tensor:
        """The weights of one layer, of that shape and type, on the CPU; for an embedding, [entries, width]."""

    def told(self, fans: Fans) -> str:
        """The distribution that a layer gets, in words."""
        return self.name

    def flaw(self) -> str | None:
        """What is wrong between the settings, though each lies within its own bounds; None when nothing is."""
        return None


def normal(shape: Sequence[int], std: float, generator: Generator, dtype: torch.dtype, mean: float = 0.0) -> Tensor:
    """Normal numbers, the same as `torch.nn.init.normal_` draws."""
    return torch.empty(tuple(shape), dtype=dtype).normal_(mean, std, generator=generator)


def uniform(shape: Sequence[int], bound: float, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in [-bound, bound), the same as `torch.nn.init.uniform_` draws."""
    return torch.empty(tuple(shape), dtype=dtype).uniform_(-bound, bound, generator=generator)
