"""A regressor with scikit-learn's interface."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from ravine.estimators.base import Estimator


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
