"""Augmentation of batches on their device: `make("flip,crop:4")`, then `augment(x, ids, seed, epoch)`."""

from ravine.augment.pipeline import Augment, Pool
from ravine.augment.spec import catalogue, from_spec, make, to_spec, words
from ravine.augment.step import Geometric, Mixing, Pointwise, Step

__all__ = [
    "Augment",
    "Geometric",
    "Mixing",
    "Pointwise",
    "Pool",
    "Step",
    "catalogue",
    "from_spec",
    "make",
    "to_spec",
    "words",
]
