"""Lookahead: slow weights that follow any rule's fast ones, a part of the way, every few steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import maximum, mix, sign
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Lookahead(Combinator):
    """After every k-th step of the rule inside, the slow weights go a share of the way to the weights, which join them.

    The memory of the rule inside goes on. A k that is no whole number is kept on average.
    Reference: Zhang et al. 2019, arXiv:1907.08610, algorithm 1.
    """

    changes = "weights"
    slots = ("slow",)
    rule: Rule
    k: Scalar = hyper(5.0, "[1, inf)", "steps between two meetings", unit="steps", symbol="k")
    share: Scalar = hyper(0.5, "(0, 1]", "share of the way that the slow weights go", symbol=r"\alpha_s")

    def init(self, w: Array) -> State:
        return {**self.rule.init(w), "slow": w.clone()}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.rule.update(g, s, w, t)
        meets = sign(maximum(1 - t % self.k, 0.0))  # 1 at every k-th step, else 0
        slow = mix(w + u, s["slow"], meets * self.share)
        return meets * (slow - w) + (1 - meets) * u, {**new, "slow": slow}
