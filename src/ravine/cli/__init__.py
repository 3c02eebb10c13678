"""The `ravine` command. Nothing here imports torch until a command needs it."""

from ravine.cli import (
    batch,
    bench,
    data,
    ensemble,
    evaluate,
    lab,
    lint,
    lr,
    parts,
    predict,
    profile,
    prove,
    race,
    recipe,
    reproduce,
    rules,
    runs,
    train,
)  # fmt: skip
from ravine.cli.app import app, main

# In the help, the main job first
ORDER = (
    "race", "train", "evaluate", "lint", "profile", "reproduce", "ensemble", "lr", "batch", "rules", "parts", "runs",
    "show", "report", "export", "prove", "lab", "bench", "predict",
)  # fmt: skip
app.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))

__all__ = [
    "app", "batch", "bench", "data", "ensemble", "evaluate", "lab", "lint", "lr", "main", "parts", "predict",
    "profile", "prove", "race", "recipe", "reproduce", "rules", "runs", "train",
]  # fmt: skip
