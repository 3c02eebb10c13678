"""One run as a value: its rule, seed, weights and state; and the model's code without its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ravine.engines.classes import lane_loss
from ravine.engines.linear import with_lane_linears
from ravine.engines.noise import noise_places, with_keyed_noise
from ravine.engines.precision import SCALE, Precision
from ravine.engines.program import Programs, Work
from ravine.engines.repeatable import is_repeatable
from ravine.engines.terms import Terms, total, without_held
from ravine.engines.tiers import tiers_by
from ravine.randomness import build
from ravine.rules.rule import Declared, Rule, slots_of
from ravine.schedules import Schedule
from ravine.types import Loss


@dataclass
class Lane:
    """The whole state of one run: enough to go on to the same bits, in any company.

    ``weights`` [P] holds all trained parameters one after another; each slot is flat too, the parts that the rule
    keeps for each parameter one after another, whatever their shapes: `Places` finds them. A run before its first
    step may have no slots: they are what its rule begins with, as `Model.slots` makes them.
    """

    rule: Declared  # a rule; or a method, which runs alone
    schedules: Mapping[str, Schedule]  # hyperparameter -> factor of time; time counts epochs
    seed: int
    weights: Tensor
    buffers: dict[str, Tensor]
    slots: dict[str, Tensor]
    scalars: dict[str, float] = field(default_factory=dict[str, float])
    step: int = 0
    fold: int = 0  # which of several training parts it sees

    def copy(self) -> Lane:
        """The same state in memory of its own."""
        buffers = {name: b.clone() for name, b in self.buffers.items()}
        slots = {name: s.clone() for name, s in self.slots.items()}
        return replace(self, weights=self.weights.clone(), buffers=buffers, slots=slots, scalars=dict(self.scalars))


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
        return [flat[..., a:b].view((*lead, *shape)) for shape, a, b in parts]


class Model:
    """A model's code without its numbers: names, shapes and places of its parameters in a lane's weights."""

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        bind: Callable[[nn.Module], Terms] | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.precision = precision or Precision()
        self.factory = factory = self.precision.factory(factory)
        self.bind = bind  # makes the terms that the loss holds beside the data's
        self.module = with_keyed_noise(build(factory, 0))
        self.mapped = with_lane_linears(with_keyed_noise(build(factory, 0)))
        trained = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        self.shapes = {name: p.shape for name, p in trained.items()}
        frozen = [n for n, p in self.module.named_parameters() if not p.requires_grad]
        self.terms = None if bind is None else bind(self.module)
        held = {} if self.terms is None else self.terms.begin(trained)
        scale = [SCALE] if self.precision.scaled else []
        self.fixed = [*frozen, *(n for n, _ in self.module.named_buffers()), *held, *scale]
        self.noise = noise_places(self.module)  # the buffers of keys, and what each key is made of
        self.dtype = next(iter(trained.values())).dtype
        self.places = Places(list(self.shapes.values()))
        self.size = self.places.size
        self.tiers = tiers_by(factory, self.module)
        self._drawn: tuple[int, Tensor, dict[str, Tensor]] | None = None
        self._programs: dict[Any, Programs] = {}

    def stepping(self, loss: Loss, together: bool, shared: bool) -> Programs:
        """Losses [K] and gradients of one run, or of lanes ``together``, which may see one ``shared`` minibatch.

        A function of the parameters, the buffers, the inputs and the targets, in this order.
        """
        module = self.mapped if together else self.module

        def make() -> Programs:
            own = lane_loss(loss) if together else loss
            work = _stepping(module, own, self.terms, self._names, together, shared, self.precision)
            known = is_repeatable(module) and is_repeatable(loss) and (self.terms is None or self.terms.repeatable)
            return Programs(work, known, len(self.shapes))

        return self._program((id(loss), together, shared), make)

    def predicting(self, together: bool, shared: bool = True) -> Programs:
        """The outputs [K, n, ...] in evaluation mode, as a function of the parameters, the buffers and the inputs.

        These are [n, ...] where lanes ``together`` have them ``shared``, else [K, n, ...].
        """
        module = self.mapped if together else self.module

        def make() -> Programs:
            work = _predicting(module, self._names, together, shared)
            return Programs(work, is_repeatable(module), len(self.shapes), 12)

        return self._program(("predict", together, shared), make)

    def _program(self, key: Any, make: Callable[[], Programs]) -> Programs:
        if key not in self._programs:
            self._programs[key] = make()
        return self._programs[key]

    @property
    def _names(self) -> list[str]:
        """Of the parameters and of all that a lane keeps as buffers, in the order in which a program takes them."""
        return [*self.shapes, *self.fixed]

    def lane(self, rule: Declared, schedules: Mapping[str, Schedule], seed: int) -> Lane:
        """A run before its first step, with the initial draw of its seed; lanes of one seed share its memory."""
        if self._drawn is None or self._drawn[0] != seed:
            self._drawn = seed, *self._draw(seed)
        _, weights, buffers = self._drawn
        return Lane(rule, schedules, seed, weights, buffers, {})

    def _draw(self, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
        module = with_keyed_noise(build(self.factory, seed))
        trained = {n: p.detach() for n, p in module.named_parameters() if n in self.shapes}
        weights = torch.cat([p.reshape(-1) for p in trained.values()])
        fixed = {n: p.detach().clone() for n, p in module.named_parameters() if n not in self.shapes}
        held = {} if self.terms is None else self.terms.begin(trained)
        own = {n: b.detach().clone() for n, b in module.named_buffers()}
        return weights, {**fixed, **own, **held, **self.precision.begin()}

    def views(self, weights: Tensor) -> dict[str, Tensor]:
        """Each parameter as a view of weights [..., P], of shape [..., *shape]."""
        return dict(zip(self.shapes, self.places.views(weights), strict=True))

    def slot_places(self, rule: Rule) -> dict[str, Places]:
        """Where each parameter's part of each slot lies."""
        # not on torch's meta device: arithmetic there imports the compiler, which takes longer than many a race
        nothing = torch.zeros((), dtype=self.dtype)
        parts = [rule.init(nothing.expand(shape)) for shape in self.shapes.values()]
        return {slot: Places([part[slot].shape for part in parts]) for slot in slots_of(rule)}

    def slots(self, rule: Rule, weights: Tensor) -> dict[str, Tensor]:
        """What a rule begins with at weights [P]: each slot flat, the parameters' parts one after another."""
        parts = [rule.init(w) for w in self.places.views(weights)]
        return {slot: torch.cat([part[slot].reshape(-1) for part in parts]) for slot in slots_of(rule)}

    def load(self, lane: Lane) -> nn.Module:
        """A module of its own with a lane's weights and buffers."""
        module = with_keyed_noise(build(self.factory, lane.seed))
        module.load_state_dict({**self.views(lane.weights), **lane.buffers}, strict=False)
        return module


def _stepping(
    module: nn.Module,
    loss: Loss,
    terms: Terms | None,
    names: Sequence[str],
    together: bool,
    shared: bool,
    precision: Precision,
) -> Work:
    def one(named: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return total(module, loss, terms, named, x, y, precision)

    def work(*given: Tensor) -> Sequence[Tensor]:
        module.train()
        *state, x, y = given
        leaves = [w.detach().requires_grad_() for w in state[:trained]]
        named = dict(zip(names, (*leaves, *state[trained:]), strict=True))
        if not together and not precision.scaled:
            loss = one(named, x, y)
            return [loss.detach().unsqueeze(0), *torch.autograd.grad(loss, leaves, materialize_grads=True)]
        if together:
            data = None if shared else 0
            losses = vmap(one, in_dims=(0, data, data))(named, x, y)
        else:
            losses = one(named, x, y).unsqueeze(0)
        if not precision.scaled:
            gradients = torch.autograd.grad(losses.sum(), leaves, materialize_grads=True)
            return [losses.detach(), *gradients]
        scale = named[SCALE]
        gradients = torch.autograd.grad((losses * scale).sum(), leaves, materialize_grads=True)
        down = 1 / scale
        unscaled = [g * (down.view(-1, *[1] * (g.dim() - 1)) if together else down) for g in gradients]
        return [losses.detach(), *unscaled]

    trained = sum(p.requires_grad for p in module.parameters())
    return work


def _predicting(module: nn.Module, names: Sequence[str], together: bool, shared: bool) -> Work:
    def one(named: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, without_held(named), (x,))

    @torch.no_grad()
    def work(*given: Tensor) -> Sequence[Tensor]:
        module.eval()
        *state, x = given
        named = dict(zip(names, state, strict=True))
        own = None if shared else 0
        return [vmap(one, in_dims=(0, own))(named, x) if together else one(named, x).unsqueeze(0)]

    return work
