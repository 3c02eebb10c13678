"""What cuts across rules, each a rule made of a rule: the names of all combinators, gathered from their files."""

from __future__ import annotations

from ravine.rules.average import Averaged
from ravine.rules.clip import ClipGlobalNorm, ClipNorm, ClipValue
from ravine.rules.decay import CoupledDecay, CoupledDecayFull, DecoupledDecay, IndependentDecay
from ravine.rules.maxnorm import MaxNorm
from ravine.rules.swa import Swa

__all__ = [
    "Averaged",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "CoupledDecay",
    "CoupledDecayFull",
    "DecoupledDecay",
    "IndependentDecay",
    "MaxNorm",
    "Swa",
]
