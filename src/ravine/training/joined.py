"""Folds side by side: problems that differ in their samples alone, each of which some lanes of one program see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ravine.engines.classes import mass_of
from ravine.engines.precision import in_type
from ravine.losses import finish_metric, metric_of
from ravine.problems.problem import Part, Problem
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.types import Loss


@dataclass(frozen=True, eq=False)
class Joined:
    """Problems of one shape, loss and clock; ``problems[fold]`` is that of a lane of that fold.

    ``x`` and ``y`` hold the training samples of all, one problem after another.
    """

    problems: tuple[Problem, ...]
    x: Tensor
    y: Tensor

    @property
    def valid(self) -> Part:
        """The first of the parts that validate: whether there is one is the same for all."""
        return self.problems[0].valid

    @property
    def begins(self) -> list[int]:
        """Where the training samples of each problem begin."""
        sizes = [0, *(len(problem.train) for problem in self.problems[:-1])]
        return torch.tensor(sizes).cumsum(0).tolist()


def joined(problems: Sequence[Problem]) -> Joined:
    """The problems, whose training parts become views of one memory."""
    x, y = (torch.cat([getattr(problem.train, name) for problem in problems]) for name in ("x", "y"))
    made, begin = list(problems), 0
    for place, problem in enumerate(problems):
        end = begin + len(problem.train)
        made[place] = replace(problem, train=replace(problem.train, x=x[begin:end], y=y[begin:end]))
        begin = end
    return Joined(tuple(made), x, y)


class JoinedFeed:
    """The minibatches of each (seed, fold), as `Feed` gives those of each seed."""

    def __init__(self, joined: Joined, folds: Sequence[int], clock: Clock) -> None:
        self.joined, self.folds = joined, list(folds)
        self.feeds = [Feed(joined.problems[fold], clock) for fold in folds]
        self._plain = all(joined.problems[fold].augment is None for fold in folds)
        self._begins = torch.tensor([joined.begins[fold] for fold in folds]).unsqueeze(1)
        self._all = Part(joined.x, joined.y)

    def at(self, seeds: list[int], step: int) -> tuple[Part, Tensor]:
        """Samples, and which of them each (seed, fold) sees at that step: int64 [seeds, batch]."""
        found = [feed.at([seed], step) for feed, seed in zip(self.feeds, seeds, strict=True)]
        index = torch.cat([own for _, own in found])
        if self._plain:
            return self._all, index + self._begins
        parts = [part for part, _ in found]
        part = Part(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))
        return part, torch.arange(index.numel()).view(index.shape)

    def close(self) -> None:
        """End the threads that read ahead."""
        for feed in self.feeds:
            feed.close()


@torch.no_grad()
def evaluate_each(
    predict: Callable[[Tensor], Tensor], loss: Loss, problems: Sequence[Problem], rows: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Mean loss and metric [K] of lanes on the validation parts of their problems, and the outputs of each.

    ``predict`` takes [K, n, ...], here of at most ``rows`` samples. A part that is shorter than another is filled up
    with its last sample, whose outputs are left out.
    """
    parts = [problem.valid for problem in problems]
    counts = [metric_of(problem) for problem in problems]
    longest = max(map(len, parts))
    mean, mass = torch.zeros(len(parts), dtype=torch.float64), [0.0] * len(parts)
    total = torch.zeros(len(parts), dtype=torch.float64)
    kept: list[list[Tensor]] = [[] for _ in parts]
    for begin in range(0, longest, rows):
        places = torch.arange(begin, min(begin + rows, longest))
        out = predict(torch.stack([part.x[places.clamp(max=len(part) - 1)] for part in parts]))
        for lane, part in enumerate(parts):
            y = in_type(part.y[begin : begin + rows], out.dtype)
            own = out[lane, : len(y)]
            if (more := mass_of(loss, y) if len(y) else 0.0) > 0:
                mean[lane] += loss(own, y).double() * more
            mass[lane] += more
            total[lane] += counts[lane](own, y)
            kept[lane].append(own)
    metric = [finish_metric(p, one, p.valid.y) for p, one in zip(problems, total, strict=True)]
    return mean / torch.tensor(mass), torch.stack(metric), [torch.cat(own) for own in kept]
