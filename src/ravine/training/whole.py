"""A method on the whole training part, in the place of lanes: the same questions, other steps, the same price."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from ravine.engines.lane import Lane, Model
from ravine.engines.noise import has_statistics, noise_key
from ravine.engines.precision import in_type
from ravine.engines.terms import total, without_held
from ravine.problems.problem import Part
from ravine.randomness import key
from ravine.rules.rule import with_values
from ravine.solvers.method import Memory, Method, Stalled
from ravine.solvers.objective import FORWARD, Evaluated, Objective, Point
from ravine.types import Loss

SPENT, ENDED = "gradients spent", "ended"  # what a lane's scalars hold beside the method's own numbers


@dataclass(frozen=True)
class _Ahead:
    """The iteration after the one that the run stands at, and what the run has cost once it is paid for."""

    at: Point
    memory: Memory
    spent: float


class Whole:
    """One run of a method. It answers what `Lanes` of one lane answers.

    A step is worth as many gradients as its minibatch is of the training part: batch / samples. Iterations are computed
    ahead, and the weights are those of the last one whose whole cost, in gradient-equivalents of the whole part, has
    been covered; so at each tick a method has spent at most what a rule has. The dropout masks stay the same through
    a run, since a method compares losses; running statistics see each new place once, at the price of a value.
    """

    def __init__(self, model: Model, loss: Loss, lane: Lane) -> None:
        assert isinstance(lane.rule, Method)
        self.model, self.loss, self.method, self.seed = model, loss, lane.rule, lane.seed
        self.seeds, self.step_count = [lane.seed], lane.step
        self.buffers = {name: b.clone() for name, b in lane.buffers.items()}
        for name, layer in model.noise.items():
            self.buffers[name] = torch.tensor(noise_key(lane.seed, 0, layer))
        numbers = dict(lane.scalars)
        self.spent = numbers.pop(SPENT, 0.0)
        self._ended = bool(numbers.pop(ENDED, 0.0))
        self._memory: Memory = {**lane.slots, **numbers}
        self._x = lane.weights.clone()
        self._at: Point | None = None
        self._ahead: _Ahead | None = None
        self._objective: Objective | None = None
        self._has_statistics = has_statistics(model.module)

    def __len__(self) -> int:
        return 1

    def step(self, part: Part, index: Tensor, time: float, pieces: int = 1) -> Tensor:
        """Go as far as one more minibatch's worth of gradients allows; the loss on the whole part, [1]."""
        self.step_count += 1
        covered = self.step_count * index.shape[-1] / len(part)
        at = self._start(part)
        while not self._ended:
            ahead = self._ahead or self._iterate(at)
            if ahead is None or ahead.spent > covered * (1 + 1e-12):
                self._ahead = ahead
                break
            self._at, self._memory, self.spent, self._ahead = ahead.at, ahead.memory, ahead.spent, None
            at = self._at
            self._see(part, at.x)
        self._x = at.x
        return torch.tensor([at.value], dtype=torch.float64)

    @property
    def asked(self) -> float:
        """Gradient-equivalents computed since this was made, those ahead included."""
        return self._objective.counts.equivalents if self._objective else 0.0

    def _start(self, part: Part) -> Point:
        """Where the run stands; after a checkpoint it is evaluated anew, which was paid for before."""
        if self._at is None or self._objective is None:
            self._objective = Objective(lambda x, graph: self._evaluate(part, x, graph))
            self._at = self._objective.point(self._x)
            _ = self._at.value  # evaluated here, so that the first iteration costs what it costs
            self.spent = self.spent or self._objective.counts.equivalents
        return self._at

    def _iterate(self, at: Point) -> _Ahead | None:
        """One iteration; None, for good, where the method finds nothing lower."""
        assert self._objective is not None
        counts = self._objective.counts
        before = counts.equivalents
        try:
            new, memory = self.method.iterate(self._objective, at, self._memory)
            _ = new.value  # part of what this iteration costs
        except Stalled:
            self._ended = True
            return None
        kept = {name: value for name, value in memory.items() if isinstance(value, Tensor | float | int)}
        more = counts.equivalents - before + (FORWARD if self._has_statistics else 0.0)
        return _Ahead(new, kept, self.spent + more)

    def _evaluate(self, part: Part, x: Tensor, graph: bool) -> Evaluated:
        leaf = x.detach().clone().requires_grad_(graph)
        buffers = {name: b.clone() for name, b in self.buffers.items()}
        with torch.set_grad_enabled(graph):
            return Evaluated(self._call(leaf, buffers, part), [leaf])

    def _see(self, part: Part, x: Tensor) -> None:
        """Let running statistics see the whole part at a new place."""
        if self._has_statistics:
            with torch.no_grad():
                self._call(x, self.buffers, part)

    def _call(self, x: Tensor, buffers: dict[str, Tensor], part: Part) -> Tensor:
        self.model.module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(self.seed, "whole"))  # for a model that draws by itself
            named = {**self.model.views(x), **buffers}
            x, y = (in_type(own, self.model.dtype) for own in (part.x, part.y))
            return total(self.model.module, self.loss, self.model.terms, named, x, y)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The outputs in evaluation mode, [1, n, ...]."""
        self.model.module.eval()
        named = {**self.model.views(self._x), **without_held(self.buffers)}
        return functional_call(self.model.module, named, (in_type(x, self.model.dtype),)).unsqueeze(0)

    def lend(self) -> list[Lane]:
        """The run's state, as `Lanes.lend`; here in memory of its own."""
        return self.export()

    def export(self) -> list[Lane]:
        """The run's state, sharing no memory with this."""
        slots = {name: value.clone() for name, value in self._memory.items() if isinstance(value, Tensor)}
        numbers = {name: float(value) for name, value in self._memory.items() if not isinstance(value, Tensor)}
        numbers |= {SPENT: self.spent, ENDED: float(self._ended)}
        return [self._lane(slots, numbers)]

    def snapshot(self, row: int) -> Lane:
        """The weights and buffers as they are now, without the method's memory: to look at, not to go on from."""
        return self._lane({}, {})

    def set_hyper(self, row: int, name: str, value: float) -> None:
        """Another value of a hyperparameter, from the next iteration on."""
        self.method = with_values(self.method, {name: value})
        self._ahead = None

    def _lane(self, slots: dict[str, Tensor], numbers: dict[str, float]) -> Lane:
        buffers = {name: b.clone() for name, b in self.buffers.items()}
        return Lane(self.method, {}, self.seed, self._x.clone(), buffers, slots, numbers, self.step_count)
