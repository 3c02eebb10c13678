"""What the lectures say of classical models: rows R1 to R4, R21, R22 and R25, against closed forms and scikit-learn."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import ravine
from ravine.estimators import RavineClassifier
from ravine.problems import load

Classifier: Any = RavineClassifier
Array = NDArray[Any]


def ridge_by_descent(x: Array, y: Array, strength: float) -> Array:
    """Weights of |Xw - y|^2 + strength |w|^2 by gradient descent at 1/L, in float64."""
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    steepest = 2 * (float(torch.linalg.eigvalsh(a.T @ a)[-1]) + strength)
    optimizer = ravine.optim.SGD([w], lr=1 / steepest)
    for _ in range(400):
        w.grad = None
        ((a @ w - b).square().sum() + strength * w.square().sum()).backward()
        optimizer.step()
    return w.detach().numpy()


def test_row_r1_ridge_by_descent_is_the_closed_form_and_its_norm_falls() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=40)
    norms: list[float] = []
    for strength in (0.1, 1.0, 10.0, 100.0):
        closed = np.linalg.solve(x.T @ x + strength * np.eye(6), x.T @ y)
        assert np.abs(ridge_by_descent(x, y, strength) - closed).max() < 1e-8
        norms.append(float(np.linalg.norm(closed)))
    assert norms == sorted(norms, reverse=True)
    wide = rng.normal(size=(4, 6))  # more features than samples: only ridge's weights are unique
    assert np.linalg.matrix_rank(wide.T @ wide) < 6 and np.linalg.matrix_rank(wide.T @ wide + np.eye(6)) == 6


def curve(seed: int) -> tuple[Array, Array]:
    """21 points of a parabola with noise; another seed draws other noise."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 20, 21)
    return x[:, None], x**2 - 30 * x + 100 + rng.normal(0, 10, 21)


def polynomial(degree: int, strength: float) -> Any:
    """A polynomial with ridge's penalty on standardised powers."""
    last = Ridge(alpha=strength) if strength else LinearRegression()
    return make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False), StandardScaler(), last)


def errors(degree: int, strength: float, tests: int = 25) -> tuple[float, float]:
    """Mean squared error on the points trained on and on fresh draws of the noise, over seeds."""
    found: list[tuple[float, float]] = []
    for seed in range(tests):
        x, y = curve(seed)
        model = polynomial(degree, strength).fit(x, y)
        fresh = curve(1000 + seed)[1]
        out = model.predict(x)
        found.append((float(((out - y) ** 2).mean()), float(((out - fresh) ** 2).mean())))
    train, test = np.mean(found, axis=0)
    return float(train), float(test)


def test_row_r2_the_test_error_of_degree_14_is_a_u_over_the_strength_of_ridge() -> None:
    test = [errors(14, strength)[1] for strength in (1e-8, 1e-2, 1e4)]
    assert test[1] < 0.95 * test[0] and test[1] < 0.5 * test[2]


def test_row_r3_degree_two_tests_best_and_the_training_error_only_falls() -> None:
    each = {degree: errors(degree, 0.0) for degree in (1, 2, 3, 5, 9)}
    assert min(each, key=lambda degree: each[degree][1]) == 2
    train = [pair[0] for pair in each.values()]
    assert all(a >= b - 1e-9 for a, b in pairwise(train))
    assert errors(20, 0.0)[1] > 1.3 * each[2][1]  # as many coefficients as points


def test_row_r4_weight_decay_where_features_outnumber_samples() -> None:
    """Y = 0.05 + sum 0.01 x_i + noise, 200 features, 20 samples: decay lowers the test loss, if not to the noise."""
    gains: list[float] = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, fresh = rng.normal(size=(20, 200)), rng.normal(size=(100, 200))
        truth = lambda x: 0.05 + 0.01 * x.sum(1)  # noqa: E731
        y, test = truth(x) + rng.normal(0, 0.01, 20), truth(fresh) + rng.normal(0, 0.01, 100)
        loss = {}
        for decay in (0.0, 3.0):
            w = (0.1 * torch.from_numpy(rng.normal(size=200))).requires_grad_()
            b = torch.zeros((), dtype=torch.float64, requires_grad=True)
            optimizer = ravine.optim.SGD([w, b], lr=0.005)
            for _ in range(400):
                optimizer.zero_grad()
                error = (torch.from_numpy(x) @ w + b - torch.from_numpy(y)).square().mean() / 2
                (error + decay / 2 * w.square().sum()).backward()
                optimizer.step()
            loss[decay] = float(((fresh @ w.detach().numpy() + float(b.detach()) - test) ** 2).mean())
        gains.append(loss[0.0] / loss[3.0])
    assert min(gains) > 5


def test_row_r21_the_contrast_of_distances_vanishes_with_the_dimension() -> None:
    rng = np.random.default_rng(0)
    contrast: list[float] = []
    for dimensions in (2, 20, 200, 2000):
        x = rng.uniform(size=(200, dimensions))
        far = np.linalg.norm(x[1:] - x[0], axis=1)
        contrast.append(float((far.max() - far.min()) / far.min()))
    assert contrast == sorted(contrast, reverse=True) and contrast[0] > 5 and contrast[-1] < 0.2


def test_row_r21_neighbours_by_k_and_distance_on_small_photographs() -> None:
    """On about 1,000 photographs every distance is above chance and far below a network."""
    if "RAVINE_DATA" not in os.environ:
        pytest.skip("needs CIFAR-10: set RAVINE_DATA")
    problem = load("cifar10", rows=1800)
    x, y = problem.train.x.flatten(1).numpy(), problem.train.y.numpy()
    xt, yt = problem.valid.x.flatten(1).numpy()[:300], problem.valid.y.numpy()[:300]
    right = {
        (metric, k): float((KNeighborsClassifier(k, metric=metric).fit(x, y).predict(xt) == yt).mean())
        for metric in ("manhattan", "euclidean")
        for k in (1, 10)
    }
    assert all(0.15 < share < 0.5 for share in right.values())


def test_row_r22_a_linear_classifier_fails_on_xor_and_is_perfect_in_polar_coordinates() -> None:
    rng = np.random.default_rng(0)
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    given: dict[str, Any] = {"learning_rate": 0.05, "max_epochs": 60, "random_state": 0, "batch_size": 64}
    for seed in range(3):
        line = Classifier((), **{**given, "random_state": seed})
        line.fit(np.tile(corners, (50, 1)), np.tile([0, 1, 1, 0], 50))
        assert line.score(corners, [0, 1, 1, 0]) <= 0.75
    radius, angle = np.concatenate([rng.uniform(0, 1, 200), rng.uniform(2, 3, 200)]), rng.uniform(0, 2 * np.pi, 400)
    label = np.repeat([0, 1], 200)
    flat = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    assert Classifier((), **given).fit(flat, label).score(flat, label) < 0.75
    polar = np.stack([radius, angle], axis=1)
    assert Classifier((), **given).fit(polar, label).score(polar, label) == 1.0


def test_row_r22_the_rows_of_a_softmax_classifier_are_templates() -> None:
    """Each class's weights, seen as a picture, are closer to its own mean picture than to any other class's."""
    problem = load("digits")
    x, y = problem.train.x.flatten(1).numpy(), problem.train.y.numpy()
    model = Classifier(model="softmax", preprocess="raw", max_epochs=30, random_state=0).fit(x, y)
    rows = model._network.module[1].weight.numpy()
    means = np.stack([x[y == label].mean(0) for label in range(10)]) - x.mean(0)
    rows, means = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, means))
    alike = rows @ means.T
    assert rows.shape == (10, 64) and (alike.argmax(1) == np.arange(10)).mean() >= 0.9


def test_row_r25_least_squares_is_the_closed_form_and_a_singular_matrix_is_caught() -> None:
    """Rent by area and rooms; then more features than samples, where lstsq's answer is the shortest of many."""
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(50), rng.uniform(20, 120, 50), rng.integers(1, 6, 50)])
    rent = x @ [100.0, 12.0, 50.0] + rng.normal(0, 20, 50)
    closed = np.linalg.solve(x.T @ x, x.T @ rent)
    assert np.allclose(np.linalg.lstsq(x, rent)[0], closed, rtol=1e-9)
    assert np.allclose(LinearRegression(fit_intercept=False).fit(x, rent).coef_, closed, rtol=1e-9)
    wide, few = rng.normal(size=(5, 9)), rng.normal(size=5)
    assert np.linalg.matrix_rank(wide.T @ wide) == 5 < 9
    doubled = np.array([[1.0, 2.0, 2.0], [1.0, 4.0, 4.0], [1.0, 8.0, 8.0], [1.0, 16.0, 16.0]])
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        np.linalg.solve(doubled.T @ doubled, np.ones(3))
    shortest = np.linalg.lstsq(wide, few)[0]
    other = shortest + np.linalg.svd(wide)[2][-1]
    assert np.allclose(wide @ shortest, few) and np.allclose(wide @ other, few)
    assert np.linalg.norm(shortest) < np.linalg.norm(other)
