"""What is wrong with a command line whatever the command: values that say nothing, processes that share nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ravine.errors import UserError, unknown

# What computes or writes nothing that processes started side by side would do twice
HARMLESS = ("train", "lint", "rules", "parts", "runs", "show", "recipe", "data")


def check_words(words: Sequence[str]) -> None:
    """Raise where an option is given with nothing as its value, which no default is meant by."""
    for place, word in enumerate(words):
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", word)
        if word == "--":
            return
        if equals and not value.strip():
            raise UserError(f"{option} is given without a value: give one, or leave {option} out")
        if not word.strip():
            before = words[place - 1] if place else ""
            option = before if before.startswith("--") else ""
            raise UserError(
                f"{option} is given without a value: give one, or leave {option} out"
                if option
                else "an argument is empty: give a name or a path, or leave it out"
            )


def check_alone(command: str | None) -> None:
    """Raise where torchrun has started several processes of a command that they would all do alike."""
    if command in (None, *HARMLESS) or int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return
    instead = (
        "start one with ravine race --shared, and let others join with ravine race --join NAME"
        if command == "race"
        else f"run ravine {command} without it"
    )
    raise UserError(f"torchrun shares ravine train among processes, and each would do all of {command}: {instead}")


def in_words(text: str) -> str:
    """What typer says of a mistake, in the words that ravine has for it.

    >>> in_words("Invalid value for '--law': Value error, 'squart' is not one of 'linear', 'sqrt'.")
    "--law: unknown value 'squart': did you mean 'sqrt'?"
    >>> in_words("Missing argument 'recipe'.")
    "missing argument 'recipe'."
    """
    match = re.fullmatch(r"Invalid value for '(.+?)': (?:Value error, )?'(.*)' is not one of (.+)\.", text)
    if match is None:
        return text[0].lower() + text[1:].replace("Value error, ", "")
    option, given, allowed = match.groups()
    known = re.findall(r"'([^']*)'", allowed)
    return f"{option.split(' / ')[-1]}: {unknown('value', given, known)}"
