"""Penalties on weights, biases and activations, and what is done to weights after a step; for any PyTorch code."""

from ravine.penalties.activations import ActivityL1, KLSparsity
from ravine.penalties.bound import Bound, check_activations, watching
from ravine.penalties.part import Part, Penalty, Projection
from ravine.penalties.projections import Ball, L1Proximal, MaxNorm, Prune, apply_masks
from ravine.penalties.spec import catalogue, part_from_spec
from ravine.penalties.weights import L1, L2, ElasticNet, L2Half, L2Keras, Orthogonal, Pull, Tie

__all__ = [
    "L1",
    "L2",
    "ActivityL1",
    "Ball",
    "Bound",
    "ElasticNet",
    "KLSparsity",
    "L1Proximal",
    "L2Half",
    "L2Keras",
    "MaxNorm",
    "Orthogonal",
    "Part",
    "Penalty",
    "Projection",
    "Prune",
    "Pull",
    "Tie",
    "apply_masks",
    "catalogue",
    "check_activations",
    "part_from_spec",
    "watching",
]
