"""C12: the time to the answer on digits, ravine's race against Optuna (TPE and Hyperband) over plain torch.

Both search the same rules and learning rates with the same model, data parts, initial draws, minibatches, schedule and
number of configurations, and both retrain the winner over the same 5 fresh seeds. Each search has a process of its
own; its time begins after imports and reading the data, and holds everything else, compilation included.

    python -m ravine.bench.answer [--repetitions 3] [--trials 64] [--json FILE]
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import mean
from typing import Any

from ravine.bench import common
from ravine.rules.rule import Search

OWN, WAYS = "ravine", ("threads", "jobs", "processes")


def one(side: str, seed: int, trials: int) -> dict[str, Any]:
    """One search in this process: seconds, the winner and its validation losses."""
    from ravine.api import race
    from ravine.models import model_factory
    from ravine.problems import load
    from ravine.racing.setup import Setup
    from ravine.racing.spec import RaceSpec

    problem = load("digits")
    if side == OWN:
        begin = time.perf_counter()
        outcome = race(problem, budget=trials, seed=seed, finalists=1, defaults=False, progress=False)
        spent, row = time.perf_counter() - begin, outcome.result.ranking[0]
        steps = outcome.result.cost.lane_steps
        winner = {"rule": row.rule, "lr": row.hypers["lr"], "losses": row.valid_loss.values}
        return {"seconds": spent, **winner, "steps": steps}
    from ravine.bench import optuna_search

    optuna_search.import_everything()
    setup = Setup.of(RaceSpec(problem="digits", budget=trials, seed=seed), problem)
    factory = model_factory(setup.spec.model, problem.shape, problem.outputs)
    ranges = {
        rule: {name: search for name, search in own.items() if isinstance(search, Search)}
        for rule, own in setup.space.ranges.items()
    }
    begin = time.perf_counter()
    task = optuna_search.Task(
        problem, factory, ranges, setup.clock.epochs, setup.clock.batch, trials, seed, setup.fresh
    )
    winner, losses = optuna_search.search(task, side)
    return {"seconds": time.perf_counter() - begin, **winner, "losses": losses}


def apart(side: str, seed: int, trials: int) -> dict[str, Any]:
    """The same in a fresh process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        found = fresh.submit(one, side, seed, trials).result()
    loss = mean(found["losses"])
    print(f"  {side:10} {found['seconds']:6.1f} s  {found['rule']:9} lr {found['lr']:8.2g}  validation loss {loss:.4f}")
    return found


def main() -> None:
    """Measure and print."""
    given = common.arguments(__doc__ or "", repetitions=3, trials=64)
    seen: dict[str, list[dict[str, Any]]] = {side: [] for side in (OWN, *WAYS)}
    for repetition in range(given.repetitions):
        print(f"repetition {repetition + 1} of {given.repetitions}")
        for side, found in seen.items():
            found.append(apart(side, repetition, given.trials))
    figures = {side: summary(found, seen[OWN]) for side, found in seen.items()}
    print()
    for side, row in figures.items():
        name = side if side == OWN else f"Optuna, {side}"
        print(f"{name:18} {row['seconds']:6.1f} s  loss {shown(row['loss'])}", end="")
        against = f"  ravine: {row['ratio']} faster, its loss minus this one's {shown(row['difference'])}"
        print("" if side == OWN else against)
    common.finish({"runs": seen, "figures": figures}, given.json)


def summary(found: list[dict[str, Any]], own: list[dict[str, Any]]) -> dict[str, Any]:
    """Median time, time ratio to ravine's, and mean validation loss over repetitions, all with intervals."""
    from ravine.racing.statistics import interval, paired

    times, own_times = ([one["seconds"] for one in every] for every in (found, own))
    losses, own_losses = ([mean(one["losses"]) for one in every] for every in (found, own))
    return {
        "seconds": sorted(times)[len(times) // 2],
        "ratio": common.ratio(times, own_times),
        "loss": interval(losses).model_dump(),
        "difference": paired(own_losses, losses).model_dump(),
    }


def shown(interval: dict[str, Any]) -> str:
    """A mean with its 95 % interval."""
    return f"{interval['mean']:.4f} [{interval['low']:.4f}, {interval['high']:.4f}]"


if __name__ == "__main__":
    main()
