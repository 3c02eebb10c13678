"""What both estimators share: scikit-learn's contract around the training and the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data  # pyright: ignore[reportAttributeAccessIssue]

from ravine.errors import UserError

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from ravine.estimators.data import Given
    from ravine.estimators.network import Network

FITTED = ("n_features_in_", "feature_names_in_", "n_iter_", "loss_curve_", "validation_curve_")


class Estimator(BaseEstimator):
    """Parameters as they were given; everything else comes of `fit`."""

    _network: Network

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
        tags.input_tags.sparse = True
        return tags

    @property
    def columns_used(self) -> list[str]:
        """The named columns that predictions depend on: of a table, those that were not left out in training."""
        check_is_fitted(self)
        columns = self._network.columns
        named = [str(name) for name in getattr(self, "feature_names_in_", ())]
        return named if columns is None else [*columns.medians, *columns.words]

    def _fit(self, given: Given) -> Self:
        """Train on checked data."""
        from ravine.estimators.data import make
        from ravine.estimators.fitting import AUTO, steps_of, train

        me = cast("Any", self)
        held = self._held(me.validation_fraction) if me.early_stopping or me.optimizer == AUTO else 0.0
        seed = int(check_random_state(me.random_state).randint(2**31 - 1))
        found = train(me, make(given, held, seed, raw=steps_of(me.preprocess) == []), seed)
        self._network, self.recipe_ = found.network.exact(), found.recipe
        self.n_iter_, self.loss_curve_ = found.epochs, list(found.curve)
        for name, value in (("validation_curve_", list(found.validation)), ("race_", found.race)):
            if value:
                setattr(self, name, value)
            elif hasattr(self, name):
                delattr(self, name)
        return self

    @staticmethod
    def _held(fraction: Any) -> float:
        if not isinstance(fraction, float) or not 0 < fraction < 1:
            raise UserError(f"validation_fraction must lie between 0 and 1, got {fraction!r}")
        return fraction

    def _given(self, x: Any, y: Any, **checks: Any) -> tuple[Any, Any]:
        """Samples and targets for `fit`, checked: a Polars frame or an array, and y as it came."""
        from ravine.estimators.frames import as_frame

        frame = as_frame(x)
        if frame is None:
            found: Any = validate_data(self, _rows(x), y, accept_sparse="csr", dtype="numeric", **checks)
            rows, y = found
            return _shaped(x, rows), y
        validate_data(self, x, y, skip_check_array=True)
        if len(frame) == 0:
            raise UserError("the frame has no rows: give at least two")
        kind: Any = "numeric" if checks else None
        y = check_array(y, ensure_2d=False, dtype=kind, input_name="y")
        check_consistent_length(frame, y)
        return frame, y

    def _outputs(self, x: Any) -> NDArray[np.float64]:
        """What the network says to raw samples, [n, outputs]."""
        check_is_fitted(self)
        return self._network(self._samples(x))

    def _samples(self, x: Any) -> pl.DataFrame | NDArray[Any]:
        """Samples to predict, checked against those of `fit`."""
        from ravine.estimators.frames import as_frame

        if self._network.columns is None:
            rows: Any = validate_data(self, _rows(x), reset=False, dtype="numeric", accept_sparse="csr")
            return _shaped(x, rows)
        frame = as_frame(x)
        if frame is not None:
            validate_data(self, x, reset=False, skip_check_array=True)
            return frame.rename(dict(zip(frame.columns, map(str, frame.columns), strict=True)))
        return self._framed(x)

    def _framed(self, x: Any) -> pl.DataFrame:
        """An array as the frame that the network was trained on, which only frames of numbers allow."""
        import polars as pl

        for word in self._network.columns.words if self._network.columns else ():
            raise UserError(f"the model was trained on a table with words in '{word}': give a frame with its columns")
        array: Any = validate_data(self, x, reset=False, dtype="numeric")
        return pl.DataFrame({name: array[:, place] for place, name in enumerate(self._network.names)})

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the fitted estimator into a folder: safetensors and JSON with SHA-256, no pickle.

        Whoever loads it predicts to the same bits: encoding, scaling and labels are in it. A folder that holds
        something else than a saved model is refused; ``force`` writes over an older one.
        """
        from ravine.estimators.saved import save

        check_is_fitted(self)
        return save(self, Path(path), force)

    def __getstate__(self) -> dict[str, Any]:
        """Plain values: the network as the bytes of a safetensors file, no code."""
        state = dict(cast("Mapping[str, Any]", super().__getstate__()))
        if "_network" in state:
            from ravine.estimators.packed import packed

            state["_network"] = packed(self._network)
            state["recipe_"] = state["recipe_"].model_dump()
            if "race_" in state:
                state["race_"] = state["race_"].model_dump_json()
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if "_network" in state:
            from ravine.estimators.packed import unpacked
            from ravine.recipe import Recipe
            from ravine.results import RaceResult

            own: Any = state["model"] if callable(state.get("model")) else None
            state["_network"] = unpacked(*state["_network"], model=own).exact()
            state["recipe_"] = Recipe.model_validate(state["recipe_"])
            if "race_" in state:
                state["race_"] = RaceResult.model_validate_json(state["race_"])
        super().__setstate__(state)


def _rows(x: Any) -> Any:
    """Samples of any shape as rows of numbers; what is no array of more than two dimensions as it is."""
    return x.reshape(len(x), -1) if isinstance(x, np.ndarray) and x.ndim > 2 else x


def _shaped(x: Any, rows: Any) -> NDArray[Any]:
    """Checked rows as a dense array, in the shape that samples were given in."""
    if isinstance(x, np.ndarray) and x.ndim > 2:
        return x
    return rows.toarray() if hasattr(rows, "toarray") else rows
