"""What every page draws on: the catalogue as plain values, the paths, the measured costs; found out once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from ravine.entries import Entry, entry, families
from ravine.handbook.walk import Path, walk
from ravine.rules.rule import Rule, catalogue


@dataclass(frozen=True)
class Known:
    """The facts of one build."""

    kinds: dict[str, type[Rule]]
    entries: dict[str, Entry]
    families: dict[str, list[str]]  # the family's own form first
    paths: dict[tuple[str, str], Path]  # by rule and surface
    costs: dict[str, Any]  # what `ravine.handbook.costs` wrote; empty where nothing was measured

    def title(self, family: str) -> str:
        """The name that a page of a family has: its own form's class."""
        return self.kinds[self.families[family][0]].__name__

    def own(self) -> list[str]:
        """Each family's own form."""
        return [names[0] for names in self.families.values()]


def know(costs: File | None = None) -> Known:
    """Everything that the pages need, of every rule that exists now."""
    kinds = catalogue()
    measured = json.loads(costs.read_text()) if costs is not None and costs.is_file() else {}
    return Known(
        kinds,
        {name: entry(kind) for name, kind in kinds.items()},
        families(kinds),
        walk(list(kinds.values())),
        measured,
    )
