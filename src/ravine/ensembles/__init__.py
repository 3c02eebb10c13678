"""Ensembles: several models of one recipe, trained side by side; what they gain, and how far the formula says so."""

from ravine.ensembles.decompose import Decomposition, bias_variance
from ravine.ensembles.measure import Correlation, correlation, factor
from ravine.ensembles.members import KINDS, Members
from ravine.ensembles.result import EnsembleResult, Level, Member
from ravine.ensembles.saved import load, save
from ravine.ensembles.study import study

__all__ = [
    "KINDS",
    "Correlation",
    "Decomposition",
    "EnsembleResult",
    "Level",
    "Member",
    "Members",
    "bias_variance",
    "correlation",
    "factor",
    "load",
    "save",
    "study",
]
