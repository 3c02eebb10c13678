"""Sharpness-aware minimisation: the gradient is taken where a small step uphill leads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ravine.rules.math import absolute
from ravine.rules.rule import Combinator, Need, Rule, chain, hyper
from ravine.types import Array, Scalar, State

TINY = 1e-12  # where the gradient is zero there is no way uphill


def _radius(default: float, unit: str, search: str) -> Any:
    return hyper(default, "[0, inf)", "length of the step uphill", unit=unit, symbol=r"\varrho", search=f"log {search}")


class Ascent(Combinator, ABC):
    """Takes two gradients a step: ``first`` where the rule inside wants one, the second uphill from there.

    The engine tells ``ahead`` the first gradient and, as ``first_norm``, the norm of `climbed` over all parameters.
    """

    changes = "point"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient_ahead", "first_gradient"})

    @abstractmethod
    def climbed(self, first: Array, w: Array) -> Array:
        """The first gradient in the geometry in which the step uphill has the length rho."""


@final
@dataclass(frozen=True)
class SAM(Ascent):
    """The gradient at w + rho g / |g|, g being the gradient at w and |g| its norm over all parameters.

    Reference: Foret et al. 2021, arXiv:2010.01412, algorithm 1.
    """

    rule: Rule
    rho: Scalar = _radius(0.05, "w", "5e-3 5e-1")

    def climbed(self, first: Array, w: Array) -> Array:
        return first

    def ahead(self, s: State, w: Array) -> Array:
        return self.rule.ahead(s, w) + self.rho / (s["first_norm"] + TINY) * s["first_gradient"]


@final
@dataclass(frozen=True)
class ASAM(Ascent):
    """The gradient at w + rho T^2 g / |T g| with T = |w| + floor, so that rescaling a layer changes nothing.

    Reference: Kwon et al. 2021, arXiv:2102.11600, algorithm 1, with its elementwise T.
    """

    rule: Rule
    rho: Scalar = _radius(0.5, "1", "5e-2 5e0")
    floor: Scalar = hyper(1e-2, "[0, inf)", "keeps weights of zero in play", unit="w", symbol=r"\eta_a")

    def climbed(self, first: Array, w: Array) -> Array:
        return (absolute(w) + self.floor) * first

    def ahead(self, s: State, w: Array) -> Array:
        scale = absolute(w) + self.floor
        step = self.rho / (s["first_norm"] + TINY) * (scale * self.climbed(s["first_gradient"], w))
        return self.rule.ahead(s, w) + step


def footing(rule: Rule) -> Rule:
    """The rule whose ``ahead`` says where the first gradient is taken: what is inside of an ascent, else the rule."""
    part = ascent_of(rule)
    return part.rule if part else rule


def ascent_of(rule: Rule) -> Ascent | None:
    """The part of a rule that takes two gradients a step, if there is one."""
    return next((part for part in chain(rule) if isinstance(part, Ascent)), None)
