"""The kernel engine on a GPU: the same step, its launches printed as Triton and its table of chunks on the device."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import os
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.emit import triton as printer
from ravine.emit.split import Split
from ravine.engines.kernel import KernelStep
from ravine.engines.launch import Launch, row_by_row
from ravine.engines.table import Integers, Table

CHUNK = 4096  # entries of one program: enough of them to fill a GPU, few enough that the table stays small
BLOCK = 1024  # entries at once
FUSED = True  # a product and a sum may be rounded once, as on the CPU


class TritonLaunch(Launch):
    """A Triton kernel over a table that is copied to the device whenever an address in it has changed."""

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
        self._table = Table(arrays, rows, lanes, CHUNK, numbers)
        self._device = arrays[0][0].device
        self._there: Tensor | None = None
        module = compiled(printer.source(split, self._table.stored, name))
        self._kernel, self._squares = module["kernel"], module["squares"]
        self._exact = np.float64 if self._table.stored[0] == "float64" else np.float32

    def move(self, role: int, tensors: Sequence[Tensor]) -> None:
        """As `Launch`."""
        self._table.move(role, tensors)
        self._there = None

    def squares(self) -> NDArray[np.float64]:
        """As `Launch`; the host waits for the device here, and nowhere else."""
        sums = torch.zeros(self._table.count, dtype=torch.float64, device=self._device)
        if self._table.count:
            with torch.cuda.device_of(sums):
                self._squares[(self._table.count,)](self._chunks(), sums, BLOCK=BLOCK, enable_fp_fusion=FUSED)
        total = np.zeros(len(self._table.lengths))
        np.add.at(total, self._table.segment, sums.cpu().numpy())
        return total

    def run(self, columns: list[Any], count: int, seed: int) -> None:
        """As `Launch`."""
        if self._table.count:
            numbers = torch.from_numpy(row_by_row(columns, count, self._exact)).to(self._device)
            with torch.cuda.device_of(numbers):
                table = self._chunks()
                self._kernel[(self._table.count,)](table, numbers, seed, BLOCK=BLOCK, enable_fp_fusion=FUSED)
                if table.is_cuda:  # the table may be let go by a step on another stream, while this one reads it
                    table.record_stream(torch.cuda.current_stream(table.device))

    def _chunks(self) -> Tensor:
        if self._there is None:
            self._there = torch.tensor(self._table.chunks, device=self._device)
        return self._there


class TritonStep(KernelStep):
    """`KernelStep` for tensors on a GPU; with TRITON_INTERPRET=1, for tensors on the CPU, slowly, to be tested."""

    devices: ClassVar[tuple[str, ...]] = ("cpu",) if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda",)
    launch: ClassVar[type[Launch]] = TritonLaunch


@cache
def compiled(source: str) -> dict[str, Any]:
    """The functions of a printed module; Triton itself compiles at the first launch and keeps the code on disk."""
    name = f"<ravine triton {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)  # Triton reads a file's text
    triton, language = (importlib.import_module(module) for module in ("triton", "triton.language"))
    namespace: dict[str, Any] = {"__name__": name, "triton": triton, "tl": language}
    exec(compile(source, name, "exec"), namespace)
    return namespace
