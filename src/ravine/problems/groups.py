"""Samples that belong together, as those of one patient do: a group lies in one part, and never in two."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ravine.errors import UserError, unknown
from ravine.problems.encode import is_words
from ravine.randomness import key

TRIES = 32  # draws, of which the one is taken whose folds are nearest to equal
FEW = 10  # groups from which on a column is taken to name some
WORDS = frozenset((
    "id", "patient", "subject", "user", "person", "participant", "group", "session", "scene", "customer", "client",
    "speaker", "author", "family", "household", "donor", "animal", "student", "driver", "device",
))  # fmt: skip


@dataclass(frozen=True)
class Groups:
    """The group of each sample, int64 [samples], numbered from 0; the column they come from, and what it calls them."""

    column: str
    of: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def groups_of(name: str, frame: pl.DataFrame, column: str, targets: list[str]) -> Groups:
    """The groups that a column of a table names; a `UserError` where it cannot."""
    if column not in frame.columns:
        raise UserError(f"{name}: {unknown('column of groups', column, frame.columns)}")
    if column in targets:
        raise UserError(f"{name}: '{column}' is the target, and cannot name the groups as well: name another column")
    series = frame[column]
    missing = series.null_count() + (int(series.is_nan().sum()) if series.dtype.is_float() else 0)
    if missing:
        told = f"groups '{column}' is missing in {missing:,} of {len(series):,} rows"
        raise UserError(f"{name}: {told}: fill or remove them")
    names, of = np.unique(np.asarray(series.cast(pl.String).to_list(), dtype=str), return_inverse=True)
    return Groups(column, torch.from_numpy(of.astype(np.int64)), tuple(map(str, names)))


def check_groups(name: str, groups: Groups, pool: Tensor, labels: Tensor | None, classes: tuple[str, ...]) -> None:
    """Raise one sentence where no split of the groups can have every class in more than one part."""
    own = groups.of[pool]
    if labels is None:
        return
    for label in torch.unique(labels[pool]).tolist():
        inside = torch.unique(own[labels[pool] == label])
        if len(inside) == 1:
            named = classes[label] if label < len(classes) else str(label)
            raise UserError(
                f"{name}: class '{named}' lies in one group alone ({groups.column} {groups.names[int(inside)]}), so "
                "that only one part can hold it: add another group of it, or leave the class out"
            )


def grouped_folds(groups: Groups, pool: Tensor, labels: Tensor | None, count: int, seed: int, purpose: str) -> Tensor:
    """The fold of each sample of the pool, 0 to ``count`` - 1, of groups drawn as a whole: int64 [len(pool)].

    Groups are dealt out by scikit-learn's `KFold`, shuffled; of `TRIES` such draws the one is taken whose folds are
    nearest to equal in samples, of each class where there are classes.
    """
    from sklearn.model_selection import KFold

    names, own = torch.unique(groups.of[pool], return_inverse=True)
    kinds = torch.zeros_like(pool) if labels is None else labels[pool]
    table = _counts(own, kinds, len(names)).double()  # [groups, classes]
    wanted = table.sum(0) / count
    best, lowest = torch.zeros(len(names), dtype=torch.int64), float("inf")
    for attempt in range(TRIES):
        splitter = KFold(count, shuffle=True, random_state=key(seed, "groups", purpose, attempt) % 2**32)
        fold = torch.empty(len(names), dtype=torch.int64)
        for number, (_, held) in enumerate(splitter.split(np.zeros(len(names)))):
            fold[torch.from_numpy(held)] = number
        sums = torch.zeros(count, table.shape[1], dtype=torch.float64).index_add_(0, fold, table)
        off = float(((sums - wanted).abs() / wanted.clamp_min(1)).sum())
        if off < lowest:
            best, lowest = fold, off
    return best[own]


def held_out(
    groups: Groups, pool: Tensor, labels: Tensor | None, every: int, seed: int, purpose: str
) -> tuple[Tensor, Tensor]:
    """About one sample of ``every`` of the pool, in whole groups, and the others; both ascending."""
    count = min(every, len(torch.unique(groups.of[pool])))
    fold = grouped_folds(groups, pool, labels, count, seed, purpose)
    kinds = torch.zeros_like(pool) if labels is None else labels[pool]
    sums = _counts(fold, kinds, count).double()
    wanted = sums.sum(0) / every
    chosen = int(((sums - wanted).abs() / wanted.clamp_min(1)).sum(1).argmin())
    return pool[fold == chosen], pool[fold != chosen]


def _counts(rows: Tensor, kinds: Tensor, many: int) -> Tensor:
    """How many samples of each kind lie in each row: [many, kinds]."""
    wide = int(kinds.max()) + 1
    return torch.bincount(rows * wide + kinds, minlength=many * wide).view(many, wide)


def clause(groups: Groups) -> str:
    """What was done, in words."""
    return f"parts of whole groups by '{groups.column}', {len(groups):,} of them"


def candidates(frame: pl.DataFrame, targets: list[str]) -> tuple[str, ...]:
    """The columns that look as if they named groups: by what they are called, and by values that many rows share."""
    found: list[str] = []
    for series in frame.iter_columns():
        words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", series.name).lower())
        if series.name in targets or not WORDS & set(words):
            continue
        if (series.dtype.is_integer() or is_words(series)) and FEW <= series.n_unique() <= len(series) / 2:
            found.append(series.name)
    return tuple(found)


def refuse(column: str, source: Any) -> UserError:
    """Where there are no columns."""
    return UserError(f"groups {column} is a column of a CSV or Parquet file, but {source} is neither: leave it out")
