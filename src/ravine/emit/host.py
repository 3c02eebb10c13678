"""The host's share of a step as a Python function: coefficients of the kernel and new scalars, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ravine.emit.split import Split
from ravine.emit.trace import reach

INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "mod": "%",
    "pow": "**",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
}
CALLS = {"sqrt": "sqrt", "log": "log", "abs": "abs", "sign": "sign", "max": "maximum", "where": "where"}
PLAIN = {float, int}
NUMBERS: dict[str, Any] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "maximum": lambda x, y: x if x != x or x > y else y,
    "where": lambda condition, x, y: x if condition else y,
    "sign": lambda x: (x > 0) - (x < 0),
}
COLUMNS: dict[str, Any] = {"sqrt": np.sqrt, "log": np.log, "maximum": np.maximum, "where": np.where, "sign": np.sign}


def source(split: Split) -> str:
    """The function's text: inputs by name in one mapping, coefficients and then scalars as one list."""
    wanted = (*split.coefficients, *split.scalars.values())
    lines = ["def host(given):"]
    for index in sorted(reach(split.ops, wanted)):
        op = split.ops[index]
        args = [f"x{arg}" for arg in op.args]
        if op.kind == "number":
            text = repr(op.number)
        elif not args:
            text = f"given[{op.name or op.kind!r}]"
        elif op.kind == "neg":
            text = f"-{args[0]}"
        elif op.kind in INFIX:
            text = f"{args[0]} {INFIX[op.kind]} {args[1]}"
        else:
            text = f"{CALLS[op.kind]}({', '.join(args)})"
        lines.append(f"    x{index} = {text}")
    return "\n".join([*lines, f"    return [{', '.join(f'x{index}' for index in wanted)}]"])


class Host:
    """The function, for plain numbers and for columns of K numbers alike."""

    def __init__(self, split: Split) -> None:
        self.scalars: Sequence[str] = tuple(split.scalars)
        self._count = len(split.coefficients)
        code = compile(source(split), "<ravine host>", "exec")
        self._numbers, self._columns = (_function(code, names) for names in (NUMBERS, COLUMNS))

    def __call__(self, given: Mapping[str, Any], rows: int) -> tuple[list[Any], dict[str, Any]]:
        """The coefficients, each a number or a column of ``rows`` numbers, and the new scalars."""
        if rows == 1:
            try:
                if not PLAIN.issuperset(map(type, given.values())):
                    given = {k: x.item() if isinstance(x, np.ndarray) else float(x) for k, x in given.items()}
                results = self._numbers(given)
                if not self.scalars:
                    return results, {}
                return results[: self._count], dict(zip(self.scalars, results[self._count :], strict=True))
            except (ArithmeticError, ValueError):  # a division by zero is Inf in a column and in a kernel
                pass
        with np.errstate(all="ignore"):
            results = self._columns({k: np.asarray(x, dtype=np.float64) for k, x in given.items()})
        return results[: self._count], dict(zip(self.scalars, results[self._count :], strict=True))


def _function(code: Any, names: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[Any]]:
    namespace = dict(names)
    exec(code, namespace)
    return namespace["host"]
