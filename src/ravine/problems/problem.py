"""A problem: data in three parts, what is to be predicted, and what was understood of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn

from ravine.augment import Augment, Pool
from ravine.metrics import Metric
from ravine.problems.balance import ClassWeights
from ravine.problems.heads import Head
from ravine.problems.inputs import Inputs
from ravine.types import Loss, Task

if TYPE_CHECKING:
    from ravine.problems.encode import Encoder


class Source(Protocol):
    """Where inputs are read from that do not lie in memory."""

    def read(self, ids: Tensor) -> Tensor:
        """The inputs of these samples of the data, [n, ...], as a model takes them; safe in several threads."""
        ...


@dataclass(frozen=True)
class Part:
    """Samples that belong together.

    ``x`` is float32 of shape [n, features] or [n, channels, height, width] (a user's own Dataset may give other
    shapes and types); ``y`` is int64 of shape [n] for classes and float32 of shape [n, outputs] for numbers. The inputs
    of a streamed part lie in ``source``: its ``x`` has their shape and type but no memory (torch's meta device), so
    that nothing can take it for data; ask for samples with `take`.
    """

    x: Tensor
    y: Tensor
    ids: Tensor | None = None  # the place of each sample in the user's data; None where it is the place here
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def streamed(self) -> bool:
        """Whether the inputs are read when they are needed."""
        return self.source is not None

    def named(self, places: Tensor) -> Tensor:
        """The places in the user's data of the samples at these places here."""
        return places if self.ids is None else self.ids[places]

    def take(self, places: Tensor) -> Part:
        """These samples as a part of their own, in memory."""
        ids = self.named(places)
        x = self.x[places] if self.source is None else self.source.read(ids)
        return Part(x, self.y[places], ids)


@dataclass(frozen=True)
class _Read:
    """The inputs of a streamed part, read by their places."""

    part: Part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, places: Tensor, /) -> Tensor:
        return self.part.take(places).x


@dataclass(frozen=True)
class Problem:
    """Train, validation and test parts, made once, and everything a model and a report must know of them.

    ``x`` and, for regression, ``y`` are standardised with statistics of the training part alone; ``target_mean`` and
    ``target_scale`` take a prediction back to the user's units: ``y * target_scale + target_mean``.
    """

    name: str
    task: Task
    train: Part
    valid: Part  # may be empty for a run that keeps its last weights; a race needs it
    test: Part  # may be empty: then nobody looks at it
    classes: tuple[str, ...] = ()  # names of the classes, in the order of their integers; empty for regression
    loss: str | Loss = "auto"  # "auto": cross-entropy for classes, squared error for numbers
    model: Callable[[], nn.Module] | None = None  # the user's own factory
    target_mean: float = 0.0
    target_scale: float = 1.0
    inputs: Inputs | None = None  # what was done to the raw inputs; None where that is not known
    columns: Encoder | None = None  # how the rows of a table became numbers
    names: tuple[str, ...] = ()  # of the table's columns, in order
    looks_grouped: tuple[str, ...] = ()  # columns that look as if they named groups, which parts may divide
    augment: Augment | None = None  # how the samples of a training step are changed
    class_weights: ClassWeights | None = None  # how much each class counts in the loss
    metrics: tuple[Metric, ...] = ()  # measured beside the loss and the first metric
    heads: tuple[Head, ...] = ()  # of a problem with several targets: a column of y and outputs for each
    sampling: str = "shuffled"  # which of them a step sees: see `ravine.problems.sampling`
    understood: tuple[str, ...] = field(default=())  # one clause each: "1,797 images 8x8", "10 classes"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.train.x.shape[1:])

    @property
    def outputs(self) -> int:
        """The width of a model's last layer: one per class, or one per predicted number, of every target."""
        if self.heads:
            return self.heads[-1].outputs.stop
        return len(self.classes) if self.task == "classification" else self.train.y.shape[-1]

    def augmented(self, ids: Tensor, seed: int, epoch: int) -> Part:
        """The training samples ``ids`` [n] as a step of that epoch sees them.

        Where a step of augmentation mixes labels they are shares [n, classes].
        """
        taken = self.train.take(ids)
        if self.augment is None:
            return taken
        pool = Pool(_Read(self.train) if self.train.streamed else self.train.x, self.train.y)
        return Part(*self.augment.labelled(taken.x, taken.y, ids, seed, epoch, pool=pool, classes=len(self.classes)))
