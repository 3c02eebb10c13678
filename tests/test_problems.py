"""Names, arrays, targets and parts: what a problem is made of, and that test rows teach it nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ravine import problems
from ravine.problems.problem import Problem

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(5, 3, (100, 4))
Y = np.arange(100) % 3


def same(one: Problem, other: Problem) -> bool:
    """Equal to the bit."""
    pairs = ((one.train, other.train), (one.valid, other.valid), (one.test, other.test))
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "shape", "outputs", "sizes", "said"),
    [
        ("digits", (1, 8, 8), 10, (1077, 360, 360), "1,797 images 8x8 · 10 classes"),
        ("wine", (13,), 3, (106, 36, 36), "178 rows, 13 columns · 3 classes"),
        ("breast-cancer", (30,), 2, (341, 114, 114), "569 rows, 30 columns · 2 classes"),
        ("diabetes", (10,), 1, (264, 89, 89), "442 rows, 10 columns · a number to predict"),
        ("moons", (2,), 2, (600, 200, 200), "1,000 rows, 2 columns · 2 classes"),
        ("spirals", (2,), 3, (720, 240, 240), "1,200 rows, 2 columns · 3 classes"),
    ],
)
def test_bundled(name: str, shape: tuple[int, ...], outputs: int, sizes: tuple[int, ...], said: str) -> None:
    problem = problems.load(name)
    assert (problem.name, problem.shape, problem.outputs) == (name, shape, outputs)
    assert (len(problem.train), len(problem.valid), len(problem.test)) == sizes
    assert " · ".join(problem.understood).startswith(said)
    assert problem.train.x.dtype == torch.float32
    assert problem.train.y.dtype == (torch.float32 if name == "diabetes" else torch.int64)
    assert same(problem, problems.load(name))
    assert not torch.equal(problem.train.x, problems.load(name, split_seed=1).train.x)


def test_every_name_is_described() -> None:
    assert set(problems.names()) == set(problems.descriptions())
    assert {"digits", "mnist", "fashion-mnist", "cifar10", "diabetes"} <= set(problems.names())


def test_classes_have_the_same_share_in_every_part() -> None:
    problem = problems.load("digits")
    counts = [torch.bincount(part.y, minlength=10) for part in (problem.train, problem.valid, problem.test)]
    whole = sum(counts, torch.zeros(10, dtype=torch.long))
    for part, share in zip(counts, (0.6, 0.2, 0.2), strict=True):
        assert (part - share * whole).abs().max() <= 2  # each of the two draws is within one sample


def test_parts_share_no_sample() -> None:
    x = np.arange(100.0)[:, None]
    problem = problems.from_arrays(x, Y)
    seen = torch.cat([problem.train.x, problem.valid.x, problem.test.x]).flatten()
    assert len(seen.unique()) == 100


def test_training_part_is_standardised_per_feature() -> None:
    x = problems.from_arrays(X, Y).train.x.double()
    assert torch.allclose(x.mean(0), torch.zeros(4, dtype=torch.double), atol=1e-6)
    assert torch.allclose(x.std(0, correction=0), torch.ones(4, dtype=torch.double), atol=1e-6)


def test_grey_images_share_one_mean_and_colours_have_one_each() -> None:
    grey = RANDOM.integers(0, 255, (60, 8, 8)).astype(np.uint8)
    grey[:, :4] //= 4
    train = problems.from_arrays(grey, Y[:60]).train.x
    assert train.shape[1:] == (1, 8, 8)
    assert abs(float(train.mean())) < 1e-5
    assert float(train[:, :, :4].mean()) < -0.3
    colour = RANDOM.integers(0, 255, (60, 6, 7, 3)).astype(np.uint8)
    colour[..., 0] //= 5
    problem = problems.from_arrays(colour, Y[:60])
    assert problem.shape == (3, 6, 7)
    assert torch.allclose(problem.train.x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(problem.train.x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("constant", [0.1, 7.0, 1e9])
def test_constant_features_stay_zero_even_where_test_rows_differ(constant: float) -> None:
    x = X.copy()
    x[:, 1] = constant
    plain = problems.from_arrays(x, Y)
    test_row = int((torch.arange(100)[torch.tensor(_rows_of_test(x))])[0])
    x[test_row, 1] = constant + 5
    problem = problems.from_arrays(x, Y)
    for part in (problem.train, problem.valid, problem.test):
        assert (part.x[:, 1] == 0).all()
    assert same(plain, problem)


def _rows_of_test(x: np.ndarray[Any, Any]) -> list[int]:
    """Positions that the default seed puts into the test part, found by a column that numbers the rows."""
    numbered = np.arange(len(x), dtype=float)[:, None]
    problem = problems.from_arrays(numbered, Y[: len(x)])
    order = torch.cat([problem.train.x, problem.valid.x, problem.test.x]).flatten().argsort().argsort()
    return order[-len(problem.test) :].tolist()


@pytest.mark.parametrize("regression", [False, True])
def test_test_and_validation_rows_teach_nothing(regression: bool) -> None:
    y = X[:, 0] * 2 + 1 if regression else Y
    before = problems.from_arrays(X, y)
    train = set(range(100)) - set(_rows_of_test(X)) if not regression else None
    numbered = problems.from_arrays(np.arange(100.0)[:, None], y)
    order = torch.cat([numbered.train.x, numbered.valid.x, numbered.test.x]).flatten().argsort().argsort()
    outside = order[len(numbered.train) :].numpy()
    assert train is None or set(order[: len(numbered.train)].tolist()) <= train
    x, goal = X.copy(), y.copy()
    x[outside] *= 1000
    if regression:
        goal[outside] -= 500
    after = problems.from_arrays(x, goal)
    assert torch.equal(before.train.x, after.train.x)
    assert torch.equal(before.train.y, after.train.y)
    assert (before.target_mean, before.target_scale) == (after.target_mean, after.target_scale)
    assert not torch.equal(before.test.x, after.test.x)


def test_regression_goes_back_to_the_users_units() -> None:
    y = 100 + 20 * X[:, 0]
    problem = problems.from_arrays(X, y)
    assert (problem.task, problem.outputs, problem.train.y.shape) == ("regression", 1, (60, 1))
    units = torch.cat([p.y for p in (problem.train, problem.valid, problem.test)]) * problem.target_scale
    assert np.allclose(np.sort((units + problem.target_mean).flatten().numpy()), np.sort(y), rtol=1e-5)
    assert abs(float(problem.train.y.mean())) < 1e-6
    assert float(problem.train.y.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_the_users_array_is_neither_kept_nor_changed() -> None:
    x = X.copy()
    x.flags.writeable = False
    problem = problems.from_arrays(x, Y)
    problem.train.x.zero_()
    assert np.array_equal(x, X)
