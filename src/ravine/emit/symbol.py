"""Symbols: what stands for tensors and numbers while a rule is traced, and the record of what was done to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ravine.errors import UserError

Number: TypeAlias = "int | float | Symbol"


@dataclass(frozen=True)
class Op:
    """One operation on earlier ones, or a leaf.

    Leaves are "number", "hyper", "scalar", "need", "array" (a need of w's shape), "slot" (these by name), "g", "w"
    and "t". A "sum" is given by name as a leaf is; its argument says of what.
    """

    kind: str
    args: tuple[int, ...] = ()
    name: str = ""
    number: float = 0.0
    call: Callable[..., Any] | None = None  # of an "opaque" operation, whose name is how it is typeset
    host: bool = True  # the same for every entry of a tensor: made of hyperparameters, t, scalars, needs and numbers


@dataclass
class Graph:
    """The operations of a trace so far, each only once."""

    ops: list[Op] = field(default_factory=list[Op])
    seen: dict[tuple[object, ...], int] = field(default_factory=dict[tuple[object, ...], int])

    def leaf(self, kind: str, name: str = "", number: float = 0.0) -> Symbol:
        """A symbol that depends on nothing."""
        return self._add(Op(kind, (), name, number, host=kind not in ("g", "w", "slot", "array")))

    def apply(self, kind: str, *operands: Number) -> Symbol:
        """The symbol of an operation on symbols and numbers."""
        symbols = self._symbols(operands)
        return self._add(Op(kind, tuple(x.index for x in symbols), host=all(x.host for x in symbols)))

    def opaque(self, tex: str, call: Callable[..., Any], *operands: Number) -> Symbol:
        """The symbol of a function that is not looked into."""
        return self._add(Op("opaque", tuple(x.index for x in self._symbols(operands)), tex, call=call, host=False))

    def total(self, name: str, term: Symbol) -> Symbol:
        """The number of that name, which is the sum of all that the term is."""
        return self._add(Op("sum", (term.index,), name))

    def _symbols(self, operands: Sequence[Number]) -> list[Symbol]:
        return [x if isinstance(x, Symbol) else self.leaf("number", number=float(x)) for x in operands]

    def _add(self, op: Op) -> Symbol:
        key = (op.kind, op.args, op.name, repr(op.number))  # repr: 0.0 and -0.0 are two numbers
        if key not in self.seen:
            self.seen[key] = len(self.ops)
            self.ops.append(op)
        return Symbol(self, self.seen[key])


class Symbol:
    """What stands for a tensor or a number while a rule is traced; arithmetic on it is recorded."""

    __array_ufunc__ = None  # a NumPy number on the left hands over to the reflected operators below

    def __init__(self, graph: Graph, index: int) -> None:
        self._graph = graph
        self.index = index

    @property
    def host(self) -> bool:
        """Whether it is the same for every entry of a tensor."""
        return self._graph.ops[self.index].host

    def _op(self, kind: str, *operands: Number) -> Symbol:
        return self._graph.apply(kind, *operands)

    def __add__(self, other: Number) -> Symbol:
        return self._op("add", self, other)

    def __radd__(self, other: Number) -> Symbol:
        return self._op("add", other, self)

    def __sub__(self, other: Number) -> Symbol:
        return self._op("sub", self, other)

    def __rsub__(self, other: Number) -> Symbol:
        return self._op("sub", other, self)

    def __mul__(self, other: Number) -> Symbol:
        return self._op("mul", self, other)

    def __rmul__(self, other: Number) -> Symbol:
        return self._op("mul", other, self)

    def __truediv__(self, other: Number) -> Symbol:
        return self._op("div", self, other)

    def __rtruediv__(self, other: Number) -> Symbol:
        return self._op("div", other, self)

    def __pow__(self, other: Number) -> Symbol:
        return self._op("pow", self, other)

    def __rpow__(self, other: Number) -> Symbol:
        return self._op("pow", other, self)

    def __mod__(self, other: Number) -> Symbol:
        return self._op("mod", self, other)

    def __gt__(self, other: Number) -> Symbol:
        return self._op("gt", self, other)

    def __ge__(self, other: Number) -> Symbol:
        return self._op("ge", self, other)

    def __lt__(self, other: Number) -> Symbol:
        return self._op("lt", self, other)

    def __le__(self, other: Number) -> Symbol:
        return self._op("le", self, other)

    def __neg__(self) -> Symbol:
        own = self._graph.ops[self.index]
        return Symbol(self._graph, own.args[0]) if own.kind == "neg" else self._op("neg", self)

    def __abs__(self) -> Symbol:
        return self._op("abs", self)

    def __bool__(self) -> bool:
        raise UserError("a rule cannot branch on a value with `if`: choose between two with ravine.rules.math.where")

    def sqrt(self) -> Symbol:
        """Square root."""
        return self._op("sqrt", self)

    def sign(self) -> Symbol:
        """-1, 0 or 1."""
        return self._op("sign", self)

    def log(self) -> Symbol:
        """Natural logarithm."""
        return self._op("log", self)

    def maximum(self, other: Number) -> Symbol:
        """The larger of two; rules.math hands them over swapped."""
        return self._op("max", other, self)

    def clamp_min(self, low: float) -> Symbol:
        """Not below ``low``."""
        return self._op("max", self, low)

    def where(self, x: Number, y: Number) -> Symbol:
        """With this symbol as the condition: x where it holds, else y."""
        return self._op("where", self, x, y)

    def row_norm(self) -> Symbol:
        """The norm of the row that the entry belongs to."""
        return self._op("row_norm", self)

    def row_mean(self) -> Symbol:
        """The mean of the row that the entry belongs to."""
        return self._op("row_mean", self)

    def opaque(self, tex: str, call: Callable[..., Any], *args: Number) -> Symbol:
        """The result of a function that a trace does not look into, and how it is typeset."""
        return self._graph.opaque(tex, call, *args)

    def total(self, name: str) -> Symbol:
        """The sum of the entries of all tensors: a number that the engine supplies under that name."""
        return self._graph.total(name, self)

    def clone(self) -> Symbol:
        """Itself: a symbol is never changed in place."""
        return self

    def new_zeros(self, shape: object) -> Symbol:
        """The number 0."""
        return self._graph.leaf("number")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one entry."""
        return ()
