"""The `ravine` command. Nothing here imports torch until a command needs it."""

from ravine.cli import prove, race, rules, runs, train
from ravine.cli.app import app, main

__all__ = ["app", "main", "prove", "race", "rules", "runs", "train"]
