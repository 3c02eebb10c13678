"""What in a recipe can be known to do nothing, or harm, before a step is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ravine.recipe import BATCH, Recipe
from ravine.rules.rule import values
from ravine.schedules import Constant, Plateau, Product, Schedule, Sequence, WarmUp
from ravine.training.clock import Clock

Severity: TypeAlias = Literal["mistake", "warning", "note"]
SAMPLES = 600  # times at which a schedule is read, at most
IDLE = 0.1  # part of a run that may pass at a learning rate of zero


@dataclass(frozen=True)
class Finding:
    """One thing that is allowed and hardly meant."""

    kind: str  # a stable short name: "plateau-after-stop"
    text: str  # one sentence
    severity: Severity = "warning"  # a mistake spoils the run; a note costs little
    cure: str = ""  # what to do instead, where the sentence does not say it

    def __str__(self) -> str:
        return f"{self.text}: {self.cure}" if self.cure else self.text


def lint(recipe: Recipe, samples: int | None = None) -> list[Finding]:
    """Findings on a recipe, worst first; ``samples`` is the size of the training part, where it is known.

    Raises a `UserError` where the recipe is not allowed at all.

    >>> lint(Recipe(problem="wine", patience=3, plateau={"patience": 5}))[0].kind
    'plateau-after-stop'
    """
    recipe.check()
    clock = Clock(samples or 100 * recipe.batch, recipe.batch, recipe.epochs, recipe.make_growth())
    clock.check()
    return [
        *_plateau(recipe, clock),
        *_patience(recipe, clock),
        *(finding for name, made in recipe.make_schedules().items() for finding in _schedule(name, made, clock)),
        *_batches(recipe, clock, samples),
    ]


def _plateau(recipe: Recipe, clock: Clock) -> Iterator[Finding]:
    plateau = recipe.make_plateau()
    if plateau is None:
        return
    lr = float(values(recipe.make_rule())["lr"])
    yield from _reduction(plateau, lr)
    if 0 < recipe.patience <= plateau.waits:
        yield Finding(
            "plateau-after-stop",
            f"patience {recipe.patience} stops the run before the plateau acts, which takes {plateau.waits} "
            f"measurements without improvement: give a patience above {plateau.waits}",
        )
    if plateau.waits >= clock.ticks:
        yield Finding(
            "plateau-too-patient",
            f"the plateau waits for {plateau.waits} measurements without improvement, and the run has {clock.ticks}: "
            "it never acts",
        )


def _reduction(plateau: Plateau, lr: float) -> Iterator[Finding]:
    if plateau.min_lr >= lr:
        yield Finding(
            "plateau-min-lr",
            f"the plateau's min_lr {plateau.min_lr:g} is not below the learning rate {lr:g}: it never acts",
        )
    elif plateau.reduced(lr) == lr:
        yield Finding("plateau-eps", f"a reduction from {lr:g} is smaller than eps {plateau.eps:g}: it never acts")


def _patience(recipe: Recipe, clock: Clock) -> Iterator[Finding]:
    if recipe.patience >= clock.ticks:
        yield Finding(
            "patience-too-long",
            f"patience {recipe.patience} is as long as the run of {clock.ticks} measurements: it never stops early",
        )
    elif recipe.snapshots and recipe.patience:
        yield Finding(
            "stop-between-snapshots",
            f"patience {recipe.patience} may stop the run before its {recipe.snapshots} snapshots: the loss rises when "
            "a cycle restarts",
        )


def _schedule(name: str, schedule: Schedule, clock: Clock) -> Iterator[Finding]:
    steps = range(0, clock.steps, max(1, clock.steps // SAMPLES))
    factors = [schedule(clock.time(step)) for step in steps]
    yield from _parts(name, schedule, clock.epochs)
    if not isinstance(schedule, Constant) and len(set(factors)) == 1:
        yield Finding(
            "schedule-never-acts",
            f"the schedule {schedule.name} of {name} never acts: its factor is {factors[0]:g} in all {clock.epochs} "
            "epochs",
        )
    zeros = next((place for place, factor in enumerate(reversed(factors)) if factor != 0), len(factors))
    if name == "lr" and zeros > IDLE * len(factors):
        begin = clock.time(steps[len(factors) - zeros])
        yield Finding(
            "rate-of-zero",
            f"the learning rate is 0 from epoch {begin:.3g} of {clock.epochs} on: nothing is learned there",
        )


def _parts(name: str, schedule: Schedule, epochs: float) -> Iterator[Finding]:
    """What is wrong with the lengths of a schedule's parts, over a run of so many epochs."""
    if isinstance(schedule, WarmUp):
        if schedule.duration is not None and schedule.duration >= epochs:
            yield Finding(
                "warm-up-too-long",
                f"the warm-up of {name} lasts {schedule.duration:g} epochs, and the run {epochs:g}: "
                "it never reaches its full value",
            )
            return
        rest = epochs if schedule.overlay else epochs - (schedule.duration or 0)
        yield from _parts(name, schedule.then, rest)
    elif isinstance(schedule, Sequence):
        late = sum(until >= epochs for until in schedule.until)
        if late:
            yield Finding(
                "part-never-begins",
                f"the sequence of {name} has {len(schedule.parts)} parts, and {late} of them would begin after "
                f"the {epochs:g} epochs of the run",
            )
    elif isinstance(schedule, Product):
        for part in schedule.parts:
            yield from _parts(name, part, epochs)


def _batches(recipe: Recipe, clock: Clock, samples: int | None) -> Iterator[Finding]:
    growth = recipe.make_growth()
    if growth is None:
        return
    if len(set(clock.sizes)) == 1:
        yield Finding(
            "schedule-never-acts",
            f"the schedule {growth.name} of {BATCH} never acts: every epoch has minibatches of {clock.sizes[0]}",
        )
    wanted = max(recipe.batch * growth(epoch) for epoch in range(recipe.epochs))
    if samples is not None and wanted > samples:
        yield Finding(
            "batch-capped",
            f"the batch size would grow to {wanted:.0f}, more than the {samples} samples: it stays at {samples}",
        )
