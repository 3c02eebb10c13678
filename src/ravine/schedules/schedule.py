"""What a schedule is: a pure function of time that multiplies a hyperparameter, with its settings as data."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar, final

from ravine.errors import UserError

T = TypeVar("T")
Kind: TypeAlias = Literal["number", "numbers", "choice", "flag", "schedule", "schedules"]
Share: TypeAlias = float | tuple[float, ...] | None


@dataclass(frozen=True)
class Setting:
    """One setting of a schedule as data: what the check, a recipe, the CLI and the docs know of it."""

    kind: Kind
    meaning: str
    bounds: str = "(-inf, inf)"  # allowed numbers, written as in mathematics
    share: Share = None  # the part of the whole run that None stands for
    options: tuple[str, ...] = ()  # of a choice
    optional: bool = False  # None is allowed though it stands for no share of the run


def setting(
    default: T,
    kind: Kind,
    meaning: str,
    bounds: str = "(-inf, inf)",
    *,
    share: Share = None,
    options: tuple[str, ...] = (),
    optional: bool = False,
) -> T:
    """Declare a setting: default, kind, meaning, allowed interval, and what None binds to."""
    return field(default=default, metadata={"setting": Setting(kind, meaning, bounds, share, options, optional)})


@dataclass(frozen=True)
class Schedule(ABC):
    """The factor on the base value of a hyperparameter at time t >= 0.

    t counts what the caller counts (steps or epochs) and may be fractional; every length of a schedule is in the same
    unit. A schedule has no state: any t, in any order, gives the same number, so a resumed run needs nothing of it.
    A length of None means a share of the whole run, which `over` fills in. The constructor only stores;
    `ravine.schedules.check` tests the bounds. Subclasses are final or abstract, and named by their class:
    "warm-up" for WarmUp.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def __call__(self, t: float) -> float:
        """The factor at time t."""
        return self._at(t)

    @abstractmethod
    def _at(self, t: float) -> float:
        """The formula of the class."""

    def over(self, total: float) -> Self:
        """The same schedule with every open length bound to a run of length ``total``."""
        spans = {name: made.share for name, made in settings(type(self)).items() if made.share is not None}
        empty = {name: share for name, share in spans.items() if getattr(self, name) is None}
        if empty and not 0 < total < math.inf:
            raise UserError(
                f"{self.name}: no time is left for it ({total:g}); shorten what comes before it, "
                f"or give {' and '.join(empty)}"
            )
        return replace(self, **{name: _part(total, share) for name, share in empty.items()})

    def flaw(self) -> str | None:
        """What is wrong between the settings, though each lies within its own bounds; None when nothing is."""
        return None

    def __mul__(self, other: Schedule) -> Product:
        return Product((self, other))


@final
@dataclass(frozen=True)
class Product(Schedule):
    """All schedules at once: ``a * b``.

        f(t) = f_1(t) f_2(t) ... f_n(t)

    What torch calls ChainedScheduler.

    >>> from ravine.schedules import Exponential, Step
    >>> (Step(10, 0.5) * Exponential(0.1))(12) == 0.5 * 0.1**12
    True
    """

    parts: tuple[Schedule, ...] = setting((), "schedules", "the factors")

    def _at(self, t: float) -> float:
        return math.prod(part(t) for part in self.parts)

    def over(self, total: float) -> Product:
        """Every part lasts the whole run."""
        return Product(tuple(part.over(total) for part in self.parts))


def settings(kind: type[Any]) -> dict[str, Setting]:
    """The declared settings of a class, such as a schedule's, by name."""
    return {f.name: f.metadata["setting"] for f in fields(kind) if "setting" in f.metadata}


def known(schedule: Schedule, length: T | None) -> T:
    """The length, or one sentence when the schedule has not been bound to a run."""
    if length is None:
        raise UserError(f"{schedule!r} has an open length: bind it with .over(length of the run), or give the length")
    return length


def power(base: float, exponent: float) -> float:
    """``base ** exponent``, infinite where a float cannot hold it: a growing schedule then diverges, not crashes."""
    try:
        return base**exponent
    except OverflowError:
        return math.inf


def _part(total: float, share: Share) -> float | tuple[float, ...]:
    if isinstance(share, tuple):
        return tuple(total * each for each in share)
    return total * (1.0 if share is None else share)
