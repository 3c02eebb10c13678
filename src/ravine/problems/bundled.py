"""Small problems that need no file: scikit-learn's data and two drawn in the plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ravine.problems.arrays import from_arrays
from ravine.problems.problem import Problem
from ravine.problems.split import Draw
from ravine.types import Task

Drawn = tuple[NDArray[Any], NDArray[Any], tuple[str, ...]]

MOONS = 1000
ARM = 400  # points on each arm of the spirals


def bundled(name: str, *, split_seed: Draw = 0, rows: int | None = None) -> Problem:
    """One of `MAKERS`."""
    x, y, classes = MAKERS[name]()
    task: Task = "classification" if classes else "regression"
    return from_arrays(x, y, name=name, task=task, classes=classes or None, split_seed=split_seed, rows=rows)


def _bunch(loader: str, **options: Any) -> Any:
    # scikit-learn takes a second to import, which only these problems should cost.
    from sklearn import datasets

    return getattr(datasets, loader)(**options)


def _digits() -> Drawn:
    data = _bunch("load_digits")
    return data.images, data.target, tuple("0123456789")


def _table(loader: str) -> Drawn:
    data = _bunch(loader)
    return data.data, data.target, tuple(str(name) for name in data.target_names)


def _diabetes() -> Drawn:
    data = _bunch("load_diabetes", scaled=False)
    return data.data, data.target, ()


def _moons() -> Drawn:
    """Two half circles that reach into each other, noise 0.2."""
    random = np.random.RandomState(0)
    y = np.arange(MOONS) % 2
    angle = random.uniform(0, np.pi, MOONS)
    x = np.where(y == 0, [np.cos(angle), np.sin(angle)], [1 - np.cos(angle), 0.5 - np.sin(angle)]).T
    return x + random.normal(0, 0.2, x.shape), y, ("upper", "lower")


def _spirals() -> Drawn:
    """Three arms that wind once around the origin."""
    random = np.random.RandomState(0)
    y = np.repeat(np.arange(3), ARM)
    radius = np.tile(np.linspace(0.05, 1, ARM), 3)
    angle = 2 * np.pi * (radius + y / 3) + random.normal(0, 0.2, len(y))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y, ("first", "second", "third")


MAKERS: dict[str, Callable[[], Drawn]] = {
    "digits": _digits,
    "wine": lambda: _table("load_wine"),
    "breast-cancer": lambda: _table("load_breast_cancer"),
    "diabetes": _diabetes,
    "moons": _moons,
    "spirals": _spirals,
}
