"""A recipe: every decision of a run as one typed value that a TOML file can hold."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from ravine.errors import UserError, unknown
from ravine.files import write_whole
from ravine.rules.rule import Declared, hypers, name_of
from ravine.schedules import Schedule, check, from_spec
from ravine.solvers.spec import contender_from_spec, follows_schedule
from ravine.validation import validated

FORMAT = 1


class Recipe(BaseModel):
    """What to train, on what, how, and with which draw.

    ``rule`` is {"name": ..., hyperparameters ..., "with": [combinators]}; ``schedule`` maps a hyperparameter to the
    schedule that multiplies it, with every length in epochs: {"lr": {"name": "cosine"}}.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ravine: int = FORMAT
    problem: str
    target: str | None = None
    model: str = "mlp:128,128"
    activation: str = "relu"
    loss: str = "auto"
    epochs: int = Field(default=30, ge=1)
    batch: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)
    split_seed: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)  # measurements without a better validation loss before stopping; 0: never
    rule: dict[str, Any] = Field(default_factory=lambda: {"name": "adam"})
    schedule: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])

    def make_rule(self) -> Declared:
        """The checked rule, or the method on the whole training part."""
        return contender_from_spec(self.rule)

    def make_schedules(self) -> dict[str, Schedule]:
        """The checked schedules, bound to the run's length."""
        rule = self.make_rule()
        if self.schedule and not follows_schedule(rule):
            raise UserError(f"{name_of(rule)} has no schedule, which belongs to rules: leave it out")
        for name in self.schedule:
            if name not in hypers(rule):
                raise unknown(f"hyperparameter of {name_of(rule)} to schedule", name, hypers(rule))
        return {name: check(from_spec(spec)).over(self.epochs) for name, spec in self.schedule.items()}

    def save(self, path: str | Path) -> Path:
        """Write the recipe as TOML; only what differs from nothing: keys that are None are left out."""
        write_whole(Path(path), self.toml().encode())
        return Path(path)

    def toml(self) -> str:
        """The recipe as TOML text."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def recipe_from(data: dict[str, Any], source: str) -> Recipe:
    """A validated recipe of plain values; a `UserError` that names ``source`` and the first thing wrong."""
    if data.get("ravine", FORMAT) != FORMAT:
        raise UserError(f"{source}: recipe format {data['ravine']} is not known to this ravine, which reads {FORMAT}")
    try:
        recipe = validated(Recipe, data, "key", strict=True)
        recipe.make_schedules()
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
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    return recipe_from(data, str(path))
