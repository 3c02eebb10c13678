"""Several targets as a recipe decides them: classes weighed in each, weights of targets given or learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ravine.errors import UserError, unknown
from ravine.problems.balance import fitted
from ravine.problems.heads import Head, JointLoss
from ravine.problems.problem import Problem

LEARNED = "learned"


def weighed_heads(
    problem: Problem, classes: str | Mapping[str, float] | None, tasks: str | None, measured: Sequence[str]
) -> Problem:
    """The problem with its targets weighed; the same again where they were weighed already.

    ``classes`` is "balanced", or weights by class, of a class that stands in two targets as "target.class". The mean
    is over samples, since a target cannot divide by weights that another does not have.
    """
    further = [name for name in measured if not (classes is not None and name == "balanced-accuracy")]
    if further:
        raise UserError(
            f"metrics and monitor: of several targets each has its own metric already; leave {further[0]} out"
        )
    if tasks not in (None, LEARNED):
        raise UserError(f"task_weights {tasks!r}: write {LEARNED!r}, or give weights in the target, as in price:0.5")
    heads = problem.heads if classes is None else _weighed(problem, classes)
    return replace(problem, heads=heads, loss=JointLoss(heads, tasks == LEARNED))


def _weighed(problem: Problem, given: str | Mapping[str, float]) -> tuple[Head, ...]:
    if not any(head.classes for head in problem.heads):
        raise UserError(f"class_weights: the targets of {problem.name} are numbers, not classes: leave them out")
    if isinstance(given, str):
        return tuple(_one(problem, head, given) for head in problem.heads)
    own: dict[str, dict[str, float]] = {head.name: {} for head in problem.heads}
    for name, weight in given.items():
        head, label = _place(problem, name)
        own[head][label] = weight
    return tuple(_one(problem, head, own[head.name]) for head in problem.heads)


def _one(problem: Problem, head: Head, given: str | Mapping[str, float]) -> Head:
    if not head.classes or not given:
        return head
    labels = problem.train.y[:, head.column].long()
    return replace(head, class_weights=fitted(given, "samples", labels, head.classes, head.name))


def _place(problem: Problem, name: str) -> tuple[str, str]:
    """The target and the class that a name stands for."""
    every = {f"{head.name}.{label}": (head.name, label) for head in problem.heads for label in head.classes}
    plain = [place for place in every.values() if place[1] == name]
    if name in every or len(plain) == 1:
        return every.get(name) or plain[0]
    if plain:
        raise UserError(f"class_weights: {name} is a class of {len(plain)} targets: write {plain[0][0]}.{name}")
    labels = list(dict.fromkeys(label for _, label in every.values()))
    raise unknown(f"class of {problem.name} in class_weights", name, labels)
