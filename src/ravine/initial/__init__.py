"""Initialisers: what a network's weights are drawn from, as values that a recipe can hold."""

from ravine.initial.apply import Drawing, Drawn, Initialised, init_
from ravine.initial.auto import Auto
from ravine.initial.fixed import Constant, Normal, TruncatedNormal, Uniform, Zeros
from ravine.initial.gain import gain
from ravine.initial.initial import Fans, Initial
from ravine.initial.layers import Place, places
from ravine.initial.lsuv import LSUV
from ravine.initial.scaled import He, Lecun, Xavier, XavierMisprint
from ravine.initial.spec import catalogue, check, from_spec, to_spec
from ravine.initial.spread import Spread, spreads, through
from ravine.initial.structured import Orthogonal, Sparse

__all__ = [
    "LSUV",
    "Auto",
    "Constant",
    "Drawing",
    "Drawn",
    "Fans",
    "He",
    "Initial",
    "Initialised",
    "Lecun",
    "Normal",
    "Orthogonal",
    "Place",
    "Sparse",
    "Spread",
    "TruncatedNormal",
    "Uniform",
    "Xavier",
    "XavierMisprint",
    "Zeros",
    "catalogue",
    "check",
    "from_spec",
    "gain",
    "init_",
    "places",
    "spreads",
    "through",
    "to_spec",
]
