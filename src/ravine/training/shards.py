"""Whole tensors of sharded ones, and shards of whole ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def gathered(x: Tensor) -> Tensor:
    """A copy of the whole tensor on the CPU; of a sharded one every process must ask."""
    full = x.detach()
    full = full.full_tensor() if isinstance(full, DTensor) else full
    return full.to("cpu", copy=True)


def flat(parts: Sequence[Tensor]) -> Tensor:
    """The whole tensors one after another, gathered one by one."""
    whole = torch.empty(sum(p.numel() for p in parts), dtype=parts[0].dtype)
    begin = 0
    for p in parts:
        whole[begin : begin + p.numel()] = gathered(p).reshape(-1)
        begin += p.numel()
    return whole


def like(x: Tensor, p: Tensor) -> Tensor:
    """A copy of a whole tensor that lies as the parameter does; of a sharded one, this process's shard."""
    if isinstance(p, DTensor) and x.shape == p.shape:
        return distribute_tensor(x.clone().to(p.device), p.device_mesh, p.placements, src_data_rank=None)
    return x.to(p.device, copy=True)
