"""Schedules: pure functions of time that multiply any hyperparameter of any rule."""

from ravine.schedules.combine import Sequence, WarmUp, between
from ravine.schedules.cycle import CosineRestarts, ExpRange, Triangular, Triangular2
from ravine.schedules.decay import Constant, Cosine, Exponential, InverseTime, Linear, MultiStep, Polynomial, Step
from ravine.schedules.phases import OneCycle, OneCycleMomentum, WarmupStableDecay
from ravine.schedules.plateau import Plateau, Waiting, plateau_from
from ravine.schedules.schedule import Product, Schedule, Setting, setting, settings
from ravine.schedules.spec import catalogue, check, from_spec, to_spec

__all__ = [
    "Constant",
    "Cosine",
    "CosineRestarts",
    "ExpRange",
    "Exponential",
    "InverseTime",
    "Linear",
    "MultiStep",
    "OneCycle",
    "OneCycleMomentum",
    "Plateau",
    "Polynomial",
    "Product",
    "Schedule",
    "Sequence",
    "Setting",
    "Step",
    "Triangular",
    "Triangular2",
    "Waiting",
    "WarmUp",
    "WarmupStableDecay",
    "between",
    "catalogue",
    "check",
    "from_spec",
    "plateau_from",
    "setting",
    "settings",
    "to_spec",
]
