"""Measuring trained members, alone and together."""

from __future__ import annotations

import torch
from torch import Tensor

from ravine.ensembles.measure import Correlation, combined, correlation, errors, factor
from ravine.ensembles.members import TOGETHER, Members
from ravine.ensembles.result import EnsembleResult, Level, Member
from ravine.losses import finish_metric, metric_name, metric_of
from ravine.problems.problem import Part
from ravine.randomness import generator

ROWS = 512  # samples that go through all members at once


def study(members: Members, test: bool = False, seconds: float = 0.0) -> EnsembleResult:
    """What the members are, alone and together, on the validation part; with ``test`` on the test part.

    rho is measured on other samples than the errors it is to predict: on the validation part for the test part, on one
    half of the validation part (drawn by the seed) for the other.
    """
    problem, kind = members.problem, members.kind
    first, second = (problem.valid, problem.test) if test else _halves(problem.valid, members.recipe.seed)
    names = (
        ("validation part", "test part")
        if test
        else ("first half of the validation part", "second half of the validation part")
    )
    here = _outputs(members, second)
    each = tuple(_judged(members, name, here[i : i + 1], second) for i, name in enumerate(_names(members, len(here))))
    together = here[-1:] if kind == "swa" else here
    levels: tuple[Level, ...] = ()
    rho = None
    if kind != "swa":
        known = correlation(errors(_outputs(members, first), first.y, problem.task, problem.heads))
        seen = correlation(errors(here, second.y, problem.task, problem.heads))
        rho, levels = known.rho, tuple(_level(size, known, seen) for size in range(1, len(here) + 1))
    one = members.gradients / (members.count if kind in TOGETHER else 1)
    return EnsembleResult(
        problem=problem.name, model=members.recipe.model, kind=kind, part=names[1], rho_from=names[0],
        metric_name=metric_name(problem), task=problem.task, members=each,
        whole=_judged(members, _whole(members), together, second), rho=rho, levels=levels,
        gradients=members.gradients, alone=one, passes=len(together), seconds=seconds,
    )  # fmt: skip


def _level(size: int, known: Correlation, seen: Correlation) -> Level:
    squared = seen.error(size)
    return Level(size, squared, squared / seen.square, factor(size, known.rho))


def _halves(part: Part, seed: int) -> tuple[Part, Part]:
    order = torch.randperm(len(part), generator=generator(seed, "halves"))
    left, right = order[: len(part) // 2], order[len(part) // 2 :]
    return part.take(left), part.take(right)


def _outputs(members: Members, part: Part) -> Tensor:
    places = torch.arange(len(part)).split(ROWS)
    return torch.cat([members.outputs(part.take(rows).x) for rows in places], 1)


def _judged(members: Members, name: str, outs: Tensor, part: Part) -> Member:
    """Loss, squared error and metric of the average of some members' outputs [k, n, outputs]."""
    problem = members.problem
    out = combined(outs, problem.task, problem.heads)
    squared = float(errors(out.unsqueeze(0), part.y, problem.task, problem.heads).square().sum(-1).mean())
    metric = finish_metric(problem, metric_of(problem)(out, part.y), part.y)
    return Member(name, float(members.loss(out, part.y)), squared, float(metric))


def _names(members: Members, many: int) -> list[str]:
    if members.kind == "swa":
        return ["last weights", "mean of weights"]
    if members.kind in TOGETHER:
        return [f"seed {seed}" for seed in members.seeds]
    word = {"snapshots": "snapshot", "dropout": "draw"}[members.kind]
    return [f"{word} {place + 1}" for place in range(many)]


def _whole(members: Members) -> str:
    return "mean of weights" if members.kind == "swa" else f"ensemble of {members.count}"
