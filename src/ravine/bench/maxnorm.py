"""What max-norm adds to a step of training: ``python -m ravine.bench.maxnorm``; the ways take turns in one process.

The net of the published MNIST run, 784-898-1532-10 with dropout, momentum, minibatches of 100, one thread: the whole
step, and the optimizer's part of it alone. A limit that few rows exceed reads each row once more, one that all exceed
writes it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ravine.bench.common import interleaved, ratio
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.penalties import Bound, part_from_spec
from ravine.problems.problem import Part
from ravine.solvers.spec import contender_from_spec

ROUNDS = 40
SEEN = 3.5  # a limit of the published size
LOW = 0.4  # one that nearly every row of a first draw exceeds


def net() -> nn.Module:
    """The published net."""
    return nn.Sequential(
        nn.Dropout(0.2), nn.Linear(784, 898), nn.ReLU(), nn.Dropout(0.5), nn.Linear(898, 1532), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(1532, 10),
    )  # fmt: skip


def lanes(limit: float | None, projection: bool = False) -> Lanes:
    """One run with max-norm as a combinator of the rule, or as a projection of the recipe."""
    rule: dict[str, Any] = {"name": "momentum", "lr": 0.05}
    if limit is not None and not projection:
        rule["with"] = [{"name": "max-norm", "max_norm": limit}]
    parts = [part_from_spec({"name": "max-norm", "max_norm": limit})] if limit is not None and projection else []
    model = Model(net, (lambda module: Bound(parts, module)) if parts else None)
    return Lanes(model, nn.functional.cross_entropy, [model.lane(contender_from_spec(rule), {}, 0)])


def main() -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    part = Part(torch.rand(2000, 784, generator=draw), torch.randint(0, 10, (2000,), generator=draw))
    kinds = {
        "without": lanes(None),
        f"combinator, limit {SEEN:g}": lanes(SEEN),
        f"combinator, limit {LOW:g}": lanes(LOW),
        f"projection of the recipe, limit {SEEN:g}": lanes(SEEN, projection=True),
    }
    _report("the whole step", {name: _step(each, part) for name, each in kinds.items()})
    grads = [torch.randn(1, *shape, generator=draw) * 1e-3 for shape in kinds["without"].model.shapes.values()]
    _report("the optimizer's part", {name: _update(each, grads) for name, each in kinds.items()})


def _report(what: str, ways: Mapping[str, Callable[[], float]]) -> None:
    seen = interleaved(ways, ROUNDS, warm_up=8)
    print(f"{what}: {1e3 * sorted(seen['without'])[ROUNDS // 2]:.2f} ms without")
    for name in list(ways)[1:]:
        print(f"  {name:42} {ratio(seen[name], seen['without'])}")


def _step(each: Lanes, part: Part) -> Callable[[], float]:
    def work() -> float:
        index = torch.arange(100).view(1, -1) + 100 * (each.step_count % 20)
        begin = time.process_time()
        each.step(part, index, 0.0)
        return time.process_time() - begin

    return work


def _update(each: Lanes, grads: list[torch.Tensor]) -> Callable[[], float]:
    def work() -> float:
        each.step_count += 1
        begin = time.process_time()
        for group in each.groups:
            group.update(each.weights, grads, each.step_count, 0.0, None)
        each._finish(0.0)  # pyright: ignore[reportPrivateUsage]  # what a projection does
        return time.process_time() - begin

    return work


if __name__ == "__main__":
    main()
