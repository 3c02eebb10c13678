"""The kernel engine: one launch updates every tensor, group and lane of a rule where they lie in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain as chained
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.graph import increment_version

from ravine.emit.host import Host
from ravine.emit.split import Split, split
from ravine.emit.trace import trace
from ravine.engines.launch import CpuLaunch, Launch
from ravine.engines.maxnorm import RowLimit, unlimited
from ravine.engines.table import Integers, in_order, is_dense, stored
from ravine.errors import UserError
from ravine.randomness import key
from ravine.rules.maxnorm import MaxNorm
from ravine.rules.rule import Rule, chain, filled, hypers, name_of, needs_of, scalars_of, slots_of, sums_of
from ravine.types import Scalar

_dtype, _device = attrgetter("dtype"), attrgetter("device")


def serves(rule: Rule) -> bool:
    """Whether a kernel can take the rule's steps: it sees one number at a time, but for a max-norm after the step."""
    return not needs_of(rule) & {"noise", "curvature"} and all(part.scope == "entry" for part in chain(unlimited(rule)))


@lru_cache(maxsize=256)
def _split_of(rule: Rule) -> Split:
    """The traced equation, for which the hyperparameters' values do not matter."""
    return split(trace(rule))


class KernelStep:
    """A rule's step on tensors, in place.

    The rule's hyperparameters' values are not used: each step is given its own. One object serves any tensors; it
    remembers where the last ones lay, so a step on the same tensors costs no more than its memory traffic.
    """

    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    launch: ClassVar[type[Launch]] = CpuLaunch
    looks: ClassVar[bool] = False  # whether a launch wants the gradients as tensors, not by address

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.slots = slots_of(rule)
        self._split = _split_of(filled(unlimited(rule), dict.fromkeys(hypers(rule), 0.0)))
        self._is_limited = any(isinstance(part, MaxNorm) for part in chain(rule))
        self._host = Host(self._split)
        self._norm = next(iter(needs_of(rule) & {"norm", "global_norm"}), None)
        self._inputs = {*hypers(rule), *scalars_of(rule), *sums_of(rule), "t", self._norm}
        self._like: tuple[Any, ...] = ()  # what the tables were made for: sizes, types, rows, lanes
        self._devices: list[torch.device] = []
        self._addresses: list[int] = []
        self._read: NDArray[np.float64] | None = None  # the squares of these gradients, where they are known
        self._parts = 1
        self._batches: list[Launch] = []
        self._limit: RowLimit | None = None
        self._rows: Integers = np.empty(0, dtype=np.int64)
        self._steps = 0
        self._is_rounded = False

    def step(
        self,
        weights: Sequence[Tensor],
        gradients: Sequence[Tensor],
        slots: Mapping[str, Sequence[Tensor]],
        given: Mapping[str, Scalar],
        *,
        rows: Sequence[int] | None = None,
        lanes: int = 0,
        seed: int | None = None,
        finite_only: bool = False,
    ) -> dict[str, Any] | None:
        """Update weights and slots in place and return the new scalars.

        ``given`` holds each hyperparameter, scalar state, sum and t by name: one number, or K numbers, one for each
        coefficient row. ``rows[i]`` is the row of tensor i (0 if not given). With ``lanes`` = K every tensor is
        [K, ...], and lane k has row k. "norm" (one number a tensor, or [tensors, K]) and "global_norm" (one, or K)
        may be given too, where the gradients here are not all of them; else they are measured. ``seed`` keys the
        random rounding of bfloat16 slots; without it the steps of this object are counted.
        ``finite_only`` reads the gradients first; if one is not finite, nothing is changed and the result is None.
        """
        columns = [weights, [in_order(w, g, lanes) for w, g in zip(weights, gradients, strict=True)]]
        columns += [slots[name] for name in self.slots]
        self.locate(columns, rows, lanes)
        if finite_only and not self.finite():
            return None
        return self.advance(weights, given, seed)

    def locate(
        self,
        columns: list[Sequence[Tensor]],
        rows: Sequence[int] | None = None,
        lanes: int = 0,
        numbers: Sequence[int] | None = None,
    ) -> None:
        """Say where a step is to be taken: weights, gradients in their order of memory, and each slot; cheap again.

        ``numbers`` are the tensors' own, for random rounding; their places if not given.
        """
        flat = list(chained(*columns))
        try:
            addresses = list(map(Tensor.data_ptr, flat))
        except RuntimeError:  # a tensor without storage: say which kinds there may be
            _ = [stored(x, self.devices) for x in flat]
            raise
        self._read = None
        like = (list(map(Tensor.numel, columns[0])), list(map(_dtype, flat)), rows and list(rows), lanes, numbers)
        if self._like != like or (self._addresses != addresses and list(map(_device, flat)) != self._devices):
            self._like = ()  # should the tables not come about
            self._build(columns, rows, lanes, numbers)
            self._like, self._devices, self._limit = like, list(map(_device, flat)), None
        elif self._addresses != addresses:
            self._move(columns, addresses)
        if self._is_limited and self._limit is None:  # made before anything changes, since making it can fail
            self._limit = RowLimit(columns[0], rows or [0] * len(columns[0]), lanes)
        self._addresses = addresses
        if self.looks:
            self._show(columns[1])

    def stays(self, columns: list[Sequence[Tensor]]) -> bool:
        """`locate` where every tensor is of the same kind as the last: whether no other than gradients have moved."""
        addresses, first, last = list(map(Tensor.data_ptr, chained(*columns))), len(columns[0]), 2 * len(columns[0])
        if addresses[:first] != self._addresses[:first] or addresses[last:] != self._addresses[last:]:
            return False
        self._find(columns[1], addresses[first:last])
        return True

    def follow(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor], given: Mapping[str, Scalar], lanes: int, seed: int
    ) -> dict[str, Any]:
        """`step` for whoever knows that weights and slots are those of the last one, where they were."""
        gradients = [in_order(w, g, lanes) for w, g in zip(weights, gradients, strict=True)]
        self._find(gradients, list(map(Tensor.data_ptr, gradients)))
        return self.advance(weights, given, seed)

    def _find(self, gradients: Sequence[Tensor], addresses: list[int]) -> None:
        """Note where the gradients of the coming step lie, nothing else having moved."""
        own = slice(len(gradients), 2 * len(gradients))
        if addresses != self._addresses[own]:
            self._addresses[own] = addresses
            for batch in self._batches:
                batch.move(1, [gradients[i] for i in batch.members])
        self._read = None
        if self.looks:
            self._show(gradients)

    def _show(self, gradients: Sequence[Tensor]) -> None:
        for batch in self._batches:
            batch.see([gradients[i] for i in batch.members])

    def finite(self) -> bool:
        """Whether every gradient is finite; norms that the step needs are measured by the way, and kept for it."""
        if self._norm is None:
            return all(batch.finite() for batch in self._batches)
        self._read = self._squares()
        return bool(np.isfinite(self._read).all())

    def advance(
        self, weights: Sequence[Tensor], given: Mapping[str, Scalar], seed: int | None = None
    ) -> dict[str, Any]:
        """Take the step where `locate` has said, with those numbers; the new scalars."""
        if not self._inputs.issuperset(given):
            given = {name: x for name, x in given.items() if name in self._inputs}
        values, count, row_of = self._with_norm(given)
        coefficients, scalars = self._host(values, count)
        self._steps += 1
        chance = key("rounding", self._steps if seed is None else seed) if self._is_rounded else 0
        for batch in self._batches:
            batch.run(coefficients, count, chance)
        if self._limit:
            self._limit(given["max_norm"])
        increment_version(list(weights))  # autograd must notice that they changed
        return scalars if row_of is None else self._per_row(scalars)

    def _move(self, columns: list[Sequence[Tensor]], addresses: list[int]) -> None:
        """Note the addresses that are new."""
        count = len(columns[0])
        for role, column in enumerate(columns):
            part = slice(role * count, (role + 1) * count)
            if addresses[part] != self._addresses[part]:
                self._limit = self._limit if role else None
                for batch in self._batches:
                    batch.move(role, [column[i] for i in batch.members])

    def _build(
        self, columns: list[Sequence[Tensor]], rows: Sequence[int] | None, lanes: int, numbers: Sequence[int] | None
    ) -> None:
        name = name_of(self.rule)
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for i, w in enumerate(columns[0]):
            if not is_dense(w, lanes) or any(column[i].shape != w.shape for column in columns):
                raise UserError(f"{name}: tensor {i} has gaps, or its slots another shape: use engine='eager'")
            kept = tuple(stored(column[i], self.devices) for column in columns)
            kinds.setdefault((w.device, *kept), []).append(i)
        tensor_rows = np.zeros(len(columns[0]), dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)
        parts = self._parts = lanes or 1
        self._rows = np.tile(np.arange(lanes), len(columns[0])) if lanes else tensor_rows
        own = np.arange(len(columns[0])) if numbers is None else np.asarray(numbers, dtype=np.int64)
        self._is_rounded = any("bfloat16" in kept[3:] for kept in kinds)
        self._batches = []
        for members in kinds.values():
            segments = (np.array(members)[:, None] * parts + np.arange(parts)).ravel()
            each = (own[members, None] * parts + np.arange(parts)).ravel()
            places = segments if self._norm == "norm" else self._rows[segments]
            arrays = [[column[i] for i in members] for column in columns]
            self._batches.append(self.launch(self._split, name, members, arrays, places, lanes, each))

    def _with_norm(self, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], int, Integers | None]:
        """The numbers with the norm that the rule needs; how many coefficient rows there are, and of which row."""
        columns = [x.size for x in given.values() if x.__class__ is np.ndarray]
        count = max(self._parts, *columns) if columns else self._parts
        if self._norm is None:
            return given, count, None
        norm = np.asarray(given[self._norm]) if self._norm in given else self._measure()
        if self._norm == "global_norm":
            return {**given, "global_norm": norm}, max(count, norm.size), None
        values = {name: np.asarray(x)[self._rows] if np.size(x) > 1 else x for name, x in given.items()}
        return {**values, "norm": norm.ravel()}, len(self._rows), self._rows

    def _measure(self) -> NDArray[np.float64]:
        """The norm that the rule needs: of each segment, or of everything, lane by lane."""
        total = self._squares() if self._read is None else self._read
        return np.sqrt(total if self._norm == "norm" else total.reshape(-1, self._parts).sum(axis=0))

    def _squares(self) -> NDArray[np.float64]:
        total = np.empty(len(self._rows))
        for batch in self._batches:
            segments = (np.array(batch.members)[:, None] * self._parts + np.arange(self._parts)).ravel()
            total[segments] = batch.squares()
        return total

    def _per_row(self, scalars: dict[str, Any]) -> dict[str, Any]:
        """New scalars by coefficient row, where a norm had given every tensor a row of its own."""
        _, places = np.unique(self._rows, return_index=True)
        return {name: np.asarray(x)[places] if np.size(x) > 1 else x for name, x in scalars.items()}
