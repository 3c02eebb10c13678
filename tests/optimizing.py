"""Small parameters and random gradients: what the tests of optimizers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import ravine.optim
from ravine.optim.stepper import ENGINES
from ravine.randomness import order

# "compile" takes seconds a rule: tests/test_compile.py
LIGHT = tuple(engine for engine in ENGINES if engine != "compile")


TORCH = tuple(name for name in ravine.optim.__all__ if hasattr(torch.optim, name))


def sees_entries(name: str) -> bool:
    """Whether that optimizer's rule sees one number at a time; those of whole tensors: tests/test_optim_matrix.py."""
    return getattr(ravine.optim, name)([torch.zeros(2, 2)]).rules()[0].scope == "entry"


ENTRYWISE = tuple(name for name in TORCH if sees_entries(name))


def drive(optimizer: Optimizer, steps: int = 5, scale: float = 1.0, seed: int = 0) -> None:
    """Steps with random gradients, through a closure so that look-ahead rules run as well: the same at each call."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(p: Tensor) -> Tensor:
        return (scale * torch.randn(p.shape, generator=generator, dtype=torch.float32)).to(p.dtype)

    for _ in range(steps):
        params = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        gradients = [drawn(p) for p in params]

        def closure(params: list[Tensor] = params, gradients: list[Tensor] = gradients) -> float:
            for p, g in zip(params, gradients, strict=True):
                p.grad = g.clone()
            return 0.0

        optimizer.step(closure)


def parameter(*numbers: float, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    """A parameter of these numbers."""
    return nn.Parameter(torch.tensor(numbers, dtype=dtype))


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    """Parameters of these shapes, the same each time."""
    generator = torch.Generator().manual_seed(7)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def flat(params: list[nn.Parameter]) -> Tensor:
    """All their numbers."""
    return torch.cat([p.detach().flatten() for p in params])


def samples_at(seed: int, step: int, samples: int, batch: int) -> Tensor:
    """Which samples a run of that seed sees at a step, counted by hand: int64 [batch]."""
    epoch, place = divmod(step, samples // batch)
    return order(seed, epoch, samples)[place * batch : (place + 1) * batch]
