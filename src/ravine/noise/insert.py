"""Noise put into a model: anybody's, by the names of its modules; no name of a parameter changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from torch import nn

from ravine.engines.noise import Keyed
from ravine.errors import UserError
from ravine.noise.part import INPUT, Noise
from ravine.randomness import Seeded

Kind = type[nn.Module]


class Behind(nn.Module):
    """What a module's class is mixed with, so that noise follows what it puts out."""

    noise_behind: nn.Sequential

    def forward(self, *given: Any, **named: Any) -> Any:
        """The module's own output, with noise."""
        return self.noise_behind(super().forward(*given, **named))


class Before(nn.Module):
    """What a model's class is mixed with, so that noise comes before it."""

    noise_before: nn.Sequential

    def forward(self, first: Any, *given: Any, **named: Any) -> Any:
        """The model's own output, of an input with noise."""
        return super().forward(self.noise_before(first), *given, **named)


@cache
def _mixed(side: Kind, kind: Kind) -> Kind:
    """The class of a module with noise on one side; its code stays where it was."""
    return type(kind.__name__, (side, kind), {"__module__": __name__})


def put_noise(model: nn.Module, noises: Sequence[Noise]) -> nn.Module:
    """The model with that noise, in place. Parameters and modules keep their names, and nothing is drawn.

    A layer of noise is a child of the module that it follows. Raises a `UserError` where a place is not in the model.

    >>> import torch
    >>> from ravine.noise import noise_from_spec
    >>> noise = noise_from_spec({"name": "dropout", "drop": 0.5})
    >>> noisy = put_noise(nn.Sequential(nn.Linear(4, 200), nn.ReLU(), nn.Linear(200, 1)), [noise])
    >>> [name for name, _ in noisy.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> bool((noisy[:2](torch.ones(1, 4)) == 0).sum() > 20)
    True
    """
    places = [(place, noise, name) for place, noise in enumerate(noises) for name in noise.names(model)]
    for place, noise, name in places:
        module = model.get_submodule(name)
        layer = _on_weights(module, noise, name) if noise.weights else _beside(module, noise)
        key = f"{noise.name} on {name or INPUT}"
        if any(isinstance(other, Keyed) and other.place == key for other in model.modules()):
            raise UserError(f"{noise.name} stands twice on {name or INPUT}: leave one out")
        layer.place, layer.entry = key, place
        layer.hold(noise.held)
    return model


def _beside(module: nn.Module, noise: Noise) -> Keyed:
    """The new layer behind the module; before it, if it is on the samples."""
    side, child = (Before, "noise_before") if noise.on == INPUT else (Behind, "noise_behind")
    if not hasattr(module, child):
        in_a_row = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        if not in_a_row:
            _become(module, _mixed(side, type(module)))
        module.add_module(child, nn.Sequential())
        if in_a_row and side is Before:  # layers in a row are called in the order of their names
            for name in [name for name, _ in module.named_children() if name != child]:
                module.add_module(name, module._modules.pop(name))  # pyright: ignore[reportPrivateUsage]
    layer = noise.layer()
    getattr(module, child).append(layer)
    return layer


def _on_weights(module: nn.Module, noise: Noise, name: str) -> Keyed:
    """The linear layer as one with noise on its weights, which stay what they are."""
    if type(module) is not nn.Linear:
        kind = type(module).__name__
        raise UserError(f"{noise.name}: {name} is a {kind}; it acts on the weights of plain linear layers, named by on")
    assert noise.weights is not None
    _become(module, noise.weights)
    assert isinstance(module, Keyed)  # now
    setattr(module, noise.held, noise.number)
    module.hold_key()
    return module


def _become(module: Any, kind: Kind) -> None:
    """The same object with the code of another class."""
    module.__class__ = kind


class Noised(Seeded):
    """A model's factory whose models have noise; their weights are the factory's own draw."""

    def __init__(self, factory: Callable[[], nn.Module], noises: Sequence[Noise]) -> None:
        self.factory, self.noises = factory, tuple(noises)

    def __call__(self, seed: int = 0) -> nn.Module:
        """The model of that seed."""
        made = self.factory(seed) if isinstance(self.factory, Seeded) else self.factory()
        return put_noise(made, self.noises)
