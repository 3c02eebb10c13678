"""Gradient descent with and without memory: SGD, momentum, Nesterov, each in the forms that papers and decks print."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, final

from ravine.rules.math import debias, mix, where
from ravine.rules.rule import Rule, hyper
from ravine.types import Array, Scalar, State


def rate(default: float, search: str) -> Any:
    """The learning rate of a rule whose step is proportional to the gradient."""
    return hyper(
        default, "[0, inf)", "learning rate", unit="w per unit of gradient", symbol=r"\eta", search=f"log {search}"
    )


@final
@dataclass(frozen=True)
class SGD(Rule):
    """Stochastic gradient descent: a step against the gradient of a minibatch.

        u = -lr g

    Reference: Robbins & Monro 1951, doi:10.1214/aoms/1177729586.
    """

    family = "sgd"
    differs = "one form only"
    when = "As a baseline, and where memory is short: it keeps nothing. It wants a tuned rate and well-scaled inputs."
    lr: Scalar = rate(1e-1, "1e-3 1e1")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return -self.lr * g, {}


@dataclass(frozen=True)
class _Heavy(Rule, ABC):
    """What every rule with momentum declares."""

    family = "momentum"
    slots: ClassVar[tuple[str, ...]] = ("m",)
    lr: Scalar = rate(1e-2, "1e-4 1e0")
    momentum: Scalar = hyper(
        0.9, "[0, 1)", "share of the last step that is kept", symbol=r"\beta", search="log1m 0.5 0.99"
    )


@final
@dataclass(frozen=True)
class Momentum(_Heavy):
    """Momentum: the step follows a decaying sum of gradients.

        m <- beta m + g      u = -lr m

    State: m [g].   Reference: Polyak 1964, doi:10.1016/0041-5553(64)90137-5; the form of torch.optim.SGD.
    """

    differs = "learning rate outside the sum (torch); a new rate acts at once on the whole step"
    when = "The first to tune for image models with batch norm: hard to beat with a tuned rate and a decaying schedule."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = self.momentum * s["m"] + g
        return -self.lr * m, {"m": m}


@final
@dataclass(frozen=True)
class MomentumInside(_Heavy):
    """Momentum with the learning rate inside: the sum remembers the rates it was made with.

        v <- beta v + lr g      u = -v

    State: v [w].   Reference: Sutskever et al. 2013, ICML, equation 1; lectures S1, S2 (algorithm 5), S4.
    """

    dialect = "lr-inside"
    differs = "learning rate inside the sum (Sutskever, Keras); a new rate acts on new gradients only"
    slots = ("v",)
    contender = False

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = self.momentum * s["v"] + self.lr * g
        return -v, {"v": v}


@final
@dataclass(frozen=True)
class HeavyBall(_Heavy):
    """Heavy ball: a gradient step plus a share of the last displacement.

        u = -lr g + beta (w - w_prev)

    State: p, the weights before the last step [w].   Reference: Polyak 1964, equation 9; lecture S3.
    """

    dialect = "heavy-ball"
    differs = "written with the last two points; equals lr-inside"
    slots = ("p",)
    contender = False

    def init(self, w: Array) -> State:
        return {"p": w.clone()}

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        return -self.lr * g + self.momentum * (w - s["p"]), {"p": w}


@final
@dataclass(frozen=True)
class MomentumDampened(_Heavy):
    """Momentum with dampening: new gradients enter the sum at a share.

        m <- beta m + (1 - tau) g  (the first gradient enters whole)      u = -lr m

    State: m [g].   Reference: torch.optim.SGD with dampening.
    """

    dialect = "dampened"
    differs = "gradients after the first enter the sum times 1 - dampening (torch's dampening)"
    contender = False
    dampening: Scalar = hyper(0.0, "(-inf, inf)", "share of a new gradient that is left out", symbol=r"\tau")

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = self.momentum * s["m"] + where(t > 1, 1 - self.dampening, 1.0) * g
        return -self.lr * m, {"m": m}


@final
@dataclass(frozen=True)
class MomentumAverage(_Heavy):
    """Momentum as a running mean of gradients, freed of its bias at the start.

        m <- beta m + (1 - beta) g      u = -lr m / (1 - beta^t)

    State: m [g].   Reference: lecture S1, exponentially weighted moving average with bias correction.
    """

    dialect = "average"
    differs = "a mean instead of a sum, bias-corrected: the step does not grow by 1 / (1 - beta)"
    contender = False

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = mix(s["m"], g, self.momentum)
        return -self.lr * debias(m, self.momentum, t), {"m": m}


@final
@dataclass(frozen=True)
class Nesterov(_Heavy):
    """Nesterov's momentum without a look-ahead evaluation, as torch writes it.

        m <- beta m + g      u = -lr (g + beta m)

    State: m [g].   Reference: Bengio et al. 2013, arXiv:1212.0901, section 3.5; torch.optim.SGD(nesterov=True).
    """

    family = "nesterov"
    differs = "learning rate outside, kept at the looked-ahead point (torch)"
    when = "Wherever momentum works: it costs the same, allows a slightly higher rate and is rarely worse."

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = self.momentum * s["m"] + g
        return -self.lr * (g + self.momentum * m), {"m": m}


@final
@dataclass(frozen=True)
class NesterovVariables(_Heavy):
    """Nesterov's momentum by a change of variables: the weights kept are the looked-ahead ones.

        v' = beta v - lr g      u = v' + beta (v' - v)

    State: v [w].   Reference: lecture S4 (its last line swaps old and new: a misprint); Bengio et al. 2013.
    """

    family = "nesterov"
    dialect = "change-of-variables"
    differs = "learning rate inside, kept at the looked-ahead point; equals look-ahead after w -> w + beta v"
    slots = ("v",)
    contender = False

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = self.momentum * s["v"] - self.lr * g
        return v + self.momentum * (v - s["v"]), {"v": v}


@final
@dataclass(frozen=True)
class NesterovAhead(_Heavy):
    """Nesterov's momentum: the gradient is taken where the momentum alone would lead.

        v <- beta v + lr grad f(w - beta v)      u = -v

    State: v [w]. Needs the gradient ahead.   Reference: Nesterov 1983; Sutskever et al. 2013, equation 3.
    """

    family = "nesterov"
    dialect = "look-ahead"
    differs = "the gradient is evaluated at w - beta v (Nesterov, Sutskever); needs a closure in torch code"
    slots = ("v",)
    needs = frozenset({"gradient_ahead"})
    contender = False

    def ahead(self, s: State, w: Array) -> Array:
        return w - self.momentum * s["v"]

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        v = self.momentum * s["v"] + self.lr * g
        return -v, {"v": v}


@final
@dataclass(frozen=True)
class NesterovPrinted(_Heavy):
    """Algorithm 6 of lecture S2 as printed: looks ahead by the whole step, in the wrong direction.

        m <- beta m + lr grad f(w + m)      u = -m

    State: m [w]. Needs the gradient ahead. Kept to show what the slip does.   Reference: lecture S2, algorithm 6.
    """

    family = "nesterov"
    dialect = "as-printed"
    differs = "erratum: the gradient at w + m, with no beta and the sign slipped; shown, not recommended"
    needs = frozenset({"gradient_ahead"})
    contender = False

    def ahead(self, s: State, w: Array) -> Array:
        return w + s["m"]

    def update(self, g: Array, s: State, w: Array, t: Scalar) -> tuple[Array, State]:
        m = self.momentum * s["m"] + self.lr * g
        return -m, {"m": m}
