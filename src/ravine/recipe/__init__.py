"""A recipe: every decision of a run as one typed value that a TOML file can hold."""

from ravine.recipe.file import load_recipe, recipe_from
from ravine.recipe.fit import check_augmentable, check_precision, check_sampled, checked_penalties
from ravine.recipe.recipe import BATCH, FORMAT, Recipe, cycles

__all__ = [
    "BATCH",
    "FORMAT",
    "Recipe",
    "check_augmentable",
    "check_precision",
    "check_sampled",
    "checked_penalties",
    "cycles",
    "load_recipe",
    "recipe_from",
]
