"""Nonlinearities by name: torch's, and swish with a trained beta, PReLU and maxout in operations that lanes can map."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ravine.errors import UserError, unknown


class Swish(nn.Module):
    """f(x) = x sigmoid(beta x), with one trained beta for the layer; beta = 1 is SiLU.

    Any shape. Reference: Ramachandran, Zoph & Le 2017, arXiv:1710.05941.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(float(beta)))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * torch.sigmoid(self.beta * x)


class PReLU(nn.Module):
    """f(x) = x for x > 0, a x otherwise, with one trained slope a for the layer.

    Any shape. The equation of `torch.nn.PReLU()`, whose backward pass cannot be mapped over lanes without a warning.
    Reference: He et al. 2015, arXiv:1502.01852, section 2.1.
    """

    def __init__(self, slope: float = 0.25) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return torch.where(x > 0, x, self.slope * x)


class Maxout(nn.Module):
    """f(x)_j = max over i of x_(j pieces + i): the largest of each ``pieces`` neighbours along ``dim``.

    [n, pieces * width, ...] to [n, width, ...], so the layer before it is that many times wider.
    Reference: Goodfellow et al. 2013, arXiv:1302.4389.
    """

    def __init__(self, pieces: int = 2, dim: int = 1) -> None:
        super().__init__()
        self.pieces, self.dim = int(pieces), dim

    def forward(self, x: Tensor) -> Tensor:
        """The largest piece of each unit."""
        dim = self.dim % x.dim()
        return x.unflatten(dim, (x.shape[dim] // self.pieces, self.pieces)).amax(dim + 1)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"pieces={self.pieces}, dim={self.dim}"


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky-relu": nn.LeakyReLU,
    "prelu": PReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": Swish,
    "softplus": nn.Softplus,
    "maxout": Maxout,
    "identity": nn.Identity,
}
SETTINGS = {  # what a number after the name sets, and what it must be above
    "leaky-relu": ("the slope below 0", 0.0),
    "prelu": ("the first slope below 0", -math.inf),
    "elu": ("alpha, minus the value far below 0", 0.0),
    "swish": ("the first beta", -math.inf),
    "softplus": ("beta, the sharpness of the bend", 0.0),
    "maxout": ("the pieces", 1.0),
}


def activation_of(word: str) -> Callable[[], nn.Module]:
    """What makes the activation that a word names: "relu", or with its number "leaky-relu:0.2", "maxout:3".

    Raises a `UserError` for an unknown name, and for a number that it does not take.
    """
    name, colon, number = word.partition(":")
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    if not colon:
        return ACTIVATIONS[name]
    if name not in SETTINGS:
        raise UserError(f"activation {word}: {name} takes no number; those that do are {', '.join(SETTINGS)}")
    meaning, above = SETTINGS[name]
    try:
        value = float(number)
    except ValueError:
        raise UserError(f"activation {word}: the number is {meaning}, as in {name}:2, got {number!r}") from None
    if not (math.isfinite(value) and value > above) or (name == "maxout" and value != int(value)):
        kind = "a whole number" if name == "maxout" else "a number"
        bound = f" above {above:g}" if math.isfinite(above) else ""
        raise UserError(f"activation {word}: {meaning} must be {kind}{bound}")
    return partial(ACTIVATIONS[name], int(value) if name == "maxout" else value)


def widening(activation: nn.Module) -> int:
    """How many times wider the layer before an activation must be: the pieces of a maxout, 1 for all others."""
    return activation.pieces if isinstance(activation, Maxout) else 1


def over_last(activation: nn.Module) -> nn.Module:
    """The activation for [..., width]: a maxout takes its pieces from the last dimension; others see one number."""
    return Maxout(activation.pieces, -1) if isinstance(activation, Maxout) else activation
