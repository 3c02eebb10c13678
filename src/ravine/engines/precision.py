"""The number types of a run: master weights in one, the pass through the model in another, the loss scaled or not."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ravine.randomness import Seeded
from ravine.types import Numbers

KEPT = "precision|"  # how the names begin of what a lane keeps for its precision, among its buffers
SCALE, CLEAN, SKIPPED = f"{KEPT}scale", f"{KEPT}clean", f"{KEPT}skipped"
FIRST, GROWTH, BACKOFF, EVERY = 65536.0, 2.0, 0.5, 2000  # torch.amp.GradScaler's


@dataclass(frozen=True)
class Precision:
    """What a pass through the model computes in: weights, slots, loss and penalties stay in the master type.

    bfloat16 and float16 are torch's autocast: matrix products and convolutions in the short type, sums and norms in
    float32. float16 has five bits of exponent, so its loss is scaled up before the backward pass and gradients down
    after it; a step whose gradients overflow is left out.
    """

    name: Numbers = "float32"

    @property
    def master(self) -> torch.dtype:
        """The type of weights, gradients and state."""
        return torch.float64 if self.name == "float64" else torch.float32

    @property
    def short(self) -> torch.dtype | None:
        """The type of the pass through the model, where it is another."""
        return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(self.name)

    @property
    def scaled(self) -> bool:
        """Whether the loss is scaled."""
        return self.name == "float16"

    @property
    def changes(self) -> bool:
        """Whether it is anything but float32."""
        return self.name != "float32"

    @contextmanager
    def pass_through(self, device: str = "cpu") -> Generator[None]:
        """Within, torch computes in the short type what can bear it."""
        if self.short is None:
            yield
            return
        with torch.autocast(device, dtype=self.short):
            yield

    def begin(self) -> dict[str, Tensor]:
        """What a run keeps for it, before its first step."""
        if not self.scaled:
            return {}
        return {SCALE: torch.tensor(FIRST), CLEAN: torch.tensor(0), SKIPPED: torch.tensor(0)}

    def factory(self, make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        """The factory of the same draw in the master type."""
        return Widened(make) if self.name == "float64" and not isinstance(make, Widened) else make


class Widened(Seeded):
    """A model's draw, made as ever and then written in float64."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.make = make

    def __call__(self, seed: int = 0) -> nn.Module:
        """The model in float64."""
        return (self.make(seed) if isinstance(self.make, Seeded) else self.make()).double()


def in_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in a model's type, where that is float64; whole numbers, and others, as they are."""
    return x.to(dtype) if dtype == torch.float64 and x.is_floating_point() else x


def type_of(module: nn.Module) -> torch.dtype:
    """The type of a module's first parameter."""
    return next((p.dtype for p in module.parameters()), torch.float32)


def cast(*given: Tensor | None) -> list[Tensor | None]:
    """Tensors in the type of the autocast that is on, for operations that autocast does not see; else as they are."""
    first = next(x for x in given if x is not None)
    device = first.device.type
    if not torch.is_autocast_enabled(device):
        return list(given)
    dtype = torch.get_autocast_dtype(device)
    return [x if x is None else x.to(dtype) for x in given]
