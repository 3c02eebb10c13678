"""A rule called once with symbols: its equation as a list of operations, in the rule's own order of arithmetic."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ravine.emit.symbol import Graph, Op, Symbol
from ravine.errors import UserError
from ravine.rules.math import absolute, log, maximum, row_mean, row_norm, sign, sqrt, where
from ravine.rules.rule import ARRAYS, Rule, chain, hypers, name_of, needs_of, scalars_of, slots_of, sums_of, with_values

OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "mod": operator.mod,
    "pow": operator.pow,
    "neg": operator.neg,
    "abs": absolute,
    "sqrt": sqrt,
    "sign": sign,
    "log": log,
    "max": maximum,
    "row_norm": lambda x: row_norm(x, None),
    "row_mean": lambda x: row_mean(x, None),
    "where": where,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


@dataclass(frozen=True)
class Program:
    """A traced rule: every operation once, an operation after those it uses; outputs are positions in ``ops``."""

    rule: Rule
    ops: tuple[Op, ...]
    update: int  # u
    weights: int  # w + u
    slots: Mapping[str, int]
    scalars: Mapping[str, int]
    ahead: int  # where the gradient is taken; w itself for most rules
    starts: Mapping[str, int]  # the slots before the first step
    names: Mapping[int, str]  # the letters that the rule itself gives to its intermediate results

    def evaluate(self, inputs: Mapping[str, Any], wanted: tuple[int, ...]) -> tuple[Any, ...]:
        """The values of some operations; inputs are g, w, t, hyperparameters, state, needs and sums by name."""
        values: dict[int, Any] = {}

        def value(index: int) -> Any:
            if index not in values:
                values[index] = self._apply(self.ops[index], inputs, value)
            return values[index]

        return tuple(value(index) for index in wanted)

    def _apply(self, op: Op, inputs: Mapping[str, Any], value: Callable[[int], Any]) -> Any:
        if op.kind == "number":
            return op.number
        if not op.args or op.kind == "sum":
            return inputs[op.name or op.kind]
        if op.kind == "where" and isinstance(value(op.args[0]), bool):  # what is not chosen may not be computable
            return value(op.args[1 if value(op.args[0]) else 2])
        return (op.call or OPERATIONS[op.kind])(*map(value, op.args))


def reach(ops: tuple[Op, ...], roots: tuple[int, ...]) -> set[int]:
    """The operations that the roots are made of, themselves included; a sum over all tensors counts as a leaf."""
    found: set[int] = set()
    open_ends = list(roots)
    while open_ends:
        index = open_ends.pop()
        if index not in found:
            found.add(index)
            open_ends.extend(() if ops[index].kind == "sum" else ops[index].args)
    return found


def trace(rule: Rule) -> Program:
    """Call the rule once with symbols.

    >>> from ravine.rules.descent import SGD
    >>> [op.kind for op in trace(SGD()).ops]
    ['hyper', 'g', 'w', 't', 'neg', 'mul', 'add']
    """
    _check_names(rule)
    graph = Graph()
    symbolic = with_values(rule, {name: graph.leaf("hyper", name) for name in hypers(rule)})
    g, w, t = graph.leaf("g"), graph.leaf("w"), graph.leaf("t")
    slots, scalars = slots_of(rule), tuple(scalars_of(rule))
    state = {slot: graph.leaf("slot", slot) for slot in slots}
    state |= {name: graph.leaf("scalar", name) for name in scalars}
    for name in sorted(needs_of(rule) - {"gradient_ahead"}):
        state[name] = graph.leaf("array" if name in ARRAYS else "need", name)
    if "first_gradient" in state:
        state["first_norm"] = graph.leaf("need", "first_norm")

    def call() -> Any:
        terms = symbolic.terms(g, dict(state), w, t)
        return symbolic.update(g, {**state, **{name: terms[name].total(name) for name in sums_of(rule)}}, w, t)

    (u, new), names = _call_and_name(symbolic, call)
    u = u if isinstance(u, Symbol) else graph.leaf("number", number=float(u))
    outputs = {k: x if isinstance(x, Symbol) else graph.leaf("number", number=float(x)) for k, x in new.items()}
    starts = {k: x.index for k, x in symbolic.init(w).items()}
    weights, ahead = w + u, symbolic.ahead(dict(state), w)
    return Program(
        rule=rule,
        ops=tuple(graph.ops),
        update=u.index,
        weights=weights.index,
        slots={name: outputs[name].index for name in slots},
        scalars={name: outputs[name].index for name in scalars},
        ahead=ahead.index,
        starts=starts,
        names=names,
    )


def _check_names(rule: Rule) -> None:
    names = ["g", "w", "t", "norm", "global_norm", *slots_of(rule), *scalars_of(rule), *sums_of(rule)]
    names += [name for part in chain(rule) for name in hypers(type(part))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"{name_of(rule)}: {twice[0]} names two things; give slots, scalars and hyperparameters names of their own"
        )


def _call_and_name(rule: Rule, call: Callable[[], Any]) -> tuple[Any, dict[int, str]]:
    """What the call returns, and the local names under which the rule's own functions held symbols."""
    modules = {type(part).__module__ for part in chain(rule)}
    names: dict[int, str] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_globals.get("__name__") in modules:
            for name, value in frame.f_locals.items():
                if isinstance(value, Symbol):
                    names.setdefault(value.index, name)

    def watched() -> Any:
        sys.setprofile(note)  # a trace has no other way to the letters of the equation's author
        return call()

    with ThreadPoolExecutor(1) as alone:  # a profiler belongs to its thread: the caller's own goes on
        return alone.submit(watched).result(), names
