"""Problems: data in three parts, from a name, a path, the user's code or arrays."""

from ravine.problems.arrays import from_arrays, from_dataset
from ravine.problems.load import descriptions, from_anything, load, names
from ravine.problems.problem import Part, Problem

__all__ = ["Part", "Problem", "descriptions", "from_anything", "from_arrays", "from_dataset", "load", "names"]
