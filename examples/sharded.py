"""FSDP2, the model sharded over processes: only the optimizer's line is ravine's (``--peer``: torch's own).

``--processes 1`` trains the whole model in one process, along the same curve.
"""

import argparse
import json
import tempfile

import torch
import torch.distributed as dist
from sklearn.datasets import load_diabetes
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing.spawn import spawn

import ravine.optim


def train(rank, options, folder):
    """What each process does, with its own part of the data."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=options.processes)
    optim = torch.optim if options.peer else ravine.optim

    torch.manual_seed(0)
    x, y = (torch.tensor(part, dtype=torch.float32)[:440] for part in load_diabetes(return_X_y=True))
    x, y = 20 * x, ((y - y.mean()) / y.std())[:, None]
    mine = slice(rank, None, options.processes)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    if options.processes > 1:
        mesh = dist.device_mesh.init_device_mesh("cpu", (options.processes,))
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)

    optimizer = optim.AdamW(model.parameters(), lr=3e-3)

    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x[mine]), y[mine])
        loss.backward()
        optimizer.step()
        dist.all_reduce(loss := loss.detach())
        if rank == 0:
            print(json.dumps({"loss": loss.item() / options.processes}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true", help="torch.optim instead")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spawn(train, (options, folder), nprocs=options.processes)
