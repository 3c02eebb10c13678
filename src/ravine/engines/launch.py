"""One launch on the CPU: tensors of equal types, their table of chunks and the compiled kernel that runs over it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ravine.emit import numba as printer
from ravine.emit.split import Split
from ravine.engines.native import kernel
from ravine.engines.norm import is_finite, squares
from ravine.engines.table import Integers, Table
from ravine.engines.threads import share

SERIAL = 1 << 17  # entries; below, waking a second thread costs more than it saves


class Launch(Protocol):
    """What runs a split rule over tensors of equal types, wherever they lie; ``arrays`` are those of `Table`."""

    members: list[int]

    def __init__(
        self,
        split: Split,
        name: str,
        members: list[int],
        arrays: list[list[Tensor]],
        rows: Integers,
        lanes: int,
        numbers: Integers,
    ) -> None: ...

    def move(self, role: int, tensors: Sequence[Tensor]) -> None:
        """Note where the tensors of one role lie now."""
        ...

    def see(self, gradients: Sequence[Tensor]) -> None:
        """The gradients of the coming step, for a launch that cannot read them by address."""

    def squares(self) -> NDArray[np.float64]:
        """The sum of squares of each segment's gradient."""
        ...

    def finite(self) -> bool:
        """Whether every gradient is finite; a no may come of squares that are too large to add."""
        return bool(np.isfinite(self.squares()).all())

    def run(self, columns: list[Any], count: int, seed: int) -> None:
        """Update everything; a column is a coefficient: a number, or one for each of ``count`` rows."""
        ...


class CpuLaunch(Launch):
    """A Numba kernel on threads of our own."""

    def __init__(
        self,
        split: Split,
        name: str,
        members: list[int],
        arrays: list[list[Tensor]],
        rows: Integers,
        lanes: int,
        numbers: Integers,
    ) -> None:
        self.members = members
        self._table = Table(arrays, rows, lanes, numbers=numbers)
        self._kernel = kernel(printer.source(split, self._table.stored, name))
        double = self._table.stored[0] == "float64"
        self._exact = ctypes.c_double if double else ctypes.c_float  # what the coefficients are kept as
        self._row: Any = self._exact * len(split.coefficients)

    def move(self, role: int, tensors: Sequence[Tensor]) -> None:
        """As `Launch`."""
        self._table.move(role, tensors)

    def squares(self) -> NDArray[np.float64]:
        """As `Launch`."""
        return squares(self._table)

    def finite(self) -> bool:
        """As `Launch`."""
        return is_finite(self._table)

    def run(self, columns: list[Any], count: int, seed: int) -> None:
        """As `Launch`."""
        if count == 1:
            numbers: Any = self._row(*columns)  # past float32's range is Inf, without a warning
            start = ctypes.addressof(numbers)
        else:
            numbers = row_by_row(columns, count, self._exact)
            start = cast(int, numbers.ctypes.data)
        table, function = self._table, self._kernel
        if table.entries < SERIAL:
            function(table.address, start, 0, table.count, seed)
        else:
            share(lambda first, last: function(table.address, start, first, last, seed), table.count, None, table.upto)


def row_by_row(columns: list[Any], count: int, exact: Any) -> NDArray[Any]:
    """Coefficients as [count, columns]; what is past float32's range is Inf, without a warning."""
    found = np.empty((count, len(columns)), dtype=exact)
    with np.errstate(over="ignore"):
        for i, column in enumerate(columns):
            found[:, i] = column
    return found
