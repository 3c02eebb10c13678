"""One run shared by several processes: each takes its share of every minibatch and, with FSDP, of the weights."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from ravine.engines.classes import mass_of
from ravine.engines.lane import Lane, Model
from ravine.engines.noise import Keyed, noise_key
from ravine.engines.precision import in_type
from ravine.engines.share import Share, SharedBatchNorm, with_shared_batchnorm
from ravine.engines.terms import held_of
from ravine.optim.discovered import FromRule
from ravine.optim.groups import Group
from ravine.problems.problem import Part
from ravine.rules.rule import Rule, filled, needs_of, reads_elsewhere, scalars_of, slots_of, values, with_values
from ravine.training.shards import flat, gathered, like
from ravine.training.wrapped import Whole, replicated, sharded, synchronised
from ravine.types import Loss

Parallel: TypeAlias = Literal["ddp", "fsdp"]


class Timed(FromRule):
    """The optimizer of one rule, told at each step which values its hyperparameters have then."""

    def rule_of(self, group: Group, step: int = 1) -> Rule:
        """The rule as it was told last; schedules may take a value beyond the bounds of what a user gives."""
        return self.template

    def depends_on_step(self, group: Group) -> bool:
        """Always: the schedules are not the groups'."""
        return True

    def follow(self, rule: Rule) -> None:
        """Step by this rule from now on."""
        self.template = rule
        self._rules.forget()


class Distributed:
    """One run of a rule, of which every process computes a share. It answers what `Lanes` of one lane answers.

    ``rank`` of ``size`` processes takes its samples of every minibatch; gradients are averaged, so that the step is
    that of one process up to rounding. A lane that is given or exported is whole, in every process: it knows nothing
    of how many there were. Every process must call the same methods in the same order.
    """

    def __init__(
        self, model: Model, loss: Loss, lane: Lane, rank: int, size: int, parallel: Parallel, device: torch.device
    ) -> None:
        assert isinstance(lane.rule, Rule)
        self.model, self.loss, self.lane, self.rule = model, loss, lane, lane.rule
        self.rank, self.size, self.device = rank, size, device
        self.seeds, self.step_count, self.time = [lane.seed], lane.step, 0.0
        self.module = with_shared_batchnorm(model.load(lane)).to(device)
        self.held = {name: held.to(device) for name, held in held_of(lane.buffers).items()}
        self.whole = Whole(self.module, loss, model, self.held)
        if parallel == "fsdp":
            sharded(self.whole, size)
        self.replica: DistributedDataParallel | None = None  # made at the first step, which shows what is not used
        self.layers = [m for m in self.module.modules() if isinstance(m, Keyed | SharedBatchNorm)]
        named = dict(self.module.named_parameters())
        self.parameters = {name: named[name] for name in model.shapes}
        with warnings.catch_warnings():  # that a rule of matrices has a companion is known of a recipe
            warnings.simplefilter("ignore", RuntimeWarning)
            self.optimizer = Timed(self.parameters.items(), self.rule, nonfinite="ignore", noise_seed=lane.seed)
        if lane.slots:
            self._take_over(lane)

    def __len__(self) -> int:
        return 1

    def step(self, part: Part, index: Tensor, time: float, pieces: int = 1) -> Tensor:
        """One step on a minibatch, of which this process takes its share; the loss of the whole before it, [1]."""
        self.step_count += 1
        self.time = time
        self.optimizer.follow(self._rule_at(time))
        self.module.train()
        looks_again = bool(needs_of(self.rule) & {"first_gradient", "curvature"})
        after: dict[str, Tensor] = {}

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = self._gradients(part, index[0], pieces)
            if looks_again and not after:  # running statistics are those of the first pass
                after.update({name: b.clone() for name, b in self.module.named_buffers()})
            return loss

        loss = self.optimizer.step(closure)
        with torch.no_grad():
            for name, buffer in self.module.named_buffers():
                if name in after:
                    buffer.copy_(after[name])
            self._finish(time)
        dist.all_reduce(loss)
        return loss.cpu().reshape(1)

    def _gradients(self, part: Part, index: Tensor, pieces: int) -> Tensor:
        """Backward through this process's share of every piece; its share of the mean loss, in float64."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for place, piece in enumerate(index.tensor_split(pieces)):
            share = Share.of(self.rank, self.size, len(piece))
            self._set_noise(place, share)
            own = piece[share.begin : share.begin + share.size]
            x, y = (in_type(given[own], self.model.dtype).to(self.device) for given in (part.x, part.y))
            shared = self._shared(x, y)
            with synchronised(shared, last=place == pieces - 1):
                loss = shared(x, y)
                loss = loss * (mass_of(self.loss, part.y[own]) / (mass_of(self.loss, part.y[index]) or 1.0))
                (loss * self.size).backward()  # DDP and FSDP take the mean over processes
            total += loss.detach()
        for p in self.parameters.values():
            if p.grad is None:  # of no use to the loss: a lane's gradient is zero then
                p.grad = torch.zeros_like(p)
        return total

    def _shared(self, x: Tensor, y: Tensor) -> nn.Module:
        """The module whose backward pass exchanges gradients."""
        if isinstance(self.whole, FSDPModule):
            return self.whole
        if self.replica is None:
            self.replica = replicated(self.whole, x, y)
        return self.replica

    def _set_noise(self, piece: int, share: Share) -> None:
        buffers = dict(self.module.named_buffers())
        for name, layer in self.model.noise.items():
            buffers[name].fill_(noise_key(self.seeds[0], self.step_count, layer, piece))
        for each in self.layers:
            each.share = share

    def _finish(self, time: float) -> None:
        """What the model's terms do to the weights after a step."""
        terms = self.model.terms
        if terms is None or not terms.finishes:
            return
        rate = values(self._rule_at(time)).get("lr")
        rates = None if rate is None else torch.tensor([rate], dtype=torch.float64)
        weights = {name: p.detach().unsqueeze(0) for name, p in self.parameters.items()}
        terms.finish(weights, {name: held.unsqueeze(0) for name, held in self.held.items()}, rates, time)

    def _rule_at(self, time: float) -> Rule:
        now = values(self.rule)
        return filled(self.rule, {name: now[name] * factor(time) for name, factor in self.lane.schedules.items()})

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The outputs in evaluation mode, [1, n, ...]; each process computes its share, and all get the whole."""
        self.module.eval()
        each = -(-len(x) // self.size)
        rows = torch.arange(self.rank * each, (self.rank + 1) * each).clamp(max=len(x) - 1)
        with self._read_out():
            own = self.whole(in_type(x[rows], self.model.dtype).to(self.device)).contiguous()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own)
        return torch.cat(parts)[: len(x)].cpu().unsqueeze(0)

    @contextmanager
    def _read_out(self) -> Generator[None]:
        """Within, the weights are where the rule is evaluated."""
        rule, state = self._rule_at(self.time), self.optimizer.state
        if not reads_elsewhere(rule) or not state:
            yield
            return
        homes = [p.detach().clone() for p in self.parameters.values()]
        with torch.no_grad():
            for p in self.parameters.values():
                p.copy_(rule.readout(state[p], p.detach()))
        try:
            yield
        finally:
            with torch.no_grad():
                for p, home in zip(self.parameters.values(), homes, strict=True):
                    p.copy_(home)

    def lend(self) -> list[Lane]:
        """The run's state, as `Lanes.lend`; here in memory of its own."""
        return self.export()

    def export(self) -> list[Lane]:
        """The run's whole state, in every process, sharing no memory with this."""
        states = [self.optimizer.state[p] for p in self.parameters.values() if p in self.optimizer.state]
        if not states:
            return [self._lane(self.lane.slots, self.lane.scalars)]
        slots = {slot: flat([state[slot] for state in states]) for slot in slots_of(self.rule)}
        return [self._lane(slots, {name: float(states[0][name]) for name in scalars_of(self.rule)})]

    def snapshot(self, row: int) -> Lane:
        """The weights and buffers at which the rule is evaluated: to look at, not to go on from."""
        with self._read_out():
            return self._lane({}, {})

    def set_hyper(self, row: int, name: str, value: float) -> None:
        """Another value of a hyperparameter, from the next step on."""
        self.rule = with_values(self.rule, {name: value})

    def _lane(self, slots: dict[str, Tensor], numbers: dict[str, float]) -> Lane:
        now = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers()), **self.held}
        buffers = {name: gathered(now.get(name, old)) for name, old in self.lane.buffers.items()}
        weights = flat(list(self.parameters.values()))
        return Lane(self.rule, self.lane.schedules, self.seeds[0], weights, buffers, slots, numbers, self.step_count)

    def _take_over(self, lane: Lane) -> None:
        """Give each parameter its part of the slots, and of each part the shard that lies here."""
        places = self.model.slot_places(self.rule)
        views = {slot: place.views(lane.slots[slot]) for slot, place in places.items()}
        for number, p in enumerate(self.parameters.values()):
            own = {slot: like(views[slot][number], p) for slot in views}
            self.optimizer.state[p] = {"step": lane.step, **own, **scalars_of(self.rule), **lane.scalars}
