"""The max-norm constraint: rows of weight matrices shortened where they are longer than a limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.graph import increment_version

from ravine.emit.numba import COLUMNS, Storage
from ravine.engines.native import kernel
from ravine.engines.norm import SERIAL, squares
from ravine.engines.table import Table
from ravine.engines.threads import share
from ravine.errors import UserError

SOURCE = """\
def kernel(table, factors, first, last, seed):
    for k in range(first, last):
        row = k * {width}
        at, n = load_int64(table, row), load_int64(table, row + 2)
        factor = load_float64(factors, load_int64(table, row + 3))
        if factor != 1.0:
            for i in range(n):
                store_{stored}(at, i, {exact}(load_{stored}(at, i) * factor))
"""


def source(stored: Storage) -> str:
    """The kernel's text for weights kept so."""
    return SOURCE.format(stored=stored, exact="float64" if stored == "float64" else "float32", width=2 + COLUMNS)


def limit_rows(weights: Tensor, limits: float | Sequence[float] | NDArray[np.float64]) -> None:
    """Shorten in place each row weights[i] of norm above its limit to that norm; the others keep their bits.

    A row is a unit's incoming weights, of any shape. Reference: Srivastava et al. 2014, JMLR 15:1929, section 5.1.
    """
    if weights.dim() < 2 or not weights.numel() or not weights[0].is_contiguous():
        raise UserError(f"max-norm limits the rows of a matrix with contiguous rows, not a {tuple(weights.shape)}")
    rows = len(weights)
    table = Table([[weights], [weights]], np.arange(rows), lanes=rows)
    norms = np.sqrt(squares(table))
    limit = np.broadcast_to(np.asarray(limits, dtype=np.float64), (rows,))
    factors = np.ones(rows)
    np.divide(limit, norms, out=factors, where=~(norms <= limit))
    function, address, place = kernel(source(table.stored[0])), table.address, factors.ctypes.data
    threads = 1 if table.entries < SERIAL else None
    share(lambda first, last: function(address, place, first, last, 0), table.count, threads, table.upto)
    increment_version(weights)
