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

# The help by what a user wants, the main job first; a command that stands nowhere here fails at once
PANELS = {
    "Race, train, predict": ("race", "train", "predict", "ensemble", "evaluate", "reproduce"),
    "Before you train": ("lint", "lr", "batch", "profile", "recipe", "data"),
    "What there is": ("rules", "parts", "lab"),
    "What was kept": ("runs", "show", "report", "export"),
    "What is promised": ("prove", "bench"),
}
PLACES = {name: panel for panel, names in PANELS.items() for name in names}
ORDER = list(PLACES)
app.registered_commands.sort(key=lambda command: ORDER.index(getattr(command.callback, "__name__", "")))
for command in app.registered_commands:
    command.rich_help_panel = PLACES[getattr(command.callback, "__name__", "")]
for group in app.registered_groups:
    group.rich_help_panel = PLACES[str(group.name or (group.typer_instance and group.typer_instance.info.name))]

__all__ = [
    "app", "batch", "bench", "data", "ensemble", "evaluate", "lab", "lint", "lr", "main", "parts", "predict",
    "profile", "prove", "race", "recipe", "reproduce", "rules", "runs", "train",
]  # fmt: skip
