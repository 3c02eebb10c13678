"""Our rules beside other people's code: the same path in float64, and where another dialect leaves it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ravine import optim
from ravine.rules.rule import catalogue, name_of
from tests.references import TABLE, Reference

STEPS, SHAPES = 50, [(3, 4), (5,)]


def rows() -> list[Any]:
    """Every row of the table."""
    return [
        pytest.param(row, id=f"{family}-{row.ours if isinstance(row.ours, str) else type(row.ours).__name__}")
        for family, listed in TABLE.items()
        for row in listed
    ]


def walk(make: Any, closure: bool) -> Tensor:
    """The weights after each step [steps, entries], under noise and a weak pull."""
    drawn = torch.Generator().manual_seed(4)
    weights = [nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=drawn)) for shape in SHAPES]
    noise = [[torch.randn(s, dtype=torch.float64, generator=drawn) for s in SHAPES] for _ in range(STEPS)]
    optimizer = make(weights)
    path: list[Tensor] = []
    for row in noise:

        def slope(row: list[Tensor] = row) -> float:
            for w, n in zip(weights, row, strict=True):
                w.grad = n + 0.1 * w.detach()
            return 0.0

        slope()
        optimizer.step(*([slope] if closure else []))
        path.append(torch.cat([w.detach().flatten() for w in weights]))
    return torch.stack(path)


def ours(rule: Any, options: Any, closure: bool) -> Tensor:
    if isinstance(rule, str):
        return walk(lambda w: optim.of(rule)(w, **options), closure)
    return walk(lambda w: optim.FromRule(w, rule), closure)


def first_apart(path: Tensor, other: Tensor) -> int | None:
    """The first step, from 1, after which an entry differs by more than a millionth of the largest."""
    gaps = (path - other).abs().amax(1) > 1e-6 * path.abs().amax(1)
    return int(gaps.nonzero()[0, 0]) + 1 if bool(gaps.any()) else None


@pytest.mark.parametrize("row", rows())
def test_the_path_is_theirs_and_other_dialects_leave_it_where_the_table_says(row: Reference) -> None:
    theirs = walk(row.theirs, row.closure)
    torch.testing.assert_close(ours(row.ours, row.options, row.closure), theirs, rtol=row.within, atol=row.within)
    assert not theirs[0].equal(theirs[-1])
    if isinstance(row.ours, str):
        family = row.ours.partition("/")[0]
        kin = {name_of(rule) for rule in catalogue().values() if rule.family == family} - {row.ours}
        assert {name: first_apart(theirs, ours(name, row.options, False)) for name in kin} == dict(row.apart)
