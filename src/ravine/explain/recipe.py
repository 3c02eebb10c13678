"""A recipe in words: grouped, with what is default, what is unusual, and what the linter says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ravine.explain.said import GROUPS
from ravine.explain.unusual import unusual
from ravine.linting.settings import of_settings
from ravine.recipe import Recipe
from ravine.training.lint import Finding, lint


@dataclass(frozen=True)
class Line:
    """One thing that a recipe says."""

    what: str
    text: str
    keys: tuple[str, ...]  # of the recipe
    default: bool  # nothing in it differs from what an empty recipe says
    unusual: tuple[str, ...] = ()  # what is far from what most do, and why that may be meant or not


@dataclass(frozen=True)
class Explanation:
    """A recipe in words."""

    groups: dict[str, list[Line]]
    notes: list[Finding]  # what can have no effect, or does harm

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for group, lines in self.groups.items():
            yield group
            for line in lines:
                yield f"  {line.what}: {line.text}" + (" (default)" if line.default else "")
                yield from (f"    unusual: {text}" for text in line.unusual)
        if self.notes:
            yield "Notes"
            yield from (f"  {note}" for note in self.notes)


def explain(recipe: Recipe) -> Explanation:
    """What a recipe says, in words, without its data; a `UserError` where it is not allowed.

    >>> print(explain(Recipe(problem="wine")).groups["Length"][0].text)
    30 epochs
    """
    recipe.check()
    plain = Recipe(problem=recipe.problem)
    odd = list(unusual(recipe))
    groups: dict[str, list[Line]] = {}
    for group, parts in GROUPS.items():
        for what, (say, keys) in parts.items():
            default = all(getattr(recipe, key) == getattr(plain, key) for key in keys) and "problem" not in keys
            mine = tuple(text for key, text in odd if key in keys)
            groups.setdefault(group, []).append(Line(what, say(recipe), keys, default, mine))
    told = {key for parts in GROUPS.values() for _, keys in parts.values() for key in keys} | {"ravine"}
    for key in (key for key in Recipe.model_fields if key not in told):
        value = getattr(recipe, key)
        groups.setdefault("Other", []).append(Line(key, str(value), (key,), value == getattr(plain, key)))
    return Explanation(groups, [*lint(recipe), *of_settings(recipe)])
