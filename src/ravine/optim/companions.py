"""Says once which parameters a rule of matrices leaves to its companion."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from ravine.optim.groups import Group, label
from ravine.rules.matrix import MatrixRule
from ravine.rules.rule import Rule, chain

NAMED = 3  # parameters; the rest are counted


def tell(owner: str, rules: Sequence[Rule], groups: Sequence[Group]) -> None:
    """Warn where a group gives vectors to a rule of matrices, naming the first few."""
    found: list[str] = []
    said = ""
    for which, (rule, group) in enumerate(zip(rules, groups, strict=True)):
        part = next((part for part in chain(rule) if isinstance(part, MatrixRule)), None)
        if part is not None:
            vectors = [label(group, index, which) for index, p in enumerate(group["params"]) if p.dim() < 2]
            found += vectors
            said = part.companion if vectors else said
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        warnings.warn(f"{owner}: {said}: {', '.join(found[:NAMED])}{more}", RuntimeWarning, stacklevel=_outside())


def _outside() -> int:
    """How far up the caller is that is none of this package, as seen from who calls this."""
    level, frame = 1, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("ravine."):
        level, frame = level + 1, frame.f_back
    return level
