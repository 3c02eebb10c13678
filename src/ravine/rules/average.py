"""The average of the weights along the path, kept beside any rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import mix
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Averaged(Combinator):
    """A running mean of the weights, written in the same pass; the path itself is that of the rule inside.

    The average starts at the first weights, so it needs no correction of a bias; torch's AveragedModel starts at the
    weights after its first call. ``ravine.optim.average`` reads it.
    Reference: Polyak & Juditsky 1992, doi:10.1137/0330046; Tarvainen & Valpola 2017, arXiv:1703.01780.
    """

    changes = "nothing"
    slots = ("average",)
    rule: Rule
    ema: Scalar = hyper(0.999, "[0, 1)", "share of the average that stays at each step", symbol=r"\kappa")

    def init(self, w: Array) -> State:
        return {**self.rule.init(w), "average": w.clone()}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.rule.update(g, s, w, t)
        return u, {**new, "average": mix(s["average"], w + u, self.ema)}
