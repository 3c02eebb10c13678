"""A column: one number for each of K lanes, in float64 on the host until it meets a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Number: TypeAlias = "int | float | Column"


class Column:
    """K numbers that a rule computes with as if they were one.

    Against numbers and columns the arithmetic is float64; against a tensor of shape [K, ...] the column becomes
    [K, 1, ...] in the tensor's type. So ``1 - beta ** t`` keeps all its digits, and lanes cost no wider tensors.

    >>> 1 - Column([0.9, 0.999]) ** 2
    Column([0.19, 0.001999])
    """

    host = True

    def __init__(self, numbers: Sequence[float] | NDArray[np.float64]) -> None:
        self.numbers: NDArray[np.float64] = np.asarray(numbers, dtype=np.float64)

    def __repr__(self) -> str:
        return f"Column([{', '.join(f'{x:.6g}' for x in self.numbers)}])"

    def __len__(self) -> int:
        return len(self.numbers)

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        return NotImplemented  # a tensor on the left hands over to the reflected operators below

    def like(self, other: Tensor) -> Tensor:
        """The column as a tensor that broadcasts against ``other`` of shape [K, ...]."""
        column = torch.from_numpy(self.numbers).to(other.device, other.dtype)
        return column.view(-1, *([1] * (other.dim() - 1)))

    def _with(self, other: Any, apply: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Tensor):
            return apply(self.like(other), other)
        with np.errstate(all="ignore"):  # a lane that diverges is closed by the race, not by a warning
            return Column(apply(self.numbers, other.numbers if isinstance(other, Column) else other))

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b + a)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b * a)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b / a)

    def __mod__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b % a)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a**b)

    def __rpow__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b**a)

    def __gt__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a > b)

    def __lt__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a < b)

    def __ge__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a >= b)

    def __le__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a <= b)

    def where(self, x: Any, y: Any) -> Column:
        """With this column, 1 where a condition holds and 0 elsewhere: x or y, lane by lane."""
        chosen = (each.numbers if isinstance(each, Column) else each for each in (x, y))
        return Column(np.where(self.numbers != 0, *chosen))

    def __neg__(self) -> Column:
        return Column(-self.numbers)

    def __abs__(self) -> Column:
        return Column(np.abs(self.numbers))

    def sqrt(self) -> Column:
        """Square root of each number."""
        with np.errstate(all="ignore"):
            return Column(np.sqrt(self.numbers))

    def log(self) -> Column:
        """Natural logarithm of each number."""
        with np.errstate(all="ignore"):
            return Column(np.log(self.numbers))

    def sign(self) -> Column:
        """Sign of each number."""
        return Column(np.sign(self.numbers))

    def clamp_min(self, low: float) -> Column:
        """Each number, or ``low`` where that is larger."""
        return Column(np.maximum(self.numbers, low))

    def maximum(self, other: Any) -> Any:
        """The larger of two, lane by lane."""
        if isinstance(other, Tensor):
            return torch.maximum(self.like(other), other)
        return Column(np.maximum(self.numbers, other.numbers if isinstance(other, Column) else other))
