"""A torch Dataset read once into two tensors."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ravine.errors import UserError
from ravine.problems.blame import blame
from ravine.problems.split import Draw, seed_of
from ravine.randomness import key


def materialise(dataset: Dataset[Any], name: str, seed: Draw) -> tuple[Tensor, Tensor]:
    """The samples of a Dataset of (x, y) pairs as tensors [n, ...] and [n, ...].

    Random transforms draw from ``seed``; the caller's random state stays as it was.
    """
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise UserError(f"{name}: the Dataset has no length: give one with __len__, or tensors")
    pairs: list[tuple[Tensor, Tensor]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed_of(seed), "dataset"))
        for index in range(len(dataset)):
            pairs.append(_pair(dataset, index, name))
            _check_shape(name, pairs[0][0], pairs[-1][0], index)
    if not pairs:
        raise UserError(f"{name}: the Dataset is empty: give at least ten samples")
    return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])


def _pair(dataset: Dataset[Any], index: int, name: str) -> tuple[Tensor, Tensor]:
    try:
        sample = dataset[index]
    except Exception as error:
        raise blame(error, f"{name}: sample {index} of the Dataset") from error
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        raise UserError(f"{name}: sample {index} of the Dataset is a {type(sample).__name__}: give pairs (x, y)")
    return _tensor(sample[0], f"{name}: x of sample {index}"), _tensor(sample[1], f"{name}: y of sample {index}")


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{name} is a {type(value).__name__}: give tensors, arrays or numbers")
    return torch.from_numpy(array)


def _check_shape(name: str, first: Tensor, other: Tensor, index: int) -> None:
    if first.shape != other.shape:
        raise UserError(
            f"{name}: sample 0 has shape {list(first.shape)} and sample {index} {list(other.shape)}: "
            "give samples of one shape"
        )
