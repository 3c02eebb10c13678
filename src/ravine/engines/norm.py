"""Norms of gradients: one read pass over a chunk table, summed in float64 in an order that no thread changes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ravine.emit.numba import COLUMNS, Storage
from ravine.engines.native import kernel
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


def source(stored: Storage, arrays: int) -> str:
    """The kernel's text for gradients kept so, in a table of so many roles."""
    return SOURCE.format(stored=stored, arrays=arrays, width=arrays + COLUMNS)


def squares(table: Table) -> NDArray[np.float64]:
    """The sum of squares of each segment's gradient; not finite exactly if an entry is not.

    Squares are taken in float64, where those of float32 neither overflow nor vanish.
    """
    sums = np.zeros(table.count)
    function = kernel(source(table.stored[1], len(table.stored)), reassociate=True)
    address, place = table.address, sums.ctypes.data
    threads = 1 if table.entries < SERIAL else None
    share(lambda first, last: function(address, place, first, last, 0), table.count, threads, table.upto)
    total = np.zeros(len(table.lengths))
    np.add.at(total, table.segment, sums)
    return total
