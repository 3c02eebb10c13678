"""Everything that training a model changes, put back to the bit: weights, buffers, state, gradients, generators."""

from __future__ import annotations

import copy
import random
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

PLAIN = (bool, int, float, str, type(None))


@contextmanager
def restored(model: nn.Module, optimizer: Optimizer, generators: Iterable[torch.Generator] = ()) -> Generator[None]:
    """Within, model and optimizer may be trained; after it, even after an error, all is as it was.

    That is: parameters, buffers (those that no checkpoint holds too), gradients, training modes, the optimizer's state
    and groups as the same objects, and the random states of python, numpy and torch, of every device, and of the given
    generators. The optimizer works on a copy of its state meanwhile.
    """
    values = _Values(model, optimizer)
    state, groups = dict(optimizer.state), [dict(group) for group in optimizer.param_groups]
    plain = {name: value for name, value in vars(optimizer).items() if isinstance(value, PLAIN)}
    own = [(generator, generator.get_state()) for generator in generators]
    numbers, python = np.random.get_state(), random.getstate()
    for p, entry in state.items():
        optimizer.state[p] = copy.deepcopy(entry)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        for generator, before in own:
            generator.set_state(before)
        optimizer.state.clear()
        optimizer.state.update(state)
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.clear()
            group.update(before)
        vars(optimizer).update(plain)
        values.put_back()


class _Values:
    """The tensors of a model and an optimizer with their numbers, and the modes of the modules."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        inside = [p for group in optimizer.param_groups for p in group["params"]]
        params: dict[int, Tensor] = {id(p): p for p in [*model.parameters(), *inside]}
        self.kept = [(p, p.detach().clone(), p.grad) for p in params.values()]
        self.places: list[tuple[dict[str, Tensor | None], str, Tensor | None]] = []
        self.buffers: dict[int, tuple[Tensor, Tensor]] = {}
        for module in model.modules():
            held: dict[str, Any] = vars(module)["_buffers"]
            self.places += [(held, name, buffer) for name, buffer in held.items()]
            self.buffers |= {id(b): (b, b.detach().clone()) for b in held.values() if b is not None}
        self.modes = [(module, module.training) for module in model.modules()]
        for p, _, _ in self.kept:
            p.grad = None  # what the user has accumulated is kept aside, as it is

    @torch.no_grad()
    def put_back(self) -> None:
        for p, value, gradient in self.kept:
            p.copy_(value)
            p.grad = gradient
        for held, name, buffer in self.places:
            held[name] = buffer
        for buffer, value in self.buffers.values():
            buffer.copy_(value)
        for module, mode in self.modes:
            module.training = mode
