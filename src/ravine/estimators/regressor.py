"""A regressor with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from ravine.estimators.base import Estimator

if TYPE_CHECKING:
    from torch import nn


class RavineRegressor(RegressorMixin, Estimator):
    """A neural network that predicts numbers, one or several a sample; squared error by default.

    Targets are standardised for training, each output by itself, and predictions are in the units of y. ``loss`` may
    be "mse", "l1", or "huber:delta=0.5", in units of the standardised target. Everything else is as in
    `RavineClassifier`.

    Attributes:
        n_features_in_: features of a sample.
        feature_names_in_: their names, where x was a frame.
        n_iter_: epochs that were trained.
        loss_curve_: mean training loss of each epoch.
        validation_curve_: loss on the part held out, where there is one.
        recipe_: every decision of the fit, as a `ravine.Recipe`.
        race_: the `RaceResult` of optimizer="auto".

    >>> from sklearn.datasets import load_diabetes
    >>> x, y = load_diabetes(return_X_y=True)
    >>> bool(RavineRegressor((32,), max_epochs=30, random_state=0).fit(x, y).score(x, y) > 0.4)
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
        race_budget: int = 32,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.model = model
        self.activation = activation
        self.norm = norm
        self.noise = noise
        self.init = init
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.optimizer_options = optimizer_options
        self.schedule = schedule
        self.penalty = penalty
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.race_budget = race_budget
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples X [n, features] (array, sparse matrix, or a frame, which may hold words) and numbers y.

        y is [n], or [n, outputs] for several numbers a sample.
        """
        from ravine.estimators.data import Given

        x, y = self._given(X, y, multi_output=True, y_numeric=True)
        self._is_flat = y.ndim == 1
        return self._fit(Given(x, np.asarray(y, dtype=np.float64).reshape(len(y), -1)))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The numbers of each sample, [n], or [n, outputs] where `fit` was given several."""
        out = self._outputs(X)
        return out[:, 0] if self._is_flat else out
