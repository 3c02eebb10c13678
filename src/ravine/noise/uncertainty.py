"""Keys for a loop of one's own, and what a model's noise tells of its uncertainty at test."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd as TorchDropout  # pyright: ignore[reportPrivateUsage]

from ravine.engines.noise import Keyed, noise_key, noise_places
from ravine.errors import UserError
from ravine.randomness import key


def set_keys(module: nn.Module, seed: int, step: int) -> None:
    """Let every layer of noise draw by (seed, step, its place), as in a lane; for a loop of your own."""
    for name, place in noise_places(module).items():
        module.get_buffer(name).fill_(noise_key(seed, step, place))


@torch.no_grad()
def monte_carlo(module: nn.Module, x: Tensor, draws: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a model's outputs over draws of its noise at test, each of the output's shape.

    Only layers of noise are in training mode; the model, its keys and torch's generator are afterwards what they were.
    The deviation is of the outputs as they are; give a model that ends in a softmax for that of probabilities.
    Reference: Gal & Ghahramani 2016, arXiv:1506.02142.
    """
    if draws < 2:
        raise UserError(f"Monte-Carlo dropout: a deviation needs 2 draws or more, got {draws}")
    stacked = noisy(module, x, draws, seed)
    return stacked.mean(0), stacked.std(0)


@torch.no_grad()
def noisy(module: nn.Module, x: Tensor, draws: int, seed: int = 0) -> Tensor:
    """The outputs of each draw of a model's noise at test, [draws, ...]; the model is as it was afterwards."""
    layers = [layer for layer in module.modules() if isinstance(layer, Keyed | TorchDropout)]
    if not layers:
        raise UserError("Monte-Carlo dropout: the model has no layer of noise, so every draw would be the same")
    outputs: list[Tensor] = []
    with _drawing(module, layers), torch.random.fork_rng(devices=[]):
        for draw in range(draws):
            torch.manual_seed(key(seed, "monte carlo", draw))
            set_keys(module, seed, draw)
            outputs.append(module(x))
    return torch.stack(outputs)


@contextmanager
def _drawing(module: nn.Module, layers: Sequence[nn.Module]) -> Generator[None]:
    """Within, only these layers are in training mode; modes and keys are put back."""
    modes = [(part, part.training) for part in module.modules()]
    keys = [(layer, layer.noise_key.clone()) for layer in layers if isinstance(layer, Keyed)]
    module.eval()
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for layer, old in keys:
            layer.noise_key.copy_(old)
