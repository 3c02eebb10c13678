"""Which samples train, validate and test: drawn once, evenly from every class where every class has enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.problems.groups import Groups, check_groups, clause, grouped_folds, held_out
from ravine.randomness import generator, key

EVERY = 5  # one sample of five validates, one of five tests: 60 / 20 / 20
MIN_SAMPLES = 10  # fewer leave a part with a single sample


@dataclass(frozen=True)
class Fold:
    """One of ``of`` folds of the samples, held out to test: each sample lies in exactly one.

    With ``inner`` a part of the others validates; without it there is nothing to choose by, all others train, and the
    fold stands for both.
    """

    seed: int
    place: int
    of: int
    inner: bool = False


@dataclass(frozen=True)
class Grouped:
    """A draw of whole groups of samples, which a column of a table names."""

    draw: int | Fold
    column: str


Draw: TypeAlias = int | Fold | Grouped  # how parts are drawn: by a seed alone, around a fold, or of whole groups


def seed_of(draw: Draw) -> int:
    """The seed of a draw."""
    plain = plain_of(draw)
    return plain.seed if isinstance(plain, Fold) else plain


def plain_of(draw: Draw) -> int | Fold:
    """The draw without its groups."""
    return draw.draw if isinstance(draw, Grouped) else draw


def column_of(draw: Draw) -> str | None:
    """The column that names the groups, if there are any."""
    return draw.column if isinstance(draw, Grouped) else None


@dataclass(frozen=True)
class Split:
    """Positions of the samples of each part: int64, ascending, no position twice."""

    train: Tensor
    valid: Tensor
    test: Tensor
    clauses: tuple[str, ...] = ()

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three parts, training first."""
        return self.train, self.valid, self.test


def split(
    name: str,
    samples: int,
    labels: Tensor | None,
    *,
    seed: Draw,
    held: int = 0,
    every: int = EVERY,
    rows: int | None = None,
    classes: tuple[str, ...] = (),
    groups: Groups | None = None,
) -> Split:
    """Draw the parts of ``samples`` samples, the last ``held`` of which are an official test part.

    ``labels`` (int64 of shape [samples]) asks for the same mixture of classes in each part; one sample of ``every``
    that do not test validates. ``rows`` keeps at most so many samples, each part in its proportion. Where ``seed`` is a
    `Fold`, an official test part is left out. ``groups`` are never divided.
    """
    seed = plain_of(seed)
    if groups is not None:
        return _of_groups(name, labels, seed, every, rows, classes, groups)
    if isinstance(seed, Fold):
        return _around(name, samples - held, labels, seed, every, rows, classes, held)
    pool, official = torch.arange(samples - held), torch.arange(samples - held, samples)
    strata, clauses = _strata(labels, pool, every, classes)
    if rows is not None and rows < samples:
        pool, _ = _draw(pool, -(-rows * len(pool) // samples), strata, seed, "rows")
        official, _ = _draw(official, rows - len(pool), labels, seed, "rows")
        strata, clauses = _strata(labels, pool, every, classes)
        clauses += (f"{rows:,} of {samples:,} samples used",)
    if held and len(official) == 0:
        raise UserError(f"{name}: {rows} rows leave no test part: ask for more rows")
    rest, test = pool, official
    if not held:
        test, rest = _draw(pool, -(-len(pool) // EVERY), strata, seed, "test")
    valid, train = _draw(rest, -(-len(pool) // every), strata, seed, "valid")
    clauses += (f"{len(train):,} to train on, {len(valid):,} to validate, {len(test):,} to test",)
    return Split(train, valid, test, clauses)


def _around(
    name: str,
    samples: int,
    labels: Tensor | None,
    fold: Fold,
    every: int,
    rows: int | None,
    classes: tuple[str, ...],
    held: int,
) -> Split:
    """The parts around a fold."""
    pool = torch.arange(samples)
    if rows is not None and rows < samples:
        pool, _ = _draw(pool, rows, labels, fold.seed, "rows")
    if fold.of > len(pool):
        raise UserError(
            f"{name}: {fold.of} folds of {len(pool)} samples would leave some empty: give at most {len(pool)}"
        )
    strata, clauses = _strata(labels, pool, fold.of, classes)
    test = pool[folds(len(pool), None if strata is None else strata[pool], fold.of, fold.seed) == fold.place]
    rest = pool[~torch.isin(pool, test)]
    valid, train = test, rest
    if fold.inner:
        valid, train = _draw(rest, -(-len(rest) // every), strata, fold.seed, "valid")
    if held:
        clauses += ("its own test part left out",)
    sizes = f"{len(train):,} to train on, " + (f"{len(valid):,} to validate, " if fold.inner else "")
    return Split(train, valid, test, (*clauses, f"fold {fold.place + 1} of {fold.of}: {sizes}{len(test):,} to test"))


def _of_groups(
    name: str,
    labels: Tensor | None,
    draw: int | Fold,
    every: int,
    rows: int | None,
    classes: tuple[str, ...],
    groups: Groups,
) -> Split:
    """The parts of whole groups, around a fold or not."""
    seed, pool = seed_of(draw), torch.arange(len(groups.of))
    if rows is not None and rows < len(pool):
        pool, _ = _draw(pool, rows, labels, seed, "rows")
    many = len(torch.unique(groups.of[pool]))
    least = max(draw.of, 3 if draw.inner else 2) if isinstance(draw, Fold) else 3
    if many < least:
        what = f"{draw.of} folds need" if isinstance(draw, Fold) else "train, validation and test parts need"
        raise UserError(f"{name}: {what} {least} groups at least, and '{groups.column}' names {many}")
    check_groups(name, groups, pool, labels, classes)
    if isinstance(draw, Fold):
        own = grouped_folds(groups, pool, labels, draw.of, seed, "folds")
        test, rest = pool[own == draw.place], pool[own != draw.place]
    else:
        test, rest = held_out(groups, pool, labels, EVERY, seed, "test")
    valid, train = test, rest
    if not isinstance(draw, Fold) or draw.inner:
        share = every if isinstance(draw, Fold) else max(2, every - 1)
        valid, train = held_out(groups, rest, labels, share, seed, "valid")
    sizes = f"{len(train):,} to train on, {len(valid):,} to validate, {len(test):,} to test"
    place = f"fold {draw.place + 1} of {draw.of}: " if isinstance(draw, Fold) else ""
    return Split(train, valid, test, (clause(groups), place + sizes))


def folds(samples: int, strata: Tensor | None, count: int, seed: int) -> Tensor:
    """The fold of each sample, 0 to ``count`` - 1, by scikit-learn's splitters: int64 [samples]."""
    # scikit-learn takes a second to import, which only folds should cost.
    from sklearn.model_selection import KFold, StratifiedKFold

    random = key(seed, "folds") % 2**32
    kind = KFold if strata is None else StratifiedKFold
    splitter = kind(count, shuffle=True, random_state=random)
    of = torch.empty(samples, dtype=torch.int64)
    places = np.zeros(samples)
    for number, (_, held) in enumerate(splitter.split(places, None if strata is None else strata.numpy())):
        of[torch.from_numpy(held)] = number
    return of


def check_rows(name: str, samples: int, rows: int | None) -> None:
    """A `UserError` where there are too few samples to make three parts of."""
    if samples < MIN_SAMPLES:
        rather = "1 sample is" if samples == 1 else f"{samples} samples are"
        raise UserError(
            f"{name}: {rather} too few to make train, validation and test parts of, give at least {MIN_SAMPLES}"
        )
    if rows is not None and rows < MIN_SAMPLES:
        raise UserError(f"{name}: rows must be at least {MIN_SAMPLES}, got {rows}")


def _strata(
    labels: Tensor | None, pool: Tensor, every: int, classes: tuple[str, ...]
) -> tuple[Tensor | None, tuple[str, ...]]:
    """The labels where every class can reach every part, else None and the reason."""
    if labels is None:
        return None, ()
    counts = torch.bincount(labels[pool])
    least = int(torch.where(counts > 0, counts, counts.max()).argmin())
    few = int(counts[least])
    if few >= every:
        return labels, ()
    label = classes[least] if least < len(classes) else str(least)
    plural = "sample" if few == 1 else "samples"
    return None, (f"parts drawn without regard to class, '{label}' has only {few} {plural}",)


def _draw(pool: Tensor, count: int, strata: Tensor | None, seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """``count`` positions of the pool and the others, both ascending.

    The pool is shuffled, put in the order of the classes, and every k-th position is taken: so each class gives its
    share to within one sample, and without classes it is a plain random draw.
    """
    order = pool[torch.randperm(len(pool), generator=generator(seed, "split", purpose))]
    if strata is not None:
        order = order[strata[order].argsort(stable=True)]
    taken = torch.zeros(len(order), dtype=torch.bool)
    taken[torch.arange(count) * len(order) // max(count, 1)] = True
    return order[taken].sort().values, order[~taken].sort().values
