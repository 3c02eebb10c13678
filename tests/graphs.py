"""What a CUDA graph does, without a GPU: operations are recorded once, and replayed on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

HOST = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item")  # what makes the host wait for the device


class Graph(TorchDispatchMode):
    """Within, every operation is recorded; `replay` does them all again, each writing where it wrote before.

    As under CUDA's capture, nothing may be read back: an operation that does so raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tape: list[tuple[Callable[..., Any], Any, dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in HOST:
            raise AssertionError(f"{func} reads a number back, which a graph cannot hold")
        out = func(*args, **(kwargs or {}))
        self._tape.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Everything once more."""
        with torch.no_grad():
            for func, args, kwargs, out in self._tape:
                again = func(*args, **kwargs)
                tree_map(_put, out, again)


def _put(place: Any, value: Any) -> None:
    if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
        place.copy_(value)
