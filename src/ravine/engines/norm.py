"""What one read pass over gradients tells: their norms, and whether they are finite; the same for any threads."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ravine.emit.numba import COLUMNS, Storage
from ravine.engines.native import Kernel, kernel
from ravine.engines.table import Table
from ravine.engines.threads import share

SERIAL = 1 << 18  # entries; below, waking a second thread costs more than it saves

SOURCE = """\
def kernel(table, sums, first, last, seed):
    for k in range(first, last):
        row = k * {width}
        at, n = load_int64(table, row + 1), load_int64(table, row + {arrays})
        total = 0.0
        for i in range(n):
            x = float64(load_{stored}(at, i))
            total += x * x
        store_float64(sums, k, total)
"""

# An entry times zero is zero, or NaN where the entry is NaN or infinite: the cheapest sum that tells
FINITE = """\
def kernel(table, sums, first, last, seed):
    for k in range(first, last):
        row = k * {width}
        at, n = load_int64(table, row + 1), load_int64(table, row + {arrays})
        total = {exact}(0.0)
        for i in range(n):
            total += load_{stored}(at, i) * {exact}(0.0)
        store_float64(sums, k, float64(total))
"""


def source(stored: Storage, arrays: int, text: str = SOURCE) -> str:
    """The kernel's text for gradients kept so, in a table of so many roles."""
    exact = "float64" if stored == "float64" else "float32"
    return text.format(stored=stored, arrays=arrays, width=arrays + COLUMNS, exact=exact)


def squares(table: Table) -> NDArray[np.float64]:
    """The sum of squares of each segment's gradient; not finite exactly if an entry is not.

    Squares are taken in float64, where those of float32 neither overflow nor vanish.
    """
    sums = np.zeros(table.count)
    _read(table, SOURCE, sums.ctypes.data)
    total = np.zeros(len(table.lengths))
    np.add.at(total, table.segment, sums)
    return total


def is_finite(table: Table) -> bool:
    """Whether no gradient holds NaN or Inf: a third of the work of `squares`."""
    sums, place = table.scratch
    _read(table, FINITE, place)
    return math.isfinite(sum(sums))


def _read(table: Table, text: str, place: int) -> None:
    """Write one number for each chunk to ``place``."""
    function = _compiled(text, table.stored[1], len(table.stored))
    if table.entries < SERIAL:
        function(table.address, place, 0, table.count, 0)
    else:
        share(lambda first, last: function(table.address, place, first, last, 0), table.count, None, table.upto)


@cache
def _compiled(text: str, stored: Storage, arrays: int) -> Kernel:
    return kernel(source(stored, arrays, text), reassociate=True)
