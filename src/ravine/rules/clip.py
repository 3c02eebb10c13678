"""What shortens a gradient before a rule sees it: entry by entry, tensor by tensor, or all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from ravine.rules.math import maximum, minimum
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State

TINY = 1e-6  # torch's guard against a norm of zero


def _limit(meaning: str) -> Any:
    return hyper(1.0, "(0, inf)", meaning, unit="g", symbol="c", search="log 1e-2 1e2")


@final
@dataclass(frozen=True)
class ClipValue(Combinator):
    """Every entry of the gradient cut to [-c, c]; the direction may change.

    Reference: lecture S2 (Keras clipvalue); torch.nn.utils.clip_grad_value_.
    """

    rule: Rule
    clip: Scalar = _limit("largest entry of the gradient")

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        return minimum(maximum(g, -self.clip), self.clip)


@final
@dataclass(frozen=True)
class ClipNorm(Combinator):
    """Each tensor's gradient shortened to norm c where it is longer.

    Reference: lecture S2 (Keras clipnorm, one norm a variable); Pascanu et al. 2013, arXiv:1211.5063.
    """

    rule: Rule
    needs = frozenset({"norm"})
    clip: Scalar = _limit("largest norm of one tensor's gradient")

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        return minimum(self.clip / (s["norm"] + TINY), 1.0) * g


@final
@dataclass(frozen=True)
class ClipGlobalNorm(Combinator):
    """The whole gradient shortened to norm c where it is longer; the direction stays.

    Reference: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1; torch.nn.utils.clip_grad_norm_.
    """

    rule: Rule
    needs = frozenset({"global_norm"})
    clip: Scalar = _limit("largest norm of the whole gradient")

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        return minimum(self.clip / (s["global_norm"] + TINY), 1.0) * g
