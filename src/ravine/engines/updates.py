"""The update of lanes: those of one rule together, each with its own hyperparameters, schedules and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.engines.column import Column
from ravine.engines.kernel import KernelStep, serves
from ravine.engines.lane import Lane, Model
from ravine.rules.rule import Rule, chain, filled, needs_of, scalars_of, slots_of, sums_of, values
from ravine.schedules import Schedule
from ravine.types import State

Numbers: TypeAlias = dict[str, NDArray[np.float64]]  # one a lane, by name


class Group:
    """Lanes of one rule, which lie side by side in the weights from row ``start`` on.

    They step by the emitted kernel, which reads each gradient where autograd left it; a rule that must see whole
    tensors, and weights that are not on the CPU, step by the rule itself on columns.
    """

    def __init__(self, members: list[int], lanes: Sequence[Lane], start: int, model: Model) -> None:
        self.members, self.start = members, start
        self.end = start + len(members)
        self.model = model
        self.rules = [lane.rule for lane in lanes]
        self.schedules = [lane.schedules for lane in lanes]
        self.rule = self.rules[0]
        self.base: Numbers = {name: np.array([values(rule)[name] for rule in self.rules]) for name in values(self.rule)}
        self.slots = {slot: torch.stack([lane.slots[slot] for lane in lanes]) for slot in slots_of(self.rule)}
        self.scalars: Numbers = {
            name: np.array([lane.scalars.get(name, begin) for lane in lanes])
            for name, begin in scalars_of(self.rule).items()
        }
        self.needs = needs_of(self.rule)
        self.scheduled = sorted({name for schedules in self.schedules for name in schedules})
        on_cpu = lanes[0].weights.device.type == "cpu"
        self.kernel = KernelStep(self.rule) if serves(self.rule) and on_cpu else None
        self._slot_views = {
            name: places.views(self.slots[name]) for name, places in model.slot_places(self.rule).items()
        }
        self._weights: tuple[Tensor, list[Tensor]] | None = None

    def member(self, offset: int) -> tuple[Rule, Mapping[str, Schedule], dict[str, Tensor], dict[str, float]]:
        """One lane's rule, schedules, slots and scalars."""
        slots = {name: slot[offset].clone() for name, slot in self.slots.items()}
        scalars = {name: float(column[offset]) for name, column in self.scalars.items()}
        return self.rules[offset], self.schedules[offset], slots, scalars

    def at(self, time: float) -> Numbers:
        """Every lane's hyperparameters at that time."""
        factors: dict[Schedule, float] = {}
        found = dict(self.base)
        for name in self.scheduled:
            now = self.base[name].copy()
            for row, schedules in enumerate(self.schedules):
                if name in schedules:
                    shape = schedules[name]
                    if shape not in factors:
                        factors[shape] = shape(time)
                    now[row] *= factors[shape]
            found[name] = now
        return found

    def ahead(self, weights: Tensor, time: float) -> Tensor:
        """Where these lanes take their gradient, [k, P]."""
        return self._rule(time).ahead({**self.slots, **self._columns()}, weights[self.start : self.end])

    def update(self, weights: Tensor, gradients: Sequence[Tensor], step: int, time: float) -> None:
        """Move these lanes' rows of weights [K, P] by one step; gradients are [K, *shape], one a parameter."""
        own = [g[self.start : self.end] for g in gradients]
        if self._weights is None or self._weights[0] is not weights:
            self._weights = weights, self._parts(weights[self.start : self.end])
        views = self._weights[1]
        if self.kernel is None:
            self._update_on_columns(views, own, step, time)
            return
        given = {**self.at(time), **self.scalars, **self._totals(views, own, step, time), "t": step}
        new = self.kernel.step(views, own, self._slot_views, given, lanes=len(self.members), seed=step) or {}
        for name, column in self.scalars.items():
            self.scalars[name] = np.broadcast_to(np.asarray(new[name], dtype=np.float64), column.shape).copy()

    def _update_on_columns(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], step: int, time: float
    ) -> None:
        rule, columns = self._rule(time), self._columns()
        columns |= {name: Column(numbers) for name, numbers in self._totals(weights, gradients, step, time).items()}
        new: State = {}
        for i, (w, g, facts) in enumerate(zip(weights, gradients, self._facts(gradients), strict=True)):
            slots = {name: views[i] for name, views in self._slot_views.items()}
            u, new = rule.update(g, {**slots, **columns, **facts}, w, step)
            for name, slot in slots.items():  # before w changes: a rule may keep w itself
                if new[name] is not slot:
                    slot.copy_(new[name])
            w += u
        self.scalars = {name: new[name].numbers for name in self.scalars}

    def _totals(self, weights: Sequence[Tensor], gradients: Sequence[Tensor], step: int, time: float) -> Numbers:
        """The sums over all of a lane's tensors that the rule needs: [k] for each, added up in float64."""
        if not sums_of(self.rule):
            return {}
        rule, columns = self._rule(time), self._columns()
        found = {name: np.zeros(len(self.members)) for name in sums_of(self.rule)}
        for i, (w, g, facts) in enumerate(zip(weights, gradients, self._facts(gradients), strict=True)):
            slots = {name: views[i] for name, views in self._slot_views.items()}
            terms = rule.terms(g, {**slots, **columns, **facts}, w, step)
            for name, total in found.items():
                total += terms[name].reshape(len(total), -1).sum(dim=1, dtype=torch.float64).cpu().numpy()
        return found

    def _rule(self, time: float) -> Rule:
        return filled(self.rule, {name: Column(numbers) for name, numbers in self.at(time).items()})

    def _columns(self) -> State:
        return {name: Column(numbers) for name, numbers in self.scalars.items()}

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Each parameter's part of [k, P] as a view [k, *shape]."""
        return list(self.model.views(flat).values())

    def _facts(self, gradients: Sequence[Tensor]) -> list[State]:
        """What the rule needs to know of each parameter's gradient, lane by lane: [K, 1, ...]."""
        if not self.needs & {"norm", "global_norm"}:
            return [{} for _ in gradients]
        norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
        known: dict[str, list[Tensor]] = {"norm": norms}
        known["global_norm"] = [torch.linalg.vector_norm(torch.stack(norms), dim=0)] * len(norms)
        return [
            {need: known[need][i].view(-1, *[1] * (g.dim() - 1)) for need in known if need in self.needs}
            for i, g in enumerate(gradients)
        ]


def grouped(lanes: Sequence[Lane], model: Model) -> list[Group]:
    """The lanes sorted into groups of one rule (and the same combinators around it)."""
    kinds: dict[tuple[type[Rule], ...], list[int]] = {}
    for row, lane in enumerate(lanes):
        kinds.setdefault(tuple(type(part) for part in chain(lane.rule)), []).append(row)
    groups: list[Group] = []
    start = 0
    for members in kinds.values():
        groups.append(Group(members, [lanes[row] for row in members], start, model))
        start += len(members)
    return groups


def aheads(groups: Sequence[Group], weights: Tensor, time: float) -> Tensor:
    """The weights [K, P] at which each lane's gradient is taken; a copy only where a rule looks ahead."""
    if not any("gradient_ahead" in group.needs for group in groups):
        return weights
    point = weights.clone()
    for group in groups:
        if "gradient_ahead" in group.needs:
            point[group.start : group.end] = group.ahead(weights, time)
    return point
