"""One look at a model on a batch: which layers ran in which order, what they gave, which parameters took part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ravine.engines.precision import in_type, type_of


@dataclass
class Call:
    """One call of a layer without layers inside."""

    name: str
    module: nn.Module
    given: Any
    out: Any


@dataclass
class Look:
    """What was seen; ``unused`` are parameters without a gradient, ``norm`` is that of the whole gradient."""

    calls: list[Call] = field(default_factory=list[Call])
    out: Any = None
    unused: list[str] = field(default_factory=list[str])
    norm: float | None = None

    def feeds(self, one: Call, other: Call) -> bool:
        """Whether the second was given what the first gave."""
        return other.given is one.out


def look(model: nn.Module, loss: Callable[[Any, Any], Any] | None, x: Tensor, y: Any) -> Look:
    """Run a copy of the model in training mode on a batch; the model, and torch's generator, stay as they are."""
    own, seen = copy.deepcopy(model).train(), Look()
    for name, module in own.named_modules():
        if not list(module.children()):
            module.register_forward_hook(_watcher(name, seen))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dtype = type_of(own)
        seen.out = own(in_type(x, dtype))
        if loss is not None and y is not None:
            loss(seen.out, in_type(y, dtype) if isinstance(y, Tensor) else y).backward()
            trained = {n: p.grad for n, p in own.named_parameters() if p.requires_grad}
            seen.unused = [name for name, grad in trained.items() if grad is None]
            norms = [grad.double().norm() for grad in trained.values() if grad is not None]
            seen.norm = float(torch.stack(norms).norm()) if norms else None
    return seen


def _watcher(name: str, seen: Look) -> Any:
    def watch(module: nn.Module, given: Any, out: Any) -> None:
        seen.calls.append(Call(name, module, given[0] if given else None, out))

    return watch
