"""Decisions of a recipe by name, each a pure edit: what a race may search over, and what tells two recipes apart."""

from ravine.decisions.decision import Amount, Decision, Field, Smoothing
from ravine.decisions.values import Choices, Pick, Range, Values, searched, values_from
from ravine.decisions.vocabulary import decision, names

__all__ = [
    "Amount",
    "Choices",
    "Decision",
    "Field",
    "Pick",
    "Range",
    "Smoothing",
    "Values",
    "decision",
    "names",
    "searched",
    "values_from",
]
