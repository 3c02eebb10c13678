"""Which samples train, validate and test: drawn once, evenly from every class where every class has enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ravine.errors import UserError
from ravine.randomness import generator

EVERY = 5  # one sample of five validates, one of five tests: 60 / 20 / 20
MIN_SAMPLES = 10  # fewer leave a part with a single sample


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
    seed: int,
    held: int = 0,
    every: int = EVERY,
    rows: int | None = None,
    classes: tuple[str, ...] = (),
) -> Split:
    """Draw the parts of ``samples`` samples, the last ``held`` of which are an official test part.

    ``labels`` (int64 of shape [samples]) asks for the same mixture of classes in each part; one sample of ``every``
    that do not test validates. ``rows`` keeps at most so many samples, each part in its proportion.
    """
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
