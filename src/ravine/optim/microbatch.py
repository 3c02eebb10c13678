"""A large batch through the model in parts, whose gradients add up to that of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ravine.errors import UserError
from ravine.types import Loss


def micro_batches(batch: Any, pieces: int, count: Callable[[Any], float] = len) -> Iterator[tuple[float, Any]]:
    """Cut a batch into so many parts along its first axis, each with its share of the whole.

        for share, (x, y) in micro_batches((x, y), 4):
            (share * loss(model(x), y)).backward()
        optimizer.step()

    A batch is a tensor, or a tuple, list or dict of them. With a loss that is a mean over samples, the gradients add up
    to that of the mean over the whole batch, parts of unequal size included. For a mean over something else, such as
    the words of a text that are not padding, ``count`` says how much of it a part (in the batch's own form) has.
    Layers that look at a whole batch, as batch normalisation does, see a part at a time.

    Raises:
        UserError: for no parts, more parts than samples, tensors of unequal length, or nothing that counts.
    """
    tensors = _tensors(batch)
    sizes = {len(tensor) for tensor in tensors}
    if len(sizes) != 1:
        raise UserError(f"a batch is tensors with the same number of samples, got {sorted(sizes) or 'none'}")
    [size] = sizes
    if not 1 <= pieces <= size:
        raise UserError(f"pieces={pieces!r}: a batch of {size} samples is cut into 1 to {size} parts")
    cut = [tensor.tensor_split(pieces) for tensor in tensors]
    parts = [_like(batch, [each[place] for each in cut]) for place in range(pieces)]
    own = count is not len
    counts = [float(count(part) if own else len(cut[0][place])) for place, part in enumerate(parts)]
    if sum(counts) <= 0:
        raise UserError("nothing in this batch counts: every part's count is 0")
    for part, counted in zip(parts, counts, strict=True):
        yield counted / sum(counts), part


def accumulate(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, pieces: int) -> Tensor:
    """Add the gradient of the mean loss over the batch to ``.grad``, in parts; returns that loss, a scalar.

    Memory is that of one part. See `micro_batches` for what is exact.
    """
    total: Tensor | None = None
    for share, (part_x, part_y) in micro_batches((x, y), pieces):
        value: Tensor = share * loss(model(part_x), part_y)
        value.backward()
        total = value.detach() if total is None else total + value.detach()
    assert total is not None  # there is one part at least
    return total


def _tensors(batch: Any) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    values = list(batch.values()) if isinstance(batch, Mapping) else list(batch)
    if not all(isinstance(value, Tensor) and value.dim() for value in values):
        raise UserError("a batch is a tensor, or a tuple, list or dict of tensors that have an axis of samples")
    return values


def _like(batch: Any, parts: list[Tensor]) -> Any:
    if isinstance(batch, torch.Tensor):
        return parts[0]
    return dict(zip(batch, parts, strict=True)) if isinstance(batch, Mapping) else tuple(parts)
