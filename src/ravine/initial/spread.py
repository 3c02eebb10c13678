"""What becomes of signals on their way through a module: the spread of what leaves each nonlinearity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.blocks.activations import activation_of, widening
from ravine.errors import UserError
from ravine.initial.apply import init_
from ravine.initial.gain import is_nonlinearity
from ravine.initial.initial import Initial
from ravine.randomness import generator


@dataclass(frozen=True)
class Spread:
    """What left one nonlinearity for a batch: mean and deviation of all entries, and the share of dead units.

    A unit, or channel, is dead where it is zero for every sample and place.
    """

    name: str
    mean: float
    std: float
    dead: float


@torch.no_grad()
def spreads(module: nn.Module, data: Tensor) -> list[Spread]:
    """The spread after each nonlinearity of a module, in the order of their calls, on a batch of inputs.

    In evaluation mode; the module is left as it was. Raises a `UserError` for a module without nonlinearities that
    are modules.
    """
    found: list[Spread] = []

    def seen(name: str) -> Any:
        def hook(layer: nn.Module, given: Any, out: Tensor) -> None:
            units = out.movedim(1, 0).flatten(1) if out.dim() > 1 else out.unsqueeze(0)
            dead = float((units == 0).all(1).double().mean())
            found.append(Spread(name, float(out.double().mean()), float(out.double().std(correction=0)), dead))

        return hook

    layers = [(name, each) for name, each in module.named_modules() if is_nonlinearity(each)]
    if not layers:
        raise UserError(f"{type(module).__name__} has no nonlinearity that is a module, such as nn.ReLU, to look after")
    modes = {each: each.training for each in module.modules()}
    hooks = [each.register_forward_hook(seen(name)) for name, each in layers]
    try:
        module.eval()
        module(data)
    finally:
        for hook in hooks:
            hook.remove()
        for each, mode in modes.items():
            each.training = mode
    return found


def through(
    initial: str | Mapping[str, Any] | Initial,
    activation: str = "tanh",
    width: int = 256,
    depth: int = 10,
    seed: int = 0,
) -> list[Spread]:
    """The spreads in a tower of equal layers on standard normal inputs: what the lectures draw for each initialiser.

    >>> [round(each.std, 1) for each in through("normal:std=1", depth=3)]  # saturated
    [1.0, 1.0, 1.0]
    """
    layers: list[nn.Module] = []
    for _ in range(depth):
        act = activation_of(activation)()
        layers += [nn.Linear(width, width * widening(act)), act]
    tower = nn.Sequential(*layers)
    data = torch.randn(500, width, generator=generator(seed, "spread"))
    init_(tower, initial, seed, data=data)
    return spreads(tower, data)
