"""A run or a race's winner again, from its recipe: the same to the bit, within rounding, or different since when."""

from ravine.reproduction.again import Reproduction, reproduce
from ravine.reproduction.kept import Kept, find

__all__ = ["Kept", "Reproduction", "find", "reproduce"]
