"""The gain of a nonlinearity: what weights are multiplied by so that it keeps the mean square of its input."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn.modules import activation as torch_activations

from ravine.blocks.activations import Maxout, PReLU, Swish

ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Softplus, nn.Softsign, nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid, nn.Hardswish, nn.Tanh, nn.Hardtanh,
    nn.Threshold, nn.Hardshrink, nn.Softshrink, torch_activations.Tanhshrink, Swish, PReLU, Maxout,
)  # fmt: skip
POINTS = 200_001  # of the trapezoid rule on [-10, 10], with 0, where most of them bend, among them


def is_nonlinearity(module: nn.Module) -> bool:
    """Whether the module is a nonlinearity that sees one number at a time, or a maxout."""
    return isinstance(module, ELEMENTWISE)


@torch.no_grad()
def gain(activation: nn.Module | None) -> float:
    """1 / sqrt(E[f(z)^2]) for z ~ N(0, 1): sqrt(2) for ReLU, sqrt(2 / (1 + a^2)) for a slope a, 1.59 for tanh.

    Weights of variance gain^2 / n_in then give each layer outputs of the mean square of its inputs, which He et al.
    2015 (arXiv:1502.01852) derive for ReLU. 1 for None. A maxout of k pieces is the largest of k such z.

    >>> round(gain(nn.ReLU()) ** 2, 6)
    2.0
    """
    if activation is None:
        return 1.0
    z = torch.linspace(-10, 10, POINTS, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    if isinstance(activation, Maxout):
        below = torch.special.ndtr(z)
        f, density = z, activation.pieces * density * below ** (activation.pieces - 1)
    elif isinstance(activation, nn.PReLU):  # which may have a slope a channel
        f = torch.where(z > 0, z, activation.weight.double().cpu().mean() * z)
    else:
        f = copy.deepcopy(activation).double().cpu().eval()(z.clone())
    return float(torch.trapezoid(f.square() * density, z)) ** -0.5
