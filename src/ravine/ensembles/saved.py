"""An ensemble on disk: its members' weights in safetensors, and in JSON what they are weights of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save as packed
from torch import Tensor, nn

from ravine.engines.noise import with_keyed_noise
from ravine.ensembles.measure import combined
from ravine.ensembles.members import Members
from ravine.errors import UserError
from ravine.files import digest_of, reason, write_whole
from ravine.losses.learned import Weighing
from ravine.models import model_factory
from ravine.noise import Noised, noise_from_spec
from ravine.noise.uncertainty import noisy
from ravine.optim.snapshots import Ensemble
from ravine.problems.heads import Head
from ravine.randomness import build
from ravine.recipe import Recipe
from ravine.training.model import weights_of
from ravine.transfer.weights import read_weights
from ravine.types import Task

FORMAT = 1
FILE = "ensemble.json"


class Noisy(nn.Module):
    """One model whose noise is drawn anew so many times for each prediction; the draws are those of the seed.

    Like `Ensemble` it gives log-probabilities of classes, or numbers.
    Reference: Gal & Ghahramani 2016, arXiv:1506.02142.
    """

    def __init__(self, member: nn.Module, draws: int, seed: int, task: Task, heads: Sequence[Head] = ()) -> None:
        super().__init__()
        self.member, self.draws, self.seed, self.heads = member, draws, seed, tuple(heads)
        self.task: Task = task

    def forward(self, x: Tensor) -> Tensor:
        """The prediction of the mean over draws for x [n, ...]."""
        return combined(noisy(self.member, x, self.draws, self.seed), self.task, self.heads)


def save(members: Members, folder: Path) -> Path:
    """Write the members and what they are; the description comes last, so that it is there only if all is."""
    kept = members.modules[-1:] if members.kind == "swa" else members.modules
    rows: list[dict[str, Any]] = []
    for place, module in enumerate(kept):
        name = f"member-{place + 1}.safetensors"
        rows.append({"file": name, "sha256": write_whole(folder / name, packed(weights_of(module)))})
    problem = members.problem
    facts = {
        "format": FORMAT, "kind": members.kind, "members": rows, "count": members.count, "task": problem.task,
        "shape": problem.shape, "outputs": problem.outputs, "recipe": members.recipe.model_dump(exclude_none=True),
        "heads": [asdict(head) for head in problem.heads],
    }  # fmt: skip
    write_whole(folder / FILE, json.dumps(facts, indent=1).encode())
    return folder / FILE


def load(folder: str | Path, *, model: Callable[[], nn.Module] | None = None) -> nn.Module:
    """The ensemble of a folder as one model in evaluation mode, for inputs prepared as in its training.

    ``model`` makes a member, where the recipe's model is "own". Classes come as log-probabilities, so softmax, argmax
    and cross-entropy mean what they mean for one model.

    Raises:
        UserError: where the folder holds no ensemble, or one that was altered.
    """
    folder = Path(folder)
    facts = _read(folder / FILE)
    recipe = Recipe.model_validate(facts["recipe"])
    if recipe.model == "own":
        if model is None:
            raise UserError(f'{folder}: its model is "own": give model, the function that makes one')
        factory = model
    else:
        factory = model_factory(
            recipe.model, facts["shape"], facts["outputs"], recipe.activation, recipe.norm, recipe.norm_place
        )
    noises = [noise_from_spec(spec) for spec in recipe.noise]
    heads = [_head(row) for row in facts.get("heads", [])]
    drawn = Noised(factory, noises) if noises else factory
    drawn = drawn if recipe.task_weights is None else Weighing(drawn, len(heads))
    made = [_member(drawn, folder, row) for row in facts["members"]]
    if facts["kind"] == "dropout":
        return Noisy(made[0], facts["count"], recipe.seed, facts["task"], heads).eval()
    return made[0] if facts["kind"] == "swa" else Ensemble(made, facts["task"], heads)


def _member(factory: Callable[[], nn.Module], folder: Path, row: dict[str, Any]) -> nn.Module:
    module = with_keyed_noise(build(factory, 0))
    path = folder / str(row["file"])
    weights = read_weights(path)
    if digest_of(path) != row["sha256"]:
        raise UserError(f"{path}: not the weights that were saved (its SHA-256 differs)")
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: weights of another model: {str(error).splitlines()[-1].strip()}") from error
    return module.eval()


def _head(row: dict[str, Any]) -> Head:
    """One of several targets, as far as predictions need it."""
    classes, units = tuple(map(str, row["classes"])), (row["mean"], row["scale"])
    return Head(row["name"], row["column"], row["first"], row["weight"], classes, *units)


def _read(path: Path) -> dict[str, Any]:
    try:
        facts: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: no ensemble is there: {reason(error)}") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error})") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UserError(f"{path}: made by another version of ravine; this reads format {FORMAT}")
    return facts
