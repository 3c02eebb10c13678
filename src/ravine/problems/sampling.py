"""Which training samples an epoch visits, and in which order: functions of the seed and the epoch alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.errors import UserError, unknown
from ravine.problems.problem import Problem
from ravine.randomness import generator, order

SHUFFLED = "shuffled"
SAMPLINGS = {
    SHUFFLED: "every epoch visits each sample once, in an order of its own",
    "cyclic": "in the order of the data, round and round",
    "random": "each place is drawn from all samples, with replacement",
    "bootstrap": "each seed draws as many samples with replacement, once, and every epoch visits those (bagging)",
    "balanced": "the classes take turns, each through its own samples in shuffled order, small ones again and again",
}


def check_sampling(name: str) -> None:
    """Raise one sentence on a word that names no sampling."""
    if name not in SAMPLINGS:
        raise unknown("sampling", name, SAMPLINGS)


def check_samples(name: str, problem: Problem) -> None:
    """Raise one sentence where the problem's samples cannot be drawn like that."""
    check_sampling(name)
    if name == "balanced" and problem.task != "classification":
        raise UserError(f"sampling balanced takes classes in turns, and {problem.name} has none: it predicts numbers")


def visits(name: str, seed: int, epoch: int, before: int, y: Tensor) -> Tensor:
    """The places that an epoch visits, one after another: int64 [samples].

    ``before`` is how many samples the epochs before it took; ``y`` the targets of the training part.

    >>> visits("cyclic", 0, 1, 3, torch.zeros(4)).tolist()
    [3, 0, 1, 2]
    """
    samples = len(y)
    if name == "cyclic":
        return (torch.arange(samples) + before) % samples
    if name == "random":
        return torch.randint(samples, (samples,), generator=generator(seed, "random", epoch))
    if name == "bootstrap":
        return resample(seed, samples)[order(seed, epoch, samples)]
    if name == "balanced":
        return _balanced(y, seed, epoch)
    return order(seed, epoch, samples)


def resample(seed: int, samples: int) -> Tensor:
    """The bootstrap sample of a seed: int64 [samples], about 63 % of all places once or more.

    Reference: Breiman 1996, Machine Learning 24:123.
    """
    return torch.randint(samples, (samples,), generator=generator(seed, "bootstrap"))


def _balanced(y: Tensor, seed: int, epoch: int) -> Tensor:
    """Any k places that follow each other hold each of k classes once, or, across the end of a turn, twice at most.

    Turns are shuffled, so that no class always stands first; a class with fewer samples than turns begins anew.
    """
    members = [(y == label).nonzero().squeeze(1) for label in torch.unique(y)]
    turns = -(-len(y) // len(members))
    draw = generator(seed, "balanced", epoch)
    each = [
        torch.cat([own[torch.randperm(len(own), generator=draw)] for _ in range(-(-turns // len(own)))])
        for own in members
    ]
    table = torch.stack([own[:turns] for own in each], dim=1)  # [turns, classes]
    mixed = torch.rand(table.shape, generator=draw).argsort(dim=1)
    return table.gather(1, mixed).reshape(-1)[: len(y)]
