"""Lanes: K runs of one model, each with its own rule, hyperparameters, seed and initial draw, in one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ravine.engines.lane import Lane, Model
from ravine.engines.noise import noise_key
from ravine.engines.updates import Group, aheads, grouped
from ravine.problems.problem import Part
from ravine.types import Loss


class Lanes:
    """K lanes that advance together. ``together`` maps the model over them; a single lane runs the plain module.

    All lanes have done the same number of steps. Results are in the order in which the lanes were given.
    """

    def __init__(self, model: Model, loss: Loss, lanes: Sequence[Lane], together: bool | None = None) -> None:
        self.model, self.loss = model, loss
        self.together = len(lanes) > 1 if together is None else together
        self.module = model.mapped if self.together else model.module
        self.step_count = lanes[0].step
        self.groups: list[Group] = grouped(lanes, model)
        self.rows = [row for group in self.groups for row in group.members]  # place here -> place as given
        self.back = torch.tensor(self.rows).argsort()
        arranged = [lanes[row] for row in self.rows]
        self.weights = torch.stack([lane.weights for lane in arranged])
        self.buffers = {n: torch.stack([lane.buffers[n] for lane in arranged]) for n in arranged[0].buffers}
        self.seeds = list(dict.fromkeys(lane.seed for lane in lanes))
        self.lane_seeds = [lane.seed for lane in arranged]
        self.seed_row = torch.tensor([self.seeds.index(seed) for seed in self.lane_seeds])

    def __len__(self) -> int:
        return len(self.rows)

    def step(self, part: Part, index: Tensor, time: float, pieces: int = 1) -> Tensor:
        """One optimizer step of every lane on its seed's minibatch.

        ``index`` [seeds, batch] says which samples of ``part`` each seed sees, in the order of ``self.seeds``; ``time``
        is that of the schedules; ``pieces`` into how many parts the minibatch is taken, whose gradients are averaged.
        Returns the loss of each lane before the step, [K].
        """
        self.step_count += 1
        self.module.train()
        point = aheads(self.groups, self.weights, time)
        leaves = {n: v.detach().requires_grad_() for n, v in self._views(point).items()}
        losses, grads = self._gradient(leaves, part, index, pieces)
        stacked = grads if self.together else [g.unsqueeze(0) for g in grads]
        for group in self.groups:
            group.update(self.weights, stacked, self.step_count, time)
        return losses[self.back]

    def set_hyper(self, row: int, name: str, value: float) -> None:
        """Give one lane another value of a hyperparameter, from its next step on."""
        at = int(self.back[row])
        group = next(g for g in self.groups if g.start <= at < g.end)
        group.set_hyper(at - group.start, name, value)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The outputs of every lane in evaluation mode: [K, n, ...]."""
        self.module.eval()
        views = self._views(self.weights)
        if not self.together:
            return self._call(views, self._single(self.buffers), x).unsqueeze(0)
        return vmap(self._call, in_dims=(0, 0, None))(views, self.buffers, x)[self.back]

    def export(self) -> list[Lane]:
        """Each lane's state as a run of its own, sharing no memory with this."""
        found: dict[int, Lane] = {}
        for group in self.groups:
            for offset, row in enumerate(group.members):
                at = group.start + offset
                rule, schedules, slots, scalars = group.member(offset)
                buffers = {n: b[at].clone() for n, b in self.buffers.items()}
                weights = self.weights[at].clone()
                seed = self.lane_seeds[at]
                found[row] = Lane(rule, schedules, seed, weights, buffers, slots, scalars, self.step_count)
        return [found[row] for row in range(len(self))]

    def snapshot(self, row: int) -> Lane:
        """One lane's weights and buffers as they are now, without its rule's state: to look at, not to go on from."""
        at = int(self.back[row])
        buffers = {n: b[at].clone() for n, b in self.buffers.items()}
        group = next(g for g in self.groups if g.start <= at < g.end)
        rule, schedules, *_ = group.member(at - group.start)
        return Lane(rule, schedules, self.lane_seeds[at], self.weights[at].clone(), buffers, {}, {}, self.step_count)

    def _gradient(
        self, leaves: Mapping[str, Tensor], part: Part, index: Tensor, pieces: int
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Each lane's mean loss [K] over its minibatch and the gradients of it, one piece at a time."""
        losses, grads = torch.zeros(()), list[Tensor]()
        for place, piece in enumerate(index.tensor_split(pieces, dim=1)):
            self._set_noise(place)
            own = self._losses(leaves, *self._batch(part, piece)) * (piece.shape[1] / index.shape[1])
            more = torch.autograd.grad(own.sum(), list(leaves.values()), materialize_grads=True)
            losses = own.detach() if place == 0 else losses + own.detach()
            grads = list(more) if place == 0 else [a + b for a, b in zip(grads, more, strict=True)]
        return losses, grads

    def _views(self, weights: Tensor) -> dict[str, Tensor]:
        return self.model.views(weights if self.together else weights[0])

    def _single(self, stacked: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: b[0] for n, b in stacked.items()}

    def _call(self, views: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self.module, {**views, **buffers}, (x,))

    def _loss(self, views: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self.loss(self._call(views, buffers, x), y)

    def _losses(self, leaves: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        if not self.together:
            return self._loss(leaves, self._single(self.buffers), x, y).unsqueeze(0)
        data = None if len(self.seeds) == 1 else 0
        return vmap(self._loss, in_dims=(0, 0, data, data))(leaves, self.buffers, x, y)

    def _batch(self, part: Part, index: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.seeds) == 1:
            return part.x[index[0]], part.y[index[0]]
        return part.x[index][self.seed_row], part.y[index][self.seed_row]

    def _set_noise(self, piece: int) -> None:
        for layer, name in enumerate(self.model.noise):
            keys = {seed: noise_key(seed, self.step_count, layer, piece) for seed in self.seeds}
            self.buffers[name] = torch.tensor([keys[seed] for seed in self.lane_seeds])
