"""The generated part of the docs: pages by their path, their places in the menu, drawings for written pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ravine
from ravine.handbook import command, figures, gallery, lab, lectures, rules, schedules
from ravine.handbook.known import Known, know
from ravine.handbook.pictures import PICTURES
from ravine.surfaces import SURFACES

MAP = re.compile(r"^\[\[map (\w+)\]\]$", re.MULTILINE)  # a line of a written page that asks for a drawing
PICTURE = re.compile(r"^\[\[picture (\w+)\]\]$", re.MULTILINE)
OVERVIEWS = {  # public names that are modules, each with a page of its own
    "optim": "every rule as a torch optimizer: see [Optimizers](optimizers.md) and [Rules](rules/index.md)",
    "schedules": "schedules of any hyperparameter: see [Schedules](schedules.md)",
}


@dataclass(frozen=True)
class Book:
    """Everything that exists now, as pages."""

    known: Known
    verdicts: Path | None = None  # a folder of what ``ravine lab NAME --json`` printed

    @classmethod
    def make(cls, costs: Path | None = None, verdicts: Path | None = None) -> Book:
        """The book of all rules there are; ``costs`` is the file that `ravine.handbook.costs` wrote."""
        return cls(know(costs), verdicts)

    def pages(self) -> dict[str, str]:
        """Markdown of every page that is made from the code, and the style sheet of their switches."""
        families = self.known.families
        return {
            **rules.pages(self.known),
            **gallery.pages(self.known),
            "schedules.md": schedules.page(),
            "cli.md": command.page(),
            "lab.md": lab.page(self.verdicts),
            "lectures.md": lectures.page(self.known),
            "api.md": interface(),
            "switches.css": figures.switches(max(len(families), *map(len, families.values()))),
        }

    def menu(self) -> dict[str, list[Any]]:
        """The entries of the menu below the headings "Rules" and "Gallery"."""
        families = [{self.known.title(family): f"rules/{family}.md"} for family in self.known.families]
        maps = [{surface.title: f"gallery/{name}.md"} for name, surface in SURFACES.items()]
        return {"Rules": ["rules/index.md", *families], "Gallery": ["gallery/index.md", *maps]}

    def illustrated(self, markdown: str) -> str:
        """A written page with a drawing in place of each line ``[[map rosenbrock]]`` or ``[[picture penalties]]``."""
        mapped = MAP.sub(lambda found: gallery.card(self.known, SURFACES[found[1]]), markdown)
        return PICTURE.sub(lambda found: PICTURES[found[1]](), mapped)


def interface() -> str:
    """The page of Python's public names, for mkdocstrings to fill in from the docstrings."""
    found = {name: getattr(ravine, name) for name in sorted(ravine.__all__, key=str.lower)}
    overviews = [f"- `ravine.{name}`: {words}." for name, words in OVERVIEWS.items()]
    named = [f"::: {one.__module__}.{name}" for name, one in found.items() if hasattr(one, "__module__")]
    return "\n\n".join(["# Python", "All public names.", "\n".join(overviews), *named])
