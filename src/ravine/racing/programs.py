"""What a race's recipes share, and what tells the program of one from another's."""

from __future__ import annotations

import json

from torch import nn

from ravine.engines.noise import Keyed
from ravine.engines.terms import HELD
from ravine.noise import catalogue as noises
from ravine.noise import noise_from_spec
from ravine.penalties import part_from_spec
from ravine.penalties.bound import LOSS
from ravine.racing.spec import RaceSpec
from ravine.recipe import BATCH, Recipe
from ravine.training.clock import Clock

NO_PROGRAM = {"rule", "schedule", "seed", "init", "criterion"}  # what lanes of one program may differ in


def base_recipe(spec: RaceSpec, clock: Clock) -> Recipe:
    """What all contenders share."""
    shared = Recipe.model_fields.keys() & RaceSpec.model_fields.keys()
    own = {name: value for name, value in spec.model_dump().items() if name in shared}
    return Recipe.model_validate({**own, "epochs": clock.epochs, "batch": clock.batch})


def program_of(recipe: Recipe) -> str:
    """What tells the program of a recipe from others: all but the numbers in which lanes may differ."""
    plain = recipe.model_dump(exclude=NO_PROGRAM)
    plain["growth"] = recipe.schedule.get(BATCH)  # steps of other sizes, at other times
    for spec in plain["penalty"]:
        spec.pop(type(part_from_spec(spec)).amount, None)
    for spec in plain["noise"]:
        kind = noises()[spec["name"]]
        for name in (kind.amount, "keep"):
            spec.pop(name, None)
    name, colon, rest = recipe.loss.partition(":")
    if name == "cross_entropy" and colon and recipe.class_weights is None:
        plain["loss"] = f"{name}:{rest.partition('=')[0]}"
    return json.dumps(plain, sort_keys=True)


def numbers_of(recipe: Recipe, module: nn.Module) -> dict[str, float]:
    """What a lane holds of a recipe, by the names of its buffers."""
    found: dict[str, float] = {}
    for place, part in enumerate(map(part_from_spec, recipe.penalty)):
        found[f"{HELD}{place}|{part.amount}"] = getattr(part, part.amount)
    made = [noise_from_spec(spec) for spec in recipe.noise]
    for name, layer in module.named_modules():
        if isinstance(layer, Keyed) and layer.entry >= 0:
            noise = made[layer.entry]
            found[f"{name}.{noise.held}"] = noise.number
    setting, _, number = recipe.loss.partition(":")[2].partition("=")
    return found | ({f"{LOSS}{setting}": float(number)} if "smoothing" in setting else {})
