"""Data that will mislead: leaks between parts, targets in disguise, scales, rare classes, too little to tell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ravine.problems.problem import Part, Problem
from ravine.training.lint import Finding

LEAK = 0.999  # share of a target's variance that one feature may explain
SHARED = 0.01  # share of a part that may lie in another too
RARE = 10.0  # times as many samples as the rarest class has
WIDE, NARROW = 100.0, 0.01  # standard deviations between which inputs are scaled
FEW = 100  # samples of a validation part


def of_data(problem: Problem, weighed: bool, balanced: bool) -> Iterator[Finding]:
    """Findings on a problem; ``weighed`` and ``balanced`` say that rare classes were thought of."""
    yield from _divided(problem)
    yield from _targets(problem, weighed or balanced)
    if not problem.train.streamed:
        yield from _inputs(problem)
        yield from _shared(problem)
    yield from _validation(problem)


def _divided(problem: Problem) -> Iterator[Finding]:
    if problem.looks_grouped:
        column = problem.looks_grouped[0]
        yield Finding(
            "groups-divided",
            f"column '{column}' looks as if it named groups of rows, which the parts divide: what is measured may be "
            "remembered of a group",
            "warning",
            f'groups = "{column}", or --groups {column}; leave the column out if it names none',
        )


def _targets(problem: Problem, thought_of: bool) -> Iterator[Finding]:
    y = problem.train.y
    if problem.task == "regression":
        spread = float(y.double().std(0).max()) if len(y) > 1 else 0.0
        if spread == 0:
            yield _constant()
        elif not NARROW < spread < WIDE:
            yield Finding(
                "target-unscaled",
                f"targets have a standard deviation of {spread:.3g}: learning rates and losses are in these units",
                "warning",
                "divide targets by their standard deviation, and multiply predictions by it",
            )
        return
    counts = torch.bincount(y.reshape(-1), minlength=len(problem.classes))
    there = counts[counts > 0]
    if len(there) == 1:
        yield _constant()
    elif float(there.max() / there.min()) > RARE and not thought_of:
        rare, common = int(there.min()), int(there.max())
        yield Finding(
            "classes-uneven",
            f"class {problem.classes[int(counts.argmax())]} has {common} training samples and the rarest {rare}: "
            f"always answering with the first is right in {float(there.max() / there.sum()):.0%}",
            "warning",
            'class_weights = "balanced" or sampling = "balanced", and metrics such as f1-macro',
        )


def _constant() -> Finding:
    return Finding(
        "target-constant", "all training samples have the same target: there is nothing to learn", "mistake",
        "check which column is the target",
    )  # fmt: skip


def _inputs(problem: Problem) -> Iterator[Finding]:
    x = problem.train.x
    if not x.is_floating_point():
        return
    flat = x.flatten(1).double() if x.dim() == 2 else x.transpose(0, 1).flatten(1).T.double()  # channels as features
    spread, mean = flat.std(0), flat.mean(0)
    living = spread > 0
    if x.dim() == 2 and not bool(living.all()):
        dead = int((~living).sum())
        yield Finding(
            "feature-constant",
            f"{dead} of {len(living)} features are the same in all training samples: they say nothing",
            "note",
            "leave them out",
        )
    wrong = living & ((spread > WIDE) | (spread < NARROW) | (mean.abs() > WIDE))
    if bool(wrong.any()):
        place = int(wrong.nonzero()[0])
        yield Finding(
            "input-unscaled",
            f"{int(wrong.sum())} of {len(wrong)} features are not scaled: number {place} has mean "
            f"{float(mean[place]):.3g} and standard deviation {float(spread[place]):.3g}, so one learning rate cannot "
            "suit all weights",
            "warning",
            'preprocess = ["standardise"], or leave preprocess out',
        )
    if x.dim() == 2:
        yield from _leak(flat, problem, living)


def _leak(flat: Tensor, problem: Problem, living: Tensor) -> Iterator[Finding]:
    """A feature that explains the target by itself."""
    y = problem.train.y
    if problem.task == "classification":
        if y.dim() != 1 or len(torch.unique(y)) < 2:
            return
        found = _between(flat, y)
    else:
        centred, target = flat - flat.mean(0), y.double() - y.double().mean(0)
        scale = centred.norm(dim=0).clamp_min(1e-300)[:, None] * target.norm(dim=0).clamp_min(1e-300)
        found = ((centred.T @ target) / scale).square().amax(1)
    found = torch.where(living, found, 0.0)
    if float(found.max()) > LEAK:
        yield Finding(
            "target-leak",
            f"feature number {int(found.argmax())} explains {float(found.max()):.2%} of the target by itself: it is "
            "the target in other words, or something that is known only afterwards",
            "mistake",
            "leave it out, unless it is known at prediction",
        )


def _between(flat: Tensor, y: Tensor) -> Tensor:
    """The share of each feature's variance that lies between classes."""
    whole = ((flat - flat.mean(0)) ** 2).sum(0).clamp_min(1e-300)
    inside = torch.zeros_like(whole)
    for label in torch.unique(y):
        own = flat[y == label]
        inside += ((own - own.mean(0)) ** 2).sum(0)
    return 1 - inside / whole


def _shared(problem: Problem) -> Iterator[Finding]:
    marks = {name: _marks(part) for name, part in _parts(problem).items()}
    for one, other in (("validation", "training"), ("test", "training"), ("test", "validation")):
        known = set(marks[other])
        many = sum(mark in known for mark in marks[one])
        if many > SHARED * max(1, len(marks[one])):
            yield Finding(
                "parts-overlap",
                f"{many} of {len(marks[one])} {one} samples are in the {other} part too, inputs and targets alike: "
                "what is measured there is partly remembered",
                "mistake",
                "remove duplicates before splitting",
            )


def _parts(problem: Problem) -> dict[str, Part]:
    parts = {"training": problem.train, "validation": problem.valid, "test": problem.test}
    return {name: part for name, part in parts.items() if not part.streamed} | {
        name: Part(part.x[:0], part.y[:0]) for name, part in parts.items() if part.streamed
    }


def _marks(part: Part) -> list[bytes]:
    """A short hash of each sample with its target."""
    xs, ys = part.x.contiguous().numpy(), part.y.contiguous().numpy()
    return [hashlib.blake2b(x.tobytes() + y.tobytes(), digest_size=12).digest() for x, y in zip(xs, ys, strict=True)]


def _validation(problem: Problem) -> Iterator[Finding]:
    many = len(problem.valid)
    if many < FEW:
        gap = 2 * math.sqrt(2 * 0.1 * 0.9 / many)
        said = f": differences of accuracy below about {gap:.0%} are noise" if problem.task == "classification" else ""
        yield Finding(
            "validation-small",
            f"the validation part has {many} samples{said}",
            "note",
            "more data, several split seeds, or folds",
        )
