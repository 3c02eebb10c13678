"""What goes wrong because of what a user gave: one sentence, exit code 2, nothing changed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in what the user gave; its text is one sentence with the cure."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> unknown("rule", "adm", ["adam", "sgd"]).args[0]
    "unknown rule 'adm': did you mean 'adam'?"
    >>> unknown("rule", "newton", ["adam", "adam/amsgrad", "sgd"]).args[0]
    "unknown rule 'newton': choose one of adam, sgd"
    """
    names = sorted(allowed)
    near = get_close_matches(given.lower(), [n.lower() for n in names], n=1)
    if near:
        match = next(n for n in names if n.lower() == near[0])
        return UserError(f"unknown {kind} '{given}': did you mean '{match}'?")
    plain = [name for name in names if name.partition("/")[0] not in names or "/" not in name]  # not each dialect
    return UserError(f"unknown {kind} '{given}': choose one of {', '.join(plain)}")
