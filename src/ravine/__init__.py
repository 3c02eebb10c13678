"""ravine: an optimisation laboratory for neural networks.

Race optimizers and their settings on your own model and data; train the winner's recipe; use any rule as a
`torch.optim` optimizer. Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ravine._version import version as __version__

if TYPE_CHECKING:
    from ravine import initial, optim, schedules, solvers
    from ravine.api import Outcome, Winner, race, train
    from ravine.errors import UserError
    from ravine.estimators import RavineClassifier, RavineRegressor, load_model
    from ravine.gradients import gradient_check
    from ravine.linting import lint
    from ravine.problems import Problem, from_arrays, from_dataset, load
    from ravine.rates import lr_range_test
    from ravine.recipe import Recipe, load_recipe
    from ravine.rules.rule import Rule, catalogue, hyper
    from ravine.store import Store
    from ravine.training.train import Training

_HOMES = {
    "Outcome": "ravine.api",
    "Problem": "ravine.problems",
    "RavineClassifier": "ravine.estimators",
    "RavineRegressor": "ravine.estimators",
    "Recipe": "ravine.recipe",
    "Rule": "ravine.rules.rule",
    "Store": "ravine.store",
    "Training": "ravine.training.train",
    "UserError": "ravine.errors",
    "Winner": "ravine.api",
    "catalogue": "ravine.rules.rule",
    "from_arrays": "ravine.problems",
    "from_dataset": "ravine.problems",
    "gradient_check": "ravine.gradients",
    "hyper": "ravine.rules.rule",
    "initial": "ravine.initial",
    "lint": "ravine.linting",
    "load": "ravine.problems",
    "load_model": "ravine.estimators",
    "load_recipe": "ravine.recipe",
    "lr_range_test": "ravine.rates",
    "optim": "ravine.optim",
    "race": "ravine.api",
    "schedules": "ravine.schedules",
    "solvers": "ravine.solvers",
    "train": "ravine.api",
}

__all__ = [
    "Outcome",
    "Problem",
    "RavineClassifier",
    "RavineRegressor",
    "Recipe",
    "Rule",
    "Store",
    "Training",
    "UserError",
    "Winner",
    "__version__",
    "catalogue",
    "from_arrays",
    "from_dataset",
    "gradient_check",
    "hyper",
    "initial",
    "lint",
    "load",
    "load_model",
    "load_recipe",
    "lr_range_test",
    "optim",
    "race",
    "schedules",
    "solvers",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ravine' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    found = home if _HOMES[name] == f"ravine.{name}" else getattr(home, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
