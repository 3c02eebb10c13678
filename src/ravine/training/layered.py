"""Runs that no lane can hold: K-FAC, which watches a module's layers, and which of both a contender needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from ravine.engines.lane import Lane, Model
from ravine.engines.lanes import Lanes
from ravine.engines.noise import noise_key
from ravine.engines.precision import in_type
from ravine.engines.terms import held_of, total
from ravine.engines.tiers import check_tiers
from ravine.errors import UserError
from ravine.problems.problem import Part, Problem
from ravine.recipe import check_augmentable, check_precision, check_sampled
from ravine.rules.rule import Declared, name_of, values, with_values
from ravine.solvers.kfac import KFAC
from ravine.solvers.method import Method
from ravine.solvers.methods.natural import KFAC as Equation
from ravine.solvers.objective import check_dense
from ravine.training.whole import Whole
from ravine.types import Loss

if TYPE_CHECKING:
    from ravine.training.distributed import Distributed

Runner: TypeAlias = "Lanes | Whole | Layered | Distributed"  # what a track drives


def alone(model: Model, loss: Loss, lane: Lane) -> Whole | Layered:
    """The one run of a contender that is no rule."""
    return Layered(model, loss, lane) if isinstance(lane.rule, Equation) else Whole(model, loss, lane)


def check_contender(rule: Declared, model: Model, problem: Problem) -> None:
    """Raise a `UserError` where a contender cannot work on this model, or on samples that change."""
    check_tiers(rule, model)
    check_precision(model.precision.name, rule)
    if problem.augment is not None:
        check_augmentable(rule)
    check_sampled(problem.sampling, rule)
    check_streamable(rule, problem)
    if isinstance(rule, Method) and rule.dense:
        check_dense(name_of(rule), model.size)
    if isinstance(rule, Equation):
        KFAC(model.module).close()


def check_streamable(rule: Declared, problem: Problem) -> None:
    """Raise a `UserError` where a method takes the whole training part at once, and that is not in memory."""
    if isinstance(rule, Method) and problem.train.streamed:
        raise UserError(
            f"{name_of(rule)} takes the whole training part at once, and that of {problem.name} is streamed: take a "
            "rule, or fewer samples"
        )


class Layered:
    """One run of K-FAC on minibatches, as a module and its optimizer. It answers what `Lanes` of one lane answers."""

    def __init__(self, model: Model, loss: Loss, lane: Lane) -> None:
        self.model, self.loss, self.rule, self.lane = model, loss, lane.rule, lane
        self.seeds, self.step_count = [lane.seed], lane.step
        self.module = model.load(lane)
        given = values(lane.rule)
        self.optimizer = KFAC(self.module, **{**given, "every": int(given["every"])})
        self.rate, self.asked = float(given["lr"]), 0.0
        self._parameters = {n: p for n, p in self.module.named_parameters() if n in model.shapes}
        for place, value in [*lane.slots.items(), *lane.scalars.items()]:
            name, _, slot = place.rpartition("|")
            own = value.clone() if isinstance(value, Tensor) else int(value)
            self.optimizer.state[self._parameters[name]][slot] = own

    def __len__(self) -> int:
        return 1

    def step(self, part: Part, index: Tensor, time: float, pieces: int = 1) -> Tensor:
        """One step on a minibatch; the loss before it, [1]. A loss that is not finite moves nothing."""
        self.step_count += 1
        self.asked += index.shape[-1] / len(part)
        self.module.train()
        buffers = dict(self.module.named_buffers())
        for name, layer in self.model.noise.items():
            buffers[name].copy_(torch.tensor(noise_key(self.seeds[0], self.step_count, layer)))
        schedule = self.lane.schedules.get("lr")
        self.optimizer.param_groups[0]["lr"] = self.rate * (1.0 if schedule is None else schedule(time))
        self.optimizer.zero_grad()
        named = {**self._parameters, **held_of(self.lane.buffers)}
        x, y = (in_type(own[index[0]], self.model.dtype) for own in (part.x, part.y))
        loss = total(self.module, self.loss, self.model.terms, named, x, y)
        loss.backward()
        finite = all(bool(torch.isfinite(p.grad).all()) for p in self._parameters.values() if p.grad is not None)
        if not (bool(torch.isfinite(loss)) and finite):
            return torch.full((1,), torch.nan)
        if self.optimizer.param_groups[0]["lr"] > 0:  # a schedule may end at zero
            self.optimizer.step()
        return loss.detach().reshape(1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The outputs in evaluation mode, [1, n, ...]."""
        self.module.eval()
        return self.module(in_type(x, self.model.dtype)).unsqueeze(0)

    def lend(self) -> list[Lane]:
        """The run's state, as `Lanes.lend`; here in memory of its own."""
        return self.export()

    def export(self) -> list[Lane]:
        """The run's state, sharing no memory with this."""
        kept = {f"{n}|{slot}": v for n, p in self._parameters.items() for slot, v in self.optimizer.state[p].items()}
        slots = {place: value.clone() for place, value in kept.items() if isinstance(value, Tensor)}
        return [self._lane(slots, {place: float(v) for place, v in kept.items() if not isinstance(v, Tensor)})]

    def snapshot(self, row: int) -> Lane:
        """The weights and buffers as they are now, without the factors: to look at, not to go on from."""
        return self._lane({}, {})

    def set_hyper(self, row: int, name: str, value: float) -> None:
        """Another learning rate, from the next step on."""
        self.rule = with_values(self.rule, {name: value})
        self.rate = float(values(self.rule)["lr"])

    def _lane(self, slots: dict[str, Tensor], numbers: dict[str, float]) -> Lane:
        weights = torch.cat([p.detach().reshape(-1) for p in self._parameters.values()])
        now = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        buffers = {name: now.get(name, old).detach().clone() for name, old in self.lane.buffers.items()}
        return Lane(self.rule, self.lane.schedules, self.seeds[0], weights, buffers, slots, numbers, self.step_count)
