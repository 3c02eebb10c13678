"""Classical baselines beside a race: fitted on its training part, chosen on its validation part, tested once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ravine.baselines.classics import Classic, classics
from ravine.losses import loss_name, loss_of
from ravine.problems.problem import Part, Problem
from ravine.results import Baseline, Baselines, Interval

MOST_SAMPLES = 2000  # of the training part that the baselines see
MOST_NUMBERS = 1024  # of a sample; larger ones are images whose pixels no classic takes as they are
RESAMPLES = 1000


def fitted(problem: Problem) -> Baselines:
    """Each family at the setting that is best on the validation part, best first; a tie goes to the simpler one.

    What is tried depends on sizes alone, never on a clock, so that a race resumed elsewhere says the same.
    """
    if why := _unfit(problem):
        return Baselines(note=f"Baselines left out: {why}.")
    size = int(np.prod(problem.shape))
    train, valid = _arrays(problem.train, MOST_SAMPLES), _arrays(problem.valid, MOST_SAMPLES)
    families = [one for one in classics() if problem.task in one.tasks]
    rows = [_best(one, problem, train, valid) for one in families if size <= one.most_features]
    large = [one.name for one in families if size > one.most_features]
    notes = [
        f"{does} {len(seen[0]):,} of {len(part):,} {name} samples, evenly spread"
        for does, seen, part, name in (
            ("fitted on", train, problem.train, "training"), ("judged on", valid, problem.valid, "validation"),
        )
        if len(seen[0]) < len(part)
    ]  # fmt: skip
    notes += [f"not tried on {size:,} numbers a sample: {', '.join(large)}"] if large else []
    named = loss_name(problem) if any(row.loss is not None for row in rows) else ""
    return Baselines(rows=sorted(rows, key=lambda row: -row.valid), loss_name=named, note="; ".join(notes))


def _unfit(problem: Problem) -> str:
    """Why no classic takes these samples as they are; empty where they do."""
    size, train = int(np.prod(problem.shape)), problem.train
    if train.streamed or not train.x.is_floating_point():
        return "the samples are streamed, or codes of something"
    if problem.heads or train.y.dim() > 2 or (problem.task == "classification" and train.y.dim() != 1):
        return "a sample has several targets"
    if size > MOST_NUMBERS:
        return f"a sample has {size:,} numbers, more than {MOST_NUMBERS:,}"
    if not all(bool(part.x.isfinite().all()) for part in (train, problem.valid)):
        return "some samples hold NaN or infinity"
    if problem.task == "classification" and len(train.y.unique()) < 2:
        return "the training part holds one class"
    return ""


def beside(problem: Problem, outputs: Iterable[NDArray[Any]]) -> Baselines:
    """The baselines, the best of them on the test part once, and the winner's lead over it.

    ``outputs`` are the winner's predictions for the test part, of each seed, asked for only where there is a baseline.
    The interval of the lead, of the mean over seeds, is a bootstrap over the test samples.
    """
    found = fitted(problem)
    if not found.rows or problem.test.streamed or not len(problem.test) or not bool(problem.test.x.isfinite().all()):
        return found
    best = found.rows[0]
    family = next(one for one in classics() if one.name == best.name)
    setting = next(given for given in family.settings if family.says(given) == best.setting)
    x, y = _arrays(problem.test, len(problem.test))
    model = _fit(family.make(setting, problem.task), _arrays(problem.train, MOST_SAMPLES))
    own = scores(problem, np.asarray(model.predict(x)), y)
    lead = np.mean([scores(problem, out, y) for out in outputs], axis=0) - own
    draws = np.random.default_rng(0)
    means = [lead[draws.integers(len(lead), size=len(lead))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    interval = Interval(mean=float(lead.mean()), low=float(low), high=float(high), values=[])
    return found.model_copy(update={"test": float(own.mean()), "lead": interval})


@torch.no_grad()
def predicted(module: nn.Module, problem: Problem) -> NDArray[Any]:
    """What a model predicts for the test part: labels, or numbers [n, outputs]."""
    module.eval()
    out = torch.cat([module(x) for x in problem.test.x.split(4096)]).double()
    return (out.argmax(-1) if problem.task == "classification" else out).cpu().numpy()


def scores(problem: Problem, out: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """What the metric is the mean of, sample by sample: right or wrong; for numbers one minus the relative error."""
    if problem.task == "classification":
        return (out == y).astype(np.float64)
    y = y.reshape(len(y), -1)
    spread = ((y - y.mean(0)) ** 2).sum(1).mean() or 1.0
    return 1 - ((out.reshape(len(y), -1) - y) ** 2).sum(1) / spread


def _best(one: Classic, problem: Problem, train: Any, valid: Any) -> Baseline:
    """The setting with the best metric on the validation part; a tie goes to the simpler one."""
    tried: list[tuple[float, str, float | None]] = []
    for setting in one.settings:
        if one.name.startswith("k-NN") and setting > len(train[0]):
            continue
        model = _fit(one.make(setting, problem.task), train)
        value = float(scores(problem, np.asarray(model.predict(valid[0])), valid[1]).mean())
        tried.append((value, one.says(setting), _loss(problem, model, *valid)))
    value, setting, loss = max(tried, key=lambda row: row[0])
    return Baseline(name=one.name, setting=setting, valid=value, loss=loss)


def _loss(problem: Problem, model: Any, x: NDArray[Any], y: NDArray[Any]) -> float | None:
    """The race's loss of a model's answers, as of the network's; None where they are no answers for it.

    For classes those are the logarithms of its probabilities, whose cross-entropy is the log loss; a probability of 0
    is taken for the smallest step above it, as scikit-learn does.
    """
    if problem.task == "classification":
        if not hasattr(model, "predict_proba") or not loss_name(problem).startswith("cross_entropy"):
            return None
        chances = np.zeros((len(x), problem.outputs))
        chances[:, model.classes_] = model.predict_proba(x)
        out = torch.tensor(np.log(np.clip(chances, np.finfo(np.float64).eps, 1.0)))
    else:
        out = torch.tensor(np.asarray(model.predict(x)).reshape(y.shape))
    found = float(loss_of(problem)(out, torch.tensor(y)))
    return found if math.isfinite(found) else None


def _fit(model: Any, part: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one that has not converged is judged as it is
        return model.fit(*part)


def _arrays(part: Part, most: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of numbers and their targets; of more, an evenly spread share."""
    places = np.linspace(0, len(part) - 1, min(most, len(part))).astype(np.int64)
    return part.x.flatten(1).cpu().numpy()[places].astype(np.float64), part.y.cpu().numpy()[places]
