"""The vocabulary that every layer shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

Array: TypeAlias = Any  # what a rule computes with: a tensor, a column of lanes, a symbol of a trace
Scalar: TypeAlias = Any  # one number a run: a float, a column of K floats, a symbol
State: TypeAlias = dict[str, Array]  # slots, scalars and declared needs of a rule, by name
Scope: TypeAlias = Literal["entry", "row", "tensor"]  # what a rule must see at once: one number, w[i], or all of w
Task: TypeAlias = Literal["classification", "regression"]
Loss: TypeAlias = Callable[[Any, Any], Any]  # (prediction [n, ...], target [n, ...]) -> mean loss, a scalar tensor
Numbers: TypeAlias = Literal["float32", "float64", "bfloat16", "float16"]  # what a run computes in
Values: TypeAlias = Mapping[str, float]  # hyperparameters by name

SEED_MOST = 2**62  # what is counted up from it still fits into 64 bits, in a database too
