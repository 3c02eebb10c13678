"""Data for experiments: the first so many samples of a known problem's parts."""

from __future__ import annotations

from dataclasses import replace

from ravine.problems import load
from ravine.problems.problem import Part, Problem

VALID, TEST = 2000, 10_000


def few(name: str, train: int, valid: int = VALID, test: int = TEST) -> Problem:
    """A problem with at most so many samples in each part, the same ones always.

    Inputs stay standardised by the whole training part, as loaded.
    """
    whole = load(name)
    parts = (_first(part, n) for part, n in ((whole.train, train), (whole.valid, valid), (whole.test, test)))
    first, second, third = parts
    return replace(whole, train=first, valid=second, test=third)


def sizes(problem: Problem) -> str:
    """The sizes of the parts in words."""
    parts = f"{len(problem.train):,} images to train, {len(problem.valid):,} to validate, {len(problem.test):,} to test"
    return f"{problem.name}, {parts}"


def _first(part: Part, n: int) -> Part:
    return Part(part.x[:n], part.y[:n])
