"""Hyperparameters that many rules have, written once: meaning, unit, bounds, and the range that is searched."""

from __future__ import annotations

from typing import Any

from ravine.rules.rule import hyper


def step_size(default: float, search: str) -> Any:
    """The learning rate of a rule whose step does not depend on the gradient's scale."""
    return hyper(default, "[0, inf)", "step size", unit="w per step", symbol=r"\eta", search=f"log {search}")


def epsilon(default: float, unit: str = "g") -> Any:
    """What keeps a denominator from zero."""
    return hyper(default, "[0, inf)", "keeps the denominator from zero", unit=unit, symbol=r"\epsilon")


def shrinking(default: float) -> Any:
    """A decay of the weights that is part of a rule's own equation; searched where the rule decays by default."""
    search = "log 1e-4 1e0" if default else None
    return hyper(default, "[0, inf)", "pull of the weights towards zero", symbol=r"\lambda", search=search)
