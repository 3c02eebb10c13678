"""Models by short words: "softmax", "linear", "mlp:128,128", "cnn:16,32", for any problem's shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from ravine.errors import UserError, unknown
from ravine.losses import loss_name, loss_of
from ravine.problems.blame import blame
from ravine.problems.problem import Problem

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}
WORDS = {
    "softmax": "a linear layer; with cross-entropy, softmax regression",
    "linear": "the same linear layer, under the name used for regression",
    "mlp": "fully connected layers: mlp:128,128 (a third word sets dropout: mlp:128,128:0.5)",
    "cnn": "3 x 3 convolutions, each followed by max-pooling, then a linear layer: cnn:16,32 (images only)",
}


def model_factory(word: str, shape: Sequence[int], outputs: int, activation: str = "relu") -> Callable[[], nn.Module]:
    """A factory of the model that the word names, for samples of ``shape`` and ``outputs`` outputs.

    Raises a `UserError` for an unknown word or activation, and for a CNN on data that are not images.
    """
    if activation not in ACTIVATIONS:
        raise unknown("activation", activation, ACTIVATIONS)
    kind, _, rest = word.partition(":")
    if kind not in WORDS:
        raise unknown("model", kind, WORDS)
    widths, dropout = _arguments(word, kind, rest)
    act = ACTIVATIONS[activation]
    if kind in ("softmax", "linear"):
        return lambda: nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), outputs))
    if kind == "mlp":
        return lambda: mlp([math.prod(shape), *widths, outputs], act, dropout)
    if len(shape) != 3:
        raise UserError(f"model {word}: a CNN needs images, but a sample has shape {tuple(shape)}; use mlp:128,128")
    if min(shape[1:]) >> len(widths) == 0:
        raise UserError(
            f"model {word}: {len(widths)} poolings leave nothing of {shape[1]}x{shape[2]} images; "
            f"use at most {int(math.log2(min(shape[1:])))}"
        )
    return lambda: cnn(shape, widths, outputs, act, dropout)


def _arguments(word: str, kind: str, rest: str) -> tuple[list[int], float]:
    sizes, _, rate = rest.partition(":")
    default = {"mlp": [128, 128], "cnn": [16, 32]}.get(kind, [])
    try:
        widths = [int(w) for w in sizes.split(",")] if sizes else default
        dropout = float(rate) if rate else 0.0
    except ValueError:
        raise UserError(f"model {word}: expected whole numbers as in mlp:128,128 or mlp:128,128:0.5") from None
    if (rest and not default) or any(w < 1 for w in widths) or not 0 <= dropout < 1:
        raise UserError(f"model {word}: widths must be 1 or more and dropout in [0, 1); {kind} is {WORDS[kind]}")
    return widths, dropout


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0) -> nn.Sequential:
    """Fully connected layers with the activation (and dropout) between them; ``sizes`` from input to output."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (a, b) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            layers.append(activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def cnn(
    shape: Sequence[int],
    channels: Sequence[int],
    outputs: int,
    activation: type[nn.Module] = nn.ReLU,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Convolutions of 3 x 3, each with activation and 2 x 2 max-pooling, and a linear layer at the end."""
    layers: list[nn.Module] = []
    before, (height, width) = shape[0], (shape[1], shape[2])
    for after in channels:
        layers += [nn.Conv2d(before, after, 3, padding=1), activation(), nn.MaxPool2d(2)]
        before, height, width = after, height // 2, width // 2
    layers += [nn.Flatten(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(before * height * width, outputs))


def count(model: nn.Module) -> int:
    """The number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def probe(model: Callable[[], nn.Module], problem: Problem, name: str) -> None:
    """Check one draw of the model on two samples: it must train and, for a loss of ours, give the outputs it needs."""
    loss = loss_of(problem)
    first = problem.augmented(torch.arange(min(2, len(problem.train))), 0, 0)  # labels as they will be in training
    x, y = first.x, first.y
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            drawn: object = model()
        except Exception as error:
            raise blame(error, f"model {name}") from error
        module = _trainable(drawn, name)
        try:
            out = module.train()(x)
            module.eval()(x)
        except Exception as error:
            raise blame(error, f"model {name}: a batch of shape {tuple(x.shape)}") from error
    _check_output(out, problem, name)
    try:
        value = loss(out, y)
        value.backward()
    except Exception as error:
        shapes = f"outputs {tuple(out.shape)} and target {tuple(y.shape)}"
        raise blame(error, f"loss {loss_name(problem)} of {shapes}") from error


def _trainable(drawn: object, name: str) -> nn.Module:
    if not isinstance(drawn, nn.Module):
        raise UserError(f"model {name}: it makes a {type(drawn).__name__}; give a function that makes an nn.Module")
    parameters = list(drawn.parameters())
    if any(isinstance(p, UninitializedParameter) for p in parameters):
        raise UserError(f"model {name}: its lazy layers have no sizes yet; give them sizes, as in nn.Linear(64, 10)")
    if not any(p.requires_grad for p in parameters):
        raise UserError(f"model {name}: it has no parameters to train")
    return drawn


def _check_output(out: object, problem: Problem, name: str) -> None:
    if not isinstance(out, torch.Tensor):
        raise UserError(f"model {name}: it gives a {type(out).__name__}, but its output must be one tensor")
    need = (min(2, len(problem.train)), problem.outputs)
    if isinstance(problem.loss, str) and tuple(out.shape) != need:
        raise UserError(f"model {name}: for 2 samples its output has shape {tuple(out.shape)}, but needed is {need}")
