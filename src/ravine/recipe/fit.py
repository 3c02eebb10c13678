"""Whether the parts of a recipe or a race go together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ravine.engines.precision import Precision
from ravine.errors import UserError
from ravine.losses import form_of
from ravine.penalties import Part, Projection, Prune, part_from_spec
from ravine.problems.sampling import SHUFFLED
from ravine.rules.rule import AFTER, Combinator, Declared, Rule, chain, hypers, name_of, reads_elsewhere
from ravine.solvers.method import Method
from ravine.types import Numbers


def checked_penalties(specs: Sequence[Mapping[str, Any]], rules: Collection[Declared], epochs: float) -> list[Part]:
    """The penalties of a recipe or race; a `UserError` where one does not go with a rule or would do nothing."""
    parts = [part_from_spec(spec) for spec in specs]
    for part in parts:
        if isinstance(part, Prune) and part.start >= epochs:
            raise UserError(
                f"prune: start {part.start:g} is not before the end of {epochs:g} epochs: it would do nothing"
            )
        if isinstance(part, Projection):
            for rule in rules:
                _check_beside(part, rule)
    return parts


def _check_beside(part: Projection, rule: Declared) -> None:
    if not isinstance(rule, Rule):
        raise UserError(f"{part.name} follows the steps of a rule, and {name_of(rule)} is a method: leave one out")
    if part.needs_rate and "lr" not in hypers(rule):
        raise UserError(f"{part.name} needs a learning rate, and {name_of(rule)} has none: leave one out")
    later = [type(c).__name__ for c in chain(rule) if isinstance(c, Combinator) and AFTER.get(c.changes, 0) > 1]
    later = [name for name in later if name != "MaxNorm"] + [name_of(rule)] * reads_elsewhere(rule)
    if later:
        raise UserError(f"{part.name} changes the weights after a step, which {later[0]} would miss: leave one out")


def check_criterion(criterion: str, loss: str) -> None:
    """Raise one sentence where what is measured is unknown, or is the loss anyway, or of another task."""
    made = form_of(criterion)
    if criterion == loss:
        raise UserError(f"criterion {criterion} is the loss itself: leave it out")
    if loss != "auto" and form_of(loss).task != made.task:
        raise UserError(f"criterion {criterion} is for {made.task} and the loss {loss} for {form_of(loss).task}")


def check_precision(name: Numbers, rule: Declared) -> None:
    """Raise one sentence where a contender compares losses, which need all their digits."""
    if Precision(name).short is not None and not isinstance(rule, Rule):
        raise UserError(f"precision {name} belongs to rules on minibatches, not to {name_of(rule)}: leave it out")


def check_augmentable(rule: Declared) -> None:
    """Raise one sentence where a contender takes the whole training part at once, which no augmentation changes."""
    if isinstance(rule, Method):
        raise UserError(f"augment changes minibatches, and {name_of(rule)} takes the whole training part: leave it out")


def check_sampled(sampling: str, rule: Declared) -> None:
    """Raise one sentence where a contender takes the whole training part at once, which no sampling changes."""
    if isinstance(rule, Method) and sampling != SHUFFLED:
        raise UserError(
            f"sampling {sampling} is of minibatches, and {name_of(rule)} takes the whole training part: leave it out"
        )
