"""What was recorded of a run: its recipe, its curve, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ravine.errors import UserError
from ravine.recipe import Recipe, recipe_from
from ravine.results import RaceResult, RunResult
from ravine.store import Store, Training

RESULT = "result.json"


@dataclass(frozen=True)
class Kept:
    """A run that is to be made again."""

    name: str
    command: str
    created: str
    recipe: Recipe
    result: RunResult
    made_with: Mapping[str, str]  # versions, machine, data, fingerprint; those that were recorded
    alone: bool  # whether it ran by itself; in a race's lanes the last digits may be others
    metric_name: str


def find(name: str, store: Store) -> Kept:
    """The run of a folder of `ravine train`, of a kept run, or the winner of a kept race or of its folder."""
    folder = Path(name)
    if (folder / RESULT).is_file():
        try:
            return of_training(Training.model_validate_json((folder / RESULT).read_bytes()))
        except (ValidationError, OSError) as error:
            raise UserError(f"{folder / RESULT}: it is not what ravine train leaves: {str(error)[:120]}") from error
    found = folder.resolve().name if folder.is_dir() else name
    if store.find(found).kind == "race":
        return of_race(store.race(found))
    return of_training(store.run(found))


def of_training(kept: Training) -> Kept:
    """A run of `ravine train`."""
    recipe = recipe_from(dict(kept.recipe), kept.id)
    made = kept.made_with
    return Kept(kept.id, kept.command, kept.created, recipe, kept.result, made, True, kept.metric_name)


def of_race(race: RaceResult) -> Kept:
    """The winner of a race, with the seed that its recipe has."""
    if race.winner is None:
        raise UserError(f"{race.id} has no winner yet, whose recipe could be repeated: go on with ravine race --resume")
    recipe = recipe_from(dict(race.winner), race.id)
    stages = ("final", "default") if race.ranking[0].finalist else ("rung",)
    own = [run for run in race.runs if run.config == race.ranking[0].config and run.seed == recipe.seed]
    chosen = next((run for run in own if run.stage in stages), None)
    if chosen is None:
        raise UserError(f"{race.id}: the winner's run with seed {recipe.seed} is not kept")
    name = f"{race.id}, winner {chosen.rule}"
    return Kept(name, race.command, race.created, recipe, chosen, race.versions, False, race.metric_name)


def plain(given: Mapping[str, Any]) -> dict[str, str]:
    """Values as text."""
    return {key: str(value) for key, value in given.items()}
