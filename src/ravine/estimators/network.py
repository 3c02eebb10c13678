"""A trained network with all that stands between it and raw data: encoding, scaling, labels, units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars.exceptions import PolarsError
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.estimators.frames import missing
from ravine.problems.arrays import as_inputs
from ravine.problems.encode import Encoder
from ravine.problems.inputs import Inputs
from ravine.types import Task

ROWS = 4096  # samples that go through the network at once


@dataclass(frozen=True)
class Design:
    """What a network is made of, in words: the fields of a recipe that say so."""

    model: str
    activation: str = "relu"
    norm: str = "auto"
    norm_place: str = "before"
    noise: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Network:
    """What predicts: raw samples -> columns as numbers -> scaled inputs -> outputs in the user's units.

    ``columns`` is there where the samples are rows of a table; ``centre`` and ``scale`` [outputs] take the outputs of
    a regression back to the user's units.
    """

    design: Design
    task: Task
    shape: tuple[int, ...]  # of one scaled sample
    outputs: int
    module: nn.Module
    inputs: Inputs | None
    columns: Encoder | None = None
    names: tuple[str, ...] = ()  # of the table's columns, in order
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def exact(self) -> Network:
        """The same network in float64, in evaluation mode; an own model stays as it is.

        In float64 a sample's prediction is the same, as far as anyone can see, whatever samples stand beside it.
        """
        module = self.module.eval()
        return replace(self, module=module if self.design.model == "own" else module.double())

    def raw(self, x: Any) -> Tensor:
        """Raw samples as numbers: a Polars frame by its columns, an array by the shape of a sample."""
        if isinstance(x, pl.DataFrame):
            return self._encoded(x)
        given, _ = as_inputs(x, "X")
        wanted = self.shape if self.inputs is None else _raw_shape(self.shape, self.inputs)
        if tuple(given.shape[1:]) != wanted and given.shape[1:].numel() == int(np.prod(wanted)):
            given = given.reshape(len(given), *wanted)
        return given

    def _encoded(self, frame: pl.DataFrame) -> Tensor:
        if self.columns is None:
            return torch.from_numpy(np.array(frame.to_numpy(), dtype=np.float64))
        lacks = missing(frame, [*self.columns.medians, *self.columns.words])
        if lacks:
            raise lacks
        try:
            numbers = self.columns.encode(frame)
        except PolarsError as error:
            first = str(error).strip().split("\n", 1)[0]
            raise UserError(f"a column holds something else than in training: {first}") from error
        if not bool(torch.isfinite(numbers).all()):
            raise UserError("the data hold values that are infinite: fill or remove them")
        return numbers

    def __call__(self, x: Any) -> NDArray[np.float64]:
        """The outputs for raw samples, [n, outputs], float64: logits, or numbers in the user's units."""
        given = self.raw(x)
        dtype = next(self.module.parameters()).dtype
        parts: list[Tensor] = []
        with torch.no_grad():
            for begin in range(0, len(given), ROWS):
                part = given[begin : begin + ROWS]
                scaled = part if self.inputs is None else self.inputs(part)
                parts.append(self.module(scaled.to(dtype) if scaled.is_floating_point() else scaled).double())
        out = torch.cat(parts)
        if self.task == "regression":
            out = out * out.new_tensor(self.scale) + out.new_tensor(self.centre)
        return out.numpy()


def _raw_shape(shape: tuple[int, ...], inputs: Inputs) -> tuple[int, ...]:
    """The shape of a raw sample: that of a scaled one, but where whitening made fewer numbers of a row."""
    return (inputs.shift.shape[1],) if inputs.shift.dim() == 2 else shape


def label_array(names: Sequence[str]) -> NDArray[Any]:
    """Class names as what they were in the table: whole numbers, yes and no, or words.

    >>> label_array(("0", "1")), label_array(("False", "True")), label_array(("no", "yes"))
    (array([0, 1]), array([False,  True]), array(['no', 'yes'], dtype='<U3'))
    """
    if set(names) <= {"False", "True"}:
        return np.array([name == "True" for name in names])
    if all(name.removeprefix("-").isascii() and name.removeprefix("-").isdecimal() for name in names):
        numbers = [int(name) for name in names]
        if [str(number) for number in numbers] == list(names) and max(map(abs, numbers)) < 2**62:
            return np.array(numbers)
    return np.array(names)
