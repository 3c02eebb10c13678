"""A problem as a recipe wants it: its inputs preprocessed, its training samples augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ravine.augment import Augment, make, to_spec
from ravine.errors import UserError
from ravine.problems.preprocess import WHITENINGS, preprocessed
from ravine.problems.problem import Problem
from ravine.problems.sampling import SAMPLINGS, SHUFFLED, check_samples


def prepared(
    problem: Problem,
    preprocess: Sequence[str] | None,
    augment: Sequence[Mapping[str, Any]],
    sampling: str = SHUFFLED,
) -> Problem:
    """The problem with this preprocessing, augmentation and sampling; the same one where it has them already.

    Raises a `UserError` where one does not fit the data.
    """
    return _augmented(_sampled(preprocessed(problem, preprocess), sampling), problem, augment)


def _sampled(problem: Problem, sampling: str) -> Problem:
    if sampling in (SHUFFLED, problem.sampling):
        return problem
    check_samples(sampling, problem)
    clause = f"sampling {sampling}: {SAMPLINGS[sampling]}"
    return replace(problem, sampling=sampling, understood=(*problem.understood, clause))


def _augmented(done: Problem, problem: Problem, augment: Sequence[Mapping[str, Any]]) -> Problem:
    has = problem.augment.steps if problem.augment is not None else ()
    wanted = augment or [to_spec(step) for step in has]
    if not wanted:
        return done
    made = augmentation(done, wanted)  # anew where the inputs changed, since it knows where black is
    if done is problem and made.steps == has:
        return problem
    clause = f"augmented by {', '.join(step.name for step in made.steps)}"
    said = [words for words in done.understood if not words.startswith("augmented by ")]
    return replace(done, augment=made, understood=(*said, clause))


def augmentation(problem: Problem, augment: str | Sequence[str | Mapping[str, Any]]) -> Augment:
    """The checked augmentation of a problem's samples, which knows where its pixels are black and white."""
    made = make(augment)
    x, inputs = problem.train.x, problem.inputs
    if not x.is_floating_point():
        raise UserError(f"augment: {problem.name} holds whole numbers that stand for something else: leave it out")
    made.check(problem.shape, problem.name)
    if len(problem.shape) == 3 and inputs is not None:
        if any(name in WHITENINGS for name in inputs.names):
            raise UserError("augment works on pixels, which whitening mixes: leave one of the two out")
        mean, std = inputs.pixels
        made = replace(made, mean=mean, std=std)
    out = tuple(problem.shape)
    for step in made.steps:
        out = step.out(out)
    if out != tuple(problem.shape):
        sizes = "x".join(map(str, problem.shape[1:]))
        raise UserError(f"augment: the images stay {sizes} at validation, so a patch of another size is of no use")
    return made
