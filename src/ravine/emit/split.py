"""A trace split in two: what is computed once a step on the host in float64, and what is computed for every entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ravine.emit.symbol import Graph, Op, Symbol
from ravine.emit.trace import Program, reach
from ravine.errors import UserError
from ravine.rules.rule import chain


@dataclass(frozen=True)
class Split:
    """Operations anew: the coefficients' are of host numbers only, the entries' use coefficients as if leaves."""

    ops: tuple[Op, ...]
    coefficients: tuple[int, ...]  # the host results that entries use, in the order of a coefficient row
    entries: tuple[int, ...]  # what is computed for every entry, in order, leaves included
    weights: int
    slots: Mapping[str, int]
    scalars: Mapping[str, int]


def split(program: Program) -> Split:
    """Hoist every host subexpression, gathering host factors so that each entry is rounded fewer times."""
    for part in chain(program.rule):
        if part.scope != "entry":
            seen = "rows" if part.scope == "row" else "tensors"
            raise UserError(
                f"{type(part).__name__} sees whole {seen} and has no equation for one entry: use engine='eager'"
            )
    graph = Graph()
    new: list[Symbol] = []
    for op in program.ops:
        new.append(_rewrite(graph, op, [new[arg] for arg in op.args]))
    weights, slots = new[program.weights], {name: new[i] for name, i in program.slots.items()}
    scalars = {name: new[i] for name, i in program.scalars.items()}
    for name, symbol in scalars.items():
        if not symbol.host:
            raise UserError(f"scalar state {name} must not depend on the gradient, the weights or a slot's entries")
    ops = tuple(graph.ops)
    used = sorted(reach(ops, (weights.index, *(x.index for x in slots.values()))))
    entries = tuple(i for i in used if not ops[i].host)
    inside = {arg for i in entries for arg in ops[i].args} | {weights.index} | {x.index for x in slots.values()}
    return Split(
        ops=ops,
        coefficients=tuple(sorted(i for i in inside if ops[i].host)),
        entries=entries,
        weights=weights.index,
        slots={name: x.index for name, x in slots.items()},
        scalars={name: x.index for name, x in scalars.items()},
    )


def _rewrite(graph: Graph, op: Op, args: list[Symbol]) -> Symbol:
    if op.kind == "sum":
        return graph.leaf("need", op.name)
    if not op.args:
        return graph.leaf(op.kind, op.name, op.number)
    if not op.host and op.kind == "div" and args[1].host:
        return _scaled(graph, graph.apply("div", 1.0, args[1]), args[0])
    if not op.host and op.kind == "mul" and args[0].host != args[1].host:
        factor, entry = args if args[0].host else args[::-1]
        return _scaled(graph, factor, entry)
    if not op.host and op.kind == "neg":
        factor, entry = _parts(graph, args[0])
        return -args[0] if factor is None else _scaled(graph, -factor, entry)
    return graph.apply(op.kind, *args)


def _scaled(graph: Graph, factor: Symbol, entry: Symbol) -> Symbol:
    inner, bare = _parts(graph, entry)
    return factor * entry if inner is None else graph.apply("mul", factor * inner, bare)


def _parts(graph: Graph, entry: Symbol) -> tuple[Symbol | None, Symbol]:
    """The host factor in front of an entry, if it has one, and the rest."""
    op = graph.ops[entry.index]
    if op.kind == "neg" and not op.host:
        return graph.leaf("number", number=-1.0), Symbol(graph, op.args[0])
    if op.kind == "mul" and not op.host and graph.ops[op.args[0]].host:
        return Symbol(graph, op.args[0]), Symbol(graph, op.args[1])
    return None, entry
