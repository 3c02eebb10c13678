"""One kernel's pass over some parameters: put together once, run again while they stay what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ravine.engines import eager
from ravine.engines.table import in_order
from ravine.rules.rule import Rule, scalars_of, slots_of, values
from ravine.types import State

if TYPE_CHECKING:
    from ravine.engines.kernel import KernelStep
    from ravine.optim.stepper import Item

PLAIN = (Tensor, nn.Parameter)


class Sweep:
    """Parameters whose rules have one form.

    Parameters of the same rule, at the same step and with the same scalar state share a row of coefficients;
    ``sources`` are the first parameter of each row.
    """

    def __init__(self, kernel: KernelStep, items: Sequence[Item]) -> None:
        self.kernel = kernel
        self.slots, self.scalars = slots_of(items[0].rule), tuple(scalars_of(items[0].rule))
        for item in items:
            eager.follow(item.rule, item.state, eager.as_real(item.w), item.kept)
        self.states: list[State] = [item.state for item in items]
        self.weights = [eager.as_real(local(item.w)) for item in items]
        self.numbers = [item.number for item in items]
        self.columns = [[local(state[name]) for state in self.states] for name in self.slots]
        self.times: Sequence[int] = [item.t for item in items]  # of the last step
        self._kept: list[Any] = []  # what the states held after it
        self._clocks: slice | None = None  # where the times are among it
        self.sources: list[int] = []
        self._places: list[int] = []
        self._values: list[tuple[Rule | None, dict[str, Any]]] = []
        self._group(items)

    def _group(self, items: Sequence[Item]) -> None:
        rows: dict[tuple[Any, ...], int] = {}
        for index, item in enumerate(items):
            key = (id(item.rule), item.t, *(item.state[name] for name in self.scalars))
            if key not in rows:
                rows[key] = len(rows)
                self.sources.append(index)
            self._places.append(rows[key])
        self._values = [(None, {})] * len(rows)

    def take(self, items: Sequence[Item], moment: int) -> None:
        """The step that the items say; ``moment`` keys the rounding of slots kept in bfloat16."""
        gradients = [in_order(w, eager.as_real(local(item.g))) for w, item in zip(self.weights, items, strict=True)]
        places = self._places if len(self.sources) > 1 else None
        self.kernel.locate([self.weights, gradients, *self.columns], places, numbers=self.numbers)
        facts: dict[str, Any] = dict(items[0].facts)
        if "norm" in facts:
            facts["norm"] = [item.facts["norm"] for item in items]
        self.advance([items[i].rule for i in self.sources], self.times, facts, moment)

    def stays(self, gradients: Sequence[Tensor]) -> bool:
        """Whether states, weights and slots are as they were; gradients like the last may have moved."""
        now = _contents(self.states)
        is_kept = len(now) == len(self._kept) and all(map(is_, now, self._kept))
        return is_kept and self.kernel.stays([self.weights, gradients, *self.columns])

    def advance(self, rules: Sequence[Rule], times: Sequence[int], facts: Mapping[str, Any], moment: int) -> None:
        """Step with the rule of each row and the time of each parameter; norms that no fact tells are measured."""
        rows: list[dict[str, Any]] = []
        for row, (rule, source) in enumerate(zip(rules, self.sources, strict=True)):
            if self._values[row][0] is not rule:
                self._values[row] = rule, values(rule)
            rows.append({**self._values[row][1], "t": times[source]})
            for name in self.scalars:
                rows[-1][name] = self.states[source][name]
        given = rows[0] if len(rows) == 1 else {name: np.array([row[name] for row in rows]) for name in rows[0]}
        new = self.kernel.advance(self.weights, {**given, **facts} if facts else given, moment)
        for name in self.scalars:
            column = np.ravel(new[name])
            for state, place in zip(self.states, self._places, strict=True):
                state[name] = float(column[place if column.size > 1 else 0])
        self._settle(times)

    def _settle(self, times: Sequence[int]) -> None:
        self.times = times
        for state, t in zip(self.states, times, strict=True):
            state["step"] = t
        if self._clocks and not self.scalars:
            self._kept[self._clocks] = times
            return
        self._kept = _contents(self.states)
        orders = set(map(tuple, self.states))
        if len(orders) == 1:  # the times lie at equal distances, so that the next step need not look at the rest
            (names,) = orders
            self._clocks = slice(names.index("step"), None, len(names))


def _contents(states: Sequence[State]) -> list[Any]:
    return list(chain.from_iterable(map(dict[str, Any].values, states)))


def local(x: Tensor) -> Tensor:
    """The part of a sharded tensor that lies here; any other tensor itself."""
    return x if type(x) in PLAIN else getattr(x, "to_local", lambda: x)()
