"""Whatever a user gives: Datasets, tuples, dicts, frames, and what is none of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ravine import problems
from ravine.errors import UserError
from ravine.problems.problem import Problem

X = np.random.default_rng(0).normal(5, 3, (100, 4))
Y = np.arange(100) % 3


def same(one: Problem, other: Problem) -> bool:
    """Equal to the bit."""
    pairs = ((one.train, other.train), (one.valid, other.valid), (one.test, other.test))
    return all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in pairs)


class Pairs(Dataset[Any]):
    """Random crops, as a user's Dataset with its own transform gives them."""

    def __init__(self, samples: int = 40, odd: int | None = None) -> None:
        self.samples, self.odd = samples, odd

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Any:
        if index == self.odd:
            return torch.zeros(1, 5, 5), 0
        return torch.full((1, 4, 4), float(index)) + torch.rand(1, 4, 4), index % 2


def test_dataset_is_read_once_and_leaves_the_random_state() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    problem = problems.from_dataset(Pairs())
    assert torch.equal(state, torch.get_rng_state())
    assert same(problem, problems.from_anything(Pairs()))
    assert (problem.shape, problem.classes) == ((1, 4, 4), ("0", "1"))
    assert "every sample of the Dataset read once into memory" in problem.understood
    held = problems.from_anything((Pairs(), Pairs(12)))
    assert (len(held.train) + len(held.valid), len(held.test)) == (40, 12)


def test_codes_of_words_are_left_as_they_are() -> None:
    codes = torch.randint(0, 1000, (50, 6), generator=torch.Generator().manual_seed(0))
    problem = problems.from_dataset(TensorDataset(codes, torch.arange(50) % 2))
    seen = torch.cat([problem.train.x, problem.valid.x, problem.test.x])
    assert seen.dtype == torch.int64
    assert torch.equal(seen.flatten().sort().values, codes.flatten().sort().values)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield 0, 1


class Broken(Pairs):
    def __getitem__(self, index: int) -> Any:
        raise KeyError("no such picture")


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (Stream(), "has no length"),
        (Pairs(20, odd=7), "sample 0 has shape [1, 4, 4] and sample 7 [1, 5, 5]"),
        (Broken(20), "sample 0 of the Dataset raised KeyError: 'no such picture'"),
        (Pairs(0), "the Dataset is empty"),
    ],
)
def test_datasets_that_cannot_be_read(dataset: Dataset[Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        problems.from_dataset(dataset)
    assert sentence in str(caught.value)


def test_from_anything_knows_what_it_is_given() -> None:
    def model() -> torch.nn.Module:
        return torch.nn.Linear(4, 3)

    plain = problems.from_arrays(X, Y)
    assert same(plain, problems.from_anything((X, Y)))
    assert same(plain, problems.from_anything(plain))
    assert len(problems.from_anything((X, Y, X[:20], Y[:20])).test) == 20
    given = problems.from_anything({"data": (X, Y), "model": model, "loss": "cross_entropy", "name": "mine"})
    assert (given.name, given.model, given.loss) == ("mine", model, "cross_entropy")
    assert problems.from_anything("moons", model=model).model is model
    frame = pl.DataFrame(X).with_columns(y=pl.Series(Y))
    assert torch.equal(problems.from_anything(frame, target="y").train.x, plain.train.x)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (3, "data is a int: give a name, a path"),
        ((X, Y, X), "data is 3 values"),
        ({"data": (X, Y), "modle": None}, "unknown key of the problem's dict 'modle': did you mean 'model'?"),
        ({"model": None}, "has no key data"),
        (pl.DataFrame(X), "say which column to predict"),
        ("digit", "unknown problem 'digit': did you mean 'digits'?"),
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("some/where", "some/where: no such file"),
    ],
)
def test_data_that_is_nothing(data: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        problems.from_anything(data)
    assert sentence in str(caught.value)


def test_target_is_for_tables() -> None:
    with pytest.raises(UserError, match="--target y is for CSV and Parquet files, but digits is neither"):
        problems.load("digits", target="y")
