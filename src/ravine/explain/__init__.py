"""Recipes in words: what one says, what in it is unusual, and in what two differ."""

from ravine.explain.compare import Change, differences
from ravine.explain.recipe import Explanation, Line, explain

__all__ = ["Change", "Explanation", "Line", "differences", "explain"]
