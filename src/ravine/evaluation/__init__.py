"""How well a recipe does on new samples: k-fold, and nested, where its settings are chosen anew in each fold."""

from ravine.evaluation.evaluating import FILE, Evaluating, Place, evaluate
from ravine.evaluation.nested import Nested
from ravine.evaluation.result import Evaluation, Outside, over_folds

__all__ = ["FILE", "Evaluating", "Evaluation", "Nested", "Outside", "Place", "evaluate", "over_folds"]
