"""A classifier with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from ravine.errors import UserError, unknown
from ravine.estimators.base import Estimator

if TYPE_CHECKING:
    from torch import nn

    from ravine.problems.balance import ClassWeights

PROBABLE = ("auto", "cross_entropy")  # the losses whose outputs are logits of a softmax


def _has_probabilities(self: Any) -> bool:
    loss = self.loss if isinstance(self.loss, str) else str(self.loss.get("name"))
    if loss.partition(":")[0] not in PROBABLE:
        raise AttributeError(f"loss {loss} gives scores, not probabilities: use decision_function")
    return True


class RavineClassifier(ClassifierMixin, Estimator):
    """A neural network that classifies; cross-entropy by default.

    Args:
        hidden_layer_sizes: widths of the hidden layers, where ``model`` is left out.
        model: a word such as "resmlp:64x4" or "cnn:16,32", or a function that makes an `nn.Module`.
        activation: "relu", "tanh", "swish", "leaky-relu:0.2" ...
        norm: "none", "batch", "layer", "group:8" ...; "auto" is the model's usual one.
        noise: dropout and the like, as {"name": "dropout", "drop": 0.5, "on": "hidden"}, or several: `ravine.noise`.
        init: an initialiser, "he", "xavier:gain=4" ...; None for the layers' own draw.
        loss: "cross_entropy", "hinge" ..., or a table with settings.
        optimizer: any rule of ``ravine rules``; "auto" lets a race find rule and settings on the part held out.
        learning_rate: None for the rule's default.
        optimizer_options: further hyperparameters of the rule, {"beta1": 0.95}, and "with" for what goes around it.
        schedule: of the learning rate, "cosine" or a table; None for a constant rate.
        penalty: {"name": "l2", "strength": 1e-4} or several: `ravine.penalties`.
        preprocess: "standardise", "whiten-zca" ..., or "raw".
        batch_size: samples a step; "auto" by the size of the data.
        max_epochs: passes over the data at most.
        tol: how much lower a loss must be to count as lower.
        n_iter_no_change: epochs without a lower loss before stopping.
        early_stopping: hold a part out, stop by its loss, and keep the weights of the epoch where that was lowest;
            else the loss of the training steps decides, and the last weights are kept.
        validation_fraction: the share that is held out, each class in proportion.
        class_weight: None, "balanced", or {label: weight}.
        race_budget: configurations that the race of optimizer="auto" tries.
        random_state: seed of the draw, the order of samples and what is held out.

    Attributes:
        classes_: labels, sorted.
        n_features_in_: features of a sample.
        feature_names_in_: their names, where x was a frame.
        n_iter_: epochs that were trained.
        loss_curve_: mean training loss of each epoch.
        validation_curve_: loss on the part held out, where there is one.
        recipe_: every decision of the fit, as a `ravine.Recipe`.
        race_: the `RaceResult` of optimizer="auto".

    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> bool(RavineClassifier(max_epochs=30, random_state=0).fit(x, y).score(x, y) > 0.9)
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        *,
        model: str | Callable[[], nn.Module] | None = None,
        activation: str = "relu",
        norm: str = "auto",
        noise: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        init: str | Mapping[str, Any] | None = None,
        loss: str | Mapping[str, Any] = "auto",
        optimizer: str = "adam",
        learning_rate: float | None = None,
        optimizer_options: Mapping[str, Any] | None = None,
        schedule: str | Mapping[str, Any] | None = None,
        penalty: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        preprocess: str | Sequence[str] | None = "standardise",
        batch_size: int | str = "auto",
        max_epochs: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: str | Mapping[Any, float] | None = None,
        race_budget: int = 32,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, model=model, activation=activation, norm=norm, noise=noise, init=init,
            loss=loss, optimizer=optimizer, learning_rate=learning_rate,
            optimizer_options=optimizer_options, schedule=schedule, penalty=penalty, preprocess=preprocess,
            batch_size=batch_size, max_epochs=max_epochs, tol=tol, n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping, validation_fraction=validation_fraction, race_budget=race_budget,
            random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples X [n, features] (array, sparse matrix, or frame, which may hold words) and labels y."""
        from ravine.estimators.data import Given

        x, y = self._given(X, y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"y holds one class, {self.classes_[0]!r}: give samples of two classes at least")
        names = tuple(str(label) for label in self.classes_)
        return self._fit(Given(x, labels.astype(np.int64), names, self._weights(labels)))

    def _weights(self, labels: NDArray[Any]) -> ClassWeights | None:
        """How much each class counts in the loss."""
        if self.class_weight is None:
            return None
        import torch

        from ravine.problems.balance import ClassWeights, balanced

        names = [str(label) for label in self.classes_]
        if self.class_weight == "balanced":
            return ClassWeights(balanced(torch.from_numpy(labels.astype(np.int64)), names))
        if not isinstance(self.class_weight, Mapping):
            raise UserError(f'class_weight must be None, "balanced" or {{label: weight}}, got {self.class_weight!r}')
        given: Mapping[Any, float] = self.class_weight
        known = {label: str(label) for label in self.classes_.tolist()}
        for label in given:
            if label not in known:
                raise unknown("label in class_weight", str(label), names)
        weights = tuple(float(given.get(label, 1.0)) for label in self.classes_.tolist())
        if min(weights) < 0 or not any(weights):
            raise UserError(f"class_weight: weights must be 0 or more, one of them above 0, got {given!r}")
        return ClassWeights(weights)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The outputs before any softmax, [n, classes]; for two classes the second's lead over the first, [n]."""
        out = self._outputs(X)
        return out[:, 1] - out[:, 0] if out.shape[1] == 2 else out

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each class, [n, classes], in the order of ``classes_``."""
        out = self._outputs(X)
        out = np.exp(out - out.max(axis=1, keepdims=True))
        return out / out.sum(axis=1, keepdims=True)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """The logarithm of `predict_proba`, finite where that is 0."""
        out = self._outputs(X)
        out = out - out.max(axis=1, keepdims=True)
        return out - np.log(np.exp(out).sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each sample, [n]."""
        out = self._outputs(X)
        return self.classes_[out.argmax(axis=1)]
