"""Cautious steps: only the entries that go downhill by the newest gradient move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from ravine.rules.math import count, entries, where
from ravine.rules.rule import Combinator, Rule, hyper
from ravine.types import Array, Scalar, State


@final
@dataclass(frozen=True)
class Cautious(Combinator):
    """Entries of the update that point along the gradient stay; the others grow so that the tensor's step keeps size.

    The factor is d / (n + xi), with n of the tensor's d entries moving. Decay inside is masked with the rest: for the
    paper's C-AdamW put DecoupledDecay outside of Cautious(Adam).
    Reference: Liang et al. 2024, arXiv:2411.16085, algorithm 1.
    """

    changes = "update"
    scope = "tensor"
    rule: Rule
    xi: Scalar = hyper(1.0, "(0, inf)", "added to the number of moving entries", unit="entries", symbol=r"\xi")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        h, new = self.rule.update(g, s, w, t)
        moves = h * g < 0
        factor = entries(h, self.xi) / (count(moves, h, self.xi) + self.xi)
        return where(moves, h, 0 * h) * factor, new
