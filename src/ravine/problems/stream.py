"""Problems whose inputs stay on disk: standardised in one pass over the training part, read a minibatch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.problems.build import assemble, check_carries
from ravine.problems.inputs import Inputs
from ravine.problems.moments import Moments
from ravine.problems.problem import Part, Problem
from ravine.problems.reading import available
from ravine.problems.scale import standardise, statistics
from ravine.problems.split import Split
from ravine.problems.target import Target
from ravine.types import Loss

CHUNK = 4 * 2**20  # bytes of float32 that a pass over the data takes at a time
SMALL = 16 * 2**20  # bytes of float32 up to which a training part is fitted whole
KEPT = 0.125  # of the free memory, in which validation and test inputs are kept


class Raw(Protocol):
    """Inputs on disk, as they were given."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all: [samples, ...]."""
        ...

    def read(self, ids: Tensor) -> Tensor:
        """These samples [n, ...]; safe in several threads."""
        ...


@dataclass(frozen=True)
class Stream:
    """Raw inputs, standardised when they are read: to the same bits as in memory."""

    raw: Raw
    shift: Tensor  # [1, ...], in the type in which the difference is taken
    factor: Tensor

    def read(self, ids: Tensor) -> Tensor:
        """The inputs of these samples as a model takes them, float32."""
        return standardise(self.raw.read(ids), self.shift, self.factor)

    def rescaled(self, part: Part, inputs: Inputs) -> Part:
        """A part of these inputs with another shift and factor."""
        return replace(part, source=source_of(self.raw, inputs))

    def part(self, y: Tensor, ids: Tensor) -> Part:
        """A streamed part of these samples."""
        return Part(placeholder((len(ids), *self.raw.shape[1:])), y, ids, self)


def placeholder(shape: Sequence[int]) -> Tensor:
    """What has the shape and type of inputs, and no memory."""
    return torch.empty(tuple(shape), dtype=torch.float32, device="meta")


def chunks(shape: Sequence[int], ids: Tensor) -> Iterator[Tensor]:
    """The samples in pieces that fit into memory."""
    return iter(ids.split(max(1, CHUNK // (4 * max(1, int(np.prod(shape[1:])))))))


def fitted(name: str, raw: Raw, parts: Split) -> Inputs:
    """The standardisation of the training part, in one pass; the other parts are only looked through for gaps.

    A small training part is fitted as in memory, so that streaming it gives the same bits.
    """
    first = raw.read(parts.train[:1])
    if 4 * first.numel() * len(parts.train) <= SMALL:
        train = _checked(name, raw.read(parts.train))
        mean, factor = (x.double() for x in statistics(train))
        low, high = train.amin(), train.amax()
    else:
        moments = reduce(add, (Moments.of(_checked(name, raw.read(ids))) for ids in chunks(raw.shape, parts.train)))
        mean, factor, low, high = moments.mean, moments.factor, moments.low.min(), moments.high.max()
    if first.is_floating_point():
        for ids in (*chunks(raw.shape, parts.valid), *chunks(raw.shape, parts.test)):
            _checked(name, raw.read(ids))
    check_carries(name, factor)
    ends = (0.0, 255.0) if first.dtype == torch.uint8 else (float(low), float(high))
    return Inputs(("standardise",), mean, factor, *ends)


def _checked(name: str, x: Tensor) -> Tensor:
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise UserError(f"{name}: x holds values that are NaN or infinite: fill or remove them")
    return x


def source_of(raw: Raw, inputs: Inputs) -> Stream:
    """What reads the inputs as they were fitted: the difference in float64 for tables, in float32 for images."""
    kind = torch.float64 if len(raw.shape) == 2 else torch.float32
    return Stream(raw, inputs.shift.to(kind), inputs.factor.to(kind))


def streamed(
    name: str,
    raw: Raw,
    target: Target,
    parts: Split,
    *,
    understood: tuple[str, ...],
    everything: bool,
    loss: str | Loss = "auto",
    model: Callable[[], nn.Module] | None = None,
) -> Problem:
    """The problem of inputs on disk.

    Unless ``everything`` is to be streamed, validation and test inputs are kept in memory where they take little of it.
    """
    inputs = fitted(name, raw, parts)
    source = source_of(raw, inputs)
    room = 0.0 if everything else KEPT * available()

    def kept(y: Tensor, ids: Tensor) -> Part:
        part = source.part(y, ids)
        return part.take(torch.arange(len(part))) if 4 * part.x.numel() <= room else part

    makers = (source.part, kept, kept)
    return assemble(name, target, parts, makers, inputs=inputs, understood=understood, loss=loss, model=model)
