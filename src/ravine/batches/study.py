"""`batch_study`: noise, speed and scaling measured; and a batch size with its rate, trained before it is said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ravine.batches.noise import gradient_noise
from ravine.batches.result import BatchStudy, Moment, Size
from ravine.batches.scaling import Scaled, scaled_runs
from ravine.batches.speed import Speed, knee, throughput
from ravine.engines.lane import Model
from ravine.engines.lanes import Lanes
from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import probe
from ravine.problems import from_anything
from ravine.problems.problem import Problem
from ravine.racing.setup import batch_for
from ravine.racing.statistics import interval
from ravine.rates import lr_range_test
from ravine.rates.scaling import Law, law_of
from ravine.results import Interval
from ravine.rules.rule import Rule, check, hypers, name_of, sums_of, with_values
from ravine.solvers.spec import rule_named
from ravine.training.clock import Clock
from ravine.training.feed import Feed
from ravine.training.model import model_of
from ravine.types import Loss

MOST = 6  # sizes that are trained
LEAST_STEPS = 4  # an epoch must have, for a size to be trained
LARGEST = 8192  # that is timed
DRAWS = 32  # minibatches of a size, for the noise
Tell = Callable[[str], None]


def batch_study(
    data: Any,
    *,
    model: str | Callable[[], nn.Module] = "mlp:128,128",
    rule: str | Rule = "momentum",
    loss: str | Loss = "auto",
    batch: int | None = None,
    lr: float | None = None,
    law: Law | None = None,
    epochs: int = 10,
    seeds: int = 5,
    seed: int = 0,
    target: str | None = None,
    tell: Tell | None = None,
) -> BatchStudy:
    """Measure how batch sizes do, and suggest one with its learning rate.

    Args:
        data: what `ravine.race` takes.
        model: a word such as "mlp:128,128", or a function that makes a module.
        rule: name of a rule with a learning rate, or a `Rule`.
        loss: "auto", a name, or a function of (prediction, target) that gives the mean loss.
        batch: the size that others are compared with; None for one that suits the size of the data.
        lr: its learning rate; None for the middle of what `lr_range_test` suggests there.
        law: how the rate goes with the size, "linear" or "sqrt"; None for that of the rule.
        epochs: of each run, the same for all sizes.
        seeds: runs of each size, 2 at least.
        seed: of all that is drawn.
        target: column to predict, for a table.
        tell: told what is being done.

    Every size trains for the same epochs, from the same draws, at the scaled rate and at the first one. A size holds
    where its last validation loss is not told to be higher than the first size's (95 %, paired by seed, widened for
    the number of sizes). The suggestion is the quickest size up to which all hold, and the smallest of those within a
    tenth of it; so it was trained at just that rate. A rate that grows much may want a warm-up, which is not tried.
    Reference: Goyal et al. 2017, arXiv:1706.02677; McCandlish et al. 2018, arXiv:1812.06162.

    Raises:
        UserError: one sentence on anything that does not fit.
    """
    say = tell or (lambda words: None)
    made = rule_named(rule) if isinstance(rule, str) else check(rule)
    _check(made, epochs, seeds, lr)
    problem = from_anything(data, target=target, loss=loss, model=None if isinstance(model, str) else model)
    own = not isinstance(model, str) or (model == "mlp:128,128" and problem.model is not None)
    word = "own" if own else str(model)
    factory = model_of(word, "relu", problem)
    probe(factory, problem, word)
    base = batch_for(len(problem.train)) if batch is None else batch
    sizes = sizes_from(base, len(problem.train))
    Clock(len(problem.train), base, epochs).check()
    if lr is None:
        say(f"learning rate at batch {base}")
        found = lr_range_test(
            problem,
            model=word if word != "own" else factory,
            optimizer=made,
            batch=base,
            seeds=3,
            seed=seed,
            tried=False,
        )
        if found.low is None or found.high is None:
            raise UserError(f"no learning rate trained {name_of(made)} at batch {base}: give one with lr")
        lr = math.sqrt(found.low * found.high)
    made = with_values(made, {"lr": lr})
    every = tuple(seed + place for place in range(seeds))
    template = Model(factory)
    say("speed")
    speeds, ended = throughput(problem, template, made, _timed(base, len(problem.train)))
    say("gradient noise")
    moments = tuple(_moments(problem, template, made, base, epochs, every))
    chosen = law or law_of(made)
    rows = _sizes(problem, template, made, base, sizes, epochs, every, chosen, speeds, say)
    if rows[0].behind is None:
        raise UserError(f"{name_of(made)} was lost at batch {base} and lr {lr:.3g} ({rows[0].scaled.lost}): lower lr")
    best = suggested(rows)
    return BatchStudy(
        problem=problem.name, model=word, rule=name_of(made), law=chosen, samples=len(problem.train), base=base,
        rate=lr, epochs=epochs, seeds=every, moments=moments, sizes=tuple(rows), speeds=tuple(speeds), ended=ended,
        batch=best.batch, batch_rate=best.scaled.rate,
    )  # fmt: skip


def _check(rule: Rule, epochs: int, seeds: int, lr: float | None) -> None:
    if "lr" not in hypers(rule) or sums_of(rule):
        raise UserError(f"{name_of(rule)} has no learning rate of its own to scale with the batch")
    if epochs < 1:
        raise UserError(f"epochs={epochs}: give 1 or more")
    if not 2 <= seeds <= 1000:
        raise UserError(f"seeds={seeds}: an interval needs 2 or more, and 1,000 at most")
    if lr is not None and not (math.isfinite(lr) and lr > 0):
        raise UserError(f"lr={lr!r}: give a positive number")


def sizes_from(base: int, samples: int) -> list[int]:
    """The sizes that are trained: the base, and twice the one before while an epoch has four steps.

    >>> sizes_from(64, 1077)
    [64, 128, 256]
    """
    if not 1 <= base <= samples // LEAST_STEPS:
        raise UserError(
            f"batch {base} of {samples} training samples leaves less than {LEAST_STEPS} steps an epoch: "
            f"give 1 to {samples // LEAST_STEPS}"
        )
    found = [base]
    while len(found) < MOST and 2 * found[-1] * LEAST_STEPS <= samples:
        found.append(2 * found[-1])
    return found


def _timed(base: int, samples: int) -> list[int]:
    """The sizes that are timed: from an eighth of the base, by factors of two, to all samples."""
    small = [base // 2**k for k in (3, 2, 1) if base % 2**k == 0]
    large = [base * 2**k for k in range(20) if base * 2**k <= min(samples, max(LARGEST, base))]
    return small + large


def _moments(problem: Problem, model: Model, rule: Rule, batch: int, epochs: int, seeds: Sequence[int]) -> list[Moment]:
    """The noise before training, after an epoch, and at the end, of runs at the base size, all seeds side by side."""
    loss = loss_of(problem)
    clock = Clock(len(problem.train), batch, epochs)
    lanes = Lanes(model, loss, [model.lane(rule, {}, seed) for seed in seeds])
    feed = Feed(problem, clock)
    part = problem.train.take(_order(problem, seeds[0]))
    noted = sorted({0, clock.steps_per_epoch, clock.steps})
    found: list[Moment] = []
    for step in range(clock.steps + 1):
        if step in noted:
            modules = [model.load(lanes.snapshot(row)).train() for row in range(len(seeds))]
            noises = tuple(
                gradient_noise(module, loss, part.x, part.y, sizes=_noted(len(part)), draws=DRAWS, seed=seed)
                for module, seed in zip(modules, seeds, strict=True)
            )
            slope = interval([noise.slope for noise in noises])
            found.append(
                Moment(clock.time(step) if step < clock.steps else float(epochs), noises, _scale(noises), slope)
            )
        if step < clock.steps:
            lanes.step(*feed.at(lanes.seeds, step), clock.time(step))
    return found


def _order(problem: Problem, seed: int) -> Any:
    from ravine.randomness import order

    return order(seed, 0, len(problem.train))[:4096]


def _noted(samples: int) -> tuple[int, ...]:
    return tuple(size for size in (4, 8, 16, 32, 64, 128, 256) if size <= max(16, samples // 4))


def _scale(noises: Sequence[Any]) -> Interval | None:
    """The geometric mean of the noise scale over seeds with its interval."""
    logs = [math.log(noise.scale) for noise in noises if 0 < noise.scale < math.inf]
    if len(logs) < len(noises):
        return None
    found = interval(logs)
    return Interval(
        mean=math.exp(found.mean),
        low=math.exp(found.low),
        high=math.exp(found.high),
        values=[math.exp(v) for v in logs],
    )


def _sizes(
    problem: Problem, model: Model, rule: Rule, base: int, sizes: Sequence[int], epochs: int, seeds: Sequence[int],
    law: Law, speeds: Sequence[Speed], say: Tell,
) -> list[Size]:  # fmt: skip
    def runs(by: Law | None, which: Sequence[int]) -> list[Scaled]:
        words = "the scaled rate" if by else "the first rate"
        made = scaled_runs(
            problem, model, rule, base, which, epochs, seeds, by, lambda size: say(f"batch {size}, {words}")
        )
        return list(made)

    scaled = runs(law, sizes)
    plain = [scaled[0], *runs(None, sizes[1:])]
    timed = {speed.batch: speed for speed in speeds}
    found: list[Size] = []
    for one, other in zip(scaled, plain, strict=True):
        behind = one.behind(scaled[0], max(1, len(sizes) - 1))
        holds = behind is not None and (one.batch == base or not behind.low > 0)
        found.append(Size(one.batch, one, other, behind, holds, timed.get(one.batch)))
    return found


def suggested(rows: Sequence[Size]) -> Size:
    """The quickest size up to which all hold; of those within a tenth of it the smallest. Only sizes that ran."""
    held: list[Size] = []
    for row in rows:
        if not row.holds:
            break
        if row.speed is not None:
            held.append(row)
    best = knee([row.speed for row in held if row.speed is not None]) if held else rows[0].batch
    return next(row for row in rows if row.batch == best)
