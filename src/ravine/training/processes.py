"""The processes that torchrun started for one run: how they meet, agree and tell each other what is wrong."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ravine.engines.lane import Lane, Model
from ravine.errors import UserError
from ravine.recipe import Recipe
from ravine.rules.rule import Rule, chain, name_of, needs_of
from ravine.training.clock import Clock
from ravine.training.distributed import Distributed, Parallel
from ravine.types import Loss

T = TypeVar("T")
PATIENCE = timedelta(minutes=10)  # how long a process waits for the others


class Told(SystemExit):
    """This process ends quietly, since another one says what is wrong."""


@dataclass(frozen=True)
class Processes:
    """The team of ``size`` processes, one of which is this one; as `ravine.training.team.Team`."""

    rank: int
    size: int
    parallel: Parallel
    device: torch.device

    @classmethod
    def join(cls, parallel: Parallel) -> Self:
        """Meet the others as torchrun's environment says: over NCCL where each has a GPU, else over gloo."""
        here = int(os.environ.get("LOCAL_RANK", "0"))
        gpu = torch.cuda.is_available() and here < torch.cuda.device_count()
        device = torch.device("cuda", here) if gpu else torch.device("cpu")
        if gpu:
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size(), parallel, device)

    def leave(self) -> None:
        """Part from the others."""
        dist.destroy_process_group()

    def any(self, flag: bool) -> bool:
        """Whether one of the processes says so."""
        votes = torch.tensor(int(flag))
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes)

    def texts(self, text: str) -> list[str]:
        """What each process has to say, in their order."""
        own = torch.tensor(list(text.encode()), dtype=torch.uint8)
        lengths = [torch.zeros((), dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor(len(own)))
        longest = max(int(length) for length in lengths)
        padded = torch.zeros(max(1, longest), dtype=torch.uint8)
        padded[: len(own)] = own
        found = [torch.zeros_like(padded) for _ in range(self.size)]
        dist.all_gather(found, padded)
        return [_text(each[: int(length)]) for each, length in zip(found, lengths, strict=True)]

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` gives in this process, if no process finds a mistake; one of them tells it then.

        Raises:
            UserError: in the first process that found one; in the others `Told`, which ends them quietly.
        """
        result: T | None = None
        wrong = ""
        try:
            result = work()
        except UserError as error:
            wrong = str(error)
        sentences = self.texts(wrong)
        found = [rank for rank, sentence in enumerate(sentences) if sentence]
        if not found:
            return result  # pyright: ignore[reportReturnType]
        if self.rank != found[0]:
            raise Told(2)
        if len(found) == self.size:
            raise UserError(wrong)
        raise UserError(f"process {self.rank} of {self.size}, on {socket.gethostname()}: {wrong}")

    def runner(self, model: Model, loss: Loss, lanes: Sequence[Lane]) -> Distributed:
        """The one run that all share."""
        (lane,) = lanes
        return Distributed(model, loss, lane, self.rank, self.size, self.parallel, self.device)

    def check(self, recipe: Recipe, clock: Clock, model: Model) -> None:
        """Raise one sentence where a recipe cannot be shared."""
        rule = recipe.make_rule()
        if not isinstance(rule, Rule):
            raise UserError(f"{name_of(rule)} takes the whole training part in one process: train it without torchrun")
        smallest = min(clock.sizes) // clock.pieces
        if smallest < self.size:
            what = "a batch" if clock.pieces == 1 else "a part of a batch"
            raise UserError(
                f"{what} of {smallest} cannot be shared by {self.size} processes, each needs a sample: "
                "give a larger batch or fewer processes"
            )
        if model.precision.scaled:
            raise UserError("float16 scales its loss in one process only: give precision bfloat16, or no torchrun")
        if model.tiers:
            raise UserError("layer_rates and unfreeze pace layers in one process only: train without torchrun")
        if self.parallel == "fsdp":
            self._check_sharded(rule, model.terms is not None and model.terms.finishes)

    def _check_sharded(self, rule: Rule, projects: bool) -> None:
        cure = "use a rule that sees one entry at a time, such as adamw, or --parallel ddp"
        if any(part.scope != "entry" for part in chain(rule)):
            raise UserError(f"{name_of(rule)} sees more than one entry of a weight, which fsdp shards: {cure}")
        if needs_of(rule) & {"noise", "curvature"}:
            raise UserError(f"{name_of(rule)} draws for whole weights, which fsdp shards: {cure}")
        if projects:
            raise UserError("a penalty that changes weights after a step needs them whole: use --parallel ddp")


def _text(encoded: Tensor) -> str:
    return bytes(encoded.tolist()).decode()
