"""Gradient noise that fades: exploration at the start of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import sqrt
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class GradientNoise(Combinator):
    """Normal noise of variance noise / t^fading added to every entry of the gradient.

    The engine draws it by seed, step and parameter, so a run alone or resumed meets the same noise.
    Reference: Neelakantan et al. 2015, arXiv:1511.06807, equation 1.
    """

    needs = frozenset({"noise"})
    rule: Rule
    noise_variance: Scalar = hyper(
        1e-2, "[0, inf)", "variance of the noise at the first step", unit="g^2", symbol=r"\zeta", search="log 1e-4 1e0"
    )
    fading: Scalar = hyper(0.55, "[0, inf)", "power of time by which the variance falls", symbol=r"\gamma_n")

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        return g + sqrt(self.noise_variance / t**self.fading) * s["noise"]
