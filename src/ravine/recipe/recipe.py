"""A recipe: every decision of a run as one typed value that a TOML file can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ravine.augment import make
from ravine.errors import UserError, unknown
from ravine.files import write_whole
from ravine.initial import from_spec as initial_from_spec
from ravine.losses import form_of, loss_text
from ravine.metrics import SHOWN, metric_of, monitor_of
from ravine.noise import Noise, noise_from_spec
from ravine.penalties import Part, Prune
from ravine.problems.balance import Over
from ravine.problems.preprocess import check_names
from ravine.problems.reading import Reading
from ravine.problems.sampling import SHUFFLED, check_sampling
from ravine.recipe.fit import check_augmentable, check_criterion, check_precision, check_sampled, checked_penalties
from ravine.rules.rule import Declared, Rule, hypers, name_of
from ravine.schedules import Plateau, Schedule, check, from_spec, plateau_from
from ravine.solvers.spec import contender_from_spec, follows_schedule
from ravine.transfer import Transfer
from ravine.types import SEED_MOST, Numbers

FORMAT = 1
BATCH = "batch"  # what a schedule may multiply beside the hyperparameters


class Recipe(BaseModel):
    """What to train, on what, how, and with which draw.

    ``rule`` is {"name": ..., hyperparameters ..., "with": [combinators]}; ``schedule`` maps a hyperparameter, or
    "batch", to the schedule that multiplies it, with every length in epochs: {"lr": {"name": "cosine"}}. The batch
    size changes between epochs only. ``plateau`` holds the settings of a `ravine.schedules.Plateau`, which counts
    measurements of what is monitored, as ``patience`` does: one an epoch, or more where there are fewer than 18
    epochs. ``snapshots`` cuts the run into so many cosine cycles of the learning rate and keeps the weights at the end
    of each. ``metrics`` are measured on the validation part beside the loss; ``monitor`` is what patience, the plateau
    and the best point look at, in its own direction: see `ravine.metrics`. ``class_weights`` weigh the loss by class.
    Each ``penalty`` is {"name": ..., settings ..., "on": a pattern of names}: see `ravine.penalties`. Each
    ``noise`` is the same, "on" modules or one of the words "input", "hidden", "branches", "linear": see `ravine.noise`.
    ``preprocess`` names what is done to the inputs in place of standardising them, ``augment`` the steps that
    change each training sample anew in every epoch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ravine: int = FORMAT
    problem: str
    target: str | None = None
    groups: str | None = None  # the column of a table whose groups lie in one part each
    model: str = "mlp:128,128"
    activation: str = "relu"
    norm: str = "auto"  # batch for a resnet, layer for a transformer, none elsewhere
    norm_place: str = "before"  # or after: the nonlinearity
    init: str | dict[str, Any] | None = None  # the initialiser, or its table; None: the layers' own draw
    loss: Annotated[str, BeforeValidator(loss_text)] = "auto"  # or {"name": "huber", "delta": 0.5}
    criterion: Annotated[str | None, BeforeValidator(loss_text)] = None  # measured in place of the loss
    epochs: int = Field(default=30, ge=1)
    batch: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0, le=SEED_MOST)
    split_seed: int = Field(default=0, ge=0, le=SEED_MOST)
    stream: bool | None = None  # inputs are read when they are needed; None: where they take half of the free memory
    bad_images: str = "stop"  # or skip: damaged ones are left out
    preprocess: list[str] | None = None  # None: standardised, as loaded; []: raw
    augment: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    precision: Numbers = "float32"  # or float64, bfloat16, float16: what a pass through the model computes in
    class_weights: str | dict[str, float] | None = None  # "balanced", or {class: weight}
    task_weights: str | None = None  # "learned": of several targets; None: those that the target gives
    weighted_mean: Over = "weights"  # what weighted losses are divided by: their weights, as torch, or the samples
    metrics: list[str] = Field(default_factory=list[str])  # measured beside the loss: see `ravine.metrics`
    monitor: str = "valid_loss"  # or a metric: what patience, the plateau and the best point look at
    patience: int = Field(default=0, ge=0)  # measurements without a better one before stopping; 0: never
    min_delta: float = Field(default=0.0, ge=0)  # how much better counts as better, for patience
    sampling: str = SHUFFLED  # or cyclic, random, balanced: which samples a step sees
    accumulate: int = Field(default=1, ge=1)  # parts in which a minibatch goes through the model; the step is the same
    snapshots: int = Field(default=0, ge=0)  # 0: none
    plateau: dict[str, Any] | None = None
    rule: dict[str, Any] = Field(default_factory=lambda: {"name": "adam"})
    schedule: dict[str, dict[str, Any]] = Field(
        default_factory=dict[str, dict[str, Any]], examples=["schedule.lr"]  # how it is written, for who did not
    )  # fmt: skip
    penalty: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    noise: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    transfer: dict[str, Any] | None = None  # weights to begin at, what is frozen, the pace of layers: ravine.transfer

    @property
    def measured(self) -> list[str]:
        """The metrics that are measured beside the loss: what is monitored too, and what class weights are for."""
        more = [] if self.monitor in ("valid_loss", *SHOWN) else [self.monitor]
        weighed = [] if self.class_weights is None else ["balanced-accuracy"]
        return list(dict.fromkeys([*self.metrics, *more, *weighed]))

    @property
    def reading(self) -> Reading:
        """How data on disk are read."""
        return Reading(self.stream, self.bad_images)

    def make_rule(self) -> Declared:
        """The checked rule, or the method on the whole training part."""
        return contender_from_spec(self.rule)

    def rule_schedules(self) -> dict[str, dict[str, Any]]:
        """The schedules of the rule's hyperparameters as plain values, the cycles of ``snapshots`` among them."""
        own = {name: spec for name, spec in self.schedule.items() if name != BATCH}
        return own | {"lr": cycles(self.epochs, self.snapshots)} if self.snapshots else own

    def make_schedules(self) -> dict[str, Schedule]:
        """The checked schedules of the rule's hyperparameters, bound to the run's length."""
        rule, specs = self.make_rule(), self.rule_schedules()
        if not follows_schedule(rule):
            if self.schedule:
                raise UserError(f"{name_of(rule)} has no schedule, which belongs to rules: leave it out")
            return {}
        for name in specs:
            if name not in hypers(rule):
                raise unknown(f"hyperparameter of {name_of(rule)} to schedule", name, [*hypers(rule), BATCH])
        return {name: check(from_spec(spec)).over(self.epochs) for name, spec in specs.items()}

    def make_growth(self) -> Schedule | None:
        """The checked schedule of the batch size, bound to the run's length; None where it stays as it is."""
        return check(from_spec(self.schedule[BATCH])).over(self.epochs) if BATCH in self.schedule else None

    def make_plateau(self) -> Plateau | None:
        """The checked plateau, which waits for more where what is monitored is better when larger."""
        if self.plateau is None:
            return None
        larger = monitor_of(self.monitor).larger
        return plateau_from({"mode": "max" if larger else "min", **self.plateau})

    def make_penalties(self) -> list[Part]:
        """The checked penalties and projections, in their order."""
        return checked_penalties(self.penalty, [self.make_rule()], self.epochs)

    def make_noises(self) -> list[Noise]:
        """The checked noises, in their order."""
        return [noise_from_spec(spec) for spec in self.noise]

    @property
    def complete_from(self) -> float:
        """The epoch from which the weights are what was asked for: pruned, if they are to be."""
        return max((part.start for part in self.make_penalties() if isinstance(part, Prune)), default=0.0)

    def check(self) -> None:
        """Raise one sentence on the first value that is not allowed, alone or beside another."""
        self._check_snapshots()
        if self.init is not None:
            initial_from_spec(self.init)
        if self.loss != "auto":
            form_of(self.loss)
        if self.criterion is not None:
            check_criterion(self.criterion, self.loss)
        if not isinstance(rule := self.make_rule(), Rule):
            for option in ("accumulate", "snapshots"):
                if getattr(self, option) > 1:
                    raise UserError(f"{option} belongs to rules, not to {name_of(rule)}: leave it out")
        check_precision(self.precision, rule)
        if self.augment:
            make(self.augment)
            check_augmentable(rule)
        self.reading.check()
        check_sampling(self.sampling)
        check_sampled(self.sampling, rule)
        if self.transfer is not None:
            Transfer.of(self.transfer)
        if self.preprocess is not None:
            check_names(self.preprocess)
        monitor_of(self.monitor)
        for name in self.metrics:
            metric_of(name)
        self.make_schedules()
        self.make_growth()
        self.make_penalties()
        self.make_noises()
        if self.make_plateau() is not None and "lr" not in hypers(self.make_rule()):
            raise UserError(f"plateau: {name_of(self.make_rule())} has no learning rate to reduce; leave plateau out")
        if self.accumulate > self.batch:
            raise UserError(f"accumulate {self.accumulate} is more than the {self.batch} samples of a batch")

    def _check_snapshots(self) -> None:
        if not self.snapshots:
            return
        if "lr" in self.schedule:
            raise UserError("snapshots makes the schedule of the learning rate itself: leave out schedule.lr")
        if self.epochs % self.snapshots:
            fitting = -(-self.epochs // self.snapshots) * self.snapshots
            raise UserError(
                f"snapshots {self.snapshots}: {self.epochs} epochs are no whole number of epochs a cycle; "
                f"give epochs = {fitting}"
            )

    def save(self, path: str | Path) -> Path:
        """Write the recipe as TOML; only what differs from nothing: keys that are None are left out."""
        write_whole(Path(path), self.toml().encode())
        return Path(path)

    def toml(self) -> str:
        """The recipe as TOML text."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def cycles(epochs: int, snapshots: int) -> dict[str, Any]:
    """The schedule of so many equal cosine cycles, as plain values (Huang et al. 2017, arXiv:1704.00109)."""
    return {"name": "cosine-restarts", "first": epochs / snapshots, "growth": 1.0}
