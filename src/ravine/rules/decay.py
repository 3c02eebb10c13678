"""What pulls weights towards zero: through the gradient, or beside the rule's own step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from ravine.errors import UserError
from ravine.rules.rule import Combinator, Rule, hyper, name_of, values
from ravine.types import Array, Scalar, State


def _decay(unit: str, bounds: str = "[0, inf)") -> Any:
    return hyper(0.0, bounds, "pull of the weights towards zero", unit=unit, symbol=r"\lambda", search="log 1e-6 1e-1")


@final
@dataclass(frozen=True)
class CoupledDecay(Combinator):
    """The gradient of wd/2 |w|^2 added to the gradient: on SGD, w shrinks by 1 - lr wd.

    Both gradients are taken at one point, which a rule that looks ahead chooses.
    Reference: lectures S3, S4; torch.optim's weight_decay.
    """

    rule: Rule
    weight_decay: Scalar = _decay("g per unit of w")

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        return g + self.weight_decay * self.ahead(s, w)


@final
@dataclass(frozen=True)
class CoupledDecayFull(Combinator):
    """The gradient of wd |w|^2 added to the gradient: on SGD, w shrinks by 1 - 2 lr wd.

    Reference: lectures S0, S2 (Keras l2).
    """

    rule: Rule
    weight_decay: Scalar = _decay("g per unit of w")

    def gradient(self, g: Array, s: State, w: Array, t: Scalar) -> Array:
        return g + 2 * self.weight_decay * self.ahead(s, w)


@final
@dataclass(frozen=True)
class DecoupledDecay(Combinator):
    """The weights shrink beside the rule's own step, by lr wd.

    Reference: Loshchilov & Hutter 2019, arXiv:1711.05101, in torch.optim.AdamW's form.
    """

    changes = "update"
    rule: Rule
    weight_decay: Scalar = _decay("1 per unit of lr")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.rule.update(g, s, w, t)
        return u - _rate(self.rule) * self.weight_decay * w, new


@final
@dataclass(frozen=True)
class IndependentDecay(Combinator):
    """The weights shrink beside the rule's own step, by wd whatever the learning rate.

    Reference: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    changes = "update"
    rule: Rule
    weight_decay: Scalar = _decay("1 per step", "[0, 1]")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        u, new = self.rule.update(g, s, w, t)
        return u - self.weight_decay * w, new


def _rate(rule: Rule) -> Scalar:
    found = values(rule)
    if "lr" not in found:
        raise UserError(f"{name_of(rule)} has no learning rate: use IndependentDecay")
    return found["lr"]
