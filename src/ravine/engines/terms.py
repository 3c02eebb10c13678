"""What a run's loss holds beside the data's, and what happens to weights after a step: the hook for penalties."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn
from torch.func import functional_call

from ravine.engines.precision import KEPT, Precision
from ravine.types import Loss

FULL = Precision()
HELD = "penalty|"  # how the names begin of what a lane holds for its terms, among its buffers


class Terms(Protocol):
    """Terms bound to a model's names: loss of a run = loss of the data + ``value``; after each step ``finish``."""

    @property
    def watched(self) -> tuple[str, ...]:
        """The modules whose outputs ``value`` is told."""
        ...

    @property
    def finishes(self) -> bool:
        """Whether there is anything to do after a step."""
        ...

    @property
    def repeatable(self) -> bool:
        """Whether the code is known to do the same at every call, so that a step may be recorded."""
        ...

    def begin(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a run holds from its first step on, by names that begin with `HELD`."""
        ...

    def data_loss(self, loss: Loss, held: Mapping[str, Tensor]) -> Loss:
        """The loss of the data, with a number of its own that a lane holds, if there is one."""
        ...

    def value(self, weights: Mapping[str, Tensor], seen: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> Tensor:
        """The sum of the terms, a scalar."""
        ...

    def finish(
        self, weights: Mapping[str, Tensor], held: Mapping[str, Tensor], rates: Tensor | None, time: float
    ) -> None:
        """Change weights [K, *shape] in place after a step, given what K lanes hold and their learning rates [K]."""
        ...


def total(
    module: nn.Module,
    loss: Loss,
    terms: Terms | None,
    named: Mapping[str, Tensor],
    x: Any,
    y: Any,
    precision: Precision = FULL,
) -> Tensor:
    """The loss of the data and the terms, with a module's tensors and what is held given by name.

    The pass through the module is in the precision's type, the loss and the terms in that of the weights.
    """
    own = without_held(named)
    if terms is None:
        return loss(_outputs(module, own, x, precision), y)
    with watching(module, terms.watched) as seen:
        out = _outputs(module, own, x, precision)
    if precision.short is not None:
        seen = {name: value.to(precision.master) for name, value in seen.items()}
    held = held_of(named)
    return terms.data_loss(loss, held)(out, y) + terms.value(own, seen, held)


def _outputs(module: nn.Module, named: dict[str, Tensor], x: Any, precision: Precision) -> Any:
    if precision.short is None:
        return functional_call(module, named, (x,))
    with precision.pass_through(x.device.type):
        out = functional_call(module, named, (x,))
    return out.to(precision.master)


def without_held(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the module."""
    return {name: tensor for name, tensor in named.items() if not name.startswith((HELD, KEPT))}


def held_of(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the terms."""
    return {name: tensor for name, tensor in named.items() if name.startswith(HELD)}


@contextmanager
def watching(module: nn.Module, names: Iterable[str]) -> Generator[dict[str, Tensor]]:
    """Within, the outputs of the named modules are collected; a second call of one is kept as "name (2)"."""
    seen: dict[str, Tensor] = {}
    handles = [module.get_submodule(name).register_forward_hook(_keeper(name, seen)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _keeper(name: str, seen: dict[str, Tensor]) -> Any:
    def keep(module: nn.Module, given: Any, out: Tensor) -> None:
        many = sum(key == name or key.startswith(f"{name} (") for key in seen)
        seen[f"{name} ({many + 1})" if many else name] = out

    return keep
