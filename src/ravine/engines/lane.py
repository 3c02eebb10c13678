"""One run as a value: its rule, seed, weights and state; and the model's code without its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ravine.engines.linear import with_lane_linears
from ravine.engines.noise import noise_layers, with_keyed_noise
from ravine.randomness import build
from ravine.rules.rule import Declared, Rule
from ravine.schedules import Schedule


@dataclass
class Lane:
    """The whole state of one run: enough to go on to the same bits, in any company.

    ``weights`` [P] holds all trained parameters one after another; each slot has the same shape.
    """

    rule: Declared  # a rule; or a method, which runs alone
    schedules: Mapping[str, Schedule]  # hyperparameter -> factor of time; time counts epochs
    seed: int
    weights: Tensor
    buffers: dict[str, Tensor]
    slots: dict[str, Tensor]
    scalars: dict[str, float] = field(default_factory=dict[str, float])
    step: int = 0


class Model:
    """A model's code without its numbers: names, shapes and places of its parameters in a lane's weights."""

    def __init__(self, factory: Callable[[], nn.Module]) -> None:
        self.factory = factory
        self.module = with_keyed_noise(build(factory, 0))
        self.mapped = with_lane_linears(with_keyed_noise(build(factory, 0)))
        trained = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        self.shapes = {name: p.shape for name, p in trained.items()}
        self.noise = noise_layers(self.module)
        self.dtype = next(iter(trained.values())).dtype
        sizes = [p.numel() for p in trained.values()]
        self.ends = torch.tensor(sizes).cumsum(0).tolist()
        self.starts = [end - size for end, size in zip(self.ends, sizes, strict=True)]
        self.size = self.ends[-1]

    def lane(self, rule: Declared, schedules: Mapping[str, Schedule], seed: int) -> Lane:
        """A run before its first step, with the initial draw of its seed."""
        module = with_keyed_noise(build(self.factory, seed))
        weights = torch.cat([p.detach().reshape(-1) for n, p in module.named_parameters() if n in self.shapes])
        fixed = {n: p.detach().clone() for n, p in module.named_parameters() if n not in self.shapes}
        buffers = {n: b.detach().clone() for n, b in module.named_buffers()}
        slots = rule.init(weights) if isinstance(rule, Rule) else {}
        return Lane(rule, schedules, seed, weights, {**fixed, **buffers}, slots)

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Each parameter as a view of weights [..., P], of shape [..., *shape]."""
        lead = weights.shape[:-1]
        return {
            name: weights[..., a:b].view(*lead, *shape)
            for (name, shape), a, b in zip(self.shapes.items(), self.starts, self.ends, strict=True)
        }

    def load(self, lane: Lane) -> nn.Module:
        """A module of its own with a lane's weights and buffers."""
        module = with_keyed_noise(build(self.factory, lane.seed))
        module.load_state_dict({**self.views(lane.weights), **lane.buffers}, strict=False)
        return module
