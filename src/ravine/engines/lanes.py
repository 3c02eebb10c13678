"""Lanes: K runs of one model, each with its own rule, hyperparameters, seed and initial draw, in one program."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ravine.engines.classes import mass_of
from ravine.engines.curvature import estimates, offsets
from ravine.engines.lane import Lane, Model
from ravine.engines.memory import give_back
from ravine.engines.noise import noise_key
from ravine.engines.points import aheads, climbed, climbs, readouts
from ravine.engines.precision import in_type
from ravine.engines.scaling import Attempt
from ravine.engines.terms import held_of
from ravine.engines.updates import Group, grouped
from ravine.problems.problem import Part
from ravine.rules.rule import Need
from ravine.types import Loss

ELSEWHERE: frozenset[Need] = frozenset({"gradient_ahead", "first_gradient", "curvature"})  # not one gradient here


class Lanes:
    """K lanes that advance together. ``together`` maps the model over them; a single lane runs the plain module.

    All lanes have done the same number of steps. Results are in the order in which the lanes were given.
    """

    def __init__(self, model: Model, loss: Loss, lanes: Sequence[Lane], together: bool | None = None) -> None:
        self.model, self.loss = model, loss
        self.together = len(lanes) > 1 if together is None else together
        self.step_count = lanes[0].step
        give_back(len(lanes) * lanes[0].weights.nbytes)
        self.time = 0.0  # of the last step, for schedules of what says where a lane is evaluated
        self.groups: list[Group] = grouped(lanes, model)
        self.rows = [row for group in self.groups for row in group.members]  # place here -> place as given
        self.back = torch.tensor(self.rows).argsort()
        arranged = [lanes[row] for row in self.rows]
        self.weights = torch.stack([lane.weights for lane in arranged])
        self.buffers = {n: torch.stack([lane.buffers[n] for lane in arranged]) for n in arranged[0].buffers}
        orders = list(dict.fromkeys((lane.seed, lane.fold) for lane in lanes))
        self.seeds, self.folds = [seed for seed, _ in orders], [fold for _, fold in orders]
        self.lane_seeds, self.lane_folds = [lane.seed for lane in arranged], [lane.fold for lane in arranged]
        self.seed_row = torch.tensor([orders.index((lane.seed, lane.fold)) for lane in arranged])
        self.stepping = model.stepping(loss, self.together, shared=len(self.seeds) == 1)
        self.predicting = model.predicting(self.together)
        self._own = self._parts(self.weights)
        self._own_step = self.stepping.on(self._own)
        self.scaled = model.precision.scaled
        self._is_plain = not any(group.needs & ELSEWHERE for group in self.groups)
        self._is_direct = self._is_plain and not (self.together or self.scaled) and self.groups[0].is_direct

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def each_fold(self) -> list[int]:
        """The fold of each lane, as they were given."""
        return [self.lane_folds[place] for place in self.back.tolist()]

    def step(self, part: Part, index: Tensor, time: float, pieces: int = 1) -> Tensor:
        """One optimizer step of every lane on its seed's minibatch.

        ``index`` [seeds, batch] says which samples of ``part`` each seed sees, in the order of ``self.seeds`` (a seed
        stands there once for each fold); ``time`` is that of the schedules; ``pieces`` into how many parts the
        minibatch is taken, whose gradients are averaged.
        Returns the loss of each lane before the step, [K].
        """
        return self._step(part, index, time, pieces)

    def step_on(self, batch: Part, time: float) -> Tensor:
        """`step` of lanes of one seed on a minibatch that was taken already."""
        assert len(self.seeds) == 1
        return self._step(batch, None, time, 1)

    def _step(self, part: Part, index: Tensor | None, time: float, pieces: int) -> Tensor:
        """A step on the samples at these places of a part, or on all of them."""
        self.step_count += 1
        self.time = time
        before = {n: b.clone() for n, b in self.buffers.items()} if self.scaled else {}
        if self._is_plain:
            curvature = None
            losses, stacked = self._gradients(self.weights, part, index, pieces)
        else:
            losses, stacked, curvature = self._elsewhere(part, index, pieces)
        attempt = Attempt(before, self.groups, self.weights, stacked) if self.scaled else None
        lags = attempt.lags if attempt else [None] * len(self.groups)
        stacked = attempt.usable(stacked) if attempt else stacked
        for group, lag in zip(self.groups, lags, strict=True):
            group.update(self.weights, stacked, self.step_count, time, curvature, lag)
        self._finish(time)
        if attempt:
            self.buffers = attempt.finish(self.buffers)
        return losses[self.back] if self.together else losses

    def _elsewhere(
        self, part: Part, index: Tensor | None, pieces: int
    ) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor] | None]:
        """Losses, gradients and curvature, where a rule takes them away from the weights, or twice."""
        point = aheads(self.groups, self.weights, self.time)
        losses, stacked = self._gradients(point, part, index, pieces)
        if climbs(self.groups):
            buffers = {n: b.clone() for n, b in self.buffers.items()}  # running statistics are those of the first pass
            point = climbed(self.groups, self.weights, stacked, self.time)
            _, stacked = self._gradients(point, part, index, pieces)
            self.buffers = buffers
        offset = offsets(self.groups, self.weights, self.step_count, self.time)
        if offset is None:
            return losses, stacked, None
        near, buffers = [g.clone() for g in stacked], {n: b.clone() for n, b in self.buffers.items()}
        far = self._gradients(point + offset, part, index, pieces)[1]
        self.buffers = buffers
        return losses, near, estimates(self.groups, near, far, offset)

    def set_hyper(self, row: int, name: str, value: float) -> None:
        """Give one lane another value of a hyperparameter, from its next step on."""
        at = int(self.back[row])
        group = next(g for g in self.groups if g.start <= at < g.end)
        group.set_hyper(at - group.start, name, value)

    def _finish(self, time: float) -> None:
        """What the model's terms do to the weights after a step."""
        terms = self.model.terms
        if terms is None or not terms.finishes:
            return
        rates = [torch.from_numpy(group.at(time)["lr"]) for group in self.groups if "lr" in group.base]
        each = torch.cat(rates) if len(rates) == len(self.groups) else None
        terms.finish(self.model.views(self.weights), held_of(self.buffers), each, time)

    def _gradients(
        self, point: Tensor, part: Part, index: Tensor | None, pieces: int
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """The mean losses [K] at the weights ``point`` [K, P], and the gradients, [K, *shape] for each parameter.

        Those of one run whose kernel only wants to know where they lie stay as they are, [*shape].
        """
        found: Sequence[Tensor] = []
        split = (index,) if index is None or pieces == 1 else index.tensor_split(pieces, dim=1)
        for place, piece in enumerate(split):
            self._set_noise(place)
            batch = self._batch(part, piece)
            if point is self.weights:
                more = self._own_step(*self._buffers(), *batch)
            else:
                more = self.stepping(*self._parts(point), *self._buffers(), *batch)
            if piece is not None and index is not None and pieces > 1:
                shares = self._shares(part, piece, index)
                more = [x * (like_rows(shares, x) if isinstance(shares, Tensor) else shares) for x in more]
            found = [a + b for a, b in zip(found, more, strict=True)] if place else more
        losses, *grads = found
        if self._is_direct:
            return losses, [g.contiguous() for g in grads]
        return losses, grads if self.together else [g.unsqueeze(0) for g in grads]

    def _shares(self, part: Part, piece: Tensor, index: Tensor) -> float | Tensor:
        """How much of a minibatch's mean loss a piece is: one number, or each lane's [K] where labels have weights."""
        if not hasattr(self.loss, "mass"):
            return piece.shape[1] / index.shape[1]
        masses = [[mass_of(self.loss, part.y[row]) for row in rows] for rows in (piece, index)]
        shares = [own / all_ if all_ else 0.0 for own, all_ in zip(*masses, strict=True)]
        return shares[0] if len(shares) == 1 else torch.tensor(shares)[self.seed_row]

    def predict(self, x: Tensor) -> Tensor:
        """The outputs of every lane in evaluation mode, from the weights in full precision: [K, n, ...]."""
        point = readouts(self.groups, self.weights, self.time)
        parts = self._own if point is self.weights else self._parts(point)
        (out,) = self.predicting(*parts, *self._buffers(), in_type(x, self.model.dtype))
        return out[self.back]

    def predict_each(self, x: Tensor) -> Tensor:
        """The outputs of every lane for inputs of its own, [K, n, ...], as `predict`."""
        if not self.together:
            return self.predict(x[0])
        point = readouts(self.groups, self.weights, self.time)
        own = in_type(x[torch.tensor(self.rows)], self.model.dtype)
        (out,) = self.model.predicting(self.together, shared=False)(*self._parts(point), *self._buffers(), own)
        return out[self.back]

    def export(self) -> list[Lane]:
        """Each lane's state as a run of its own, sharing no memory with this."""
        return [lane.copy() for lane in self.lend()]

    def lend(self) -> list[Lane]:
        """Each lane's state as views of the memory of all, which the next step changes."""
        found: dict[int, Lane] = {}
        for group in self.groups:
            for offset, row in enumerate(group.members):
                at = group.start + offset
                rule, schedules, slots, scalars = group.member(offset)
                buffers = {n: b[at] for n, b in self.buffers.items()}
                own = self.weights[at], buffers, slots, scalars, self.step_count, self.lane_folds[at]
                found[row] = Lane(rule, schedules, self.lane_seeds[at], *own)
        return [found[row] for row in range(len(self))]

    def snapshot(self, row: int) -> Lane:
        """One lane's weights, where it is evaluated, and buffers, without state: to look at, not to go on from."""
        at = int(self.back[row])
        weights = readouts(self.groups, self.weights, self.time)[at].clone()
        buffers = {n: b[at].clone() for n, b in self.buffers.items()}
        group = next(g for g in self.groups if g.start <= at < g.end)
        rule, schedules = group.rules[at - group.start], group.schedules[at - group.start]
        own = self.step_count, self.lane_folds[at]
        return Lane(rule, schedules, self.lane_seeds[at], weights, buffers, {}, {}, *own)

    def _buffers(self) -> list[Tensor]:
        """The buffers as a program takes them: of all lanes, or of the one there is."""
        buffers = [self.buffers[name] for name in self.model.fixed]
        return buffers if self.together else [b[0] for b in buffers]

    def _parts(self, weights: Tensor) -> list[Tensor]:
        """Each parameter as a view of the weights [K, P]."""
        return list(self.model.views(weights if self.together else weights[0]).values())

    def _batch(self, part: Part, index: Tensor | None) -> tuple[Tensor, Tensor]:
        dtype = self.model.dtype
        if index is None:
            return in_type(part.x, dtype), in_type(part.y, dtype)
        rows = index.flatten()
        x, y = part.x.index_select(0, rows), part.y.index_select(0, rows)  # half the time of part.x[rows]
        if len(self.seeds) > 1:
            x, y = (values.unflatten(0, index.shape)[self.seed_row] for values in (x, y))
        return in_type(x, dtype), in_type(y, dtype)

    def _set_noise(self, piece: int) -> None:
        for name, layer in self.model.noise.items():
            keys = {seed: noise_key(seed, self.step_count, layer, piece) for seed in self.seeds}
            self.buffers[name] = torch.tensor([keys[seed] for seed in self.lane_seeds])


def like_rows(each: Tensor, x: Tensor) -> Tensor:
    """A number a lane [K] as a tensor that broadcasts against [K, ...], in its type."""
    return each.to(x).view(-1, *[1] * (x.dim() - 1))
