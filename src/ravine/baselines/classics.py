"""The classical contenders: for each a family, the settings that the validation part chooses among, and its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ravine.types import Task

PLAIN_FEATURES = 14  # of a table for which products of features are tried
SLOW_FEATURES = 128  # up to which a family is tried that needs seconds for many


@dataclass(frozen=True)
class Classic:
    """A family: a name, what it fits, its settings from simple to complex, and the scikit-learn model of one."""

    name: str
    tasks: tuple[Task, ...]
    settings: Sequence[Any]
    make: Callable[[Any, Task], Any]  # (setting, task) -> estimator
    says: Callable[[Any], str]
    most_features: int = 1024


BOTH: tuple[Task, ...] = ("classification", "regression")
NUMBERS: tuple[Task, ...] = ("regression",)
CLASSES: tuple[Task, ...] = ("classification",)
STRENGTHS = (1e-2, 1.0, 1e2)


def classics() -> list[Classic]:
    """Every family, the cheapest first."""
    near = [
        Classic(f"k-NN {word}", BOTH, (15, 5, 1), _neighbours(metric), lambda k: f"k = {k}", most)
        for word, metric, most in (
            ("L1", "manhattan", SLOW_FEATURES),
            ("L2", "euclidean", 1024),
            ("max distance", "chebyshev", SLOW_FEATURES),
        )
    ]
    return [
        Classic("guess", BOTH, (None,), _guess, lambda _: "the commonest class, or the mean"),
        Classic("least squares", NUMBERS, (None,), _squares, lambda _: ""),
        Classic("ridge", NUMBERS, (100.0, 10.0, 1.0, 0.1), _ridge, lambda a: f"strength {a:g}"),
        Classic("lasso", NUMBERS, (1e-1, 1e-2, 1e-3), _lasso, lambda a: f"strength {a:g}"),
        Classic("polynomial", NUMBERS, (2, 3), _polynomial, lambda d: f"degree {d}", PLAIN_FEATURES),
        *near,
        Classic("logistic", CLASSES, STRENGTHS, _logistic, lambda c: f"C = {c:g}"),
        Classic("linear SVM", CLASSES, (1e-2, 1.0), _svm, lambda c: f"C = {c:g}", SLOW_FEATURES),
    ]


def _guess(_: Any, task: Task) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyClassifier() if task == "classification" else DummyRegressor()


def _squares(_: Any, task: Task) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _ridge(strength: float, task: Task) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(alpha=strength)


def _lasso(strength: float, task: Task) -> Any:
    from sklearn.linear_model import MultiTaskLasso

    return MultiTaskLasso(alpha=strength, max_iter=500)


def _polynomial(degree: int, task: Task) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    return make_pipeline(PolynomialFeatures(degree, include_bias=False), Ridge(alpha=1.0))


def _neighbours(metric: str) -> Callable[[Any, Task], Any]:
    def make(k: int, task: Task) -> Any:
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

        kind: Any = KNeighborsClassifier if task == "classification" else KNeighborsRegressor
        return kind(n_neighbors=k, metric=metric)

    return make


def _logistic(inverse: float, task: Task) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse, max_iter=60)


def _svm(inverse: float, task: Task) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(C=inverse, max_iter=300, random_state=0)
