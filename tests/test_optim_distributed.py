"""Two processes of DDP and of FSDP2 walk where one process walks."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

import ravine.optim
from ravine.errors import UserError

CASES: list[tuple[str, dict[str, Any]]] = [
    ("AdamW", {"lr": 0.05, "clip_global_norm": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "clip_norm": 0.01}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1}),
    ("Prodigy", {"lr": 0.5}),
]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def walk(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()


def flat(model: nn.Module) -> Tensor:
    parts = [getattr(p.detach(), "full_tensor", p.detach)() for p in model.parameters()]
    return torch.cat([p.flatten() for p in parts])


def worker(rank: int, folder: str) -> None:
    """One of two: compares the sharded and the replicated run with the lone one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    x = torch.randn(16, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    half = x[rank * 8 : (rank + 1) * 8]
    for name, options in CASES:
        kind = getattr(ravine.optim, name)
        alone = net()
        lone = kind(alone.named_parameters(), **options)
        walk(alone, lone, x, 12)

        replica = DistributedDataParallel(net())
        walk(replica, kind(replica.parameters(), **options), half, 12)
        torch.testing.assert_close(flat(replica), flat(alone), rtol=1e-9, atol=1e-12)

        sharded = net()
        fully_shard(sharded, mesh=mesh)
        optimizer = kind(sharded.named_parameters(), **options)
        walk(sharded, optimizer, half, 6)
        saved = copy.deepcopy(get_optimizer_state_dict(sharded, optimizer))
        again = kind(sharded.named_parameters(), **options)
        set_optimizer_state_dict(sharded, again, saved)
        walk(sharded, again, half, 6)
        torch.testing.assert_close(flat(sharded), flat(alone), rtol=1e-9, atol=1e-12)
    sharded = net()
    fully_shard(sharded, mesh=mesh)
    before = flat(sharded)
    with pytest.raises(UserError, match="lamb sees whole tensors, this one is sharded"):
        walk(sharded, ravine.optim.of("lamb")(sharded.parameters()), half, 1)
    assert torch.equal(flat(sharded), before)
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    spawn(worker, (str(tmp_path),), nprocs=2)
