"""A problem as a recipe or a race decides it: preprocessed, augmented, classes weighed, metrics chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ravine.errors import UserError
from ravine.metrics import check_metrics
from ravine.problems.balance import Over, fitted
from ravine.problems.joint import weighed_heads
from ravine.problems.prepare import prepared
from ravine.problems.problem import Problem


class Decisions(Protocol):
    """What a recipe and a race's spec say of data, loss and measurements."""

    @property
    def preprocess(self) -> list[str] | None: ...  # noqa: D102
    @property
    def augment(self) -> list[dict[str, Any]]: ...  # noqa: D102
    @property
    def sampling(self) -> str: ...  # noqa: D102
    @property
    def class_weights(self) -> str | dict[str, float] | None: ...  # noqa: D102
    @property
    def weighted_mean(self) -> Over: ...  # noqa: D102
    @property
    def task_weights(self) -> str | None: ...  # noqa: D102
    @property
    def measured(self) -> list[str]: ...  # noqa: D102


def decided(problem: Problem, wanted: Decisions) -> Problem:
    """The problem with all that is decided; the same again where it was decided already.

    Raises a `UserError` where something does not fit the data.
    """
    done = prepared(problem, wanted.preprocess, wanted.augment, wanted.sampling)
    if done.heads:
        return weighed_heads(done, wanted.class_weights, wanted.task_weights, wanted.measured)
    if wanted.task_weights is not None:
        raise UserError(f"task_weights weigh several targets, and {problem.name} has one: leave task_weights out")
    return _measured(_weighed(done, wanted.class_weights, wanted.weighted_mean), wanted.measured)


def _weighed(problem: Problem, weights: str | Mapping[str, float] | None, over: Over) -> Problem:
    if weights is None:
        return problem
    return replace(problem, class_weights=fitted(weights, over, problem.train.y, problem.classes, problem.name))


def _measured(problem: Problem, names: Sequence[str]) -> Problem:
    if not names:
        return problem
    scale = (problem.target_mean, problem.target_scale)
    made = check_metrics(names, problem.valid.y, problem.task, problem.outputs, scale)
    return replace(problem, metrics=tuple(made))
