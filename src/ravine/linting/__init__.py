"""What is allowed and hardly meant: in a recipe, in data, in a model with its optimizer and loss."""

from ravine.linting.code import lint
from ravine.linting.recipe import lint_recipe
from ravine.training.lint import Finding

__all__ = ["Finding", "lint", "lint_recipe"]
