"""What a run and a race leave behind: plain values that the store keeps and the report draws."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["finished", "stopped", "diverged", "interrupted"]
Stage = Literal["rung", "final", "default", "train"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Value):
    """One point of a learning curve, taken at the end of an epoch (epoch 0 is before the first step)."""

    epoch: float
    train_loss: float | None  # mean over the epoch's minibatches; None at epoch 0
    valid_loss: float
    metric: float  # accuracy in [0, 1] for classes; R^2 for numbers
    metrics: dict[str, float | None] = Field(default_factory=dict[str, float | None])  # further ones that were asked
    # for, by name; None where one is not defined


class RunResult(_Value):
    """One configuration with one seed."""

    id: str  # unique in the race: "c012-s0"
    config: int  # index of the configuration in the race
    rule: str  # name in the catalogue: "adam", "adam/eps-inside"
    hypers: dict[str, float]
    schedule: str  # name of the schedule of the learning rate: "cosine", "constant"
    seed: int
    stage: (
        Stage  # "rung": a contender of the halving; "final": a finalist; "default": a finalist's rule at its defaults
    )
    rung: int = 0  # the last rung it ran in (0 is the first)
    status: Status
    reason: str = ""  # for a diverged run: "loss became NaN at epoch 3", one clause
    curve: list[Point]
    best_epoch: float
    valid_loss: float | None  # validation loss at the best epoch (the lowest, unless a metric was monitored)
    metric: float | None  # the metric at that epoch
    choices: dict[str, Any] = Field(default_factory=dict)  # decision -> value, where it differs from the race's own
    metrics: dict[str, float | None] = Field(default_factory=dict[str, float | None])  # further ones there


class Interval(_Value):
    """A mean over seeds with its 95 % interval (Student's t)."""

    mean: float
    low: float
    high: float
    values: list[float]  # one a seed


class Standing(_Value):
    """One row of the ranking: the best configuration of a rule."""

    rank: int  # contenders within noise of the best share rank 1
    tie: bool  # not told apart from the best contender by the paired interval over seeds
    rule: str
    config: int
    hypers: dict[str, float]
    schedule: str
    finalist: bool  # repeated over fresh seeds; otherwise ranked by the one run it had
    valid_loss: Interval  # for a non-finalist, low == high == mean
    metric: Interval
    difference: Interval | None  # to the best contender, paired by seed; None for the best and for non-finalists
    default_loss: Interval | None  # the same rule at its defaults, same seeds
    tuning: Interval | None  # relative change of loss, tuned against default, paired by seed: -0.38 is 38 % lower
    tuning_paid: bool | None  # the interval of `tuning` lies below zero
    choices: dict[str, Any] = Field(default_factory=dict)  # as in `RunResult`
    metrics: dict[str, Interval | None] = Field(default_factory=dict[str, Interval | None])  # further ones that were
    # asked for; None where one is not defined for every seed


class Searched(_Value):
    """A decision that a race searched over, besides rules and their hyperparameters."""

    low: float | None = None  # of a range
    high: float | None = None
    scale: str = ""
    choices: list[Any] = Field(default_factory=list)
    base: Any = None  # what contenders at the defaults have


class Baseline(_Value):
    """A classical model at the setting that was best on the validation part."""

    name: str  # "ridge"
    setting: str  # "strength 10"; empty where there is none
    valid: float  # the metric on the validation part
    loss: float | None = None  # the race's loss there; None where the model gives nothing that it could be taken of


class Baselines(_Value):
    """The classical models beside a race, best first, and how the winner stands against the best of them."""

    rows: list[Baseline] = Field(default_factory=list[Baseline])
    loss_name: str = ""  # what `Baseline.loss` is
    note: str = ""  # what was left out, and why
    test: float | None = None  # the best one's metric on the test part, looked at once
    lead: Interval | None = None  # of the winner over it, on the same test samples; bootstrap over samples


class Cost(_Value):
    """What the race cost."""

    seconds: float
    lane_steps: int  # optimizer steps summed over lanes
    full_runs: float  # the same in units of one full run
    plan: str  # in words: "lanes together", "groups of 16 lanes", "one after another"
    plan_timings: dict[str, float]  # seconds a lane-step that the pilot measured for each way


class Share(_Value):
    """How much of the differences between configurations a decision made by itself, with its 95 % interval."""

    decision: str
    share: float  # of the variance; below 0 where a shuffled copy would have done as much
    low: float
    high: float


class Isolated(_Value):
    """How configurations stood at one value of a decision, all others averaged out."""

    place: float  # in [0, 1]: among the values of a number, or the middle of a word's cell
    value: Any = None  # None where it has another meaning from rule to rule
    mean: float  # share of the other configurations that were beaten
    low: float
    high: float


class Importance(_Value):
    """Which decisions of a race mattered, by the ranks after the first rung."""

    epochs: float  # of the first rung
    configurations: int
    shares: list[Share]  # the largest first
    isolated: dict[str, list[Isolated]]


class RaceResult(_Value):
    """A whole race, ready to be kept and drawn."""

    id: str  # "race-digits-7f3a"
    created: str  # ISO 8601, UTC
    status: Literal["finished", "interrupted"]
    command: str  # what the user typed, to repeat it
    problem: str
    understood: list[str]
    task: Literal["classification", "regression"]
    metric_name: str  # "accuracy" or "R²"
    model: str  # "mlp:128,128"
    parameters: int
    epochs: float  # of a full run
    batch: int
    seeds: list[int]  # seed of the rungs first, then the fresh seeds of the finalists
    rungs: list[tuple[int, float]]  # (contenders, epochs) of each rung, as run
    spaces: dict[str, dict[str, tuple[float, float]]]  # rule -> searched hyperparameter -> (low, high), after widening
    decisions: dict[str, Searched] = Field(default_factory=dict)  # what else was searched
    notes: list[str]  # one sentence each: widened spaces, lanes not possible and why, ...
    runs: list[RunResult]
    ranking: list[Standing]
    verdict: str  # one or two sentences
    baselines: Baselines | None = None
    test: Interval | None = None  # the winner's metric on the test part, looked at once; one value a seed
    test_loss: Interval | None = None
    winner: dict[str, Any] | None = None  # the recipe
    importance: Importance | None = None  # where decisions were searched, and configurations are enough
    cost: Cost
    versions: dict[str, str] = Field(default_factory=dict)
