"""What is to be predicted: classes and numbers told apart, labels numbered, bad arrays refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ravine import problems
from ravine.errors import UserError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(5, 3, (100, 4))
Y = np.arange(100) % 3


@pytest.mark.parametrize(
    ("y", "classes", "said"),
    [
        (np.array(["b", "a"] * 10), ("a", "b"), "2 classes"),
        (np.array([True, False] * 10), ("False", "True"), "2 classes"),
        (np.array([1, 5, 9, 5] * 10), ("1", "5", "9"), "labels 1, 5, 9 numbered 0 to 2"),
        (np.array([-1, 1] * 10), ("-1", "1"), "labels -1, 1 numbered 0 to 1"),
        (np.array([10, 9] * 10), ("9", "10"), "labels 9, 10 numbered 0 to 1"),
        (np.arange(400) % 40, tuple(map(str, range(40))), "40 classes"),
        (np.eye(2, dtype=int)[[0, 1] * 10], ("0", "1"), "2 classes"),
        (torch.tensor([0, 1] * 10), ("0", "1"), "2 classes"),
    ],
)
def test_labels_become_classes(y: Any, classes: tuple[str, ...], said: str) -> None:
    task = "classification" if getattr(y, "ndim", 1) == 2 else None
    problem = problems.from_arrays(RANDOM.normal(size=(len(y), 2)), y, task=task)
    assert (problem.task, problem.classes) == ("classification", classes)
    assert said in problem.understood
    assert int(problem.train.y.max()) == len(classes) - 1


@pytest.mark.parametrize(
    ("y", "keywords", "task"),
    [
        (np.arange(100) * 3, {}, "regression"),
        (np.arange(100) % 3 / 2, {}, "regression"),
        (Y, {"loss": "mse"}, "regression"),
        (Y.astype(float), {"loss": "cross_entropy"}, "classification"),
        (Y, {"task": "regression"}, "regression"),
        (RANDOM.normal(size=(100, 3)), {}, "regression"),
    ],
)
def test_class_or_number(y: Any, keywords: dict[str, Any], task: str) -> None:
    problem = problems.from_arrays(X, y, **keywords)
    assert problem.task == task
    assert problem.outputs == (y.shape[-1] if y.ndim == 2 else 3 if task == "classification" else 1)


def test_class_names_number_the_labels() -> None:
    problem = problems.from_arrays(X, Y, classes=["low", "middle", "high", "never seen"])
    assert (problem.classes[3], problem.outputs) == ("never seen", 4)


def test_official_test_part_stays_whole() -> None:
    held = RANDOM.normal(5, 3, (30, 4))
    problem = problems.from_arrays(X, Y, test=(held, Y[:30]))
    assert (len(problem.train), len(problem.valid), len(problem.test)) == (80, 20, 30)
    assert torch.equal(problem.test.y, torch.tensor(Y[:30]))
    moved = problems.from_arrays(X, Y, test=(held + 100, Y[:30]))
    assert torch.equal(problem.train.x, moved.train.x)


def test_rare_classes_are_split_without_regard_to_class_and_it_says_so() -> None:
    y = np.zeros(100, dtype=int)
    y[:50], y[7] = 1, 2
    problem = problems.from_arrays(X, y)
    assert "parts drawn without regard to class, '2' has only 1 sample" in problem.understood
    assert "classes of unequal size, 1 to 50 samples" in problem.understood


def test_rows_keep_the_shares() -> None:
    problem = problems.load("digits", rows=200)
    assert len(problem.train) + len(problem.valid) + len(problem.test) == 200
    assert "200 of 1,797 samples used" in problem.understood
    assert torch.bincount(problem.train.y, minlength=10).min() >= 10


def _with(value: float) -> np.ndarray[Any, Any]:
    x = X.copy()
    x[3, 1] = x[8, 0] = value
    return x


@pytest.mark.parametrize(
    ("x", "y", "keywords", "sentence"),
    [
        (_with(np.nan), Y, {}, "x holds 2 values that are NaN or infinite"),
        (_with(np.inf), Y, {}, "x holds 2 values that are NaN or infinite"),
        (X, Y[:99], {}, "x has 100 samples and y has 99"),
        (X, 3, {}, "x has 100 samples and y has 1"),
        (X, Y * 0 + 4, {}, "y is always 4: there is nothing to tell apart"),
        (X, Y * 0.0, {}, "y is always 0: there is nothing to predict"),
        (X, np.where(Y == 0, np.nan, 1.5), {}, "y is NaN or infinite in 34 of 100 rows"),
        (X, Y / 2, {"task": "classification"}, "y holds 0.5, which is no class"),
        (X, np.array(["a", "b"] * 50), {"task": "regression"}, "holds words or booleans"),
        (X, Y, {"classes": ["a", "b"]}, "y runs from 0 to 2, but 2 class names"),
        (X, np.array(["a", "b"] * 50), {"classes": ["a", "c"]}, "holds 'b', which is none of the class names"),
        (X, RANDOM.normal(size=(100, 2)), {"task": "classification"}, "classes need one label a sample"),
        (X, Y * 1j, {}, "y has type complex128"),
        (np.full((100, 2), "a"), Y, {}, "x holds words or mixed types"),
        (np.zeros((100, 0)), Y, {}, "x has shape [100, 0]"),
        (np.zeros((100, 3)), Y, {}, "every input is constant"),
        ([[1, 2], [3]], [0, 1], {}, "x is no array"),
        (X[:9], Y[:9], {}, "9 samples are too few"),
        (X[:1], Y[:1], {}, "1 sample is too few"),
        (X, Y, {"rows": 3}, "rows must be at least 10, got 3"),
        (X, Y, {"test": (X[:, :3], Y)}, "samples have shape [4] to train on and [3] to test"),
        (X, Y, {"test": (X, Y[:5])}, "the test part: x has 100 samples and y has 5"),
    ],
)
def test_bad_arrays(x: Any, y: Any, keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        problems.from_arrays(x, y, **keywords)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
