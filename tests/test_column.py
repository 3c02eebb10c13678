"""A column computes in float64 as NumPy does, meets tensors lane by lane, and never warns."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ravine.engines.column import Column
from ravine.rules.math import absolute, debias, log, maximum, minimum, mix, sign, sqrt, where

LEFT, RIGHT = [0.9, 0.999, 2.0], [3.0, 0.25, 1e-8]
OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.mod, operator.pow]
every_operator = pytest.mark.parametrize("apply", OPERATORS, ids=lambda f: f.__name__)


def equal(found: Any, numbers: Any) -> bool:
    return isinstance(found, Column) and bool(np.array_equal(found.numbers, np.asarray(numbers), equal_nan=True))


@every_operator
def test_arithmetic_is_that_of_float64(apply: Callable[[Any, Any], Any]) -> None:
    left, right = np.array(LEFT), np.array(RIGHT)
    assert equal(apply(Column(LEFT), Column(RIGHT)), apply(left, right))
    for number in (3, 0.5, np.float64(0.7)):
        assert equal(apply(Column(LEFT), number), apply(left, number))
        assert equal(apply(number, Column(LEFT)), apply(number, left))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 7), (3, 2, 5), (3, 0)], ids=str)
@every_operator
def test_against_a_tensor_each_lane_meets_its_own_number(
    apply: Callable[[Any, Any], Any], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.linspace(0.5, 2, int(np.prod(shape))).reshape(shape).to(dtype)
    numbers = torch.tensor(LEFT, dtype=torch.float64).to(dtype)
    for got, want in (
        (apply(Column(LEFT), x), [apply(numbers[k], x[k]) for k in range(3)]),
        (apply(x, Column(LEFT)), [apply(x[k], numbers[k]) for k in range(3)]),
    ):
        assert isinstance(got, Tensor) and (got.shape, got.dtype) == (x.shape, dtype)
        torch.testing.assert_close(got, torch.stack(want), rtol=0, atol=0)


def test_a_column_keeps_its_digits_until_it_meets_a_tensor() -> None:
    beta = 1 - 1e-12
    share = (1 - Column([beta]) ** 3) * torch.ones(1, 2)
    torch.testing.assert_close(share, torch.full((1, 2), 3e-12), rtol=1e-4, atol=0)


def test_functions_of_the_equations_take_columns() -> None:
    c = Column([4.0, -9.0, np.nan])
    assert equal(sqrt(Column([4.0, 9.0])), [2.0, 3.0])
    assert equal(sqrt(c), [2.0, np.nan, np.nan])
    assert equal(log(Column([1.0, 0.0])), [0.0, -np.inf])
    assert equal(absolute(c), [4.0, 9.0, np.nan])
    assert equal(sign(c), [1.0, -1.0, np.nan])
    assert equal(-c, [-4.0, 9.0, np.nan])
    assert equal(mix(c, 1.0, 0.5), [2.5, -4.0, np.nan])
    assert equal(debias(Column([0.1, 0.19]), Column([0.9, 0.9]), 1), np.array([0.1, 0.19]) / (1 - 0.9))
    assert sign(torch.tensor([-2.0, 0.0, np.nan])).nan_to_num(7.0).tolist() == [-1.0, 0.0, 7.0]
    assert equal(where(True, c, 1.0), c.numbers) and where(False, c, 1.0) == 1.0


@pytest.mark.parametrize(
    "y", [0.5, Column([0.5, 0.5, 0.5]), torch.full((3, 2), 0.5)], ids=["float", "column", "tensor"]
)
@pytest.mark.parametrize("x", [Column([-1.0, 2.0, np.nan]), torch.tensor([[-1.0], [2.0], [np.nan]]).expand(3, 2)])
def test_maximum_and_minimum_go_lane_by_lane_and_keep_nan(x: Any, y: Any) -> None:
    for function, want in ((maximum, [0.5, 2.0, np.nan]), (minimum, [-1.0, 0.5, np.nan])):
        for found in (function(x, y), function(y, x)):
            lanes = found.numbers if isinstance(found, Column) else found[:, 0].numpy()
            assert np.array_equal(np.asarray(lanes, dtype=np.float64), want, equal_nan=True)


def test_maximum_and_minimum_of_floats_keep_nan() -> None:
    assert (maximum(1.0, 2), minimum(1, 2.0)) == (2, 1)
    for function in (maximum, minimum):
        assert np.isnan(function(np.nan, 1.0)) and np.isnan(function(1.0, np.nan))


def test_a_lane_that_overflows_warns_nobody() -> None:
    huge = Column([1e300, 1.0])
    assert equal(huge * 1e300, [np.inf, 1e300])
    assert equal(huge / 0.0, [np.inf, np.inf])
    assert equal(Column([-1.0, 4.0]).sqrt(), [np.nan, 2.0])
    assert equal(Column([np.inf, 1.0]) - Column([np.inf, 0.0]), [np.nan, 1.0])


def test_a_column_says_its_numbers_and_how_many() -> None:
    assert (repr(Column([0.1, 2])), len(Column([0.1, 2]))) == ("Column([0.1, 2])", 2)


def test_integers_become_float64() -> None:
    assert (Column([1, 2]) / 2).numbers.tolist() == [0.5, 1.0]


def test_the_numbers_given_are_never_written_to() -> None:
    given = np.array(LEFT)
    column = Column(given)
    x = torch.ones(3, 2, dtype=torch.float64)
    _ = column * x, x - column, column**2, -column, column.clamp_min(5.0)
    assert given.tolist() == LEFT
    assert torch.equal(x, torch.ones(3, 2, dtype=torch.float64))


def test_in_place_and_torch_functions_are_refused() -> None:
    column: Any = Column(LEFT)
    with pytest.raises(TypeError):
        torch.ones(3).mul_(column)
    with pytest.raises(TypeError):
        torch.sqrt(column)
