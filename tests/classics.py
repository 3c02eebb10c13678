"""Classic test problems in more than two variables, with their starts and answers: what tests of solvers share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ravine import solvers
from ravine.solvers import SolverOptimizer
from ravine.surfaces import SURFACES, rosenbrock

F64 = torch.float64


def powell(w: Tensor) -> Tensor:
    """Powell's singular function: its Hessian at the minimum, the origin, has rank 2."""
    a, b, c, d = w.unbind(-1)
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def wood(w: Tensor) -> Tensor:
    """Wood's function; its minimum is (1, 1, 1, 1), with a saddle on the way."""
    a, b, c, d = w.unbind(-1)
    first = 100 * (a * a - b) ** 2 + (a - 1) ** 2 + (c - 1) ** 2 + 90 * (c * c - d) ** 2
    return first + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2) + 19.8 * (b - 1) * (d - 1)


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=F64)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "rosenbrock": (rosenbrock, vector(-1.2, 1)),
    "rosenbrock 10": (rosenbrock, vector(*[-1.2, 1] * 5)),
    "beale": (SURFACES["beale"].f, vector(1, 1)),
    "himmelblau": (SURFACES["himmelblau"].f, vector(0, 0)),
    "powell": (powell, vector(3, -1, 0, 1)),
    "wood": (wood, vector(-3, -1, -3, -1)),
}


def quadratic(size: int, condition: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A symmetric positive definite matrix with eigenvalues spread evenly in decades, and a vector: [d, d], [d]."""
    g = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(size, size, generator=g, dtype=F64))
    sizes = torch.logspace(0, torch.tensor(condition).log10().item(), size, dtype=F64)
    matrix = (basis * sizes) @ basis.T
    return (matrix + matrix.T) / 2, torch.randn(size, generator=g, dtype=F64)


def kowalik(w: Tensor) -> Tensor:
    """The residuals of Kowalik and Osborne: 11 in 4 variables, half the sum of squares at best 1.53753e-4."""
    y = vector(0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246)
    u = vector(4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)
    return y - w[0] * (u * u + u * w[1]) / (u * u + u * w[2] + w[3])


def rosenbrock_residuals(w: Tensor) -> Tensor:
    return torch.stack([10 * (w[1] - w[0] ** 2), 1 - w[0]])


def powell_residuals(w: Tensor) -> Tensor:
    a, b, c, d = w
    return torch.stack([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2])


def helix(w: Tensor) -> Tensor:
    """Fletcher and Powell's helical valley; its minimum is (1, 0, 0)."""
    turn = torch.atan2(w[1], w[0]) / (2 * torch.pi)
    return torch.stack([10 * (w[2] - 10 * turn), 10 * ((w[0] ** 2 + w[1] ** 2).sqrt() - 1), w[2]])


def jennrich(w: Tensor) -> Tensor:
    """Jennrich and Sampson: 10 residuals that no weights make small; half the sum of squares at best 62.181."""
    i = torch.arange(1, 11, dtype=F64)
    return 2 + 2 * i - ((i * w[0]).exp() + (i * w[1]).exp())


RESIDUALS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "rosenbrock": (rosenbrock_residuals, vector(-1.2, 1)),
    "powell": (powell_residuals, vector(3, -1, 0, 1)),
    "kowalik": (kowalik, vector(0.25, 0.39, 0.415, 0.39)),
    "helix": (helix, vector(-1, 0, 0)),
    "jennrich": (jennrich, vector(0.3, 0.4)),
}


class Fit:
    """A small network, its data, and closures of each form."""

    def __init__(self, dtype: torch.dtype = F64) -> None:
        g = torch.Generator().manual_seed(1)
        self.x = torch.randn(24, 3, generator=g, dtype=F64).to(dtype)
        self.y = (self.x[:, :1] * self.x[:, 1:2]).tanh()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)

    def residuals(self) -> Tensor:
        return (self.net(self.x) - self.y).squeeze(1)

    def losses(self) -> Tensor:
        return self.residuals() ** 2 / 2

    def loss(self) -> Tensor:
        return self.losses().mean()

    def closure(self, kind: type[SolverOptimizer]) -> Callable[[], Tensor]:
        if kind is solvers.NaturalGradient:
            return self.losses
        return self.residuals if kind in (solvers.GaussNewton, solvers.LevenbergMarquardt) else self.loss

    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.net.parameters()])
