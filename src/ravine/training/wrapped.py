"""What DDP and FSDP wrap of a run: the module with its loss; and when its gradients cross over."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from ravine.engines.lane import Model
from ravine.engines.terms import watching
from ravine.types import Loss

# Buffers agree by themselves, batch normalisation's being computed from whole minibatches; torch 2.13 renamed the word
_words = inspect.signature(DistributedDataParallel).parameters
LOCAL: dict[str, Any] = {"forward_sync_buffers" if "forward_sync_buffers" in _words else "broadcast_buffers": False}


class Whole(nn.Module):
    """The module with its loss: what DDP and FSDP wrap, so that penalties are computed where weights are whole."""

    def __init__(self, module: nn.Module, loss: Loss, model: Model, held: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.module, self.loss, self.terms, self.held = module, loss, model.terms, dict(held)
        self.precision = model.precision

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The loss on a share; without targets the outputs, in full precision."""
        if y is None:
            return self.module(x)
        watched = self.terms.watched if self.terms is not None else ()
        with watching(self.module, watched) as seen, self.precision.pass_through(x.device.type):
            out = self.module(x)
        if self.precision.short is not None:
            out = out.to(self.precision.master)
            seen = {name: value.to(self.precision.master) for name, value in seen.items()}
        if self.terms is None:
            return self.loss(out, y)
        named = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return self.loss(out, y) + self.terms.value(named, seen, self.held)


def replicated(whole: Whole, x: Tensor, y: Tensor) -> DistributedDataParallel:
    """The module as DDP wraps it; the samples show which of its parameters are of use to the loss."""
    return DistributedDataParallel(whole, **LOCAL, find_unused_parameters=has_idle(whole, x, y))


def sharded(whole: Whole, size: int) -> None:
    """Shard weights, gradients and the optimizer's state by FSDP2, layer by layer."""
    mesh = init_device_mesh(next(whole.parameters()).device.type, (size,))
    if whole.terms is None:  # penalties need all weights whole at the same time
        for layer in layers_of(whole.module):
            fully_shard(layer, mesh=mesh)
    fully_shard(whole, mesh=mesh)


def synchronised(shared: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Gradients cross over with the last piece only; each process adds up its own until then."""
    if isinstance(shared, DistributedDataParallel):
        return nullcontext() if last else shared.no_sync()
    assert isinstance(shared, FSDPModule)
    shared.set_requires_gradient_sync(last)
    return nullcontext()


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The children that can be sharded one by one: those with weights of their own, which no other child uses."""
    children = [c for c in module.children() if any(True for _ in c.parameters())]
    ids = [{id(p) for p in c.parameters()} for c in children]
    if any(a & b for i, a in enumerate(ids) for b in ids[:i]):
        return []
    containers = (nn.ModuleList, nn.ModuleDict, nn.ParameterList)
    return [child for child in children if not isinstance(child, containers)]


def has_idle(whole: Whole, x: Tensor, y: Tensor) -> bool:
    """Whether some parameter is of no use to the loss, for which DDP would wait in vain; found out on a copy."""
    copy = deepcopy(whole)
    trained = [p for p in copy.parameters() if p.requires_grad]
    with torch.enable_grad():
        found = torch.autograd.grad(copy(x, y), trained, allow_unused=True)
    return any(g is None for g in cast(Sequence[Tensor | None], found))
