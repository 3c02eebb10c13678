"""What a step of augmentation is: settings as data, and how many random numbers a sample needs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ravine.augment.draws import uniform
from ravine.schedules.schedule import setting


@dataclass(frozen=True)
class Step:
    """One change of images [n, c, h, w] with pixels in [0, 1], drawn anew for each sample.

    The constructor only stores; `ravine.augment.check_step` tests the bounds, and ``misfit`` what does not fit the
    data. Subclasses are final or abstract, and named by their class: "scale-crop" for ScaleCrop.
    """

    name: ClassVar[str] = ""
    draws: ClassVar[int] = 0  # uniform numbers that a sample needs, beside the one that decides whether it is changed
    tables: ClassVar[bool] = False  # whether it means something for rows of a table too

    p: float = setting(1.0, "number", "chance that a sample is changed", "(0, 1]")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def flaw(self) -> str | None:
        """What is wrong between the settings, though each lies within its own bounds; None when nothing is."""
        return None

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """What is wrong with these settings for samples of that shape, one clause; None when nothing is."""
        return None

    def out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that comes of a sample of that shape."""
        return shape

    def drawn(self, key: int, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples are changed, bool [n], and the numbers in [0, 1) of each, [n, draws]."""
        numbers = uniform(key, ids, 1 + self.draws)
        return numbers[:, 0] < self.p, numbers[:, 1:]


class Geometric(Step, ABC):
    """Moves pixels: says for each place of the new image where in the old one its colour is read."""

    exact: ClassVar[bool] = False  # reads whole pixels only

    @abstractmethod
    def source(self, x: Tensor, y: Tensor, u: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Where the new image's places x, y [n, h, w] lie in the old one of ``size`` (height, width).

        Both are in pixels from the centre of their image; ``u`` [n, draws].
        """


class Pointwise(Step, ABC):
    """Changes values where they are."""

    @abstractmethod
    def apply(self, x: Tensor, u: Tensor, key: int, ids: Tensor, mean: Tensor) -> Tensor:
        """The changed images; ``mean`` [1, c, 1, 1] is the training part's mean pixel."""


class Mixing(Step, ABC):
    """Mixes each sample with another one of the training part, and their labels in the same shares."""

    @abstractmethod
    def mix(self, x: Tensor, other: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The mixed samples, and the share of ``x`` in each, [n]."""


def per_image(u: Tensor, like: Tensor) -> Tensor:
    """A number a sample [n], in the shape that meets ``like`` [n, ...]."""
    return u.view(-1, *[1] * (like.dim() - 1))


def between(u: Tensor, low: float, high: float) -> Tensor:
    """Numbers of [0, 1) spread over [low, high)."""
    return low + (high - low) * u
