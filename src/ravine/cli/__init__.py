"""The `ravine` command. Nothing here imports torch until a command needs it."""

from ravine.cli import prove, race, rules, runs, train
from ravine.cli.app import app, main

ORDER = ("race", "train", "rules", "runs", "show", "report", "export", "prove")  # in the help: the main job first
app.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))

__all__ = ["app", "main", "prove", "race", "rules", "runs", "train"]
