"""The equal average of the weights from a step on, kept beside any rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import maximum, mix
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Swa(Combinator):
    """The mean of the weights after every step beyond ``swa_start``, each with the same share.

    Until then the average is the weights themselves. ``ravine.optim.average`` reads it; batch normalisation wants its
    statistics renewed for it. The reference takes one set of weights a cycle; here every step's are taken.
    Reference: Izmailov et al. 2018, arXiv:1803.05407, Algorithm 1.
    """

    changes = "nothing"
    slots = ("average",)
    rule: Rule
    swa_start: Scalar = hyper(0.0, "[0, inf)", "steps before the average begins", symbol=r"t_0")

    def init(self, w: Array) -> State:
        return {**self.rule.init(w), "average": w.clone()}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.rule.update(g, s, w, t)
        taken = maximum(t - self.swa_start, 1.0)
        return u, {**new, "average": mix(s["average"], w + u, 1 - 1 / taken)}
