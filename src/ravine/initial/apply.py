"""Drawing a module's weights: anybody's, by the seed and the names of its parameters alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ravine.blocks.activations import activation_of
from ravine.errors import UserError
from ravine.initial.initial import Initial, normal
from ravine.initial.layers import Place, places
from ravine.initial.lsuv import LSUV
from ravine.initial.spec import from_spec
from ravine.problems.blame import blame
from ravine.randomness import Seeded, generator

SHOWN = 3  # names of parameters that were left alone, in a sentence


@dataclass(frozen=True)
class Drawn:
    """One weight: its name, what it was drawn from, and the deviation of its entries."""

    name: str
    told: str
    std: float


@dataclass(frozen=True)
class Drawing:
    """What `init_` did: the weights that it drew, and the trained parameters that it left as they were."""

    weights: tuple[Drawn, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        counted = Counter(drawn.told for drawn in self.weights)
        many = [f"{told} ({number} weights)" if number > 1 else told for told, number in counted.items()]
        few = ", ".join(self.left[:SHOWN]) + (f" and {len(self.left) - SHOWN} more" if len(self.left) > SHOWN else "")
        return "; ".join(many) + (f"; left alone: {few}" if self.left else "")


@torch.no_grad()
def init_(
    module: nn.Module,
    initial: str | Mapping[str, Any] | Initial = "auto",
    seed: int = 0,
    *,
    data: Tensor | None = None,
    activation: str | nn.Module | None = None,
) -> Drawing:
    """Draw the weights and biases of a module's layers anew, in place; norms and parameters of own layers stay.

    Each is drawn by (seed, name of the parameter), so another layer changes none of them, and torch's own generator is
    not touched. ``data`` is a batch of inputs, for "lsuv"; ``activation`` the nonlinearity of a model that calls
    functions, such as torch.relu, where modules tell nothing. Returns what was drawn for which weight.

    Raises:
        UserError: on an unknown name or setting, a module without such weights, or "lsuv" without data. Nothing is
            changed then.

    >>> print(init_(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), "auto"))
    he normal, std 0.5, for ReLU after it; lecun normal, std 0.5, for nothing after it
    """
    made = from_spec(initial)
    act = activation_of(activation)() if isinstance(activation, str) else activation
    found = places(module, act)
    if not any(place.kind == "weight" for place in found):
        raise UserError(
            f"init {made.name}: {type(module).__name__} has no weights to draw: no trained linear, convolutional, "
            "recurrent, embedding or attention layer"
        )
    if made.needs_data and data is None:
        raise UserError(f"init {made.name}: it scales layers by what data become in them; give data, a batch of inputs")
    drawn = [_draw(made, place, generator(seed, "initial", place.name)) for place in found]
    before = [place.parameter.detach().clone() for place in found]
    _put(found, drawn)
    if isinstance(made, LSUV) and data is not None:
        try:
            made.fit(module, found, data)
        except BaseException as error:
            _put(found, before)
            if isinstance(error, Exception) and not isinstance(error, UserError):
                raise blame(error, f"init {made.name}: a batch of shape {tuple(data.shape)}") from error
            raise
    names = {place.name for place in found}
    left = tuple(name for name, p in module.named_parameters() if p.requires_grad and name not in names)
    weights = [place for place in found if place.kind == "weight"]
    return Drawing(tuple(Drawn(w.name, made.told(w.fans), _std(w.parameter)) for w in weights), left)


def _draw(made: Initial, place: Place, source: Generator) -> Tensor:
    shape, dtype = place.parameter.shape, place.parameter.dtype
    if place.kind == "bias":
        return normal(shape, made.bias_std, source, dtype, made.bias)
    rows = shape[0] // place.blocks
    drawn = torch.cat([made.draw((rows, *shape[1:]), place.fans, source, dtype) for _ in range(place.blocks)])
    if isinstance(place.layer, nn.Embedding | nn.EmbeddingBag) and place.layer.padding_idx is not None:
        drawn[place.layer.padding_idx] = 0
    return drawn


def _put(found: Iterable[Place], values: Iterable[Tensor]) -> None:
    for place, value in zip(found, values, strict=True):
        place.parameter.copy_(value)


def _std(weight: Tensor) -> float:
    return float(weight.double().std(correction=0))


class Initialised(Seeded):
    """A model's factory whose weights an initialiser draws by the seed; the rest is the factory's own draw.

    What it makes with a seed is what `init_` with that seed makes of the factory's module. ``data`` is for "lsuv".
    """

    def __init__(
        self, factory: Callable[[], nn.Module], initial: str | Mapping[str, Any] | Initial, data: Tensor | None = None
    ) -> None:
        self.factory, self.initial, self.data = factory, from_spec(initial), data

    def __call__(self, seed: int = 0) -> nn.Module:
        """The model of that seed."""
        return self._make(seed)[0]

    def drawing(self, seed: int) -> Drawing:
        """What was drawn for which weight; torch's own generator stays as it was."""
        with torch.random.fork_rng(devices=[]):
            return self._make(seed)[1]

    def _make(self, seed: int) -> tuple[nn.Module, Drawing]:
        made = self.factory()
        return made, init_(made, self.initial, seed, data=self.data if self.initial.needs_data else None)
