"""What cuts across rules, each a rule made of a rule: the names of all combinators, gathered from their files."""

from __future__ import annotations

from ravine.rules.annealed import GradientNoise
from ravine.rules.average import Averaged
from ravine.rules.cautious import Cautious
from ravine.rules.centre import Centralized
from ravine.rules.clip import ClipGlobalNorm, ClipNorm, ClipValue
from ravine.rules.decay import CoupledDecay, CoupledDecayFull, DecoupledDecay, IndependentDecay
from ravine.rules.lookahead import Lookahead
from ravine.rules.maxnorm import MaxNorm
from ravine.rules.sharpness import ASAM, SAM
from ravine.rules.swa import Swa

__all__ = [
    "ASAM",
    "SAM",
    "Averaged",
    "Cautious",
    "Centralized",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "CoupledDecay",
    "CoupledDecayFull",
    "DecoupledDecay",
    "GradientNoise",
    "IndependentDecay",
    "Lookahead",
    "MaxNorm",
    "Swa",
]
