"""A fitted estimator as a folder: model.json and model.safetensors, each with its SHA-256; read back only if whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from ravine._version import version
from ravine.errors import UserError
from ravine.files import check_folder, digest, reason, write_whole

if TYPE_CHECKING:
    from torch import nn

    from ravine.estimators.classifier import RavineClassifier
    from ravine.estimators.regressor import RavineRegressor

FORMAT = 1
FACTS, NUMBERS = "model.json", "model.safetensors"
LARGEST = 64 << 20  # bytes of facts: words and names, no numbers by the million


class _Saved(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1]
    made_by: str
    kind: Literal["RavineClassifier", "RavineRegressor"]
    parameters: dict[str, Any]
    network: str
    recipe: dict[str, Any]
    labels: list[str] | list[int] | list[float] | list[bool] | None
    label_type: str
    is_flat: bool
    n_features: int
    names: list[str] | None
    n_iter: int
    loss_curve: list[float]
    validation_curve: list[float] | None
    tensors: str  # SHA-256 of the other file


def save(estimator: Any, folder: Path, force: bool = False) -> Path:
    """Write both files; a folder that is no saved model is left alone."""
    check_folder(folder)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / FACTS).exists():
            raise UserError(f"{folder}: other files are there; name a new folder")
        if not force:
            raise UserError(f"{folder}: holds a saved model already; name another folder, or give force=True")
    from ravine.estimators.packed import packed

    network, numbers = packed(estimator._network)
    facts = _facts(estimator, network, digest(numbers)).model_dump()
    text = json.dumps(facts)
    write_whole(folder / NUMBERS, numbers)
    write_whole(folder / FACTS, json.dumps({"check": digest(text.encode()), **facts}).encode())
    return folder


def _facts(estimator: Any, network: str, tensors: str) -> _Saved:
    parameters = {name: _plain(name, value) for name, value in estimator.get_params(deep=False).items()}
    classes: NDArray[Any] | None = getattr(estimator, "classes_", None)
    if classes is not None and classes.dtype.kind == "O" and not all(isinstance(label, str) for label in classes):
        raise UserError("labels of mixed types cannot be saved: fit on words, whole numbers or yes and no")
    names = getattr(estimator, "feature_names_in_", None)
    return _Saved(
        format=FORMAT,
        made_by=version,
        kind="RavineClassifier" if classes is not None else "RavineRegressor",
        parameters=parameters,
        network=network,
        recipe=estimator.recipe_.model_dump(),
        labels=None if classes is None else classes.tolist(),
        label_type="" if classes is None else "O" if classes.dtype.kind == "O" else classes.dtype.str,
        is_flat=getattr(estimator, "_is_flat", True),
        n_features=estimator.n_features_in_,
        names=None if names is None else [str(name) for name in names],
        n_iter=estimator.n_iter_,
        loss_curve=estimator.loss_curve_,
        validation_curve=getattr(estimator, "validation_curve_", None),
        tensors=tensors,
    )


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON has it; what is code, or draws, is left out and is None when it is loaded."""
    if callable(value) or isinstance(value, np.random.RandomState | np.random.Generator):
        return None
    if isinstance(value, np.generic):
        return value.item()
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        raise UserError(f"{name} is a {type(value).__name__}, which JSON cannot hold: fit with plain values") from None


def load_model(path: str | Path, *, model: Callable[[], nn.Module] | None = None) -> RavineClassifier | RavineRegressor:
    """The fitted estimator that a folder holds; nothing in it is run as code.

    ``model`` is the function that made the network, where that was code of your own.

    Raises:
        UserError: one sentence on a folder that is missing, damaged, or made by another version.
    """
    folder = Path(path)
    facts = _checked(folder)
    numbers = _read(folder / NUMBERS)
    if digest(numbers) != facts.tensors:
        raise UserError(f"{folder / NUMBERS}: damaged (its SHA-256 differs); save the model again")
    from ravine.estimators.packed import unpacked

    try:
        network = unpacked(facts.network, numbers, model)
        return _estimator(facts, network)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        first = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{folder}: the model there cannot be built: {first}") from error


def _estimator(facts: _Saved, network: Any) -> RavineClassifier | RavineRegressor:
    from ravine.estimators import RavineClassifier, RavineRegressor
    from ravine.recipe import Recipe

    kinds: dict[str, Any] = {"RavineClassifier": RavineClassifier, "RavineRegressor": RavineRegressor}
    kind = kinds[facts.kind]
    known = set(kind._get_param_names())
    estimator = kind(**{name: _back(value) for name, value in facts.parameters.items() if name in known})
    if facts.labels is not None:
        if len(facts.labels) != network.outputs:
            raise ValueError(f"{len(facts.labels)} labels for {network.outputs} outputs")
        estimator.classes_ = np.array(facts.labels, dtype=np.dtype(facts.label_type))
    elif facts.kind == "RavineRegressor":
        estimator._is_flat = facts.is_flat
    else:
        raise ValueError("the labels are missing")
    estimator._network, estimator.recipe_ = network.exact(), Recipe.model_validate(facts.recipe)
    estimator.n_features_in_, estimator.n_iter_ = facts.n_features, facts.n_iter
    estimator.loss_curve_ = facts.loss_curve
    if facts.names is not None:
        estimator.feature_names_in_ = np.array(facts.names, dtype=object)
    if facts.validation_curve is not None:
        estimator.validation_curve_ = facts.validation_curve
    return estimator


def _back(value: Any) -> Any:
    """JSON knows no tuples: the sizes of layers are one again."""
    return tuple(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else value


def _checked(folder: Path) -> _Saved:
    path = folder / FACTS
    try:
        found: Any = json.loads(_read(path))
        given = cast("dict[str, Any]", found)
        check = given.pop("check")
        if digest(json.dumps(given).encode()) != check:
            raise UserError(f"{path}: damaged (its SHA-256 differs); save the model again")
        if given.get("format") != FORMAT:
            raise UserError(f"{path}: made by another version of ravine, {given.get('made_by')}: save it with this one")
        return _Saved.model_validate(given)
    except (ValidationError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: holds no model that was saved by ravine") from error
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: damaged ({error}); save the model again") from error


def _read(path: Path) -> bytes:
    try:
        if path.name == FACTS and path.stat().st_size > LARGEST:
            raise UserError(f"{path}: is larger than any model's facts; it was not written by ravine")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.parent}: no saved model is there ({path.name} is missing)") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
