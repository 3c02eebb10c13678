"""A step that is like the last one: what was found out then is looked at again, and done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor

from ravine.optim.groups import Group
from ravine.optim.made import Made
from ravine.optim.sweep import PLAIN, Sweep
from ravine.rules.rule import Rule, needs_of, sums_of
from ravine.types import State

_gradient, _dtype = attrgetter("grad"), attrgetter("dtype")
Swept = Sequence[tuple[Sweep, list[int]]]  # each sweep, and which of the moving parameters it moves


class Plan:
    """The sweeps of a step of plain tensors, and all that must be as it was for them to be run again.

    Options are not part of it: each step reads them anew. Nothing here keeps a gradient alive.
    """

    def __init__(
        self, groups: Sequence[Group], state: Mapping[Tensor, State], found: Sequence[tuple[int, Made]], swept: Swept
    ) -> None:
        self._params = _flat(groups)
        gradients = list(map(_gradient, self._params))
        self._absent = [g is None for g in gradients]
        self._is_partial = any(self._absent)
        self._moving = [p for p, g in zip(self._params, gradients, strict=True) if g is not None]
        self._traits = _traits(self._moving, [g for g in gradients if g is not None])
        self._keys, self._states = list(state.keys()), list(state.values())
        self._groups = [which for which, _ in found]
        self._kinds = {which: made.kind for which, made in found}
        self._swept = swept
        self._is_on_gpu = any(p.is_cuda for p in self._moving)
        self._rows = [[(self._groups[members[i]], i) for i in sweep.sources] for sweep, members in swept]

    @classmethod
    def of(
        cls, groups: Sequence[Group], state: Mapping[Tensor, State], found: Sequence[tuple[int, Made]], swept: Swept
    ) -> Plan | None:
        """The plan after a step that sweeps have taken whole; None where the next one must be looked at in full.

        ``found`` are the group and the rule of each parameter that moved.
        """
        moving = [p for p in _flat(groups) if p.grad is not None]
        gradients = list(map(_gradient, moving))
        is_whole = len(moving) == len(found) == sum(len(members) for _, members in swept) > 0
        is_plain = all(type(x) in PLAIN and not x.is_complex() for x in (*moving, *gradients))
        if not (is_whole and is_plain and all(map(_is_alike, moving, gradients))):
            return None
        apart = len(swept) > 1 and any("global_norm" in needs_of(made.rule) for _, made in found)
        summed = any(made.ahead or sums_of(made.rule) for _, made in found)
        return None if apart or summed else cls(groups, state, found, swept)

    def again(
        self,
        groups: Sequence[Group],
        state: Mapping[Tensor, State],
        made: Callable[[int, int], Made],
        check: bool,
    ) -> bool:
        """Take the step if all is as it was and, with ``check``, every gradient finite; else nothing is changed.

        ``made`` is the rule of a group at a step, as its options stand.
        """
        if self._is_on_gpu and torch.cuda.is_current_stream_capturing():
            return False  # which a step in full says more of
        gradients = self._gradients(groups, state)
        if gradients is None:
            return False
        chosen: list[list[Rule]] = []
        for (sweep, _), rows in zip(self._swept, self._rows, strict=True):
            rules: list[Rule] = []
            for which, source in rows:
                each = made(which, sweep.times[source] + 1)
                if self._kinds[which] != each.kind:
                    return False
                rules.append(each.rule)
            chosen.append(rules)
        if check:
            for sweep, _ in self._swept:
                if not sweep.kernel.finite():
                    return False
        times = [[t + 1 for t in sweep.times] for sweep, _ in self._swept]
        moment = max(map(max, times))
        for (sweep, _), rules, now in zip(self._swept, chosen, times, strict=True):
            sweep.advance(rules, now, {}, moment)
        return True

    def _gradients(self, groups: Sequence[Group], state: Mapping[Tensor, State]) -> list[Tensor] | None:
        """The gradients, noted where they lie, if parameters, state and gradients are what they were."""
        params = _flat(groups)
        if not _same(params, self._params) or any([group.get("maximize") for group in groups]):
            return None
        gradients = list(map(_gradient, params))
        if [g is None for g in gradients] != self._absent:
            return None
        if self._is_partial:
            gradients = [g for g in gradients if g is not None]
        if not (_same(state.keys(), self._keys) and _same(state.values(), self._states)):
            return None
        try:
            if _traits(self._moving, gradients) != self._traits:
                return None
            for sweep, members in self._swept:
                if not sweep.stays(gradients if len(members) == len(gradients) else [gradients[i] for i in members]):
                    return None
        except RuntimeError:  # a sparse gradient lies nowhere
            return None
        return gradients


def _flat(groups: Sequence[Group]) -> list[Tensor]:
    return list(chain.from_iterable(group["params"] for group in groups))


def _same(xs: Any, ys: Sequence[Any]) -> bool:
    """Whether they are the same objects, in the same order."""
    return len(xs) == len(ys) and all(map(is_, xs, ys))


def _is_alike(w: Tensor, g: Tensor) -> bool:
    """Whether the gradient is in the weights' order of memory."""
    return w.stride() == g.stride() or (w.is_contiguous() and g.is_contiguous())


def _traits(weights: list[Tensor], gradients: list[Tensor]) -> list[Any]:
    """What a step depends on beside numbers and addresses."""
    kinds = [*map(type, gradients), *map(_dtype, weights), *map(_dtype, gradients)]
    if all(map(Tensor.is_contiguous, weights)) and all(map(Tensor.is_contiguous, gradients)):
        return [*kinds, *map(Tensor.numel, weights)]
    return [*kinds, *map(Tensor.stride, weights), *map(Tensor.stride, gradients), *map(Tensor.size, weights)]
