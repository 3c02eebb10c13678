"""How a loss bends around weights: the ends of the Hessian's spectrum by Lanczos, and how far its valley is wide."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ravine.errors import UserError
from ravine.randomness import generator
from ravine.types import Loss


def lanczos(product: Callable[[Tensor], Tensor], size: int, steps: int = 40, seed: int = 0) -> Tensor:
    """Ritz values of a symmetric matrix of that size, rising: the ends come close to its eigenvalues first.

    ``product`` gives the matrix times a vector. Every new direction is made orthogonal to all before, twice, so that
    no eigenvalue comes back as a copy. Exact after ``size`` steps, or where the space is exhausted before.
    Reference: Golub & Van Loan 2013, Matrix Computations, 4th edition, algorithm 10.1.1.
    """
    if steps < 1 or size < 1:
        raise UserError(f"lanczos(size={size}, steps={steps}): give 1 or more of each")
    q = torch.randn(size, generator=generator(seed, "lanczos"), dtype=torch.float64)
    basis = [q / q.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, size)):
        image = product(basis[-1]).double()
        diagonal.append(float(image @ basis[-1]))
        known = torch.stack(basis)
        for _ in range(2):
            image = image - known.T @ (known @ image)
        norm = float(image.norm())
        if norm <= 1e-10 * max(map(abs, [*diagonal, *beside])) or len(basis) == min(steps, size):
            break
        beside.append(norm)
        basis.append(image / norm)
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    return torch.linalg.eigvalsh(matrix + torch.diag(off, 1) + torch.diag(off, -1))


def sharpness(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, *, steps: int = 40, seed: int = 0) -> float:
    """The largest eigenvalue of the Hessian of the loss on (x, y) at a model's weights, in evaluation mode.

    Gradient descent at rates above 2 / sharpness leaves the place. The model stays as it was.
    Reference: Keskar et al. 2017, arXiv:1609.04836; Yao et al. 2020, arXiv:1912.07145 (by Lanczos).
    """
    still = copy.deepcopy(model).eval()
    leaves: dict[str, Tensor] = {name: p for name, p in still.named_parameters() if p.requires_grad}
    weights = list(leaves.values())
    with torch.enable_grad():
        value = loss(functional_call(still, leaves, (x,)), y)
        gradients = torch.autograd.grad(value, weights, create_graph=True)

    def product(v: Tensor) -> Tensor:
        parts = v.to(weights[0].dtype).split([p.numel() for p in weights])
        along = sum(((g * part.view_as(g)).sum() for g, part in zip(gradients, parts, strict=True)), torch.zeros(()))
        images = torch.autograd.grad(along, weights, retain_graph=True, materialize_grads=True)
        return torch.cat([image.reshape(-1) for image in images])

    return float(lanczos(product, sum(p.numel() for p in weights), steps, seed)[-1])


@torch.no_grad()
def width(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, *, rise: float = 0.1, directions: int = 10, seed: int = 0
) -> float:
    """How far one walks from a model's weights until the loss on (x, y) has risen by ``rise``: mean over directions.

    A direction is normal, each filter of it (a row of a weight) scaled to the norm of the model's own, biases left
    alone, so that rescaling a layer changes nothing; 1 is as far as the weights are large. Infinite where 8 is not
    enough in some direction. The model stays as it was.
    Reference: Li et al. 2018, arXiv:1712.09913, section 4.
    """
    still = copy.deepcopy(model).eval()
    named = dict(still.named_parameters())
    target = float(loss(still(x), y)) + rise
    found: list[float] = []
    for place in range(directions):
        drawn = generator(seed, "directions", place)
        along = {name: _filters(p, drawn) for name, p in named.items()}

        def at(far: float, along: dict[str, Tensor] = along) -> float:
            moved = {name: p + far * along[name] for name, p in named.items()}
            return float(loss(functional_call(still, moved, (x,)), y))

        found.append(_crossing(at, target))
    return sum(found) / len(found)


def _crossing(at: Callable[[float], float], target: float, most: float = 8.0) -> float:
    """Where the loss first lies above the target, by doubling and halving."""
    high = 1 / 64
    while at(high) < target:
        high *= 2
        if high > most:
            return math.inf
    low = high / 2 if high > 1 / 64 else 0.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) < target else (low, middle)
    return (low + high) / 2


def _filters(weight: Tensor, drawn: torch.Generator) -> Tensor:
    if weight.dim() < 2:
        return torch.zeros_like(weight)
    noise = torch.randn(weight.shape, generator=drawn, dtype=torch.float64).to(weight.dtype)
    own, its = weight.flatten(1).norm(dim=1), noise.flatten(1).norm(dim=1)
    ratio = own / its.clamp_min(1e-12)
    return noise * ratio.view(-1, *[1] * (weight.dim() - 1))
