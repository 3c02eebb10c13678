"""What a decision is: a name, its value in a recipe, and the same recipe with another value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ravine.augment import words as steps_of
from ravine.errors import UserError
from ravine.losses import form_of, loss_text
from ravine.losses.catalogue import CrossEntropy
from ravine.recipe import Recipe
from ravine.schedules.schedule import settings

Kind = Literal["number", "whole number", "word"]


@dataclass(frozen=True)
class Decision(ABC):
    """One decision of a recipe. ``apply`` is pure and does not check: `Recipe.check` and the model do.

    Where ``is_number`` holds, lanes of one program may differ in it; another value of any other makes another program,
    but for the initialiser, which only makes another draw.
    """

    name: str
    kind: ClassVar[Kind] = "number"

    @abstractmethod
    def now(self, recipe: Recipe) -> Any:
        """Its value in a recipe."""

    @abstractmethod
    def apply(self, recipe: Recipe, value: Any) -> Recipe:
        """The recipe with that value."""

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers on a scale."""
        return self.kind == "number"

    def scale(self, low: float) -> str:
        """The scale on which it is searched from that low end."""
        return "log" if low > 0 else "linear"


@dataclass(frozen=True)
class Field(Decision):
    """A key of the recipe: init, activation, norm, model, loss, batch, preprocess, augment."""

    kind: ClassVar[Kind] = "word"

    def now(self, recipe: Recipe) -> Any:
        """As the recipe has it."""
        return getattr(recipe, self.name)

    def apply(self, recipe: Recipe, value: Any) -> Recipe:
        """With the value in the form that a recipe has it."""
        return recipe.model_copy(update={self.name: self.read(value)})

    def read(self, value: Any) -> Any:
        """A word of the command line, or a value of Python, as the recipe holds it."""
        return loss_text(value) if self.name == "loss" else value


@dataclass(frozen=True)
class Optional(Field):
    """A key that may be left out: "none" does."""

    def read(self, value: Any) -> Any:
        """None for "none"."""
        return None if value == "none" else value


@dataclass(frozen=True)
class Listed(Field):
    """A key that holds a list, written with plus signs: augment=flip+crop:4, preprocess=centre+scale; none or raw."""

    def read(self, value: Any) -> Any:
        """Names of preprocessing, or steps of augmentation as tables."""
        if not isinstance(value, str):
            return value
        listed = [] if value in ("none", "raw") else value.split("+")
        return listed if self.name == "preprocess" else steps_of(",".join(listed)) if listed else []


@dataclass(frozen=True)
class Whole(Field):
    """A key that is a whole number; a range means its powers of two."""

    kind: ClassVar[Kind] = "whole number"

    def read(self, value: Any) -> Any:
        """A whole number, or what was given, which a recipe then refuses."""
        try:
            return int(value) if float(value) == int(float(value)) else value
        except (TypeError, ValueError, OverflowError):
            return value


@dataclass(frozen=True)
class Smoothing(Decision):
    """A convention of label smoothing; 0 is none."""

    def now(self, recipe: Recipe) -> float:
        """0 where nothing is smoothed."""
        loss = None if recipe.loss == "auto" else form_of(recipe.loss)
        return float(getattr(loss, self.name, None) or 0.0)

    def apply(self, recipe: Recipe, value: float) -> Recipe:
        """The cross-entropy with that smoothing."""
        name, _, rest = recipe.loss.partition(":")
        if name not in ("auto", CrossEntropy.name):
            raise UserError(f"{self.name} belongs to cross_entropy, and the loss is {name}: leave one out")
        other = next(field for field in settings(CrossEntropy) if field != self.name)
        if value and other in rest:
            raise UserError(f"{self.name} and {other} are two conventions of one thing: leave one out")
        loss = f"{CrossEntropy.name}:{self.name}={float(value)!r}" if value else CrossEntropy.name
        return recipe.model_copy(update={"loss": loss})

    def scale(self, low: float) -> str:
        """Evenly."""
        return "linear"


@dataclass(frozen=True)
class Amount(Decision):
    """A number of a penalty or a noise, such as its strength or its share; 0 leaves it out where 0 is nothing.

    ``part`` is its name and ``on`` the pattern, empty for the usual one; ``key`` the recipe's list that holds it.
    """

    key: Literal["penalty", "noise"]
    part: str
    setting: str
    on: str
    usual: str  # the pattern that stands for none
    share: bool  # of a noise with drop and keep
    leads: bool  # it is the part's own number, not a further setting

    def now(self, recipe: Recipe) -> float | None:
        """0 where the part is not there; None for a setting that is at its default."""
        found = self._own(recipe)
        if found is None:
            return 0.0
        if self.share and self.setting not in found:
            return round(1 - found["keep" if self.setting == "drop" else "drop"], 12)
        return found.get(self.setting)

    def apply(self, recipe: Recipe, value: float) -> Recipe:
        """The part changed, put in, or left out; a further setting of a part that is not there changes nothing."""
        specs: list[dict[str, Any]] = getattr(recipe, self.key)
        found = self._own(recipe)
        if found is None and not self.leads:
            return recipe
        if value == 0 and self.leads and self.setting != "keep":
            return recipe.model_copy(update={self.key: [spec for spec in specs if spec is not found]})
        given = {self.setting: float(value)}
        if found is None:
            new = {"name": self.part, **given, **({"on": self.on} if self.on else {})}
            return recipe.model_copy(update={self.key: [*specs, new]})
        rest = {key: old for key, old in found.items() if not (self.share and key in ("drop", "keep"))}
        return recipe.model_copy(update={self.key: [{**rest, **given} if s is found else s for s in specs]})

    def fixed_in(self, specs: Sequence[Mapping[str, Any]]) -> bool:
        """Whether these parts give the number themselves."""
        found = self._among(specs)
        both = ("drop", "keep") if self.share else ()
        return found is not None and any(name in found for name in (self.setting, *both))

    def scale(self, low: float) -> str:
        """Shares evenly, amounts in decades where they begin above 0."""
        return "linear" if self.share else super().scale(low)

    def _own(self, recipe: Recipe) -> Mapping[str, Any] | None:
        """The part as the recipe has it, at this place."""
        return self._among(getattr(recipe, self.key))

    def _among(self, specs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        named = (spec for spec in specs if spec.get("name") == self.part)
        return next((spec for spec in named if spec.get("on", self.usual) == (self.on or self.usual)), None)
