"""The learning-rate range test: let the rate grow until the run is lost, and read off where it trains."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.errors import UserError
from ravine.losses import loss_of
from ravine.models import probe
from ravine.problems import from_anything
from ravine.problems.problem import Problem
from ravine.randomness import build
from ravine.rates.advice import Advice, advise, read
from ravine.rates.chance import constant_loss, to_beat
from ravine.rates.lanes import Setting, constant, sweep
from ravine.rates.own import sweep_own
from ravine.rates.result import Checked, RangeTest, Word
from ravine.rates.symptoms import FEWEST, block_means, symptom
from ravine.rules.rule import Rule, check, hypers, name_of
from ravine.solvers.spec import rule_named
from ravine.training.clock import batch_for
from ravine.training.model import model_of
from ravine.types import Loss

TRIED = 12  # constant rates that a suggestion is tested with
BEYOND = 30.0  # times below and above the interval: how far they reach


def lr_range_test(
    data: Any,
    *,
    model: str | nn.Module | Callable[[], nn.Module] = "mlp:128,128",
    optimizer: str | Rule | Optimizer = "adam",
    loss: str | Loss = "auto",
    batch: int | None = None,
    low: float = 1e-6,
    high: float = 100.0,
    steps: int = 200,
    seeds: int = 5,
    seed: int = 0,
    tried: bool = True,
    target: str | None = None,
) -> RangeTest:
    """Suggest an interval of learning rates: sweep the rate from low to high over a few hundred steps, in every seed.

    With the name of a rule, or a `Rule`, all seeds run as lanes of one program, each from its own initial draw (an
    ``nn.Module`` is copied, and all seeds begin at its weights); twelve constant rates around the suggestion are then
    tried, as lanes too. With a torch optimizer of yours, ``model`` is the module it trains, ``data`` a DataLoader or a
    list of (x, y), ``loss`` a function of (prediction, target), and the seeds run one after another, from the weights
    and the state as they are. Nothing that you gave is changed, to the bit.

    Args:
        data: what `ravine.race` takes; beside a torch optimizer, your batches.
        model: a word such as "mlp:128,128", a module, or a function that makes one.
        optimizer: name of a rule, a `Rule`, or a torch optimizer.
        loss: "auto", a name, or a function of (prediction, target) that gives the mean loss.
        batch: samples a step; None for one that suits the size of the data. Not for batches of your own.
        low: first learning rate, in the units of the optimizer's ``lr``.
        high: last learning rate.
        steps: optimizer steps of the sweep, 40 at least.
        seeds: sweeps with an order of samples each.
        seed: of all that is drawn.
        tried: test the suggestion; not with an optimizer of your own.
        target: column to predict, for a table.

    Reference: Smith 2017, arXiv:1506.01186, section 3.3; Smith 2018, arXiv:1803.09820.

    Raises:
        UserError: one sentence on anything that does not fit; nothing is changed then.
    """
    _check(low, high, steps, seeds)
    ratio = (high / low) ** (1 / (steps - 1))
    rates = [low * ratio**step for step in range(steps)]
    every = tuple(seed + place for place in range(seeds))
    if isinstance(optimizer, Optimizer):
        return _own(data, model, optimizer, loss, rates, every)
    setting, words = _setting(data, model, optimizer, loss, batch, steps, every, target)
    losses = sweep(setting, low, high)
    name = name_of(setting.rule)
    found = _result(setting.problem.name, words, name, setting.batch, rates, losses)
    if not tried or found.low is None or found.high is None:
        return found
    return _with_checked(found, setting, found.low, found.high)


def _check(low: float, high: float, steps: int, seeds: int) -> None:
    if not (0 < low < high < math.inf):
        raise UserError(f"a sweep from {low!r} to {high!r}: give two positive rates, the lower one first")
    if steps < FEWEST:
        raise UserError(f"a sweep of {steps} steps is too short to be read: give {FEWEST} or more")
    if seeds < 1:
        raise UserError(f"seeds={seeds!r}: give 1 or more")
    if steps * seeds > 1_000_000:
        raise UserError(f"{seeds:,} sweeps of {steps:,} steps: give at most 1,000,000 steps in all")


def _setting(
    data: Any,
    model: str | nn.Module | Callable[[], nn.Module],
    optimizer: str | Rule,
    loss: str | Loss,
    batch: int | None,
    steps: int,
    seeds: tuple[int, ...],
    target: str | None,
) -> tuple[Setting, str]:
    """What every lane shares, checked; and the model in words."""
    rule = rule_named(optimizer) if isinstance(optimizer, str) else check(optimizer)
    if "lr" not in hypers(rule):
        raise UserError(f"{name_of(rule)} has no learning rate, so there is nothing to sweep")
    given = model
    if isinstance(given, nn.Module):
        module = given
        model = lambda: copy.deepcopy(module)  # noqa: E731
    own = None if isinstance(model, str) else model
    problem = from_anything(data, target=target, loss=loss, model=own)
    word = _word(model, problem)
    factory = model_of(word, "relu", problem)
    words = type(given).__name__ if isinstance(given, nn.Module) else word
    probe(factory, problem, words)
    loss_of(problem)
    samples = len(problem.train)
    size = batch_for(samples) if batch is None else batch
    if not 1 <= size <= samples:
        raise UserError(f"batch {size} does not fit the {samples} training samples of {problem.name}")
    return Setting(problem, factory, rule, size, seeds, steps), words


def _word(model: object, problem: Problem) -> str:
    """The recipe's word of a model: the problem's own where the user chose none."""
    if not isinstance(model, str) or (model == "mlp:128,128" and problem.model is not None):
        return "own"
    return model


def _own(
    data: Any, model: object, optimizer: Optimizer, loss: str | Loss, rates: list[float], seeds: Sequence[int]
) -> RangeTest:
    if not isinstance(model, nn.Module):
        raise UserError("beside a torch optimizer, model must be the nn.Module whose parameters it holds")
    if isinstance(loss, str):
        raise UserError(
            f"beside a torch optimizer, loss={loss!r} must be a function of (prediction, target), "
            "such as torch.nn.functional.cross_entropy"
        )
    losses = sweep_own(model, optimizer, data, loss, rates, seeds)
    return _result("your batches", type(model).__name__, type(optimizer).__name__, None, rates, losses)


def _result(
    problem: str, model: str, optimizer: str, batch: int | None, rates: list[float], losses: Tensor
) -> RangeTest:
    rows: list[list[float]] = losses.T.tolist()
    readings = tuple(read(rates, row) for row in rows)
    kept = tuple(tuple(row) for row in rows)
    advice = advise(readings, rates[0], rates[-1])
    return RangeTest(problem, model, optimizer, batch, tuple(rates), kept, readings, advice)


def _with_checked(found: RangeTest, setting: Setting, low: float, high: float) -> RangeTest:
    """The suggestion tested by constant rates in and around it, and a doubt where none in it does well."""
    rates = spread(low, high)
    losses, valid = constant(setting, rates)
    before, chance = _noise(found), _chance(setting)
    beaten = math.inf if chance is None else to_beat(chance)
    rows: list[Checked] = []
    for place, rate in enumerate(rates):
        after, short = float(valid[place].mean()), int((~(valid[place] < beaten)).sum())
        curve: list[float] = losses[:, place].mean(1).tolist()
        word: Word = symptom(curve, noise=max(before, _jitter(curve)))
        by_heart = word == "too low" and 2 * block_means(curve)[-1] < curve[0]
        if short and (word == "good" or by_heart):  # it learned its samples, and nothing that holds for others
            word = "no better than chance"
        rows.append(Checked(rate, after if math.isfinite(after) else math.inf, word, low <= rate <= high, short))
    if chance is not None and all(row.loss >= beaten for row in rows):
        advice = Advice(None, None, found.advice.reasons, (_nothing_learned(chance, rows),))
    else:
        advice = _doubted(found.advice, rows, setting.steps)
    return replace(found, checked=tuple(rows), advice=advice, chance=chance)


def _chance(setting: Setting) -> float | None:
    """The loss to beat, in validation, or None where no loss of a constant answer can be had."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        one = build(setting.model, setting.seeds[0]).eval()(setting.problem.valid.take(torch.arange(1)).x)
    return constant_loss(setting.problem, one)


def _nothing_learned(chance: float, rows: Sequence[Checked]) -> str:
    best = min(rows, key=lambda row: row.loss)
    reached = f"the lowest, {best.loss:.3g}, was at {best.rate:.2g}" if math.isfinite(best.loss) else "all were lost"
    return (
        f"no rate tried got below the validation loss of a constant answer, {chance:.3g} ({reached}): give more steps, "
        "or look for what is wrong with ravine lint"
    )


def _noise(found: RangeTest) -> float:
    """What minibatches do to the mean loss over seeds, from the beginning of the sweep, where nothing is learned."""
    begin = torch.tensor(found.losses, dtype=torch.float64)[:, : len(found.rates) // 8].mean(0)
    return float(begin.std()) if bool(begin.isfinite().all()) else 0.0


def _jitter(losses: Sequence[float]) -> float:
    """What minibatches do to the loss once something is learned: the standard deviation that neighbours show.

    Before training all samples may have the same loss, so the beginning of a sweep shows less. What goes up and down
    for more than a step differs by more than its neighbours do (Reference: von Neumann 1941, Ann. Math. Stat. 12).
    """
    late = torch.tensor(losses[len(losses) // 3 :], dtype=torch.float64).diff()
    return float(late.std()) / math.sqrt(2) if bool(late.isfinite().all()) else 0.0


def _doubted(advice: Advice, rows: Sequence[Checked], steps: int) -> Advice:
    inside = [row for row in rows if row.suggested]
    good = [row for row in inside if row.symptom == "good"]
    doubts = list(advice.doubts)
    best = min(rows, key=lambda row: row.loss)
    if best.suggested and all(row.symptom == "too low" for row in inside):
        doubts.append(f"every rate in the interval still falls after {steps} steps: give more")
    elif not good:
        words = ", ".join(dict.fromkeys(row.symptom for row in inside))
        doubts.append(f"no constant rate tried in the interval looked good: {words}")
    if not best.suggested:
        doubts.append(f"the lowest validation loss, {best.loss:.3g}, was at {best.rate:.2g}, outside of it")
    return replace(advice, doubts=tuple(doubts))


def spread(low: float, high: float) -> list[float]:
    """Twelve rates: three below the interval, six in it with its ends, three above.

    >>> [f"{rate:.1e}" for rate in spread(0.01, 0.1)][2:5]
    ['3.2e-03', '1.0e-02', '1.6e-02']
    """
    step = BEYOND ** (1 / 3)
    inside = [low * (high / low) ** (place / 5) for place in range(5)] + [high]
    return [low / step**place for place in (3, 2, 1)] + inside + [high * step**place for place in (1, 2, 3)]
