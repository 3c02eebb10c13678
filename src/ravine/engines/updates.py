"""The update of lanes: those of one rule together, each with its own hyperparameters, schedules and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.engines.column import Column
from ravine.engines.facts import facts_of, whole_norm
from ravine.engines.kernel import KernelStep, serves
from ravine.engines.lane import Lane, Model
from ravine.engines.tiers import Share, Taking, shares_of
from ravine.rules.rule import (
    Rule,
    chain,
    filled,
    needs_of,
    sums_of,
    values,
    with_values,
)
from ravine.rules.sharpness import ascent_of, footing
from ravine.schedules import Schedule
from ravine.types import Scalar, State

Numbers: TypeAlias = dict[str, NDArray[np.float64]]  # one a lane, by name


def rule_of(lane: Lane) -> Rule:
    """The rule of a lane that follows one; methods run by themselves."""
    assert isinstance(lane.rule, Rule)
    return lane.rule


class Group:
    """Lanes of one rule, which lie side by side in the weights from row ``start`` on.

    They step by the emitted kernel, which reads each gradient where autograd left it; a rule that must see whole
    tensors, and weights that are not on the CPU, step by the rule itself on columns.
    """

    def __init__(self, members: list[int], lanes: Sequence[Lane], start: int, model: Model) -> None:
        self.members, self.start = members, start
        self.end = start + len(members)
        self.model = model
        self.rules = [rule_of(lane) for lane in lanes]
        self.seeds = [lane.seed for lane in lanes]
        self.schedules = [lane.schedules for lane in lanes]
        self.rule = self.rules[0]
        self.base: Numbers = {name: np.array([values(rule)[name] for rule in self.rules]) for name in values(self.rule)}
        places = model.slot_places(self.rule)
        self.slots = _stacked(lanes, model, {slot: place.size for slot, place in places.items()})
        self.needs, self.sums = needs_of(self.rule), sums_of(self.rule)
        self.scheduled = sorted({name for schedules in self.schedules for name in schedules})
        on_cpu = lanes[0].weights.device.type == "cpu"
        kernels = [KernelStep(self.rule) if serves(self.rule) and on_cpu else None for _ in model.tiers or (None,)]
        self.shares = shares_of(self.rule, model, lanes, kernels)
        self.is_direct = self.end - start == 1 and len(kernels) == 1 and kernels[0] is not None and not self.sums
        self._slot_views = {slot: place.views(self.slots[slot]) for slot, place in places.items()}
        self._weights: tuple[Tensor, list[Tensor]] | None = None

    def member(self, offset: int) -> tuple[Rule, Mapping[str, Schedule], dict[str, Tensor], dict[str, float]]:
        """One lane's rule, schedules, slots (views of the group's) and scalars."""
        slots = {name: slot[offset] for name, slot in self.slots.items()}
        scalars = {name: value for share in self.shares for name, value in share.kept(offset).items()}
        return self.rules[offset], self.schedules[offset], slots, scalars

    def kept(self, rows: Tensor) -> tuple[dict[str, Tensor], list[Numbers]]:
        """A copy of the state of these lanes ([k], true or false), to put back."""
        mask = rows.numpy()
        scalars = [{name: column[mask].copy() for name, column in share.scalars.items()} for share in self.shares]
        return {name: slot[rows].clone() for name, slot in self.slots.items()}, scalars

    def put_back(self, rows: Tensor, kept: tuple[dict[str, Tensor], list[Numbers]]) -> None:
        """The state of these lanes as it was."""
        slots, scalars = kept
        for name, old in slots.items():
            self.slots[name][rows] = old
        for share, columns in zip(self.shares, scalars, strict=True):
            for name, old in columns.items():
                share.scalars[name][rows.numpy()] = old

    def set_hyper(self, offset: int, name: str, value: float) -> None:
        """Give one lane another value of a hyperparameter."""
        self.rules[offset] = with_values(self.rules[offset], {name: value})
        self.base[name][offset] = value

    def at(self, time: float, share: Share | None = None) -> Numbers:
        """Every lane's hyperparameters at that time, as a share of the parameters has them."""
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
        if share is not None and share.tier is not None:
            found["lr"] = found["lr"] * share.tier.factor
        return found

    def footing(self, weights: Tensor, time: float) -> Tensor:
        """Where these lanes take the first of two gradients, [k, P]; where they take their gradient, if of one."""
        return footing(self.rule_at(time)).ahead({**self.slots, **self._columns()}, weights[self.start : self.end])

    def climb(self, weights: Tensor, first: Tensor, time: float) -> Tensor:
        """Where these lanes take the second of two gradients, [k, P], given the first [k, P]."""
        rule, w = self.rule_at(time), weights[self.start : self.end]
        part = ascent_of(rule)
        assert part is not None
        norm = torch.linalg.vector_norm(part.climbed(first, w), dim=1, keepdim=True)
        known = {"first_gradient": first, "first_norm": norm}
        return rule.ahead({**self.slots, **self._columns(), **known}, w)

    def readout(self, weights: Tensor, time: float) -> Tensor:
        """Where these lanes are evaluated, [k, P]."""
        return self.rule_at(time).readout({**self.slots, **self._columns()}, weights[self.start : self.end])

    def update(
        self,
        weights: Tensor,
        gradients: Sequence[Tensor],
        step: int,
        time: float,
        curvature: Sequence[Tensor] | None = None,
        lag: NDArray[np.int64] | None = None,
    ) -> None:
        """Move these lanes' rows of weights [K, P] by one step; gradients are [K, *shape], one a parameter.

        So is the ``curvature``, where a lane has measured it. Where the group `is_direct`, gradients may be [*shape],
        contiguous. ``lag`` [k] is how many steps each lane has left out, which do not count.
        """
        own = gradients if len(self.members) == len(weights) else [g[self.start : self.end] for g in gradients]
        measured = None if curvature is None else [c[self.start : self.end] for c in curvature]
        if self._weights is None or self._weights[0] is not weights:
            self._weights = weights, self._parts(weights[self.start : self.end])
            for share in self.shares:
                share.is_placed = False
        active = [share for share in self.shares if share.trains(time)]
        every = [self._taking(share, own, measured) for share in active]
        whole = None
        if len(self.shares) > 1 and "global_norm" in self.needs:
            whole = whole_norm([g for taking in every for g in taking.gradients])
        for share, taking in zip(active, every, strict=True):
            self._step(share, taking, share.counted(step), time, whole, lag)

    def _taking(self, share: Share, gradients: Sequence[Tensor], curvature: Sequence[Tensor] | None) -> Taking:
        """What a share's step is taken on: everything, or its own parameters."""
        assert self._weights is not None
        weights, slots = self._weights[1], self._slot_views
        if share.tier is None:
            return Taking(range(len(weights)), weights, gradients, slots, curvature)
        own = share.tier.places
        kept = {name: [views[i] for i in own] for name, views in slots.items()}
        bent = None if curvature is None else [curvature[i] for i in own]
        return Taking(own, [weights[i] for i in own], [gradients[i] for i in own], kept, bent)

    def _step(
        self, share: Share, on: Taking, step: int, time: float, whole: Tensor | None, lag: NDArray[np.int64] | None
    ) -> None:
        counts = None if lag is None else np.maximum(step - lag, 1).astype(np.float64)  # of each lane's own steps
        t = step if counts is None else Column(counts)
        if share.kernel is None:
            self._step_on_columns(share, on, facts_of(self.needs, self.seeds, on, step, whole), t, time)
            return
        given: dict[str, Any] = {**self.at(time, share), **share.scalars}
        if len(self.members) == 1:  # as plain numbers, which cost a step less than columns of one
            given = {name: column.item() for name, column in given.items()}
        given["t"] = step if counts is None else counts
        if whole is not None and "global_norm" in self.needs:
            given["global_norm"] = whole.double().numpy()
        if self.sums:
            given |= self._totals(on, facts_of(self.needs, self.seeds, on, step, whole), t, time)
        many, kernel = len(self.members), share.kernel
        if share.is_placed:
            new = kernel.follow(on.weights, on.gradients, given, many, step)
        else:
            gradients = [g.view(w.shape) for w, g in zip(on.weights, on.gradients, strict=True)]
            new = kernel.step(on.weights, gradients, on.slots, given, lanes=many, seed=step) or {}
            share.is_placed = True
        for name in share.scalars:
            share.scalars[name] = np.full(many, new[name], dtype=np.float64)

    def _step_on_columns(self, share: Share, on: Taking, known: Sequence[State], step: Scalar, time: float) -> None:
        rule, columns = self.rule_at(time, share), self._columns(share)
        totals = self._totals(on, known, step, time)
        columns |= {name: Column(numbers) for name, numbers in totals.items()}
        new: State = {}
        for i, (w, g, facts) in enumerate(zip(on.weights, on.gradients, known, strict=True)):
            slots = {name: views[i] for name, views in on.slots.items()}
            u, new = rule.update(g, {**slots, **columns, **facts}, w, step)
            for name, slot in slots.items():  # before w changes: a rule may keep w itself
                if new[name] is not slot:
                    slot.copy_(new[name])
            w += u
        share.scalars = {name: new[name].numbers for name in share.scalars}

    def _totals(self, on: Taking, known: Sequence[State], step: Scalar, time: float) -> Numbers:
        """The sums over all of a lane's tensors that the rule needs: [k] for each, added up in float64."""
        if not self.sums:
            return {}
        rule, columns = self.rule_at(time), self._columns()
        found = {name: np.zeros(len(self.members)) for name in self.sums}
        for i, (w, g, facts) in enumerate(zip(on.weights, on.gradients, known, strict=True)):
            slots = {name: views[i] for name, views in on.slots.items()}
            terms = rule.terms(g, {**slots, **columns, **facts}, w, step)
            for name, total in found.items():
                total += terms[name].reshape(len(total), -1).sum(dim=1, dtype=torch.float64).cpu().numpy()
        return found

    def rule_at(self, time: float, share: Share | None = None) -> Rule:
        """The rule with every lane's hyperparameters at that time, as columns."""
        return filled(self.rule, {name: Column(numbers) for name, numbers in self.at(time, share).items()})

    def _columns(self, share: Share | None = None) -> State:
        return {name: Column(numbers) for name, numbers in (share or self.shares[0]).scalars.items()}

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Each parameter's part of [k, P] as a view [k, *shape]."""
        return list(self.model.views(flat).values())


def _stacked(lanes: Sequence[Lane], model: Model, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The slots of all lanes, [K, size] each; those of a lane that has none yet are made here, one lane at a time."""
    stacked = {slot: lanes[0].weights.new_empty(len(lanes), size) for slot, size in sizes.items()}
    for row, lane in enumerate(lanes):
        for slot, value in (lane.slots or model.slots(rule_of(lane), lane.weights)).items():
            stacked[slot][row] = value
    return stacked


def grouped(lanes: Sequence[Lane], model: Model) -> list[Group]:
    """The lanes sorted into groups of one rule (and the same combinators around it)."""
    kinds: dict[tuple[type[Rule], ...], list[int]] = {}
    for row, lane in enumerate(lanes):
        kinds.setdefault(tuple(type(part) for part in chain(rule_of(lane))), []).append(row)
    groups: list[Group] = []
    start = 0
    for members in kinds.values():
        groups.append(Group(members, [lanes[row] for row in members], start, model))
        start += len(members)
    return groups
