"""Optimizers for any PyTorch code: torch.optim's by their names and defaults, and one for every other rule."""

from __future__ import annotations

from ravine.errors import unknown
from ravine.optim.average import averaged, swapped
from ravine.optim.base import RuleOptimizer
from ravine.optim.batchnorm import renew_batchnorm
from ravine.optim.discovered import FromRule, OfRule, find, of
from ravine.optim.extras import Extras
from ravine.optim.finite import NonFiniteGradient
from ravine.optim.grouping import Groups, groups_for
from ravine.optim.microbatch import accumulate, micro_batches
from ravine.optim.plateau import ReduceOnPlateau
from ravine.optim.snapshots import Ensemble, Snapshots
from ravine.optim.torchlike import SGD, Adadelta, Adagrad, RMSprop
from ravine.optim.torchlike_adam import Adam, Adamax, AdamW, NAdam, RAdam
from ravine.optim.torchlike_matrix import Adafactor, Muon
from ravine.optim.torchlike_rest import ASGD, Rprop
from ravine.rules.rule import catalogue

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ensemble",
    "Extras",
    "FromRule",
    "Groups",
    "Muon",
    "NAdam",
    "NonFiniteGradient",
    "RAdam",
    "RMSprop",
    "ReduceOnPlateau",
    "Rprop",
    "RuleOptimizer",
    "Snapshots",
    "accumulate",
    "averaged",
    "groups_for",
    "micro_batches",
    "of",
    "renew_batchnorm",
    "swapped",
]


def __getattr__(name: str) -> type[OfRule]:
    found = None if name.startswith("_") else find(name)
    if found is None:
        raise AttributeError(str(unknown("name in ravine.optim", name, __dir__())))
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(kind.__name__ for kind in catalogue().values())})
