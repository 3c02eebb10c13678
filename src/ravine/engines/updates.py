"""The update of lanes: those of one rule together, each with its own hyperparameters, schedules and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ravine.engines.column import Column
from ravine.engines.lane import Lane, Model
from ravine.rules.rule import Rule, chain, filled, needs_of, scalars_of, slots_of, values
from ravine.schedules import Schedule
from ravine.types import State


class Group:
    """Lanes of one rule, which lie side by side in the weights from row ``start`` on."""

    def __init__(self, members: list[int], lanes: Sequence[Lane], start: int, model: Model) -> None:
        self.members, self.start = members, start
        self.end = start + len(members)
        self.model = model
        self.rules = [lane.rule for lane in lanes]
        self.schedules = [lane.schedules for lane in lanes]
        first = self.rules[0]
        self.base = {name: np.array([values(rule)[name] for rule in self.rules]) for name in values(first)}
        self.slots = {slot: torch.stack([lane.slots[slot] for lane in lanes]) for slot in slots_of(first)}
        self.scalars: dict[str, Any] = {
            name: Column([lane.scalars.get(name, begin) for lane in lanes]) for name, begin in scalars_of(first).items()
        }
        self.needs = needs_of(first)
        self.constant = filled(first, {name: Column(base) for name, base in self.base.items()})
        self.scheduled = sorted({name for schedules in self.schedules for name in schedules})

    def member(self, offset: int) -> tuple[Rule, Mapping[str, Schedule], dict[str, Tensor], dict[str, float]]:
        """One lane's rule, schedules, slots and scalars."""
        slots = {name: slot[offset].clone() for name, slot in self.slots.items()}
        scalars = {name: float(column.numbers[offset]) for name, column in self.scalars.items()}
        return self.rules[offset], self.schedules[offset], slots, scalars

    def at(self, time: float) -> Rule:
        """The rule with every lane's hyperparameters at that time, as columns."""
        if not self.scheduled:
            return self.constant
        factors: dict[Schedule, float] = {}
        columns: dict[str, Column] = {}
        for name in self.scheduled:
            now = self.base[name].copy()
            for row, schedules in enumerate(self.schedules):
                if name in schedules:
                    shape = schedules[name]
                    if shape not in factors:
                        factors[shape] = shape(time)
                    now[row] *= factors[shape]
            columns[name] = Column(now)
        return filled(self.constant, columns)

    def ahead(self, weights: Tensor) -> Tensor:
        """Where these lanes take their gradient, [k, P]."""
        return self.constant.ahead({**self.slots, **self.scalars}, weights[self.start : self.end])

    def update(self, weights: Tensor, gradient: Tensor, step: int, time: float) -> None:
        """Move these lanes' rows of weights [K, P] by one step along their rows of the gradient [K, P]."""
        w, g = weights[self.start : self.end], gradient[self.start : self.end]
        state: State = {**self.slots, **self.scalars, **self._facts(g)}
        u, new = self.at(time).update(g, state, w, step)
        for name in self.slots:
            kept = new[name]
            self.slots[name] = kept.clone() if kept.data_ptr() == w.data_ptr() else kept
        self.scalars = {name: new[name] for name in self.scalars}
        w += u

    def _facts(self, g: Tensor) -> State:
        facts: State = {}
        if "global_norm" in self.needs:
            facts["global_norm"] = torch.linalg.vector_norm(g, dim=1, keepdim=True)
        if "norm" in self.needs:
            parts = [g[:, a:b] for a, b in zip(self.model.starts, self.model.ends, strict=True)]
            norms = [torch.linalg.vector_norm(part, dim=1, keepdim=True).expand_as(part) for part in parts]
            facts["norm"] = torch.cat(norms, dim=1)
        return facts


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


def aheads(groups: Sequence[Group], weights: Tensor) -> Tensor:
    """The weights [K, P] at which each lane's gradient is taken; a copy only where a rule looks ahead."""
    if not any("gradient_ahead" in group.needs for group in groups):
        return weights
    point = weights.clone()
    for group in groups:
        if "gradient_ahead" in group.needs:
            point[group.start : group.end] = group.ahead(weights)
    return point
