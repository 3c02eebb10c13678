"""The protocol that every benchmark shares: ways interleaved by rounds, ratios with intervals, the machine's limits.

Times of two runs of a program are not comparable, ratios of ways that took turns within one run are. Each benchmark
prints the machine's streaming bandwidth and product speed beside its figures, and the versions they were made with.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ravine.emit.numba import COLUMNS
from ravine.engines.native import kernel
from ravine.engines.table import Table
from ravine.engines.threads import share

RESAMPLES = 10_000


@dataclass(frozen=True)
class Ratio:
    """A median ratio with its bootstrap 95 % interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} x  [{self.low:.2f}, {self.high:.2f}]"


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Call each way once a round, in turns, and keep what it returns: its seconds a unit of work.

    >>> interleaved({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2)
    {'a': [1.0, 1.0], 'b': [2.0, 2.0]}
    """
    for _ in range(warm_up):
        for way in ways.values():
            way()
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seen[name].append(way())
    return seen


def seconds(work: Callable[[], Any], units: int = 1) -> float:
    """Seconds a unit that one call of the work takes."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) / units


def ratio(slower: Sequence[float], faster: Sequence[float]) -> Ratio:
    """How many times faster, round by round: what slows the machine down for a while slows both.

    >>> ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    Ratio(median=2.0, low=2.0, high=2.0)
    """
    each = np.asarray(slower) / np.asarray(faster)
    drawn = np.random.default_rng(0).choice(each, size=(RESAMPLES, len(each)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Ratio(float(np.median(each)), float(low), float(high))


def sgemm_peak(size: int = 1536, times: int = 12) -> float:
    """The fastest float32 product of two square matrices, in GFLOP/s, with torch's threads."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    return 2e-9 * size**3 / min(seconds(lambda: torch.mm(a, b, out=out)) for _ in range(times))


STREAM = """\
def kernel(table, coefficients, first, last, seed):
    for k in range(first, last):
        row = k * {width}
        w, g = load_int64(table, row), load_int64(table, row + 1)
        m, v = load_int64(table, row + 2), load_int64(table, row + 3)
        for i in range(load_int64(table, row + 4)):
            x = load_float32(g, i)
            store_float32(w, i, load_float32(w, i) - x)
            store_float32(m, i, load_float32(m, i) + x)
            store_float32(v, i, load_float32(v, i) + x)
"""


class Stream:
    """A pass that reads four float32 arrays and writes three, as Adam must, and does nothing else worth the name."""

    def __init__(self, entries: int = 1 << 24) -> None:
        self._arrays = [torch.zeros(entries) for _ in range(4)]
        self._table = Table([[array] for array in self._arrays], np.zeros(1, dtype=np.int64))
        self._kernel = kernel(STREAM.format(width=4 + COLUMNS))

    def __call__(self) -> float:
        """Seconds a byte, with torch's number of threads."""
        table, function = self._table, self._kernel
        spent = seconds(lambda: share(lambda a, b: function(table.address, 0, a, b, 0), table.count, None, table.upto))
        return spent / (7 * 4 * table.entries)


def streaming_bandwidth(times: int = 12) -> float:
    """The fastest pass of a `Stream`, in GB/s."""
    stream = Stream()
    return 1e-9 / min(stream() for _ in range(times))


def machine() -> dict[str, Any]:
    """Where and with what the figures were made; the load tells whether something else ran beside."""
    names = ("ravine", "torch", "numpy", "numba", "optuna", "heavyball", "jax", "optax")
    return {
        **{name: _version(name) for name in names},
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "sgemm GFLOP/s": round(sgemm_peak(), 1),
        "bandwidth GB/s": round(streaming_bandwidth(), 1),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def processor() -> str:
    """The processor's own name, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def arguments(about: str, **defaults: int) -> argparse.Namespace:
    """The command line of a benchmark: whole numbers by name, and ``--json`` for a file to keep the figures in."""
    parser = argparse.ArgumentParser(description=about)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--json", type=Path, help="a file to write the figures to")
    return parser.parse_args()


def finish(figures: Mapping[str, Any], path: Path | None) -> None:
    """Print the machine's figures, and write everything as JSON where that was asked for."""
    known = machine()
    print("\n" + "  ".join(f"{name} {value}" for name, value in known.items()))
    if path is not None:
        path.write_text(json.dumps({"machine": known, **figures}, indent=1, default=asdict) + "\n")
