"""The losses that have a name, with their settings as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor
from torch.nn import functional

from ravine.losses import functions as f
from ravine.schedules.schedule import setting
from ravine.types import Loss, Task


@dataclass(frozen=True)
class Form(ABC):
    """A loss with its settings. It is called with (prediction, target) and gives their mean loss, a scalar."""

    name: ClassVar[str]
    task: ClassVar[Task]

    @abstractmethod
    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """The mean loss."""

    def function(self) -> Loss:
        """The plain function where torch has one, which engines know a fast form of; else this itself."""
        return self

    def flaw(self) -> str | None:
        """What is wrong between the settings."""
        return None


@final
@dataclass(frozen=True)
class CrossEntropy(Form):
    """Softmax cross-entropy; the two conventions of label smoothing have a setting each.

    ``label_smoothing`` a is torch's: 1 - a + a/C for the right of C classes, a/C for every other (Szegedy et al. 2016,
    arXiv:1512.00567). ``smoothing_to_others`` a is the lectures': 1 - a for the right class, a/(C - 1) for every other.
    The second equals the first with a C/(C - 1).
    """

    name = "cross_entropy"
    task = "classification"
    label_smoothing: float | None = setting(None, "number", "spread over all classes", "(0, 1)", optional=True)
    smoothing_to_others: float | None = setting(None, "number", "spread over the others", "(0, 1)", optional=True)

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """Of logits [n, classes] and labels [n]."""
        classes = out.shape[-1]
        if self.smoothing_to_others is not None:
            a = self.smoothing_to_others
            return f.smoothed_cross_entropy(out, y, 1 - a, a / (classes - 1))
        if self.label_smoothing is not None:
            a = self.label_smoothing
            return f.smoothed_cross_entropy(out, y, 1 - a + a / classes, a / classes)
        return functional.cross_entropy(out, y)

    def function(self) -> Loss:
        """Torch's own where nothing is smoothed."""
        plain = self.label_smoothing is None and self.smoothing_to_others is None
        return functional.cross_entropy if plain else self

    def flaw(self) -> str | None:
        """Smoothing twice."""
        both = self.label_smoothing is not None and self.smoothing_to_others is not None
        return "label_smoothing and smoothing_to_others are two conventions of one thing: give one" if both else None


@dataclass(frozen=True)
class _OfClasses(Form):
    """A loss of logits [n, classes] and labels [n] without settings."""

    task = "classification"
    compute: ClassVar[Callable[[Tensor, Tensor], Tensor]]

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """Of logits and labels."""
        return type(self).compute(out, y)


@final
class BinaryCrossEntropy(_OfClasses):
    """Each class against the rest, by sigmoid outputs."""

    name = "binary_cross_entropy"
    compute = staticmethod(f.one_versus_rest)


@final
class Hinge(_OfClasses):
    """max(0, 1 - margin)."""

    name = "hinge"
    compute = staticmethod(lambda out, y: f.hinge(f.margin(out, y)))


@final
class Logistic(_OfClasses):
    """log(1 + exp(-margin)); for two classes the same as cross-entropy."""

    name = "logistic"
    compute = staticmethod(lambda out, y: f.logistic(f.margin(out, y)))


@final
class Exponential(_OfClasses):
    """exp(-margin), of AdaBoost."""

    name = "exponential"
    compute = staticmethod(lambda out, y: f.exponential(f.margin(out, y)))


@final
class SquaredSoftmax(_OfClasses):
    """The squared error of softmax outputs."""

    name = "squared_softmax"
    compute = staticmethod(f.squared_softmax)


@final
class SquaredSigmoid(_OfClasses):
    """Half the squared error of sigmoid outputs."""

    name = "squared_sigmoid"
    compute = staticmethod(f.squared_sigmoid)


@dataclass(frozen=True)
class _OfNumbers(Form):
    """A loss of predictions and targets [n, outputs]: torch's mean over both.

    With ``weights``, one an output, every output is a task: the sum over tasks of weight times mean over samples.
    """

    task = "regression"
    weights: tuple[float, ...] | None = setting(None, "numbers", "one a task", "[0, inf)", optional=True)

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        """Of predictions and targets."""
        own = self.entries(out, y)
        if self.weights is None:
            return own.mean()
        return (own.mean(0) * own.new_tensor(self.weights)).sum()

    @abstractmethod
    def entries(self, out: Tensor, y: Tensor) -> Tensor:
        """The loss of every number."""

    def flaw(self) -> str | None:
        """Weights that leave nothing."""
        return (
            "weights are all 0: nothing is left to learn"
            if self.weights is not None and not any(self.weights)
            else None
        )


@final
@dataclass(frozen=True)
class Squared(_OfNumbers):
    """(prediction - target)^2."""

    name = "mse"

    def entries(self, out: Tensor, y: Tensor) -> Tensor:
        """Squares."""
        return functional.mse_loss(out, y, reduction="none")

    def function(self) -> Loss:
        """Torch's own without weights."""
        return functional.mse_loss if self.weights is None else self


@final
@dataclass(frozen=True)
class Absolute(_OfNumbers):
    """|prediction - target|."""

    name = "l1"

    def entries(self, out: Tensor, y: Tensor) -> Tensor:
        """Distances."""
        return functional.l1_loss(out, y, reduction="none")

    def function(self) -> Loss:
        """Torch's own without weights."""
        return functional.l1_loss if self.weights is None else self


@final
@dataclass(frozen=True)
class Huber(_OfNumbers):
    """Half the square up to ``delta``, beyond it a line of slope delta (Huber 1964, Ann. Math. Stat. 35:73)."""

    name = "huber"
    delta: float = setting(1.0, "number", "where the square ends, in units of the scaled target", "(0, inf)")

    def entries(self, out: Tensor, y: Tensor) -> Tensor:
        """Of every number."""
        return functional.huber_loss(out, y, reduction="none", delta=self.delta)

    def function(self) -> Loss:
        """Torch's own at its defaults."""
        return functional.huber_loss if self.weights is None and self.delta == 1.0 else self


FORMS: dict[str, type[Form]] = {
    kind.name: kind
    for kind in (
        CrossEntropy, BinaryCrossEntropy, Hinge, Logistic, Exponential, SquaredSoftmax, SquaredSigmoid,
        Squared, Absolute, Huber,
    )
}  # fmt: skip


def names_for(task: Task) -> list[str]:
    """The losses that fit a task, the default first."""
    return [name for name, kind in FORMS.items() if kind.task == task]
