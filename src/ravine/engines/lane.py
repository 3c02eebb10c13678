"""One run as a value: its rule, seed, weights and state; and the model's code without its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor, nn

from ravine.engines.linear import with_lane_linears
from ravine.engines.noise import noise_layers, with_keyed_noise
from ravine.randomness import build
from ravine.rules.rule import Rule, slots_of
from ravine.schedules import Schedule


@dataclass
class Lane:
    """The whole state of one run: enough to go on to the same bits, in any company.

    ``weights`` [P] holds all trained parameters one after another; each slot is flat too, the parts that the rule
    keeps for each parameter one after another, whatever their shapes: `Places` finds them.
    """

    rule: Rule
    schedules: Mapping[str, Schedule]  # hyperparameter -> factor of time; time counts epochs
    seed: int
    weights: Tensor
    buffers: dict[str, Tensor]
    slots: dict[str, Tensor]
    scalars: dict[str, float] = field(default_factory=dict[str, float])
    step: int = 0


class Places:
    """Where the parts of something flat lie, and their shapes."""

    def __init__(self, shapes: Sequence[torch.Size]) -> None:
        self.shapes = shapes
        sizes = [shape.numel() for shape in shapes]
        self.ends = list(accumulate(sizes))
        self.starts = [end - size for end, size in zip(self.ends, sizes, strict=True)]
        self.size = self.ends[-1]

    def views(self, flat: Tensor) -> list[Tensor]:
        """Each part of [..., size] as a view [..., *shape]."""
        lead = flat.shape[:-1]
        parts = zip(self.shapes, self.starts, self.ends, strict=True)
        return [flat[..., a:b].view(*lead, *shape) for shape, a, b in parts]


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
        self.places = Places(list(self.shapes.values()))
        self.size = self.places.size

    def lane(self, rule: Rule, schedules: Mapping[str, Schedule], seed: int) -> Lane:
        """A run before its first step, with the initial draw of its seed."""
        module = with_keyed_noise(build(self.factory, seed))
        weights = torch.cat([p.detach().reshape(-1) for n, p in module.named_parameters() if n in self.shapes])
        fixed = {n: p.detach().clone() for n, p in module.named_parameters() if n not in self.shapes}
        buffers = {n: b.detach().clone() for n, b in module.named_buffers()}
        parts = [rule.init(w) for w in self.places.views(weights)]
        slots = {slot: torch.cat([part[slot].reshape(-1) for part in parts]) for slot in slots_of(rule)}
        return Lane(rule, schedules, seed, weights, {**fixed, **buffers}, slots)

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Each parameter as a view of weights [..., P], of shape [..., *shape]."""
        return dict(zip(self.shapes, self.places.views(weights), strict=True))

    def slot_places(self, rule: Rule) -> dict[str, Places]:
        """Where each parameter's part of each slot lies."""
        parts = [rule.init(torch.empty(shape, dtype=self.dtype, device="meta")) for shape in self.shapes.values()]
        return {slot: Places([part[slot].shape for part in parts]) for slot in slots_of(rule)}

    def load(self, lane: Lane) -> nn.Module:
        """A module of its own with a lane's weights and buffers."""
        module = with_keyed_noise(build(self.factory, lane.seed))
        module.load_state_dict({**self.views(lane.weights), **lane.buffers}, strict=False)
        return module
