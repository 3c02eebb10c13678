"""A recipe from plain values and from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ravine.errors import UserError
from ravine.files import reason
from ravine.recipe.recipe import FORMAT, Recipe
from ravine.validation import validated


def recipe_from(data: dict[str, Any], source: str) -> Recipe:
    """A validated recipe of plain values; a `UserError` that names ``source`` and the first thing wrong."""
    if data.get("ravine", FORMAT) != FORMAT:
        raise UserError(f"{source}: recipe format {data['ravine']} is not known to this ravine, which reads {FORMAT}")
    try:
        recipe = validated(Recipe, data, "key", strict=True)
        recipe.check()
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    return recipe


def load_recipe(path: str | Path) -> Recipe:
    """Read and validate a recipe file whole."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid TOML: it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    return recipe_from(data, str(path))
