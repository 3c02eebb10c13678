"""How the batch grows while one trains, as a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ravine.decisions.decision import Field
from ravine.errors import UserError
from ravine.recipe import BATCH, Recipe


@dataclass(frozen=True)
class Growth(Field):
    """The schedule that multiplies the batch size between epochs: growth=none,step:every=5+factor=2."""

    def now(self, recipe: Recipe) -> Any:
        """As the recipe has it; None where the size stays."""
        return recipe.schedule.get(BATCH)

    def apply(self, recipe: Recipe, value: Any) -> Recipe:
        """The recipe with that schedule of the batch, or none."""
        rest = {name: spec for name, spec in recipe.schedule.items() if name != BATCH}
        spec = self.read(value)
        return recipe.model_copy(update={"schedule": rest if spec is None else {**rest, BATCH: spec}})

    def read(self, value: Any) -> Any:
        """The schedule's table, of its name and settings with plus signs between them.

        >>> Growth("growth").read("step:every=5+factor=2")
        {'name': 'step', 'every': 5.0, 'factor': 2.0}
        """
        if value in (None, "none"):
            return None
        if not isinstance(value, str):
            return value
        name, _, rest = value.partition(":")
        found: dict[str, Any] = {"name": name}
        for word in rest.split("+") if rest else ():
            key, _, number = word.partition("=")
            try:
                found[key] = float(number)
            except ValueError:
                raise UserError(f"growth {value}: write its settings as step:every=5+factor=2") from None
        return found
