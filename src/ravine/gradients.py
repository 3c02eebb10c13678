"""The gradient check: analytic gradients against differences of the loss, entry by entry."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import UserError

STEP = 1e-5  # near the cube root of float64's rounding, where central differences are most exact
TOLERANCE = 1e-6


@dataclass(frozen=True)
class GradientCheck:
    """What a gradient check found."""

    error: float  # ||numerical - analytic|| / (||numerical|| + ||analytic||); 0 where both are zero
    worst: str  # the entry that differs most: "0.weight[2, 1]"
    numerical: float  # there
    analytic: float  # there
    entries: int  # of the gradient that were compared
    evaluations: int  # of the loss that the differences took; autograd takes one and its way back

    @property
    def agrees(self) -> bool:
        """Whether the error is below 1e-6."""
        return self.error < TOLERANCE

    def __str__(self) -> str:
        word = "agree" if self.agrees else "DIFFER"
        return (
            f"numerical and analytic gradients {word}: relative error {self.error:.1e} over {self.entries} entries, "
            f"{self.evaluations} evaluations; largest difference at {self.worst}: {self.numerical:.6g} against "
            f"{self.analytic:.6g}"
        )


def gradient_check(
    model: nn.Module,
    loss: Callable[[Any, Any], Any],
    x: Tensor,
    y: Tensor,
    *,
    step: float = STEP,
    entries: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare autograd with central differences, in float64, on a copy of the model.

        numerical_i = (L(w + h e_i) - L(w - h e_i)) / 2h,   an error of order h^2

    Two evaluations an entry: the cost grows with the number of parameters, which is why backpropagation is used.
    ``entries`` draws so many at random, keyed by the seed; None takes all. Noise such as dropout is drawn the same at
    every evaluation. Near a kink, as of ReLU at zero, both are right and differ.

    Raises:
        UserError: for a model without trained parameters, a loss that is not one number, or an impossible step.
    """
    if not step > 0 or (entries is not None and entries < 1):
        raise UserError(
            f"gradient_check(step={step!r}, entries={entries!r}): give a positive step, and 1 entry or more"
        )
    twin = copy.deepcopy(model).double()
    x, y = (each.double() if each.is_floating_point() else each for each in (x, y))
    params = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    if not params:
        raise UserError("the model has no parameters to train, so there is no gradient to check")
    held = {name: buffer.clone() for name, buffer in twin.named_buffers()}

    def value() -> Any:
        for name, buffer in twin.named_buffers():
            buffer.data.copy_(held[name])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return loss(twin(x), y)

    first: Any = value()
    if getattr(first, "shape", None) is None or first.numel() != 1:
        raise UserError("the loss must give one number, such as the mean over the batch")
    grads = torch.autograd.grad(first, list(params.values()), allow_unused=True, materialize_grads=True)
    places = _places(params, entries, seed)
    analytic = torch.stack([g.reshape(-1)[i] for g, chosen in zip(grads, places, strict=True) for i in chosen])
    numerical = torch.tensor(_differences(value, list(params.values()), places, step), dtype=torch.float64)
    gap = (numerical - analytic).abs()
    size = float(numerical.norm() + analytic.norm())
    at = int(gap.argmax())
    return GradientCheck(
        float(gap.norm()) / size if size else 0.0, _name(params, places, at), float(numerical[at]), float(analytic[at]),
        len(gap), 2 * len(gap),
    )  # fmt: skip


def _places(params: dict[str, nn.Parameter], entries: int | None, seed: int) -> list[list[int]]:
    """Which entries of each parameter are compared."""
    sizes = [p.numel() for p in params.values()]
    if entries is None or entries >= sum(sizes):
        return [list(range(size)) for size in sizes]
    drawn = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed))[:entries].sort().values.tolist()
    found: list[list[int]] = []
    begin = 0
    for size in sizes:
        found.append([i - begin for i in drawn if begin <= i < begin + size])
        begin += size
    return found


@torch.no_grad()
def _differences(
    value: Callable[[], Any], params: list[nn.Parameter], places: list[list[int]], step: float
) -> list[float]:
    found: list[float] = []
    for p, chosen in zip(params, places, strict=True):
        flat = p.data.reshape(-1) if p.data.is_contiguous() else None
        if flat is None:
            p.data = p.data.contiguous()
            flat = p.data.view(-1)
        for i in chosen:
            home = float(flat[i])
            flat[i] = home + step
            above = float(value())
            flat[i] = home - step
            below = float(value())
            flat[i] = home
            found.append((above - below) / (2 * step))
    return found


def _name(params: dict[str, nn.Parameter], places: list[list[int]], at: int) -> str:
    for (name, p), chosen in zip(params.items(), places, strict=True):
        if at < len(chosen):
            index = torch.unravel_index(torch.tensor(chosen[at]), p.shape)
            return f"{name}[{', '.join(str(int(i)) for i in index)}]"
        at -= len(chosen)
    raise IndexError(at)
