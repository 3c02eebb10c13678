"""What the user asks of a race, as one typed value that a checkpoint can hold."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ravine.decisions import Amount, Values, decision, values_from
from ravine.errors import UserError
from ravine.losses import loss_text
from ravine.problems.balance import Over
from ravine.problems.reading import Reading
from ravine.problems.sampling import SHUFFLED
from ravine.types import SEED_MOST, Numbers

MOST = 4096  # configurations; beyond that a race would need a machine of another kind
MOST_WORKERS = 1024  # programs at once, a thread each


class RaceSpec(BaseModel):
    """Every decision of a race. None means: chosen from the problem, and said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problem: str
    target: str | None = None
    groups: str | None = None  # the column of a table whose groups lie in one part each
    model: str = "mlp:128,128"
    activation: str = "relu"
    norm: str = "auto"
    norm_place: str = "before"
    init: str | dict[str, Any] | None = None
    loss: Annotated[str, BeforeValidator(loss_text)] = "auto"  # or {"name": "huber", "delta": 0.5}
    rules: list[str] | None = None  # names of the catalogue; None: every contender
    combine: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])  # around every rule, from the inside
    penalty: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])  # of every run, as a recipe has them
    noise: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])  # in every run's model, likewise
    transfer: dict[str, Any] | None = None  # the same for every contender
    over: dict[str, Annotated[Values, BeforeValidator(values_from)]] = Field(default_factory=dict[str, Values])
    schedules: list[dict[str, Any]] = Field(default_factory=lambda: [{"name": "cosine"}])
    budget: int | None = Field(default=64, ge=1, le=MOST)  # configurations
    seconds: float | None = Field(default=None, gt=0)  # or a time to keep to
    epochs: int | None = Field(default=None, ge=1)
    batch: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, le=SEED_MOST)
    split_seed: int = Field(default=0, ge=0, le=SEED_MOST)
    stream: bool | None = None  # as in a recipe
    bad_images: str = "stop"
    preprocess: list[str] | None = None  # None: standardised, as loaded; []: raw
    augment: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])  # the same for every contender
    precision: Numbers = "float32"  # or float64, bfloat16, float16: what a pass through the model computes in
    class_weights: str | dict[str, float] | None = None  # "balanced", or {class: weight}; of every run
    task_weights: str | None = None  # "learned": of several targets; None: those that the target gives
    weighted_mean: Over = "weights"  # what weighted losses are divided by: their weights, as torch, or the samples
    metrics: list[str] = Field(default_factory=list[str])  # measured beside the loss
    sampling: str = SHUFFLED  # or cyclic, random, balanced: the same for every contender
    finalists: int = Field(default=3, ge=1)
    seeds: int = Field(default=5, ge=2, le=1000)
    defaults: bool = True  # each finalist's rule at its defaults too, over the same seeds
    eta: int = Field(default=3, ge=2)
    widen: bool = True
    baselines: bool = True  # classical models beside the winner, at the end
    lanes: int | None = Field(default=None, ge=1)  # how many share a program; None: measured
    workers: int | None = Field(default=None, ge=1, le=MOST_WORKERS)  # programs at once; None: one a thread of torch

    def check_asked(self) -> None:
        """Raise where one number is both fixed and searched over, so that nobody knows which one counts."""
        for key, specs in (("penalty", self.penalty), ("noise", self.noise)):
            for name in self.over:
                fixed = {str(spec.get("name")) for spec in specs}
                made = decision(name) if re.split("[.@]", name)[0] in fixed else None
                if isinstance(made, Amount) and made.key == key and made.fixed_in(specs):
                    raise UserError(
                        f"{name} is searched over (over) and fixed ({key}) at once: leave one of them out, "
                        f"or let them act in two places with {name}@PLACE"
                    )

    @property
    def reading(self) -> Reading:
        """How data on disk are read."""
        return Reading(self.stream, self.bad_images)

    @property
    def measured(self) -> list[str]:
        """The metrics that are measured beside the loss."""
        weighed = [] if self.class_weights is None else ["balanced-accuracy"]
        return list(dict.fromkeys([*self.metrics, *weighed]))
