"""The compile engine: the same step, its launches by torch.compile over lists of tensors."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ravine.emit import tensors as printer
from ravine.emit.numba import Storage
from ravine.emit.split import Split
from ravine.engines.kernel import KernelStep
from ravine.engines.launch import Launch, row_by_row
from ravine.engines.table import Integers, stored
from ravine.errors import UserError

LIST = 4  # tensors of one call: enough that calls are few, few enough that they compile in seconds
HINT = 1 << 16  # entries that the compiler is shown: enough that it makes a loop for all threads

Step = Callable[..., None]


class CompiledLaunch(Launch):
    """One program for any number of tensors of any size: lists of `LIST`, the last one filled up with spare tensors."""

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
        if lanes:
            raise UserError("engine='compile' has no lanes: use engine='kernel' or 'eager'")
        kinds: tuple[Storage, ...] = tuple(stored(column[0], CompiledStep.devices) for column in arrays)
        if "bfloat16" in kinds[2:]:
            raise UserError("engine='compile' does not round state_dtype=torch.bfloat16")
        self.members = members
        self._device = arrays[0][0].device
        self._exact = np.float64 if kinds[0] == "float64" else np.float32
        self._rows = rows
        self._columns: list[list[Tensor]] = [[] for _ in arrays]
        for role, column in enumerate(arrays):
            self.move(role, column)
        self._columns[1] = []
        self._spare = [[torch.zeros(2, dtype=x.dtype, device=x.device) for x in column[:1] * LIST] for column in arrays]
        self._step = compiled(printer.source(split, kinds, name), kinds, len(split.coefficients), self._device)

    def move(self, role: int, tensors: Sequence[Tensor]) -> None:
        """As `Launch`."""
        self._columns[role] = [_flat(x) for x in tensors]

    def see(self, gradients: Sequence[Tensor]) -> None:
        """The gradients of the coming step; they are let go after it."""
        self._columns[1] = [_flat(g) for g in gradients]

    def squares(self) -> NDArray[np.float64]:
        """As `Launch`."""
        norms = [torch.linalg.vector_norm(g, dtype=torch.float64) for g in self._columns[1]]
        return np.square(torch.stack(norms).cpu().numpy()) if norms else np.zeros(0)

    def run(self, columns: list[Any], count: int, seed: int) -> None:
        """As `Launch`."""
        numbers = row_by_row(columns, count, self._exact)
        each = torch.from_numpy(numbers[self._rows if count > 1 else np.zeros_like(self._rows)]).to(self._device)
        sizes = np.array([w.numel() for w in self._columns[0]])
        with torch.no_grad():
            large, single = np.flatnonzero(sizes > 1), np.flatnonzero(sizes == 1)
            # the compiler takes sizes of 0 and 1 for special ones and would make programs of their own for them
            for first in range(0, len(large), LIST):
                self._call(each, large[first : first + LIST].tolist())
            for first in range(0, len(single), LIST):
                self._call(each, single[first : first + LIST].tolist(), twice=True)
        self._columns[1] = []

    def _call(self, each: Tensor, chosen: list[int], twice: bool = False) -> None:
        """One list; ``twice`` for tensors of one entry, which step as copies that have it twice."""
        spare = LIST - len(chosen)
        lists = [[column[i] for i in chosen] for column in self._columns]
        if twice:
            lists = [[x.repeat(2) for x in column] for column in lists]
        full = [[*column, *more[:spare]] for column, more in zip(lists, self._spare, strict=True)]
        rows = torch.tensor([*chosen, *[chosen[0]] * spare], device=self._device)
        self._step(each[rows], *full)
        if twice:
            for column, new in zip(self._columns, lists, strict=True):
                for i, x in zip(chosen, new, strict=True):
                    column[i].copy_(x[:1])


class CompiledStep(KernelStep):
    """`KernelStep` by torch.compile, for tensors on any device that it knows."""

    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    launch: ClassVar[type[Launch]] = CompiledLaunch
    looks = True


@cache
def compiled(source: str, kinds: tuple[Storage, ...], count: int, device: torch.device) -> Step:
    """The compiled function of a printed step, tried out on tensors of its own, before anyone's are changed.

    Raises:
        UserError: if torch.compile cannot make it here, for want of a C++ compiler in most cases.
    """
    name = f"<ravine step {len(linecache.cache)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"torch": torch, "__name__": name}
    exec(compile(source, name, "exec"), namespace)
    step: Step = torch.compile(namespace["step"], dynamic=True, fullgraph=True)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's compiler warns of torch's own parts
            exact = torch.float64 if kinds[0] == "float64" else torch.float32
            numbers = torch.ones(LIST, count, dtype=exact, device=device)
            sizes = [HINT + 64 * i for i in range(LIST)]  # each another, or the compiler would take them for equal
            step(numbers, *[[torch.ones(n, dtype=getattr(torch, k), device=device) for n in sizes] for k in kinds])
    except Exception as error:  # of many kinds: of the tracer, the printer, the C++ compiler, the linker
        if "CxxCompiler" in str(error):
            raise UserError("engine='compile' needs a C++ compiler, and none was found: install g++") from error
        why = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise UserError(f"torch.compile cannot make this step here: {why or type(error).__name__}") from error
    return step


def _flat(x: Tensor) -> Tensor:
    """All entries in the order of memory, sharing it."""
    return x.detach().as_strided((x.numel(),), (1,))
